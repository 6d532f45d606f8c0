"""The map that makemap(8) makes of the user database, and what it should hold."""

from cutover.facts import userdb


def read(hosts, name: str, path: str) -> list:
    """What the map on a host holds, see parse(); empty when there is no map."""
    result = hosts.run(name, ["makemap", "-u", "btree", path], sudo=True, check=False)
    return [] if result.rc else parse(result.out)


def parse(out: bytes) -> list:
    """The output of `makemap -u`: `[[key, value], …]`, sorted; text with surrogates for raw 8-bit bytes."""
    pairs = []
    for line in out.splitlines():
        key, _, value = line.decode("utf-8", "surrogateescape").partition("\t")
        if key:
            pairs.append([key, value.strip()])
    return sorted(pairs)


def from_source(data: bytes) -> list:
    """What `makemap btree` makes of a userdb source, in parse()'s shape: keys folded to lower case."""
    pairs = []
    for entry in userdb.parse(data):
        pairs.append([f"{entry.key}:{entry.field}".lower(), entry.value.strip()])
    return sorted(pairs)
