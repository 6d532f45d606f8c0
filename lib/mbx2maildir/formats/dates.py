"""Dates as c-client reads them: the internal date of MBX message lines and the date of mbox "From "
lines.

Source: mail_parse_date() and mail_longdate() of c-client 2007f. c-client knows the years 1970–2097,
takes any day up to 31 in any month (31 Feb is 3 or 2 March), and seconds up to 60.
"""

import re
import time

from mbx2maildir.patterns import Pattern

MONTHS = {
    name: number
    for number, name in enumerate(
        (
            b"JAN",
            b"FEB",
            b"MAR",
            b"APR",
            b"MAY",
            b"JUN",
            b"JUL",
            b"AUG",
            b"SEP",
            b"OCT",
            b"NOV",
            b"DEC",
        ),
        1,
    )
}
FIRST_YEAR = 1970
LAST_YEAR = 2097

# c-client's names of zones, in hours from Greenwich. All others count as local time.
ZONES = {
    b"UT": 0,
    b"UTC": 0,
    b"GMT": 0,
    b"Z": 0,
    b"MET": 1,
    b"EET": 2,
    b"JST": 9,
    b"ADT": -3,
    b"AST": -4,
    b"EDT": -4,
    b"EST": -5,
    b"CDT": -5,
    b"CST": -6,
    b"MDT": -6,
    b"MST": -7,
    b"PDT": -7,
    b"PST": -8,
    b"YDT": -8,
    b"YST": -9,
    b"HST": -10,
}
ZONES.update({bytes([letter]): hours for hours, letter in enumerate(b"ABCDEFGHIKLM", 1)})
ZONES.update({bytes([letter]): -hours for hours, letter in enumerate(b"NOPQRSTUVWXY", 1)})

INTERNALDATE = Pattern(
    rb" *(\d{1,2})-([A-Za-z]{3})-(\d{4}) +(\d{1,2}):(\d{1,2})(?::(\d{1,2}))?"
    rb"(?: +([+-])(\d\d)([0-5]\d))?\Z"
)


def days(year, month, day):
    """Days from 1970-01-01 in the Gregorian calendar; the day may be past the month's end."""
    if month < 3:
        year, month = year - 1, month + 12
    return (
        365 * year
        + year // 4
        - year // 100
        + year // 400
        + (153 * (month - 3) + 2) // 5
        + day
        - 719469
    )


def seconds(year, month, day, hour, minute, second, zone):
    """Seconds since the epoch, or None for what c-client refuses. zone is seconds east of
    Greenwich."""
    if not (
        FIRST_YEAR <= year <= LAST_YEAR
        and 1 <= month <= 12
        and 1 <= day <= 31
        and hour <= 23
        and minute <= 59
        and second <= 60
    ):
        return None
    return days(year, month, day) * 86400 + hour * 3600 + minute * 60 + second - zone


def internaldate(text):
    """b" 3-Feb-2009 01:02:03 +0100" → seconds since the epoch, or None.

    The result may be below 0, where c-client returns 0."""
    match = INTERNALDATE.match(text)
    if match is None:
        return None
    day, month, year, hour, minute, second, sign, zone_hours, zone_minutes = match.groups()
    zone = int(zone_hours) * 3600 + int(zone_minutes) * 60 if sign else local_zone()
    return seconds(
        int(year),
        MONTHS.get(month.upper(), 0),
        int(day),
        int(hour),
        int(minute),
        int(second or 0),
        -zone if sign == b"-" else zone,
    )


def local_zone():
    """Seconds east of Greenwich of local time *now*: c-client applies it to any date without a zone
    it knows."""
    return time.localtime().tm_gmtoff


# "From user Wed Dec  2 05:53[:22] [zone] 1992 [zone][ remote from host]", read from the end of the
# line as c-client does: the sender may hold anything.
FROM_LINE = Pattern(
    rb"From .*[^ ]? ?... ([A-Za-z]{3}) ([ \d]\d) (\d\d):(\d\d)(?::(\d\d))?"
    rb"(?: ([A-Za-z]{3}|[+-]\d{4}))? (\d{4})(?: ([A-Za-z]{3}|[+-]\d{4}))?"
    rb"(?: remote from [^ ]*)?\r?\n?\Z",
    re.DOTALL,
)


def from_line(line):
    """A "From " line of a mbox → seconds since the epoch; None when it is none, 0 when its date is
    impossible."""
    if not line.startswith(b"From "):
        return None
    match = FROM_LINE.match(line)
    if match is None:
        return None
    month, day, hour, minute, second, before, year, after = match.groups()
    zone = (before or after or b"").upper()
    if zone[:1] in (b"+", b"-"):
        east = int(zone[1:3]) * 3600 + int(zone[3:5]) * 60
        east = -east if zone[:1] == b"-" else east
    else:
        east = ZONES[zone] * 3600 if zone in ZONES else local_zone()
    when = seconds(
        int(year),
        MONTHS.get(month.upper(), 0),
        int(day),
        int(hour),
        int(minute),
        int(second or 0),
        east,
    )
    return max(0, when or 0)
