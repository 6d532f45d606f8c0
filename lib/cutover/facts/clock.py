"""A host's clock and time zone."""

import dataclasses
import hashlib
import time
from collections.abc import Iterable

from cutover import model

DAY = 86400
WEEKS = range(70 * 52)  # since 1970
WINTER = 1670  # the number of a week in January 2002


def now(hosts, name: str) -> int:
    """Seconds since the epoch, by a host's own clock."""
    return int(hosts.run(name, ["date", "+%s"]).text)


def east(hosts, name: str) -> int:
    """Seconds east of Greenwich of a host's local time, now."""
    return _seconds(hosts.run(name, ["date", "+%z"]).text)


def _seconds(text):
    """Seconds of an offset such as `+0130`."""
    seconds = int(text[1:3]) * 3600 + int(text[3:5]) * 60
    return -seconds if text[0] == "-" else seconds


def offsets(hosts, name: str, times: Iterable[int]) -> list[int]:
    """Seconds east of Greenwich of a host's local time at some times, seconds since the epoch."""
    return [_seconds(text) for text in _local(hosts, name, times, "+%z")]


def _local(hosts, name, times, form):
    """The lines of date(1) for times in the zone in which a host's programs work."""
    dates = "".join(f"@{time}\n" for time in times)
    argv = ["env", "-u", "TZ", "date", "-f", "-", form]
    return model.lines(hosts.run(name, argv, input=dates.encode()).text)


def offset(hosts, name: str) -> float:
    """Seconds by which a host's clock is ahead of this machine's, to about half the round trip."""
    before = time.time()
    text = hosts.run(name, ["date", "+%s.%N"]).text
    after = time.time()
    return round(float(text) - (before + after) / 2, 3)


@dataclasses.dataclass(frozen=True)
class Zone:
    """A host's time zone. name: its abbreviation in winter; offsets: a digest of those of each
    week since 1970, as one name may mean several zones and one zone has several names.
    shift: seconds by which the clock is put forward within a day from now, or back (below 0)."""

    name: str
    offsets: str
    shift: int = 0


def zone(hosts, name: str) -> Zone:
    """The time zone in which a host's programs read dates without one."""
    now = int(time.time())
    times = [*(week * 7 * DAY for week in WEEKS), now, now + DAY]
    *weeks, today, tomorrow = (line.split(" ") for line in _local(hosts, name, times, "+%z %Z"))
    digest = hashlib.sha256("\n".join(offset for offset, _ in weeks).encode())
    shift = _seconds(tomorrow[0]) - _seconds(today[0])
    return Zone(weeks[WINTER][1], digest.hexdigest()[:16], shift)
