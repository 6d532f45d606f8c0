"""Whether the zone is ready for the switch of the alias, and may be updated."""

from collections.abc import Iterator, Mapping

from cutover import model
from cutover.facts import zone


def answers(servers: model.Reading[dict[str, zone.Server]]) -> Iterator[model.Check]:
    """Only name servers that do not answer are worth a check."""
    if not servers.ok:
        yield model.Check(
            "Every name server answers for the zone",
            "yes",
            servers.error,
            False,
            "Fix the name server: nothing can be switched before.",
            id="zone-answers",
        )


def alias(servers: Mapping[str, zone.Server], site) -> Iterator[model.Check]:
    """The alias, on the primary, has a short TTL and leads to the old server."""
    name, records = site.fqdn(site.alias), servers[site.roles.nameservers[0]].records
    rrsets = records[name]
    ttl = max((rrset.ttl for rrset in rrsets.values()), default=0)
    yield model.Check(
        f"The TTL of {name} is short enough to wait for",
        f"at most {site.limits.alias_ttl} s",
        f"{ttl} s" if rrsets else "no such name in the zone (a wildcard does not count)",
        bool(rrsets) and ttl <= site.limits.alias_ttl,
        "Lower it now, and begin after the old TTL has passed.",
        id="alias-ttl-before",
        data={"ttl": ttl},
    )
    values = [
        value for kind in ("A", "AAAA", "CNAME") if kind in rrsets for value in rrsets[kind].values
    ]
    yield model.Check(
        f"{name} leads to the old server",
        site.address(site.roles.old),
        ", ".join(values) or "nothing",
        _leads_to_old(rrsets, site),
        "The parameters and the zone disagree about the old server: correct the wrong one.",
        id="alias-leads-to-old-server",
        data={"values": values},
    )


def _leads_to_old(rrsets, site):
    if "CNAME" in rrsets:
        names = [site.fqdn(name) for name in site.mail_hosts]
        return rrsets["CNAME"].values[0].rstrip(".") in names
    addresses = [value for kind in ("A", "AAAA") if kind in rrsets for value in rrsets[kind].values]
    return site.address(site.roles.old) in addresses


def update(permitted: model.Reading[bool]) -> model.Check:
    """The operator's TSIG key may update the zone."""
    return model.Check(
        "The operator's TSIG key may update the zone",
        "yes",
        "yes" if permitted.ok else permitted.error,
        permitted.ok,
        "Compare the key with named.conf (allow-update or update-policy).",
        id="zone-update-permitted",
    )
