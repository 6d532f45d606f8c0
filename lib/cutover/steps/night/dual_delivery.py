"""Both MX deliver each mailbox user's mail to the old server and to the new one."""

from cutover import model
from cutover.changes.mail import DrainQueue
from cutover.changes.userdb_edit import UserdbEdit
from cutover.facts import mail_queue, routes, userdb, userdb_map, users


def backup_path(site, run):
    return f"{site.userdb.source}.{run}"


def probe(ctx):
    """`{"mx": {host: {"source", "backup" (None before), "map", "routes": {user: [recipients]}, "queued"}}}`; texts are
    decoded with surrogates so that every byte is kept."""
    hosts, site = ctx.hosts, ctx.site
    names = [user["user"] for user in users.read(hosts, site.roles.new)]

    def of(name):
        source = userdb.read_source(hosts, name, site.userdb.source)
        backup = userdb.read_backup(hosts, name, backup_path(site, ctx.run_name))
        return {
            "source": _text(source),
            "backup": None if backup is None else _text(backup),
            "map": userdb_map.read(hosts, name, site.userdb.map),
            "routes": routes.read(hosts, name, names),
            "queued": mail_queue.waiting(hosts, name)["requests"],
        }

    return {"mx": hosts.each(site.roles.mx, of)}


def plan(found, site):
    listed = []
    for name, mx in found["mx"].items():
        _, replacements = _routed(mx["source"], site)
        if replacements or userdb_map.from_source(_bytes(mx["source"])) != mx["map"]:
            listed.append(
                UserdbEdit(
                    name,
                    site.userdb.source,
                    site.userdb.map,
                    backup_path(site, found["run"]),
                    [list(pair) for pair in replacements],
                )
            )
    if listed or any(mx["queued"] for mx in found["mx"].values()):
        # what was queued before still goes to the alias alone: it must be gone before the alias moves
        listed.append(DrainQueue(list(found["mx"]), site.limits.queue_drain))
    if not listed:
        return model.Plan(
            reason="every user routed to the mailbox already goes to both hosts, on each MX"
        )
    return model.Plan(tuple(listed))


def verify(found, site):
    checks = []
    both = [site.fqdn(site.roles.old), site.fqdn(site.roles.new)]
    for name, mx in found["mx"].items():
        left = _routed(mx["source"], site)[1]
        checks.append(
            model.equal(
                f"Is no user routed to {site.fqdn(site.alias)} alone on {name}?",
                "0 entries",
                f"{len(left)} entries",
                f"look at {site.userdb.source} on {name}; run this step again",
            )
        )
        checks.append(
            model.Check(
                f"Is {site.userdb.map} on {name} made from the source?",
                "same entries",
                "same entries"
                if userdb_map.from_source(_bytes(mx["source"])) == mx["map"]
                else "other entries",
                userdb_map.from_source(_bytes(mx["source"])) == mx["map"],
                f"makemap btree {site.userdb.map} < {site.userdb.source}",
            )
        )
        if mx["backup"] is not None:
            same = _routed(mx["backup"], site)[0] == _bytes(mx["source"])
            checks.append(
                model.Check(
                    f"Is every other byte of {site.userdb.source} on {name} as it was?",
                    "identical",
                    "identical" if same else "differs",
                    same,
                    f"diff {backup_path(site, found['run'])} {site.userdb.source}",
                )
            )
        odd = [
            entry.key
            for entry, reason in userdb.left_alone(
                _bytes(mx["source"]), site.fqdn(site.alias), both
            )
            if reason.startswith("names " + site.fqdn(site.alias))
        ]
        if odd:
            checks.append(
                model.Check(
                    f"Which entries on {name} name {site.fqdn(site.alias)} in a form that is no plain address?",
                    "none",
                    ", ".join(odd[:8]),
                    True,
                    "they are left as they are: where does their mail go?",
                    warning=True,
                )
            )
        routed = _routed_users(mx["source"], both)
        wrong = [
            user
            for user in routed
            if user in mx["routes"]
            and sorted(mx["routes"][user]) != sorted(f"{user}@{host}" for host in both)
            and not {f"{user}@{host}" for host in both} <= set(mx["routes"][user])
        ]
        checks.append(
            model.Check(
                f"Does `sendmail -bv` on {name} say both hosts for each of them?",
                f"{len(routed)} users to both",
                f"{len(routed) - len(wrong)} users to both"
                + (f"; not {', '.join(wrong[:5])}" if wrong else ""),
                not wrong and bool(routed),
                f"sendmail -bv USER on {name}; is the map the one sendmail.cf names?",
            )
        )
        others = sorted(set(mx["routes"]) - set(routed))
        if others:
            checks.append(
                model.Check(
                    f"Which mail users does {name} route elsewhere?",
                    "none, or known forwards",
                    ", ".join(others[:8]),
                    True,
                    "see that each of them is meant",
                    warning=True,
                )
            )
        checks.append(
            model.equal(
                f"Does no mail stay in the queue of {name}?",
                "0 stay",
                f"{mx['queued']} stay",
                "`mailq` there; run this step again",
            )
        )
    sources = {mx["source"] for mx in found["mx"].values()}
    checks.append(
        model.Check(
            "Is the userdb the same on every MX?",
            "identical",
            "identical" if len(sources) == 1 else "differs",
            len(sources) == 1,
            "copy one to the other",
        )
    )
    return checks


def _routed(text, site):
    return userdb.route_to_both(
        _bytes(text),
        old=site.fqdn(site.alias),
        targets=(site.fqdn(site.roles.old), site.fqdn(site.roles.new)),
    )


def _routed_users(text, both):
    """Users whose maildrop names both hosts."""
    found = []
    for entry in userdb.parse(_bytes(text)):
        value = entry.value.lower()
        if entry.field.lower() == "maildrop" and all("@" + host in value for host in both):
            found.append(entry.key.lower())
    return sorted(set(found))


def _text(data):
    return data.decode("utf-8", "surrogateescape")


def _bytes(text):
    return text.encode("utf-8", "surrogateescape")


STEP = model.Step(
    id="dual-delivery",
    title="Deliver to both servers",
    requires=("dns-rename",),
    probe=probe,
    plan=plan,
    verify=verify,
)
