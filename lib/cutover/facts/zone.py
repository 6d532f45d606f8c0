"""The zone on each authoritative name server."""

import time
from dataclasses import dataclass

from cutover.model import moving


@dataclass(frozen=True)
class RRset:
    """The records of one name and type. ttl in seconds; values as in a zone file."""

    ttl: int
    values: list[str]


@dataclass(frozen=True)
class Server:
    """What one server serves. records: `{full name: {type: RRset}}`.

    {} for a name that is not in the zone, also where a wildcard answers for it.
    """

    serial: int = moving()
    records: dict[str, dict[str, RRset]]

    def values(self, name: str, kind: str) -> list[str]:
        """The values of one RRset, [] when it is missing."""
        rrset = self.records[name].get(kind)
        return rrset.values if rrset else []

    def target(self, name: str) -> str:
        """The full name that `name` is an alias of, "" when it is no alias."""
        return next(iter(self.values(name, "CNAME")), "").rstrip(".")


def read(hosts) -> dict[str, Server]:
    """`{name server: Server}` with the alias and both mail hosts' names. Raises dns.DnsError.

    Another store's run may just have updated the zone. So with several stores, servers that do not
    serve the same are asked again, for as long as an update may take to reach all.
    """
    site = hosts.site
    names = [site.fqdn(name) for name in (site.alias, site.roles.old, site.roles.new)]

    def ask(host):
        server = hosts.dns(host)
        return Server(
            server.serial(site.zone),
            {
                name: {
                    kind: RRset(rrset.ttl, list(rrset.values))
                    for kind, rrset in server.all_types(name).items()
                }
                for name in names
            },
        )

    servers = hosts.each(site.roles.nameservers, ask)
    until = time.monotonic() + (site.limits.dns_spread if site.others else 0)
    while len({server.serial for server in servers.values()}) > 1 and time.monotonic() < until:
        time.sleep(0.5)
        servers = hosts.each(site.roles.nameservers, ask)
    primary = site.roles.nameservers[0]
    server = hosts.dns(primary)
    for name in names:
        records = servers[primary].records[name]
        given = server.like_wildcard(site.zone, name, records)
        if given and server.unused(site.zone, name, hosts.dns_key()):
            for facts in servers.values():
                if facts.records[name] == records:
                    facts.records[name] = {}
    return servers
