"""Forwards of the userdb: which exist, whether they still lead anywhere, and which move or go.

A forward that moves becomes a Sieve script of its user on the new host, which the user can change;
the userdb leads to that host. A removed one stays in the userdb as a comment.
"""

import dataclasses

from cutover import model
from cutover.changes.sieve import FORWARD, SieveScript
from cutover.changes.userdb_edit import UserdbEdit
from cutover.facts import files, forward_targets, sieve, userdb, userdb_map, users
from cutover.steps.maintenance import vacation

SHOWN = 5
ACTIONS = {"sieve": "is moved to Sieve", "remove": "is removed"}


@dataclasses.dataclass(frozen=True)
class Mx:
    """One MX. source: the text of its userdb. map: the records of the map made of it."""

    source: str
    map: list[userdb_map.Record]

    @property
    def data(self) -> bytes:
        """The userdb as it is on the host."""
        return self.source.encode("utf-8", "surrogateescape")


@dataclasses.dataclass(frozen=True)
class Account:
    """A user whose forward moves. active: the name of the user's active Sieve script, or "".

    script: its text, or None.
    """

    home: str
    active: str
    script: str | None


@dataclasses.dataclass(frozen=True)
class Facts:
    """targets: per address that a forward leads to. sieve: procmail hands mail to Sieve."""

    run: str
    mx: dict[str, Mx]
    targets: dict[str, forward_targets.Target]
    accounts: dict[str, Account]
    sieve: bool


@dataclasses.dataclass
class Moved:
    """Where a moved forward leads. keep: the user's mailbox gets the mail too."""

    addresses: list[str]
    keep: bool


def probe(ctx) -> Facts:
    """The userdb on every MX, and the users whose forwards the parameters move."""
    hosts, site = ctx.hosts, ctx.site
    new, first = site.roles.new, site.roles.mx[0]

    def read_mx(name):
        source, records = userdb_map.with_source(hosts, name)
        return Mx(source.decode("utf-8", "surrogateescape"), records)

    mx = hosts.each(site.roles.mx, read_mx)
    homes = {account.user: account.home for account in users.read(hosts, new)}
    moved = {rule.user for rule in site.maintenance.forwards if rule.to == "sieve"} & homes.keys()
    addresses = {
        address for forward in of_users(mx[first].data, site) for address in forward.elsewhere
    }
    procmailrc = files.read(hosts, new, site.maintenance.procmailrc) or ""
    return Facts(
        run=ctx.run_name,
        mx=mx,
        targets={
            address: forward_targets.read(hosts, first, address) for address in sorted(addresses)
        },
        accounts={
            user: Account(
                homes[user],
                sieve.active(hosts, new, user, homes[user]),
                sieve.script(hosts, new, user, homes[user]),
            )
            for user in sorted(moved)
        },
        sieve=vacation.recipe(site) in procmailrc,
    )


def of_users(data: bytes, site) -> list[userdb.Forward]:
    """The forwards in a userdb source.

    A mailing list is routed to its own host and is nobody's forward.
    """
    here = sorted(site.mailbox_domains.union(*(other.mailbox_domains for other in site.others)))
    lists = {mailing_list.address.lower() for mailing_list in site.lists}
    return [
        forward
        for forward in userdb.forwards(data, here)
        if f"{forward.entry.key}@{site.zone}".lower() not in lists
    ]


def script(addresses: list[str], keep: bool) -> str:
    """A Sieve script that redirects (RFC 5228 §4.2), and with `keep` also delivers (RFC 3894)."""
    quoted = [address.replace("\\", "\\\\").replace('"', '\\"') for address in addresses]
    lines = [
        "# the forward from the userdb of the MX; change it as you like",
        *(['require ["copy"];'] if keep else []),
        *(f'redirect {":copy " if keep else ""}"{address}";' for address in quoted),
        "",
    ]
    return "\n".join(lines)


def _moved(facts, site):
    """{user: Moved} of the forwards that become Sieve scripts."""
    movers = {rule.user.lower() for rule in site.maintenance.forwards if rule.to == "sieve"}
    moved = {}
    for mx in facts.mx.values():
        for forward in of_users(mx.data, site):
            user = forward.entry.key.lower()
            if user not in movers:
                continue
            target = moved.setdefault(user, Moved([], False))
            target.keep = target.keep or bool(forward.here)
            target.addresses += [
                address for address in forward.elsewhere if address not in target.addresses
            ]
    return moved


def _replacements(facts, mx, site):
    """[[old line, new line]] of one MX's userdb."""
    actions = {rule.user.lower(): rule.to for rule in site.maintenance.forwards}
    pairs, routed = [], set()
    for forward in of_users(mx.data, site):
        user = forward.entry.key.lower()
        if user not in actions:
            continue
        value = forward.here
        if actions[user] == "sieve":
            if not value and user not in routed:
                value = f"{user}@{site.fqdn(site.roles.new)}"
            routed.add(user)
        comment = f"# {facts.run}: {forward.text}"
        pairs.append([forward.text, forward.line(value) if value else comment])
    return pairs


def _edited(text, pairs):
    """The userdb's lines as planned. So an MX that was edited before a crash equals the others."""
    new = dict(map(tuple, pairs))
    return tuple(new.get(line.rstrip("\r"), line) for line in text.split("\n"))


def plan(facts: Facts, site) -> model.Plan:
    """The users' Sieve scripts first, then the userdb on every MX."""
    pairs = {name: _replacements(facts, mx, site) for name, mx in facts.mx.items()}
    if len({_edited(mx.source, pairs[name]) for name, mx in facts.mx.items()}) > 1:
        raise model.CannotPlan(
            f"{site.userdb.source} differs between the MX hosts. Make it the same (`diff` shows "
            "where), then run this step again."
        )
    moved, notes = _moved(facts, site), tuple(_notes(facts, site))
    if moved and not facts.sieve:
        raise model.CannotPlan(
            f"procmail on {site.roles.new} does not hand mail to Sieve yet. Run `cutover maintain "
            "vacation` first, then this step again."
        )
    changes = [
        *_scripts(facts, moved, site),
        *(
            UserdbEdit(
                name,
                site.userdb.source,
                site.userdb.map,
                f"{site.userdb.source}.{facts.run}",
                pairs[name],
            )
            for name in facts.mx
            if pairs[name]
        ),
    ]
    reason = "" if changes else "the userdb has no forward that the parameters move or remove"
    return model.Plan(tuple(changes), reason=reason, notes=notes)


def _scripts(facts, moved, site):
    """The scripts that are not active yet. Raises CannotPlan where one cannot be made."""
    accounts = {user.lower(): (user, account) for user, account in facts.accounts.items()}
    for user, target in sorted(moved.items()):
        if user not in accounts:
            raise model.CannotPlan(
                f"{user} has no account on {site.roles.new}, so no Sieve script can replace the "
                "forward. Create the account there, or have the parameters remove or keep the "
                "forward."
            )
        login, account = accounts[user]
        text = script(target.addresses, target.keep)
        if account.script == text:
            continue
        if account.script is not None:
            raise model.CannotPlan(
                f"{login} already has a Sieve script ({account.active or 'without a name'}). Ask "
                f"the user to add the redirection there, and remove {login} from "
                "maintenance.forwards."
            )
        yield SieveScript(site.roles.new, login, account.home, FORWARD, None, text)


def _notes(facts, site):
    """Per forward, for whoever approves: owner, targets, whether they are valid, what happens."""
    actions = {rule.user.lower(): ACTIONS[rule.to] for rule in site.maintenance.forwards}
    for forward in of_users(next(iter(facts.mx.values())).data, site):
        lines = []
        for address in forward.elsewhere:
            target = facts.targets[address]
            validity = "valid" if target.valid else "NOT VALID"
            lines.append(f"{address}: {validity} ({target.said})")
        stays = f"; {forward.here} stays" if forward.here else ""
        lines.append(f"it {actions.get(forward.entry.key.lower(), 'stays as it is')}{stays}")
        yield forward.entry.key, "\n".join(lines)


def stable(facts: Facts) -> dict:
    """What the plan rests on."""
    return {
        "accounts": model.to_json(facts.accounts),
        "sieve": facts.sieve,
        "mx": {name: mx.source for name, mx in facts.mx.items()},
    }


def verify(facts: Facts, site) -> list[model.Check]:
    """Whether the userdb is edited, the scripts are active, and the remaining forwards work."""
    checks = [check for name, mx in facts.mx.items() for check in _userdb(facts, name, mx, site)]
    equal = len({mx.source for mx in facts.mx.values()}) == 1
    checks.append(
        model.holds(
            "The userdb is the same on every MX",
            equal,
            "identical",
            "differs",
            "copy one to the other",
            id="forwards-userdb-same",
        )
    )
    checks += _redirected(facts, site)
    return checks + _dead(facts)


def _userdb(facts, name, mx, site):
    left = [old for old, _ in _replacements(facts, mx, site)]
    first = f": {'; '.join(left[:SHOWN])}" if left else ""
    yield model.holds(
        f"The userdb of {name} has no forward that was to be moved or removed",
        not left,
        "0 left",
        f"{len(left)} left{first}",
        "run this step again",
        id="forwards-edited",
        subject=name,
        data={"left": len(left)},
    )
    same = userdb_map.from_source(mx.data) == mx.map
    yield model.holds(
        f"{site.userdb.map} on {name} is built from its source",
        same,
        "same entries",
        "other entries",
        f"makemap btree {site.userdb.map} < {site.userdb.source}",
        id="forwards-map-current",
        subject=name,
    )


def _redirected(facts, site):
    moved = [rule.user for rule in site.maintenance.forwards if rule.to == "sieve"]
    scripts = {user: account.script or "" for user, account in facts.accounts.items()}
    without = [user for user in moved if "redirect" not in scripts.get(user, "")]
    first = f"; not {', '.join(without[:SHOWN])}" if without else ""
    yield model.holds(
        "A Sieve script redirects for every user whose forward was moved",
        not without,
        f"{len(moved)} users",
        f"{len(moved) - len(without)} users{first}",
        f"`doveadm sieve list -u USER` on {site.roles.new}",
        id="forwards-redirected",
        data={"without": without},
    )
    yield model.Check(
        "procmail hands these users' mail to Sieve",
        "yes" if moved else "not needed",
        "yes" if facts.sieve else "no",
        facts.sieve or not moved,
        "`./cutover maintain vacation --site FILE`",
        id="forwards-procmail",
        subject=site.roles.new,
    )


def _dead(facts):
    dead = {address: target.said for address, target in facts.targets.items() if not target.valid}
    if not dead:
        return []
    first = sorted(dead.items())[:8]
    return [
        model.Check(
            "The remaining forwards lead to hosts that take mail",
            "all",
            "; ".join(f"{address}: {reason}" for address, reason in first),
            True,
            "ask their owners; have the parameters remove them",
            warning=True,
            id="forwards-targets",
            data={"addresses": sorted(dead)},
        )
    ]


STEP = model.Step(
    id="forwards",
    title="Forwards: moved to Sieve, or removed",
    requires=(),
    probe=probe,
    plan=plan,
    verify=verify,
    stable=stable,
    facts=Facts,
)
