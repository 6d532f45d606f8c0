"""A host's clock and time zone."""

import dataclasses
import hashlib
import time

WEEKS = range(70 * 52)  # since 1970
WINTER = 1670  # the number of a week in January 2002


def now(hosts, name: str) -> int:
    """Seconds since the epoch, by a host's own clock."""
    return int(hosts.run(name, ["date", "+%s"]).text)


def east(hosts, name: str) -> int:
    """Seconds east of Greenwich of a host's local time, now."""
    text = hosts.run(name, ["date", "+%z"]).text
    seconds = int(text[1:3]) * 3600 + int(text[3:5]) * 60
    return -seconds if text[0] == "-" else seconds


def offset(hosts, name: str) -> float:
    """Seconds by which a host's clock is ahead of this machine's, to about half the round trip."""
    before = time.time()
    text = hosts.run(name, ["date", "+%s.%N"]).text
    after = time.time()
    return round(float(text) - (before + after) / 2, 3)


@dataclasses.dataclass(frozen=True)
class Zone:
    """A host's time zone. name: its abbreviation in winter; offsets: a digest of those of each
    week since 1970, as one name may mean several zones and one zone has several names."""

    name: str
    offsets: str


def zone(hosts, name: str) -> Zone:
    """The time zone in which a host's programs read dates without one."""
    dates = "".join(f"@{week * 7 * 86400}\n" for week in WEEKS)
    argv = ["env", "-u", "TZ", "date", "-f", "-", "+%z %Z"]
    offsets = hosts.run(name, argv, input=dates.encode()).text.split("\n")
    digest = hashlib.sha256("\n".join(line.split(" ")[0] for line in offsets).encode())
    return Zone(offsets[WINTER].split(" ")[-1], digest.hexdigest()[:16])
