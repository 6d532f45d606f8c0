"""Mail's lines in the files of a syslog daemon, rotated and compressed ones too.

A line has the host's local time, and no year: a file's last line is of the time it was last written
at, and no file holds a year or more. rsyslog may write whole dates instead.
"""

import calendar
import datetime
import re
from collections.abc import Callable, Mapping

from cutover.facts import clock
from cutover.model import errors

LINE = re.compile(
    rb"(?:([A-Z][a-z]{2}) ([ \d]\d) (\d\d):(\d\d):(\d\d)|(\d{4}-\d\d-\d\dT\S+)) \S+ "
    rb"([^\s\[:]+)(?:\[\d+\])?: (.*)"
)
MONTHS = {name.encode(): number for number, name in enumerate(calendar.month_abbr) if name}
HOUR, DAY = 3600, 86400
FAILED = b"\x01"  # no syslog daemon writes one
# Only root and the daemon write here. $1: of a file last written before, the first line is enough.
_SCRIPT = r"""
cd /var/log || exit 0
for file in maillog maillog[.-]* mail.log mail.log[.-]* mail mail-*; do
    [ -f "$file" ] && [ ! -L "$file" ] || continue
    case $file in
        *.gz) program="gzip -dc" ;;
        *.bz2) program="bzip2 -dc" ;;
        *.xz) program="xz -dc" ;;
        *) program=cat ;;
    esac
    written=$(stat -c %Y -- "$file") && echo "$written $file" || continue
    if [ "$written" -lt "$1" ]; then $program < "$file" 2> /dev/null | head -n 1
    else $program < "$file" || printf '\n\001\n'; fi | sed 's/^/ /'
done
"""


def read(
    hosts, name: str, since: float, on_line: Callable[[float, str, str], None]
) -> float | None:
    """Hand over (seconds since the epoch, program, text) of each line from a time on.

    Returns when the first line of all files was written, None without any. Raises Unreadable.
    """
    now = clock.now(hosts, name)
    start = int(since) // HOUR * HOUR - DAY
    east = clock.offsets(hosts, name, range(start, now + DAY, HOUR))
    reader = _Reader(name, local_hours(start, east), since, on_line)
    argv = ["sh", "-c", _SCRIPT, "syslog", str(int(since))]
    hosts.ssh(name).stream(argv, sudo=True, on_line=reader.line, idle_timeout=600)
    return reader.first


def local_hours(start: int, east: list[int]) -> dict[int, int]:
    """{hour of local time since 1970: seconds east of Greenwich}. east: by hour from `start` on."""
    times = ((start + number * HOUR, seconds) for number, seconds in enumerate(east))
    return {(time + seconds) // HOUR: seconds for time, seconds in times}


class _Reader:
    """Follows the output of _SCRIPT. first: the time of the earliest line."""

    def __init__(self, host: str, hours: Mapping[int, int], since: float, on_line):
        self.host, self.hours, self.since, self.on_line = host, hours, since, on_line
        self.first, self.file, self.written = None, "", 0
        self.earliest = next(iter(hours.values()))

    def line(self, raw: bytes) -> None:
        if not raw.startswith(b" "):
            written, _, file = raw.decode("utf-8", "backslashreplace").partition(" ")
            self.file, self.written = file, int(written)
            return
        if raw[1:] == FAILED:
            raise errors.Unreadable(
                f"{self.host}: /var/log/{self.file} cannot be read to its end. Unpack it by hand "
                "to see why."
            )
        match = LINE.match(raw, 1)
        at = match and self._time(match)
        if at is None:
            return
        self.first = at if self.first is None else min(self.first, at)
        if at >= self.since:
            text = match[8].decode("utf-8", "backslashreplace")
            self.on_line(at, match[7].decode("utf-8", "backslashreplace"), text)

    def _time(self, match) -> float | None:
        """Seconds since the epoch; None for what only looks like a date."""
        try:
            if match[6]:
                return datetime.datetime.fromisoformat(match[6].decode()).timestamp()
            written = self.written + self._east(self.written // HOUR)
            year = datetime.datetime.fromtimestamp(written, datetime.UTC).year
            rest = (MONTHS[match[1]], *(int(match[group]) for group in range(2, 6)))
            local = calendar.timegm((year, *rest))
            if local > written + DAY:
                local = calendar.timegm((year - 1, *rest))
            return local - self._east(local // HOUR)
        except (ValueError, KeyError):
            return None

    def _east(self, hour):
        return self.hours.get(hour, self.earliest)
