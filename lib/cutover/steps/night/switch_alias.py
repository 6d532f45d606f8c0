"""Make the name users know an alias of the new server, on every authoritative name server."""

from cutover import model
from cutover.connect import dns
from cutover.steps.checks import zone_checks
from cutover.steps.night import dns_rename


def plan(facts, site):
    primary = site.roles.nameservers[0]
    alias, old, new = (site.fqdn(name) for name in (site.alias, site.roles.old, site.roles.new))
    server = facts.servers[primary]
    target = server.target(alias)
    if target == new:
        return model.Plan(reason=f"{alias} already is an alias of {new} on {primary}")
    if target != old:
        kinds = ", ".join(sorted(server.records[alias])) or "nothing"
        state = f"is an alias of {target}" if target else f"is no alias but has {kinds}"
        raise model.CannotPlan(
            f"{alias} {state} on {primary}, expected an alias of {old}. Run dns-rename first, or "
            "correct the zone."
        )
    if not server.records[new]:
        raise model.CannotPlan(
            f"{new} has no records on {primary}: nobody would reach it. Add its address first."
        )
    ttl = server.records[alias]["CNAME"].ttl
    forward = _repoint(site, alias, old, new, site.dns.ttl)
    backward = _repoint(site, alias, new, old, ttl)
    return dns_rename.one_update(site, forward, backward)


def _repoint(site, alias, before, after, ttl):
    """The update that makes an alias of `before` one of `after`."""
    return dns.Update(
        site.zone,
        [("exists", alias, "CNAME", [before + "."])],
        [(alias, "CNAME")],
        [(alias, ttl, "CNAME", after + ".")],
    )


def verify(facts, site):
    return [
        *zone_checks.aliases(facts.servers, site, site.fqdn(site.roles.new)),
        zone_checks.same_serial(facts.servers),
    ]


STEP = model.Step(
    id="switch-alias",
    title="Point the users' name at the new server",
    requires=("verify", "restore-sendmail"),
    probe=dns_rename.probe,
    ahead=model.as_they_are,
    facts=dns_rename.Facts,
    plan=plan,
    verify=verify,
    confirm=model.the_alias,
    signers=2,
    needs_fresh_verify=True,
)
