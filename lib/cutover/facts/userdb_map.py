"""The map that makemap(8) makes of the user database, and what it should contain."""

from typing import NamedTuple

from cutover.facts import userdb, userdb_view


class Record(NamedTuple):
    """One record of the map. key: `user:field` in lower case."""

    key: str
    value: str


def read(hosts, name: str, path: str) -> list[Record]:
    """The records of the map on a host, sorted, as userdb_view shows their values.

    [] when there is no map.
    """
    result = hosts.run(name, ["makemap", "-u", "btree", path], sudo=True, check=False)
    records = [] if result.rc else parse(result.out)
    return sorted(record._replace(value=_viewed(record, hosts.site)) for record in records)


def with_source(hosts, name: str) -> tuple[bytes, list[Record]]:
    """The userdb's source on an MX and the records of its map, while no other store's run is at it.

    Raises ssh.SshError.
    """
    section = hosts.site.userdb
    with hosts.alone(name):
        source = userdb_view.read_source(hosts, name, section.source)
        return source, read(hosts, name, section.map)


def _viewed(record, site):
    of_maildrop = record.key.endswith(":maildrop")
    return userdb_view.of_value(record.value, site) if of_maildrop else record.value


def parse(out: bytes) -> list[Record]:
    """The output of `makemap -u`, sorted. Surrogates stand for bytes that are not UTF-8."""
    rows = (userdb.decode(line).partition("\t") for line in out.split(b"\n"))
    return sorted(Record(key, value.strip()) for key, _, value in rows if key)


def from_source(data: bytes) -> list[Record]:
    """The records `makemap btree` makes of a userdb source, sorted."""
    return sorted(
        Record(f"{entry.key}:{entry.field}".lower(), entry.value.strip())
        for entry in userdb.parse(data)
    )
