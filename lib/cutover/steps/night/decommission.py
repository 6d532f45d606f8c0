"""The point of no return: mail to the new server alone, the old one shut down, its name removed or kept.

Days after the night. The gates: days in production, the users' name on the new server, a backup of today or yesterday from which
mail was restored for a test, nobody who read or delivered on the old server since, and nothing that exists there only. One that
is not met refuses the plan.
"""

import datetime

from cutover import model
from cutover.carryback import only_on_old
from cutover.changes import retirement
from cutover.changes.mail import DrainQueue
from cutover.connect import dns
from cutover.facts import logs, services, userdb, userdb_map, users, zone
from cutover.steps.checks import proofs
from cutover.steps.checks import zone as zone_checks
from cutover.steps.night import dual_delivery

SENTENCE = "there is no way back"

POWER_OFF = 180  # seconds
SHOWN = 5


def confirmation(site, asked=None):
    """What a person types to approve it: the name of the host that goes, and what it means."""
    return f"{site.fqdn(site.roles.old)}: {SENTENCE}"


def probe(ctx):
    """`{"production": {"since", "converted", "days"}, "begun", "off", "servers", "backup", "mx", "services", "logs", "left"}`.

    `begun`: this run has begun to switch off; `off`: the old host answers on no port, and then nothing is asked of it: `services`
    empty, `logs` and `left` None. `logs`: logs.old_host, `left`: only_on_old.read, each as `{"value"}` or `{"error"}`.
    """
    hosts, site = ctx.hosts, ctx.site
    old, since, converted = (
        site.roles.old,
        _since(ctx.history, "restore-imap"),
        _since(ctx.history, "convert", "step-begun"),
    )
    at = datetime.datetime.now(datetime.UTC).timestamp()
    found = {
        "production": {
            "since": since,
            "converted": converted,
            "days": None if since is None else (at - since) / 86400,
        },
        "begun": any(
            event["event"] == "intent" and event["step"] == "decommission" for event in ctx.history
        ),
        "off": not retirement.answers(hosts, old),
        "servers": zone.read(hosts),
        "backup": proofs.read(hosts) if site.backup else None,
        "services": [],
        "logs": None,
        "left": None,
        "mx": dual_delivery.read_mx(ctx),
    }
    if found["off"]:
        return found
    listed = [*site.services.old.imap, *site.services.old.sendmail]
    found["services"] = services.read(hosts, old, listed)
    if since is not None and converted is not None:
        accounts = model.to_json(users.read(hosts, site.roles.new))
        found["logs"] = model.attempt(
            logs.old_host, hosts, since, [user["user"] for user in accounts]
        )
        found["left"] = model.attempt(only_on_old.read, hosts, accounts, ctx.run_name, converted)
    return found


def _since(events, step, kind="verified"):
    """When a step last passed, or was last begun; seconds since the epoch, None when it never was."""
    times = [
        event["time"]
        for event in events
        if event["event"] == kind and event.get("step") == step and event.get("passed", True)
    ]
    return datetime.datetime.fromisoformat(times[-1]).timestamp() if times else None


# --- the gates


def gate(found, site) -> list:
    """The checks that have to pass before anything is switched off; none once this run has begun and the host is off."""
    if found["off"] and found["begun"]:
        return []
    if found["off"]:
        return [
            model.Check(
                f"Does {site.roles.old} answer, so that it can be looked at?",
                "yes",
                "on no port",
                False,
                "this run did not switch it off: start it, or find out who did; then run this step again",
            )
        ]
    return [
        *_production(found, site),
        *_routed_to_both(found, site),
        *_backed_up(found, site),
        *_unused(found, site),
        *_nothing_left(found, site),
    ]


def _production(found, site):
    days, wanted = found["production"]["days"], site.decommission.days
    yield model.Check(
        "How long do users work on the new server?",
        f"at least {wanted} days",
        "this run does not know: it has not passed restore-imap"
        if days is None
        else f"{days:.1f} days",
        days is not None and days >= wanted,
        "wait; or go on with the run of the night, `--run DIR`",
    )
    new = site.fqdn(site.roles.new)
    yield from zone_checks.aliases(_servers(found), site, new)


def _servers(found):
    return model.from_json(dict[str, zone.Server], found["servers"])


def _routed_to_both(found, site):
    old = site.fqdn(site.roles.old)
    for name, mx in found["mx"].items():
        alone = sorted(
            {
                entry.key
                for entry in userdb.parse(_single(mx, site)[0])
                if f"@{old}" in entry.value.lower()
            }
        )
        yield model.Check(
            f"Does no entry of {name}'s userdb route to {old} alone?",
            "0 entries",
            _counted(len(alone), "entries", alone),
            not alone,
            f"that mail would bounce: change the entries in {site.userdb.source}, then run dual-delivery again",
        )


def _backed_up(found, site):
    if found["backup"] is None:
        yield model.Check(
            "Is the new store backed up?",
            "yes",
            "the parameters name no backup",
            False,
            "name one under `backup`, and run that step: afterwards the old server is no copy any more",
        )
    else:
        backup = model.from_json(proofs.Backup, found["backup"])
        yield from proofs.copy_checks(backup, site)
        yield from proofs.checks(backup, site)


def _unused(found, site):
    old, seen = site.roles.old, found["logs"]
    if seen is None or "error" in seen:
        yield model.Check(
            f"Has nobody used {old} since?",
            "nobody",
            seen["error"] if seen else "its log was not read",
            False,
            f"`journalctl SYSLOG_FACILITY=2` on {old}",
        )
        return
    seen, since = seen["value"], found["production"]["since"]
    yield model.Check(
        f"Does the log of {old} reach back to restore-imap?",
        f"to {_time(since)}",
        f"to {_time(seen['first'])}",
        seen["first"] <= since,
        "what the log lacks cannot be judged: wait until it covers the days asked for",
    )
    yield model.Check(
        f"Did nobody log in on {old} since?",
        "0 logins",
        _counted(seen["logins"], "logins", seen["shown"]["logins"]),
        seen["logins"] == 0,
        "who is it, with which program? See that they use the new server; then wait again",
    )
    yield model.Check(
        f"Did no mail come to {old} but by dual delivery?",
        "0 direct deliveries",
        _counted(seen["direct"], "direct deliveries", seen["shown"]["direct"])
        + f"; {seen['dual']} through the MX",
        seen["direct"] == 0,
        f"who sends to {old} itself? Have it sent to {site.fqdn(site.alias)}; then wait again",
    )


def _nothing_left(found, site):
    old, left = site.roles.old, found["left"]
    question = f"Is there no message on {old} only?"
    if left is None or "error" in left:
        yield model.Check(
            question,
            "0 messages",
            left["error"] if left else "its mail was not read",
            False,
            "run this step again",
        )
        return
    left = left["value"]
    for user, error in sorted(left["errors"].items()):
        yield model.Check(
            f"Can {user}'s mail be read on both sides?",
            "yes",
            error,
            False,
            "mend the cause, then run this step again",
        )
    total = {
        key: sum(each[key] for each in left["users"].values())
        for key in ("old", "same", "moved", "removed", "twice", "delivered", "only")
    }
    for user, each in sorted(left["users"].items()):
        if each["only"]:
            yield model.Check(
                f"Is there no message of {user} on {old} only?",
                "0 messages",
                _counted(each["only"], "messages", each["first"]),
                False,
                f"give it to {user} on the new server (`doveadm save`), then run this step again",
            )
        elif each["notes"]:
            yield model.Check(
                f"Is there something to know about {user}'s old mail?",
                "nothing",
                "; ".join(each["notes"]),
                True,
                "look at it before the server goes",
                warning=True,
            )
    yield model.Check(
        question,
        "0 messages",
        f"{total['only']} of {total['old']}",
        total["only"] == 0 and total["old"] > 0,
        "see the users above",
    )
    gone = {user: each["removed"] + each["delivered"] for user, each in left["users"].items()}
    gone = {user: number for user, number in sorted(gone.items()) if number}
    yield model.Check(
        "Which messages did users remove on the new server?",
        "known as removed",
        f"{sum(gone.values())}, of {len(gone)} users"
        + (": " if gone else "")
        + ", ".join(f"{user} {number}" for user, number in [*gone.items()][:20])
        + f"; {total['same']} are where they were, {total['moved']} were moved, {total['twice']} came to both",
        True,
        "the record of the conversion and the new server's log say so",
    )


def _counted(number, what, shown):
    return f"{number} {what}" + (f": {'; '.join(shown[:SHOWN])}" if shown else "")


def _time(seconds):
    return (
        "never"
        if seconds in (None, float("inf"))
        else datetime.datetime.fromtimestamp(seconds, datetime.UTC).strftime(
            "%Y-%m-%d %H:%M:%S UTC"
        )
    )


# --- what is done


def plan(found, site):
    old = site.roles.old
    listed = _changes(found, site)
    if not listed:
        return model.Plan(reason=f"{old} is off, and mail goes to {site.fqdn(site.alias)} alone")
    refused = [check for check in gate(found, site) if not check.passed]
    if refused:
        raise model.CannotPlan(
            f"{old} may not be switched off; this is the point of no return:\n"
            + "\n".join(
                f"- {check.question} expected {check.expected}; found {check.actual}. What to do: {check.todo}"
                for check in refused
            )
        )
    return model.Plan(tuple(listed))


def _changes(found, site):
    old, primary = site.roles.old, site.roles.nameservers[0]
    listed = []
    for name, mx in found["mx"].items():
        _, replacements = _single(mx, site)
        if replacements or userdb_map.from_source(userdb.encode(mx["source"])) != model.from_json(
            list[userdb_map.Record], mx["map"]
        ):
            listed.append(
                retirement.SingleDelivery(
                    name,
                    site.userdb.source,
                    site.userdb.map,
                    backup_path(site, found["run"]),
                    [list(pair) for pair in replacements],
                )
            )
    if (listed or any(mx["queued"] for mx in found["mx"].values())) and not found["off"]:
        # mail queued for a host that is about to go would stay until it bounces
        listed.append(DrainQueue([*found["mx"], old], site.limits.queue_drain))
    listed += [
        retirement.RetireService(old, each["manager"], each["name"], "stop", each["starts_at_boot"])
        for each in found["services"]
        if each["running"] or each["starts_at_boot"]
    ]
    name = site.fqdn(old)
    records = found["servers"][primary]["records"][name]
    if site.decommission.dns == "remove" and records:
        before = [
            ("exists", name, kind, rrset["values"]) for kind, rrset in sorted(records.items())
        ]
        back = [
            (name, rrset["ttl"], kind, value)
            for kind, rrset in sorted(records.items())
            for value in rrset["values"]
        ]
        forward = dns.Update(site.zone, before, [(name, "ANY")], [])
        backward = dns.Update(site.zone, [("unused", name)], [], back)
        listed.append(
            retirement.RemoveName(
                primary,
                site.roles.nameservers,
                forward.to_json(),
                backward.to_json(),
                site.limits.dns_spread,
            )
        )
    if not found["off"]:
        listed.append(retirement.PowerOff(old, POWER_OFF))
    return listed


def backup_path(site, run):
    return f"{site.userdb.source}.{run}.decommission"


def _single(mx, site):
    """The userdb source with the users' name in place of both hosts, each line as it was spelled before dual delivery."""
    both = (site.fqdn(site.roles.old), site.fqdn(site.roles.new))
    before = [] if mx["backup"] is None else dual_delivery.rerouted(mx["backup"], site)[1]
    return userdb.route_back(userdb.encode(mx["source"]), site.fqdn(site.alias), both, before)


def stable(found):
    """What the plan rests on: routing, services, the zone; the gates are asked again when it is applied."""
    return {
        "mx": {
            name: {key: mx[key] for key in ("source", "map")} for name, mx in found["mx"].items()
        },
        "off": found["off"],
        "services": [
            {key: each[key] for key in ("name", "running", "starts_at_boot")}
            for each in found["services"]
        ],
        "records": {name: server["records"] for name, server in found["servers"].items()},
    }


# --- what is so


def verify(found, site):
    old, new = (site.fqdn(name) for name in site.mail_hosts)
    checks = []
    for name, mx in found["mx"].items():
        left = [
            entry.key
            for entry in userdb.parse(userdb.encode(mx["source"]))
            if f"@{old}" in entry.value.lower()
        ]
        checks.append(
            model.equal(
                f"Is no user routed to {old} on {name}?",
                "0 entries",
                f"{len(left)} entries",
                f"look at {site.userdb.source} on {name}; run this step again",
            )
        )
        same = userdb_map.from_source(userdb.encode(mx["source"])) == model.from_json(
            list[userdb_map.Record], mx["map"]
        )
        checks.append(
            model.Check(
                f"Is {site.userdb.map} on {name} made from the source?",
                "same entries",
                "same entries" if same else "other entries",
                same,
                f"makemap btree {site.userdb.map} < {site.userdb.source}",
            )
        )
        wrong = [
            user
            for user, addresses in sorted(mx["routes"].items())
            if not addresses or any(f"@{old}" in address for address in addresses)
        ]
        checks.append(
            model.Check(
                f"Does `sendmail -bv` on {name} leave {old} out for each user?",
                f"{len(mx['routes'])} users",
                f"{len(mx['routes']) - len(wrong)} users"
                + (f"; not {', '.join(wrong[:SHOWN])}" if wrong else ""),
                not wrong,
                f"sendmail -bv USER on {name}",
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
    for name, server in found["servers"].items():
        there = sorted(server["records"][old])
        if site.decommission.dns == "remove":
            checks.append(
                model.equal(
                    f"Is the name {old} gone on {name}?",
                    "no records",
                    ", ".join(there) or "no records",
                    f"`dig @{name} {old} any`; run this step again",
                )
            )
        else:
            checks.append(
                model.Check(
                    f"Is the name {old} kept on {name}?",
                    "its records",
                    ", ".join(there) or "no records",
                    bool(there),
                    f"`dig @{name} {old} any`; put it back, or set decommission.dns to remove",
                )
            )
        checks += zone_checks.aliases({name: _servers(found)[name]}, site, new)
    checks.append(
        model.equal(
            f"Does {site.roles.old} answer no more?",
            "silent",
            "silent" if found["off"] else "it answers",
            f"see the console of {site.roles.old}; run this step again",
        )
    )
    return checks


STEP = model.Step(
    id="decommission",
    title="Switch the old server off",
    requires=("production-test", "backup"),
    probe=probe,
    plan=plan,
    verify=verify,
    reversible=False,
    confirm=confirmation,
    signers=2,
    gate=gate,
    stable=stable,
)
