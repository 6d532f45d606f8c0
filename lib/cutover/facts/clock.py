"""A host's clock."""

import time


def now(hosts, name: str) -> int:
    """Seconds since the epoch, by a host's own clock."""
    return int(hosts.run(name, ["date", "+%s"]).text)


def offset(hosts, name: str) -> float:
    """Seconds by which a host's clock is ahead of this machine's, to about half the round trip."""
    before = time.time()
    text = hosts.run(name, ["date", "+%s.%N"]).text
    after = time.time()
    return round(float(text) - (before + after) / 2, 3)
