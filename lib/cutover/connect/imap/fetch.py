"""FETCH, read straight from the connection: what IMAPClient makes of an answer costs more than both
servers take to give it.

Answers are read as far as the second reader asks (RFC 3501 §7.4.2): numbers, flags, dates and
contents; nothing that nests.
"""

import functools
import imaplib
import re
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta, timezone

from imapclient import datetime_util

RESPONSE = re.compile(rb"\* (\d+) FETCH \(", re.IGNORECASE)
# an item's name, and a list, a quoted string, the head of a literal, or an atom
ITEM = re.compile(
    rb"([^ ()\[<]+(?:\[[^\]]*\])?(?:<\d+>)?) "
    rb'(?:\(([^()]*)\)|"((?:[^"\\]|\\.)*)"|\{(\d+)\}\r\n|([^ ()"{\r\n]+)) ?'
)
# c-client shows keywords as mail files have them, even with parentheses: the list ends where the
# next item of those that are asked for begins
FLAGS = re.compile(
    rb"(FLAGS) \((.*?)\)(?=\)\r\n| (?:UID|INTERNALDATE|RFC822|BODY)\b)()()() ?", re.IGNORECASE
)
DATE = re.compile(rb"([ \d]\d)-([A-Za-z]{3})-(\d{4}) (\d\d):(\d\d):(\d\d) ([+-])(\d\d)(\d\d)")
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MONTHS = {
    name: number
    for number, name in enumerate(
        (
            b"Jan",
            b"Feb",
            b"Mar",
            b"Apr",
            b"May",
            b"Jun",
            b"Jul",
            b"Aug",
            b"Sep",
            b"Oct",
            b"Nov",
            b"Dec",
        ),
        1,
    )
}


def fetch(
    connection: imaplib.IMAP4, numbers: Iterable[int], items: str, uid: bool = False
) -> dict[int, dict]:
    """`{sequence number: {an item's name in capitals: value}}`. With `uid`, `numbers` are UIDs.

    A value is bytes; of a list, what stands between its parentheses; None for NIL. Raises imaplib's
    error when the server refuses or its answer cannot be read, and its abort when the server is
    gone.
    """
    tag = connection._new_tag()
    connection.send(command(tag, number_set(numbers), items, uid))
    return answer(connection, tag)


def command(tag: bytes, numbers: bytes, items: str, uid: bool = False) -> bytes:
    """FETCH as a line."""
    return b"%s %sFETCH %s (%s)\r\n" % (tag, b"UID " if uid else b"", numbers, items.encode())


def answer(connection: imaplib.IMAP4, tag: bytes) -> dict[int, dict]:
    """What the server says until it has done the command with this tag: see fetch()."""
    fetched = {}
    while True:
        line = connection.readline()
        if not line.endswith(b"\n"):
            raise connection.abort("socket error: EOF")
        if head := RESPONSE.match(line):
            fetched.setdefault(int(head[1]), {}).update(_items(connection, line, head.end()))
        elif line.startswith(tag + b" "):
            _, word, reason = (*line.rstrip().split(b" ", 2), b"")[:3]
            if word.upper() != b"OK":
                raise connection.error(
                    f"fetch failed: {reason.decode('utf-8', 'backslashreplace')}"
                )
            return fetched
        elif line[:6].upper() == b"* BYE ":
            raise connection.abort(line[6:].strip().decode("utf-8", "backslashreplace"))
        elif line[:5].upper() == b"* NO ":
            connection._append_untagged("NO", line[5:].rstrip())


def number_set(numbers: Iterable[int]) -> bytes:
    """A sequence set (RFC 3501 §9), runs told by their ends."""
    runs = []
    for number in numbers:
        if runs and number == runs[-1][1] + 1:
            runs[-1][1] = number
        else:
            runs.append([number, number])
    return b",".join(
        b"%d:%d" % (first, last) if last > first else b"%d" % first for first, last in runs
    )


def _items(connection, line, at):
    values = {}
    while not line.startswith(b")", at):
        item = FLAGS.match(line, at) or ITEM.match(line, at)
        if item is None:
            raise connection.error(
                f"its answer cannot be read: {line[:200].decode('utf-8', 'backslashreplace')}"
            )
        name, listed, quoted, literal, atom = item.groups()
        at = item.end()
        if literal:
            value = connection.read(int(literal))
            if len(value) < int(literal):
                raise connection.abort("socket error: EOF")
            line, at = connection.readline(), 0
            at = 1 if line.startswith(b" ") else 0
        elif listed is not None:
            value = listed
        elif quoted is not None:
            value = re.sub(rb"\\(.)", rb"\1", quoted) if b"\\" in quoted else quoted
        else:
            value = None if atom.upper() == b"NIL" else atom
        values[name.upper().decode("latin-1")] = value
    return values


@functools.lru_cache(64)
def _offset(sign: bytes, hours: bytes, minutes: bytes) -> timedelta:
    offset = timedelta(hours=int(hours), minutes=int(minutes))
    return -offset if sign == b"-" else offset


def internaldate(raw: bytes | None) -> datetime | None:
    """An INTERNALDATE, aware; None when it is none that can be.

    c-client shows what mail files say, such as 31-Feb or a zone of +3100; Dovecot shows the same
    instant in another way. A time before 1970 is the first of 1970: Dovecot cannot keep it (its
    cache makes it 2106), so that is what the conversion gives such a message.
    """
    date = None if raw is None else _internaldate(raw)
    return EPOCH if date is not None and date < EPOCH else date


def _internaldate(raw):
    try:
        if date := DATE.fullmatch(raw):
            day, month, year, hour, minute, second, *zone = date.groups()
            offset = _offset(*zone)
            local = datetime(int(year), MONTHS[month.capitalize()], 1) + timedelta(
                int(day) - 1, int(second), hours=int(hour), minutes=int(minute)
            )
            if abs(offset) < timedelta(days=1):
                return local.replace(tzinfo=timezone(offset))
            return (local - offset).replace(tzinfo=UTC)
        date = datetime_util.parse_to_datetime(raw, normalise=False)
        return date.replace(tzinfo=timezone(date.utcoffset()) if date.tzinfo else UTC)
    except (ValueError, KeyError, OverflowError, TypeError):
        return None
