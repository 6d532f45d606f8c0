"""How an MX routes the mail users: its user database, the map made of it, sendmail's routes."""

from collections.abc import Sequence
from dataclasses import dataclass

from cutover.facts import mail_queue, recipient, routes, userdb, userdb_map, userdb_view
from cutover.model import moving


@dataclass(frozen=True)
class Routing:
    """One MX.

    source, backup: the userdb's text, see userdb.decode; backup is None before there is one.
    routes: `{user: [final recipients]}`. queued: messages for the mail hosts that stay in
    the queue.
    """

    source: str
    backup: str | None
    map: list[userdb_map.Record]
    routes: dict[str, list[str]]
    queued: int = moving()

    @property
    def map_is_current(self) -> bool:
        """Whether the map is made from the source."""
        return userdb_map.from_source(userdb.encode(self.source)) == self.map


def read(hosts, name: str, backup: str, users: Sequence[str]) -> Routing:
    """The routing of `users` on an MX. backup: the path where the earlier source is kept."""
    earlier = userdb_view.read_backup(hosts, name, backup)
    source, records = userdb_map.with_source(hosts, name)
    return Routing(
        source=userdb.decode(source),
        backup=None if earlier is None else userdb.decode(earlier),
        map=records,
        routes=routes.read(hosts, name, users, userdb.recipients(source)),
        queued=mail_queue.waiting(hosts, name, hosts.site.mail_domains).requests,
    )


@dataclass(frozen=True)
class OneServer:
    """Which entries of an MX's userdb, by key, name the alias or the old host, and not the new one.

    map_is_current: as Routing's.
    """

    entries: list[str]
    map_is_current: bool


def to_one_server(hosts, name: str) -> OneServer:
    """The entries whose mail would not reach the new host. Raises ssh.SshError."""
    site = hosts.site
    source, records = userdb_map.with_source(hosts, name)
    old, new = (site.spellings(host, host) for host in site.mail_hosts)
    old += site.spellings(site.alias, site.roles.old)
    alone = sorted(only_at(source, old, new))
    return OneServer(alone, userdb_map.from_source(source) == records)


def only_at(source: bytes, at: Sequence[str], other: Sequence[str]) -> list[str]:
    """The keys of the userdb's entries whose addresses are of the one host; see recipient."""
    return [
        key
        for key, addresses in userdb.recipients(source).items()
        if recipient.only_at(addresses, at, other)
    ]
