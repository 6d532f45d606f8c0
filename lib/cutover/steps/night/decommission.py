"""The point of no return: mail to the new server alone, the old one shut down.

It runs days after the night. Its gate: days in production, the users' name on the new server, a
recent backup from which mail was restored for a test, nobody who read or delivered on the old
server since, and no message that exists only there. A check that fails refuses the plan.
"""

from cutover import model
from cutover.facts import userdb
from cutover.steps.checks import userdb_checks, zone_checks
from cutover.steps.night import decommission_facts, decommission_gate, decommission_plan
from cutover.steps.night.decommission_facts import Facts

SENTENCE = "there is no way back"
SHOWN = 5  # users in one check


def confirmation(site, chosen) -> str:
    """What a person types to approve it: the name of the host, and what it means."""
    return f"{site.fqdn(site.roles.old)}: {SENTENCE}"


def plan(facts: Facts, site) -> model.Plan:
    old = site.roles.old
    changes = decommission_plan.changes(facts, site)
    if not changes:
        return model.Plan(reason=f"{old} is off, and mail goes to {site.fqdn(site.alias)} alone")
    failed = [check for check in decommission_gate.gate(facts, site) if not check.passed]
    if failed:
        lines = [
            f"- {check.question}: expected {check.expected}; found {check.actual}. "
            f"What to do: {check.todo}"
            for check in failed
        ]
        raise model.CannotPlan(
            f"{old} may not be switched off; this is the point of no return:\n" + "\n".join(lines)
        )
    return model.Plan(tuple(changes))


def stable(facts: Facts) -> dict:
    """What the plan rests on: routing, services, the zone. The gate is judged again at apply."""
    return model.lasting(
        {
            "mx": {name: {"source": mx.source, "map": mx.map} for name, mx in facts.mx.items()},
            "off": facts.off,
            "services": facts.services,
            "records": {name: server.records for name, server in facts.servers.items()},
        }
    )


def verify(facts: Facts, site) -> list[model.Check]:
    checks = [check for name, mx in facts.mx.items() for check in _routing(name, mx, site)]
    checks.append(userdb_checks.same_everywhere({name: mx.source for name, mx in facts.mx.items()}))
    checks += [_name(name, server, site) for name, server in facts.servers.items()]
    checks += zone_checks.aliases(facts.servers, site, site.fqdn(site.roles.new))
    checks.append(
        model.holds(
            f"{site.roles.old} is off",
            facts.off,
            "silent",
            "it answers",
            f"see the console of {site.roles.old}; run this step again",
            id="old-host-off",
            subject=site.roles.old,
        )
    )
    return checks


def _routing(name, mx, site):
    old = site.fqdn(site.roles.old)
    entries = [
        entry.key
        for entry in userdb.parse(userdb.encode(mx.source))
        if f"@{old}" in entry.value.lower()
    ]
    yield model.holds(
        f"No user is routed to {old} on {name}",
        not entries,
        "0 entries",
        f"{len(entries)} entries",
        f"look at {site.userdb.source} on {name}; run this step again",
        id="routed-to-old",
        subject=name,
        data={"entries": entries},
    )
    yield userdb_checks.map_current(name, mx.map_is_current, site)
    wrong = [
        user
        for user, addresses in sorted(mx.routes.items())
        if not addresses or any(f"@{old}" in address for address in addresses)
    ]
    others = f"; not {', '.join(wrong[:SHOWN])}" if wrong else ""
    yield model.Check(
        f"`sendmail -bv` on {name} routes no user to {old}",
        f"{len(mx.routes)} users",
        f"{len(mx.routes) - len(wrong)} users{others}",
        not wrong,
        f"sendmail -bv USER on {name}",
        id="sendmail-routes-to-old",
        subject=name,
        data={"users": wrong},
    )


def _name(server_name, server, site):
    """Whether the old host's name is removed, or kept, as the parameters say."""
    old = site.fqdn(site.roles.old)
    kinds = sorted(server.records[old])
    actual = ", ".join(kinds) or "no records"
    if site.decommission.dns == "remove":
        return model.holds(
            f"The name {old} is gone on {server_name}",
            not kinds,
            "no records",
            ", ".join(kinds),
            f"`dig @{server_name} {old} any`; run this step again",
            id="old-name-removed",
            subject=server_name,
        )
    return model.Check(
        f"The name {old} is kept on {server_name}",
        "its records",
        actual,
        bool(kinds),
        f"`dig @{server_name} {old} any`; put it back, or set decommission.dns to remove",
        id="old-name-kept",
        subject=server_name,
    )


STEP = model.Step(
    id="decommission",
    title="Switch the old server off",
    requires=("production-test", "backup"),
    facts=Facts,
    probe=decommission_facts.probe,
    plan=plan,
    verify=verify,
    reversible=False,
    confirm=confirmation,
    signers=2,
    gate=decommission_gate.gate,
    stable=stable,
)
