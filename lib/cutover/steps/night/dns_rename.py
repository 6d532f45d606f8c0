"""The old server gets a name of its own; the name users know becomes an alias of it. One atomic update."""

from cutover import model
from cutover.changes.dns_update import DnsUpdate
from cutover.connect import dns
from cutover.facts import zone


def probe(ctx):
    """`{"servers": zone.read()}`"""
    return {"servers": zone.read(ctx.hosts)}


def plan(found, site):
    primary = site.roles.nameservers[0]
    records = found["servers"][primary]["records"]
    alias, old = f"{site.fqdn(site.alias)}", f"{site.fqdn(site.roles.old)}"
    at_alias, at_old = records[alias], records[old]
    if "CNAME" in at_alias:
        target = at_alias["CNAME"]["values"][0].rstrip(".")
        if target == old and at_old:
            return model.Plan(reason=f"{alias} already is an alias of {old} on {primary}")
        raise model.CannotPlan(
            f"{alias} is an alias of {target}, expected an address or an alias of {old}. "
            "Somebody changed the zone: put it right by hand, then run this step again."
        )
    if not ("A" in at_alias or "AAAA" in at_alias):
        raise model.CannotPlan(
            f"{alias} has no address on {primary} (it has {sorted(at_alias) or 'nothing'})"
        )
    kept = {
        kind: rrset
        for kind, rrset in at_old.items()
        if at_alias.get(kind, {}).get("values") == rrset["values"]
    }
    if kept.keys() != at_old.keys():
        raise model.CannotPlan(
            f"{old} already exists with other records than {alias}: {at_old}. Remove them, or make "
            "them the same, then run this step again."
        )
    ttl = site.dns.ttl
    adds = [
        (old, ttl, kind, value)
        for kind, rrset in sorted(at_alias.items())
        for value in rrset["values"]
    ]
    before = [("exists", alias, kind, rrset["values"]) for kind, rrset in sorted(at_alias.items())]
    before += [("exists", old, kind, rrset["values"]) for kind, rrset in sorted(kept.items())] or [
        ("unused", old)
    ]
    forward = dns.Update(
        site.zone, before, [(alias, "ANY"), (old, "ANY")], [*adds, (alias, ttl, "CNAME", old + ".")]
    )
    after = [("exists", alias, "CNAME", [old + "."])]
    after += [("exists", old, kind, rrset["values"]) for kind, rrset in sorted(at_alias.items())]
    back = [
        (name, rrset["ttl"], kind, value)
        for name, rrsets in ((alias, at_alias), (old, kept))
        for kind, rrset in sorted(rrsets.items())
        for value in rrset["values"]
    ]
    backward = dns.Update(site.zone, after, [(alias, "ANY"), (old, "ANY")], back)
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
    alias, old = site.fqdn(site.alias), site.fqdn(site.roles.old)
    checks = [alias_check(found, site, name, old) for name in found["servers"]]
    for name, server in found["servers"].items():
        records = server["records"][old]
        address = records.get("A", records.get("AAAA", {})).get("values", [])
        checks.append(
            model.Check(
                f"Has {old} an address on {name}?",
                site.address(site.roles.old),
                ", ".join(address) or "none",
                site.address(site.roles.old) in address,
                f"compare the zone on {name} with the primary's: `dig @{name} {old}`",
            )
        )
    checks.append(serial_check(found))
    ttls = {
        records["records"][alias].get("CNAME", {}).get("ttl")
        for records in found["servers"].values()
    }
    checks.append(
        model.equal(
            f"Is the TTL of {alias} low?",
            f"{site.dns.ttl} s",
            ", ".join(f"{ttl} s" for ttl in sorted(ttls, key=str)),
            "lower it in the zone",
        )
    )
    return checks


def alias_check(found, site, server, target):
    """Whether a server says that the alias users know is an alias of `target`."""
    alias = site.fqdn(site.alias)
    records = found["servers"][server]["records"][alias]
    actual = (
        records["CNAME"]["values"][0].rstrip(".")
        if "CNAME" in records
        else f"no alias but {sorted(records)}"
    )
    return model.equal(
        f"Is {alias} an alias of {target} on {server}?",
        target,
        actual,
        f"ask it: `dig @{server} {alias}`; run this step again",
    )


def serial_check(found):
    serials = {name: server["serial"] for name, server in found["servers"].items()}
    return model.Check(
        "Do all name servers serve the same zone?",
        "one serial",
        ", ".join(f"{name} {serial}" for name, serial in serials.items()),
        len(set(serials.values())) == 1,
        "wait for the transfer, or look at NOTIFY and allow-transfer of the primary",
    )


STEP = model.Step(
    id="dns-rename",
    title="Give the old server its own name",
    requires=("preflight",),
    probe=probe,
    plan=plan,
    verify=verify,
)
