"""What the authoritative name servers serve for the users' alias."""

from collections.abc import Iterator, Mapping

from cutover import model
from cutover.facts import zone


def aliases(servers: Mapping[str, zone.Server], site, target: str) -> list[model.Check]:
    """Whether the alias users know leads to `target` (a full name), one check per server."""
    alias = site.fqdn(site.alias)
    return [_alias(server, name, alias, target) for name, server in servers.items()]


def _alias(server, name, alias, target):
    actual = server.target(alias) or (
        f"no alias but {', '.join(sorted(server.records[alias])) or 'no record'}"
    )
    return model.holds(
        f"{alias} is an alias of {target} on {name}",
        server.target(alias) == target,
        target,
        actual,
        f"Ask it with `dig @{name} {alias}`, then run this step again.",
        id="alias-leads-to",
        subject=name,
        data={"target": server.target(alias)},
    )


def new_server(servers: Mapping[str, zone.Server], site) -> Iterator[model.Check]:
    """Only a name of the new server that would lead users elsewhere is worth a check."""
    name, address = site.fqdn(site.roles.new), site.address(site.roles.new)
    for host, server in servers.items():
        values = [value for kind in ("A", "AAAA") for value in server.values(name, kind)]
        if address not in values:
            yield model.Check(
                f"{name} leads to the new server on {host}",
                address,
                ", ".join(values) or "no address",
                False,
                f"The alias will lead to that name. Correct the zone, or hosts.{site.roles.new} in "
                "the parameters.",
                id="new-server-address",
                subject=host,
                data={"values": values},
            )


def same_serial(servers: Mapping[str, zone.Server]) -> model.Check:
    """Whether every server serves the same zone."""
    serials = {name: server.serial for name, server in servers.items()}
    return model.Check(
        f"Zone serial is the same on {', '.join(serials)}",
        "one serial",
        ", ".join(f"{name} {serial}" for name, serial in serials.items()),
        len(set(serials.values())) == 1,
        "Wait for the transfer, or check NOTIFY and allow-transfer on the primary.",
        id="zone-serial-same",
        data={"serials": serials},
    )
