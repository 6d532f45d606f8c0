"""The name users know becomes an alias of the new server, on every authoritative server."""

from cutover import model
from cutover.changes.dns_update import DnsUpdate
from cutover.connect import dns
from cutover.facts import zone
from cutover.steps.night import dns_rename


def probe(ctx):
    """`{"servers": zone.read()}`"""
    return {"servers": zone.read(ctx.hosts)}


def plan(found, site):
    primary = site.roles.nameservers[0]
    alias, old, new = (site.fqdn(name) for name in (site.alias, site.roles.old, site.roles.new))
    at_alias = found["servers"][primary]["records"][alias]
    target = at_alias.get("CNAME", {}).get("values", [""])[0].rstrip(".")
    if target == new:
        return model.Plan(reason=f"{alias} already is an alias of {new} on {primary}")
    if target != old:
        raise model.CannotPlan(
            f"{alias} is {f'an alias of {target}' if target else f'no alias but {sorted(at_alias)}'} on "
            f"{primary}, expected an alias of {old}: run dns-rename first, or put the zone right."
        )
    if not found["servers"][primary]["records"][new]:
        raise model.CannotPlan(
            f"{new} has no records on {primary}: nobody would reach it. Add its address first."
        )
    ttl, was = site.dns.ttl, at_alias["CNAME"]["ttl"]
    forward = dns.Update(
        site.zone,
        [("exists", alias, "CNAME", [old + "."])],
        [(alias, "CNAME")],
        [(alias, ttl, "CNAME", new + ".")],
    )
    backward = dns.Update(
        site.zone,
        [("exists", alias, "CNAME", [new + "."])],
        [(alias, "CNAME")],
        [(alias, was, "CNAME", old + ".")],
    )
    return model.Plan(
        (
            DnsUpdate(
                primary,
                site.roles.nameservers,
                forward.to_json(),
                backward.to_json(),
                site.limits.dns_spread,
            ),
        )
    )


def verify(found, site):
    new = site.fqdn(site.roles.new)
    return [
        *(dns_rename.alias_check(found, site, name, new) for name in found["servers"]),
        dns_rename.serial_check(found),
    ]


STEP = model.Step(
    id="switch-alias",
    title="Point the users' name at the new server",
    requires=("verify", "restore-sendmail"),
    probe=probe,
    plan=plan,
    verify=verify,
    confirm=model.the_alias,
    signers=2,
    needs_fresh_verify=True,
)
