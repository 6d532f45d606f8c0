"""Give the old server a name of its own and make the users' name an alias of it, in one update."""

import dataclasses

from cutover import model
from cutover.changes.dns_update import DnsUpdate
from cutover.connect import dns
from cutover.facts import zone
from cutover.steps.checks import zone_checks


@dataclasses.dataclass(frozen=True)
class Facts:
    """servers: what each authoritative name server serves."""

    run: str
    servers: dict[str, zone.Server]


def probe(ctx) -> Facts:
    return Facts(ctx.run_name, zone.read(ctx.hosts))


def plan(facts, site):
    primary = site.roles.nameservers[0]
    alias, old = site.fqdn(site.alias), site.fqdn(site.roles.old)
    server = facts.servers[primary]
    at_alias, at_old = server.records[alias], server.records[old]
    target = server.target(alias)
    if target and target == old and at_old:
        return model.Plan(reason=f"{alias} already is an alias of {old} on {primary}")
    _refuse(server, alias, old, primary)
    forward, backward = _updates(site, alias, old, at_alias, at_old)
    return one_update(site, forward, backward)


def one_update(site, forward: dns.Update, backward: dns.Update) -> model.Plan:
    """The plan of one update, sent to the primary, and its inverse."""
    change = DnsUpdate(
        site.roles.nameservers[0],
        site.roles.nameservers,
        forward.to_json(),
        backward.to_json(),
        site.limits.dns_spread,
    )
    return model.Plan((change,))


def _refuse(server, alias, old, primary):
    """Raise CannotPlan unless the alias has an address, and the old name nothing else."""
    at_alias, at_old = server.records[alias], server.records[old]
    if server.target(alias):
        raise model.CannotPlan(
            f"{alias} is an alias of {server.target(alias)}, expected an address or an alias of "
            f"{old}: somebody changed the zone. Correct it by hand, then run this step again."
        )
    if not ("A" in at_alias or "AAAA" in at_alias):
        kinds = ", ".join(sorted(at_alias)) or "nothing"
        raise model.CannotPlan(
            f"{alias} has no address on {primary}; it has {kinds}. Correct the zone, then run this "
            "step again."
        )
    other = [kind for kind in sorted(at_old) if server.values(alias, kind) != at_old[kind].values]
    if other:
        records = "; ".join(f"{kind} {', '.join(at_old[kind].values)}" for kind in other)
        raise model.CannotPlan(
            f"{old} already has records that {alias} does not have: {records}. Remove them or make "
            "both the same, then run this step again."
        )


def _updates(site, alias, old, at_alias, at_old):
    """(update, its inverse). Records of the old name that equal the alias's are kept."""
    ttl = site.dns.ttl
    adds = [
        (old, ttl, kind, value)
        for kind, rrset in sorted(at_alias.items())
        for value in rrset.values
    ]
    before = [("exists", alias, kind, rrset.values) for kind, rrset in sorted(at_alias.items())]
    before += [("exists", old, kind, rrset.values) for kind, rrset in sorted(at_old.items())] or [
        ("unused", old)
    ]
    deletes = [(alias, "ANY"), (old, "ANY")]
    forward = dns.Update(site.zone, before, deletes, [*adds, (alias, ttl, "CNAME", old + ".")])
    after = [("exists", alias, "CNAME", [old + "."])]
    after += [("exists", old, kind, rrset.values) for kind, rrset in sorted(at_alias.items())]
    back = [
        (name, rrset.ttl, kind, value)
        for name, rrsets in ((alias, at_alias), (old, at_old))
        for kind, rrset in sorted(rrsets.items())
        for value in rrset.values
    ]
    return forward, dns.Update(site.zone, after, deletes, back)


def verify(facts, site):
    alias, old = site.fqdn(site.alias), site.fqdn(site.roles.old)
    address = site.address(site.roles.old)
    checks = zone_checks.aliases(facts.servers, site, old)
    for name, server in facts.servers.items():
        addresses = server.values(old, "A") or server.values(old, "AAAA")
        checks.append(
            model.Check(
                f"{old} has the old server's address on {name}",
                address,
                ", ".join(addresses) or "none",
                address in addresses,
                f"Compare the zone on {name} with the primary's: `dig @{name} {old}`.",
                id="old-name-address",
                subject=name,
                data={"addresses": addresses},
            )
        )
    checks.append(zone_checks.same_serial(facts.servers))
    rrsets = (server.records[alias].get("CNAME") for server in facts.servers.values())
    ttls = sorted({rrset.ttl if rrset else None for rrset in rrsets}, key=str)
    checks.append(
        model.holds(
            f"The TTL of {alias} is low",
            ttls == [site.dns.ttl],
            f"{site.dns.ttl} s",
            ", ".join(f"{ttl} s" for ttl in ttls),
            "Lower it in the zone.",
            id="alias-ttl",
            data={"ttls": ttls},
        )
    )
    return checks


STEP = model.Step(
    id="dns-rename",
    title="Give the old server its own name",
    requires=("preflight",),
    probe=probe,
    facts=Facts,
    plan=plan,
    verify=verify,
)
