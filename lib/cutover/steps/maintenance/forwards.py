"""Forwards of the userdb: which there are, whether they still lead anywhere, and as the parameters say, moved or removed.

A moved forward is a Sieve script of its user on the new host, which the user can then change; the userdb leads to that host.
A removed one stays in the userdb as a comment, so that it can be told what it was.
"""

from cutover import model
from cutover.changes import sieve
from cutover.changes.userdb_edit import UserdbEdit
from cutover.facts import files, userdb, userdb_map, users
from cutover.facts import forward_targets as targets
from cutover.steps.maintenance import vacation


def probe(ctx):
    """`{"mx": {host: {"source", "map"}}, "targets": {address: {"valid", "said"}}, "accounts": {user: {"home", "active",
    "script"}} of the users that the parameters move, "sieve": procmail hands over}`"""
    hosts, site = ctx.hosts, ctx.site
    new, first = site.roles.new, site.roles.mx[0]

    def of(name):
        source = userdb.read_source(hosts, name, site.userdb.source)
        return {
            "source": source.decode("utf-8", "surrogateescape"),
            "map": userdb_map.read(hosts, name, site.userdb.map),
        }

    mx = hosts.each(site.roles.mx, of)
    homes = {account.user: account.home for account in users.read(hosts, new)}
    moved = {each.user for each in site.maintenance.forwards if each.to == "sieve"} & homes.keys()
    addresses = sorted(
        {address for each in _found(mx[first]["source"], site) for address in each.elsewhere}
    )
    return {
        "mx": mx,
        "targets": {address: targets.read(hosts, first, address) for address in addresses},
        "accounts": {
            user: {
                "home": homes[user],
                "active": sieve.active(hosts, new, homes[user]),
                "script": sieve.script(hosts, new, homes[user]),
            }
            for user in sorted(moved)
        },
        "sieve": vacation.recipe(site)
        in (files.read(hosts, new, site.maintenance.procmailrc) or ""),
    }


def _found(text, site):
    here = [site.fqdn(name) for name in (site.alias, site.roles.old, site.roles.new)]
    lists = {
        each.address.lower() for each in site.lists
    }  # routed to their own host, and nobody's forward
    return [
        each
        for each in userdb.forwards(text.encode("utf-8", "surrogateescape"), here)
        if f"{each.entry.key}@{site.zone}".lower() not in lists
    ]


def script(elsewhere, keep: bool) -> str:
    """A Sieve script that redirects (RFC 5228 §4.2), and with `keep` also delivers (RFC 3894)."""
    quoted = [address.replace("\\", "\\\\").replace('"', '\\"') for address in elsewhere]
    lines = [
        "# the forward that stood in the userdb of the MX; change it as you like",
        *(['require ["copy"];'] if keep else []),
    ]
    return "\n".join(
        [*lines, *(f'redirect {":copy " if keep else ""}"{address}";' for address in quoted), ""]
    )


def _wanted(found, site) -> tuple:
    """({user: (addresses, keep?)} to be moved, {MX: [[old line, new line]]})."""
    action = {each.user.lower(): each.to for each in site.maintenance.forwards}
    moved, lines = {}, {}
    for name, mx in found["mx"].items():
        lines[name], routed = [], set()
        for each in _found(mx["source"], site):
            user = each.entry.key.lower()
            if user not in action:
                continue
            value = each.here
            if action[user] == "sieve":
                addresses, keep = moved.setdefault(user, ([], bool(value)))
                addresses += [address for address in each.elsewhere if address not in addresses]
                moved[user] = addresses, keep or bool(value)
                if not value and user not in routed:
                    value = f"{user}@{site.fqdn(site.roles.new)}"
                routed.add(user)
            lines[name].append(
                [each.text, each.line(value) if value else f"# {found['run']}: {each.text}"]
            )
    return moved, lines


def _edited(text, pairs):
    """The userdb's lines as they are to be; an MX that an attempt before this one has done is like the others then."""
    new = dict(map(tuple, pairs))
    return tuple(new.get(line.rstrip("\r"), line) for line in text.split("\n"))


def plan(found, site):
    moved, lines = _wanted(found, site)
    if len({_edited(mx["source"], lines[name]) for name, mx in found["mx"].items()}) > 1:
        raise model.CannotPlan(
            f"{site.userdb.source} is not the same on every MX: make it so (`diff` shows where), then run "
            "this step again."
        )
    notes = tuple(_told(found, site))
    if moved and not found["sieve"]:
        raise model.CannotPlan(
            f"procmail on {site.roles.new} does not hand mail over to Sieve yet. Run `cutover maintain "
            "vacation` first, then this step again."
        )
    accounts = {user.lower(): (user, each) for user, each in found["accounts"].items()}
    listed = []
    for user, (addresses, keep) in sorted(moved.items()):
        if user not in accounts:
            raise model.CannotPlan(
                f"{user} has no account on {site.roles.new}, so no Sieve script can stand for the forward. "
                "Have the account made there, or let the parameters remove the forward or leave it."
            )
        login, account = accounts[user]
        text = script(addresses, keep)
        if account["script"] == text:
            continue
        if account["script"] is not None:
            raise model.CannotPlan(
                f"{login} has a Sieve script already ({account['active'] or 'without a name'}). Ask the user "
                f"to add the redirection there, and take {login} out of maintenance.forwards."
            )
        listed.append(
            sieve.SieveScript(site.roles.new, login, account["home"], sieve.FORWARD, None, text)
        )
    listed += [
        UserdbEdit(
            name, site.userdb.source, site.userdb.map, f"{site.userdb.source}.{found['run']}", pairs
        )
        for name, pairs in lines.items()
        if pairs
    ]
    if not listed:
        return model.Plan(
            reason="no forward that the parameters move or remove is in the userdb", notes=notes
        )
    return model.Plan(tuple(listed), notes=notes)


def _told(found, site):
    """Each forward for whoever approves: owner, target, whether it is still valid, what becomes of it."""
    action = {
        each.user.lower(): {"sieve": "moved to Sieve", "remove": "removed"}[each.to]
        for each in site.maintenance.forwards
    }
    for each in _found(next(iter(found["mx"].values()))["source"], site):
        asked = [(address, found["targets"][address]) for address in each.elsewhere]
        said = [
            f"{address}: {'valid' if answer['valid'] else 'NOT VALID'} ({answer['said']})"
            for address, answer in asked
        ]
        yield (
            each.entry.key,
            "\n".join(
                [
                    *said,
                    f"it is {action.get(each.entry.key.lower(), 'left as it is')}"
                    + (f"; {each.here} stays" if each.here else ""),
                ]
            ),
        )


def stable(found):
    return {
        **{key: found[key] for key in ("accounts", "sieve")},
        "mx": {name: mx["source"] for name, mx in found["mx"].items()},
    }


def verify(found, site):
    _, lines = _wanted(found, site)
    checks = []
    for name, mx in found["mx"].items():
        left = [old for old, _ in lines[name]]
        checks.append(
            model.equal(
                f"Does the userdb of {name} hold no forward that was to be moved or removed?",
                "0 left",
                f"{len(left)} left" + (f": {'; '.join(left[:5])}" if left else ""),
                "run this step again",
            )
        )
        same = userdb_map.from_source(
            mx["source"].encode("utf-8", "surrogateescape")
        ) == model.from_json(list[userdb_map.Record], mx["map"])
        checks.append(
            model.equal(
                f"Is {site.userdb.map} on {name} made from the source?",
                "same entries",
                "same entries" if same else "other entries",
                f"makemap btree {site.userdb.map} < {site.userdb.source}",
            )
        )
    equal = len({mx["source"] for mx in found["mx"].values()}) == 1
    checks.append(
        model.equal(
            "Is the userdb the same on every MX?",
            "identical",
            "identical" if equal else "differs",
            "copy one to the other",
        )
    )
    wanted = [each.user for each in site.maintenance.forwards if each.to == "sieve"]
    mute = [
        user
        for user in wanted
        if "redirect" not in (found["accounts"].get(user, {}).get("script") or "")
    ]
    checks.append(
        model.equal(
            "Does a Sieve script redirect for each user whose forward was moved?",
            f"{len(wanted)} users",
            f"{len(wanted) - len(mute)} users" + (f"; not {', '.join(mute[:5])}" if mute else ""),
            f"`doveadm sieve list -u USER` on {site.roles.new}",
        )
    )
    checks.append(
        model.Check(
            "Does procmail hand these users' mail over to Sieve?",
            "yes" if wanted else "no matter",
            "yes" if found["sieve"] else "no",
            found["sieve"] or not wanted,
            "`cutover maintain vacation`",
        )
    )
    dead = {
        address: each["said"] for address, each in found["targets"].items() if not each["valid"]
    }
    if dead:
        checks.append(
            model.Check(
                "Do the forwards that stay lead to hosts that take mail?",
                "all",
                "; ".join(f"{address}: {said}" for address, said in sorted(dead.items())[:8]),
                True,
                "ask their owners; let the parameters remove them",
                warning=True,
            )
        )
    return checks


STEP = model.Step(
    id="forwards",
    title="Forwards: moved to Sieve, or removed",
    requires=(),
    probe=probe,
    plan=plan,
    verify=verify,
    stable=stable,
)
