"""Dates as c-client reads them: the internal date of message lines and of mbox "From " lines.

Source: mail_parse_date(), mail_longdate() and mail_date() of c-client 2007f, and its VALID macro.
c-client knows the years 1970–2097, takes any day up to 31 in any month (31 Feb is 3 or 2 March),
and seconds up to 60. It reads much that no other program does, and its fields hold a few bits only.
"""

import time

from mbx2maildir.patterns import Pattern

MONTHS = (b"JAN", b"FEB", b"MAR", b"APR", b"MAY", b"JUN", b"JUL", b"AUG", b"SEP", b"OCT")
MONTHS += (b"NOV", b"DEC")
FIRST_YEAR = 1970
LAST_YEAR = 2097
LONGEST = 1023  # bytes of a date

# c-client's names of zones, in hours from Greenwich. All others count as local time.
ZONES = {
    b"UT": 0,
    b"UTC": 0,
    b"GMT": 0,
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
LETTER_ZONES = {ord("Z"): 0}
LETTER_ZONES.update({letter: hours for hours, letter in enumerate(b"ABCDEFGHIKLM", 1)})
LETTER_ZONES.update({letter: -hours for hours, letter in enumerate(b"NOPQRSTUVWXY", 1)})

NUMBER = Pattern(rb"[ \t-\r]*([+-]?)(\d+)")
HUGE = (1 << 64) - 1

zone = None  # of use_zone()


def use_zone(seconds):
    """Take dates without a zone for times of a place so many seconds east of Greenwich: the old
    host. None: for this host's."""
    global zone
    zone = seconds


def local_zone():
    """Seconds east of Greenwich of local time *now*: c-client applies it to any date without a zone
    it knows."""
    return time.localtime().tm_gmtoff if zone is None else zone


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


class Date:
    """What c-client makes of a date. valid: it took it for one. seconds: since the epoch, also of
    one it refused, as it then shows it; below 0 for a time before the epoch."""

    def __init__(self, text):
        self.year, self.month, self.day = FIRST_YEAR, 1, 1
        self.hour = self.minute = self.second = self.east = 0
        text = bytes(text).upper()
        self.valid = 0 < len(text) <= LONGEST and b"\0" not in text and self.parse(text)

    @property
    def seconds(self):
        at = days(self.year, self.month or 1, self.day or 1)
        return at * 86400 + self.hour * 3600 + self.minute * 60 + self.second - self.east

    def parse(self, text):
        at = 5 if text[:3].isalpha() and text[3:5] == b", " else 0
        at = skip(text, at)
        first, at = number(text, at)
        parts = None
        if first:
            parts = (slashes if text[at : at + 1] == b"/" else dashes)(text, at, first)
        if parts is None:
            return False
        year, month, day, at = parts
        if day > 31 or month > 12:
            return False
        if year < 49:
            year += 2000
        elif year < 999:
            year += 1900
        if not FIRST_YEAR <= year <= LAST_YEAR:
            return False
        self.year, self.month, self.day = year, month, day
        return self.parse_time(text, at)

    def parse_time(self, text, at):
        """The time and the zone from `at` on, where the date ended."""
        name = None
        if at < len(text):
            hour, at = number(text, at + 1)
            if text[at : at + 1] != b":":
                return False
            minute, at = number(text, at + 1)
            second = 0
            if text[at : at + 1] == b":":
                second, at = number(text, at + 1)
            if hour > 23 or minute > 59 or second > 60:
                return False
            self.hour, self.minute, self.second = hour, minute, second
            separator = text[at : at + 1]
            if separator == b" ":
                at = skip(text, at + 1) - 1
                if not text[at + 1 : at + 2].isalpha():
                    self.east = numeric_zone(text[at + 1 :])
                    return True
            if separator in (b" ", b"-") and separator:
                name = text[at + 1 :]
        self.east = named_zone(name)
        return True


def skip(text, at):
    """The place of the next byte that is not a blank."""
    while text[at : at + 1] == b" ":
        at += 1
    return at


def number(text, at):
    """(number, place behind it) as strtoul reads it: blanks and a sign before it, 0 where none
    is."""
    match = NUMBER.match(text, at)
    if match is None:
        return 0, at
    value = min(int(match.group(2)), HUGE)
    return (HUGE + 1 - value if value and match.group(1) == b"-" else value), match.end()


def digit(text, at):
    return text[at : at + 1].isdigit()


def slashes(text, at, month):
    """mm/dd/yy → (year, month, day, where it ends), or None."""
    if not digit(text, at + 1):
        return None
    day, at = number(text, at + 1)
    if text[at : at + 1] != b"/" or not digit(text, at + 1):
        return None
    year, at = number(text, at + 1)
    return (year, month, day, at) if at == len(text) else None


def dashes(text, at, first):
    """dd-mmm-yy, dd mmm yy, yyyy-mm-dd and yyyymmdd → as slashes()."""
    delimiter = text[at : at + 1]
    if not delimiter:
        month = first % 10000 // 100
        return (first // 10000, month, first % 100, at) if first >= FIRST_YEAR * 10000 else None
    if delimiter not in (b"-", b" "):
        return None
    if delimiter == b" ":
        at = skip(text, at) - 1
    if digit(text, at + 1):
        month, at = number(text, at + 1)
        if not month or text[at : at + 1] != b"-":
            return None
        day, at = number(text, at + 1)
        return (first, month, day, at) if day and at == len(text) else None
    if len(text) - at < 5 or text[at + 1 : at + 4] not in MONTHS:
        return None
    month = MONTHS.index(text[at + 1 : at + 4]) + 1
    delimiter, at = text[at : at + 1], at + 4
    while text[at : at + 1] != delimiter:  # the full name of the month
        if not text[at : at + 1].isalpha():
            return None
        at += 1
    at = skip(text, at + 1)
    if not digit(text, at):
        return None
    year, at = number(text, at)
    return (year, month, first, at) if text[at : at + 1] in (b"", b" ") else None


def numeric_zone(text):
    """Seconds east of Greenwich of +hhmm; 0 for what is not that."""
    sign, digits = text[:1], text[1:5] if text[:1] in (b"+", b"-") else text[:4]
    if len(digits) < 4 or not digits.isdigit() or digits[2:3] > b"5":
        return 0
    east = (int(digits[:2]) & 31) * 3600 + int(digits[2:]) * 60
    return -east if sign == b"-" else east


def named_zone(name):
    """Seconds east of Greenwich of a zone by its name; None when the name is unknown."""
    hours = ZONES.get(name) if name else 0 if name == b"" else None
    if name and len(name) == 1:
        hours = LETTER_ZONES.get(name[0])
    return local_zone() if hours is None else hours * 3600


def internaldate(text):
    """b" 3-Feb-2009 01:02:03 +0100" → seconds since the epoch, or None.

    The result may be below 0."""
    date = Date(text)
    return date.seconds if date.valid else None


REMOTE = b" remote from"
# The places of the blank before the year, or of the zone behind it, from the end of a line, and
# what must stand there, with the places of the blank before the year and of the zone.
FORMS = (
    ({-5: b" ", -8: b":"}, -5, 0),
    ({-5: b" ", -9: b" "}, -9, -9),
    ({-5: b" ", -11: b" ", -10: b"+-"}, -11, -11),
    ({-4: b" ", -9: b" "}, -9, -4),
    ({-6: b" ", -11: b" ", -5: b"+-"}, -11, -6),
)


def places(line, drop_cr=True):
    """Where c-client sees the date of a "From " line, which ends in LF: (end, place of the time,
    place of the zone or 0), the last two from the end; None for what is no such line to it.

    It looks for blanks and one colon at fixed places before the end, for no names and no digits.
    drop_cr: whether the driver ignores a CR before the LF: unix does, mmdf does not.
    """
    end = line.find(b"\n", 5)
    if end < 0 or not line.startswith(b"From ") or b"\0" in line[:end]:
        return None
    if drop_cr and line[end - 1] == 13:
        end -= 1
    if end >= 41:
        blank = line.rfind(b" ", 0, end)
        if line[max(0, blank - len(REMOTE)) : blank] == REMOTE:
            end = blank - len(REMOTE)
    if end < 27:
        return None
    last = next((place for place in (-5, -4, -6) if line[end + place] == 32), 0)
    form = next(
        (
            form
            for form in FORMS
            if last in form[0] and all(line[end + at] in form[0][at] for at in form[0])
        ),
        None,
    )
    if form is None:
        return None
    _wanted, time_end, zone_place = form
    start = time_end - (9 if line[end + time_end - 6] == 58 else 6)
    at = end + start
    if at < 11 or line[end + time_end - 3] != 58:
        return None
    if any(line[place] != 32 for place in (at, at - 3, at - 7, at - 11)):
        return None
    return end, start, zone_place


def from_line(line, drop_cr=True):
    """A "From " line of a mbox, with its LF → seconds since the epoch; None when c-client would
    not take it for one. c-client shows a date for one that it cannot read, too. drop_cr: see
    places()."""
    located = places(line, drop_cr)
    if located is None:
        return None
    end, start, zone_place = located
    at = end + start
    date = line[at - 2 : at] + b"-" + line[at - 6 : at - 3] + b"-"
    clock = line[at + 1 : at + 3] + b":" + line[at + 4 : at + 6] + b":"
    start += 6
    if line[end + start] == 58:
        clock += line[end + start + 1 : end + start + 3]
        start += 3
    else:
        clock += b"00"
    if zone_place == start:  # the year follows it
        start += 6 if line[end + zone_place + 1] in b"+-" else 4
    year = (line + b"\0\0")[end + start + 1 : end + start + 5]
    name = line[end + zone_place + 1 : end + zone_place + 6] if zone_place else b"LCL"
    zone_text = b" " + name if name[:1] in (b"+", b"-") else b"-" + name[:3]
    return Date((date + year + b" " + clock + zone_text).partition(b"\0")[0]).seconds
