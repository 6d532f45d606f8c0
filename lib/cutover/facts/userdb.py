"""The source text of sendmail's user database: who is routed where.

The format is makemap(8)'s: one `key:field<white space>value` per line. There is no continuation.
The only comments are lines that begin with "#". A line that begins with white space is an error,
even a blank one. The value extends to the end of the line; a carriage return before it belongs to
the value. All of this was checked with makemap of sendmail 8.17.
"""

import enum
import re
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from cutover.facts import recipient

LINE_LIMIT = 1022  # bytes without line end; for a longer line makemap refuses the whole map


@dataclass(frozen=True)
class Entry:
    """One record.

    line_number counts from 1; raw is the line with its end; value has no trailing blanks.
    """

    line_number: int
    key: str
    field: str
    value: str
    raw: bytes


# key, separator, value, trailing white space and line end; other lines are comments, blank or wrong
_LINE = re.compile(
    rb"(?P<key>[^\s#][^\s]*)(?P<gap>[ \t]+)(?P<value>[^\r\n]*?)(?P<tail>[ \t]*\r*\n?)", re.DOTALL
)


def decode(data: bytes) -> str:
    """The text of some bytes; surrogates stand for bytes that are not UTF-8."""
    return data.decode("utf-8", "surrogateescape")


def encode(text: str) -> bytes:
    """The inverse of decode."""
    return text.encode("utf-8", "surrogateescape")


def _lines(data: bytes) -> list[bytes]:
    """Lines with their ends. Only "\\n" ends one, as for makemap."""
    return re.findall(rb"[^\n]*\n|[^\n]+", data)


def _record(line: bytes) -> re.Match | None:
    match = _LINE.fullmatch(line)
    return match if match and match["value"] else None


def parse(data: bytes) -> list[Entry]:
    """The records of the text, in order, without the lines makemap ignores or refuses."""
    entries = []
    for number, line in enumerate(_lines(data), 1):
        if record := _record(line):
            key, _, name = decode(record["key"]).rpartition(":")
            entries.append(Entry(number, key, name, decode(record["value"]), line))
    return entries


class Problem(NamedTuple):
    """A line that makemap refuses or reads differently from how it looks."""

    line_number: int
    text: str


def problems(data: bytes) -> list[Problem]:
    """The wrong lines of the text, in order."""
    texts = ((number, _problem(line)) for number, line in enumerate(_lines(data), 1))
    return [Problem(number, text) for number, text in texts if text]


def _problem(line):
    body = line.rstrip(b"\n")
    if not body or body.startswith(b"#"):
        return ""
    if body[:1].isspace() and body != b"\r":
        return "begins with white space: makemap refuses it (there are no continuation lines)"
    if len(body) > LINE_LIMIT:
        return f"is {len(body)} bytes long, makemap takes {LINE_LIMIT}"
    if body.endswith(b"\r"):
        return "ends in a carriage return, which becomes part of the address"
    if not _record(line):
        return "has a key and no value"
    if b":" not in _LINE.fullmatch(line)["key"]:
        return "has a key without a field (USER:maildrop)"
    return ""


class Duplicate(NamedTuple):
    """A `key:field` that occurs more than once."""

    key: str
    line_numbers: list[int]


def duplicates(data: bytes) -> list[Duplicate]:
    """Keys that occur more than once. makemap accepts them only with -d, and then all count."""
    numbers: dict[str, list[int]] = {}
    for entry in parse(data):
        numbers.setdefault(f"{entry.key}:{entry.field}".lower(), []).append(entry.line_number)
    return [Duplicate(key, lines) for key, lines in numbers.items() if len(lines) > 1]


# -- one value


def both(value: str, old: Sequence[str], targets: Sequence[str]) -> str:
    """One value as route_to_both makes it."""
    parts = []
    for part in recipient.split(value):
        address = recipient.goes_to(part, *old)
        if address:
            start, end = address["open"] + address["local"], address["close"]
            names = ", ".join(f"{start}@{target}{end}" for target in targets)
            part = f"{address['lead']}{names}{address['trail']}"
        parts.append(part)
    return ",".join(parts)


def back(value: str, old: str, targets: Sequence[str]) -> str:
    """One value as route_back makes it."""
    parts, at, merged = recipient.split(value), 0, []
    while at < len(parts):
        run = [
            recipient.goes_to(part, target)
            for part, target in zip(parts[at:], targets, strict=False)
        ]
        if (
            len(run) == len(targets)
            and all(run)
            and len({(address["local"], address["open"]) for address in run}) == 1
        ):
            first, last = run[0], run[-1]
            name = f"{first['open']}{first['local']}@{old}{first['close']}"
            merged.append(f"{first['lead']}{name}{last['trail']}")
            at += len(targets)
        else:
            merged.append(parts[at])
            at += 1
    return ",".join(merged)


# -- the whole text


class Replacement(NamedTuple):
    """A changed line, without line ends."""

    old: str
    new: str


class Edit(NamedTuple):
    """A new text, and the lines in which it differs."""

    data: bytes
    replacements: list[Replacement]


def rewrite(data: bytes, change: Callable[[str, bytes], str]) -> Edit:
    """Replace the value of every maildrop by `change(value, its line)`; other bytes stay."""
    lines, replacements = [], []
    for line in _lines(data):
        record = _record(line)
        if record and record["key"].lower().endswith(b":maildrop"):
            value = encode(change(decode(record["value"]), line))
            if value != record["value"]:
                new = record["key"] + record["gap"] + value + record["tail"]
                replacements.append(Replacement(_text(line), _text(new)))
                line = new
        lines.append(line)
    return Edit(b"".join(lines), replacements)


def _text(line: bytes) -> str:
    return decode(line.rstrip(b"\r\n"))


def route_to_both(data: bytes, old: Sequence[str], targets: Sequence[str]) -> Edit:
    """Replace `X@old` in every maildrop by `X@` each of the targets.

    old: the spellings of one host, compared without regard to case or a final dot. Every other
    recipient and byte stays. Idempotent.
    """
    return rewrite(data, lambda value, line: both(value, old, targets))


def route_back(
    data: bytes, old: str, targets: Sequence[str], changes: Iterable[tuple[str, str]] = ()
) -> Edit:
    """The inverse of route_to_both: `X@` all the targets, adjacent and in order, becomes `X@old`.

    changes: the replacements of route_to_both; with them lines get back their old spelling to the
    byte (`X@MAILBOX…`, a final dot). Other lines get the host as in `old`.
    """
    spellings: dict[str, deque[str]] = {}
    for before, after in changes:
        spellings.setdefault(after, deque()).append(before)

    def change(value: str, line: bytes) -> str:
        earlier = spellings.get(_text(line))
        if earlier:
            return decode(_LINE.fullmatch(encode(earlier.popleft()))["value"])
        return back(value, old, targets)

    return rewrite(data, change)


class Reason(enum.Enum):
    """Why route_to_both leaves a record alone."""

    OTHER_FIELD = "is not a maildrop"
    SPECIAL = "delivers to a program, a file or a list"
    BOTH_ALREADY = "goes to all targets already"
    ODD_ADDRESS = "names the old host in a form that is not a plain address"
    ONE_TARGET = "goes to one of the targets only"
    LOCAL = "names a local user, no host"
    ELSEWHERE = "forwards elsewhere"


def left_alone(
    data: bytes, old: Sequence[str], targets: Sequence[str]
) -> list[tuple[Entry, Reason]]:
    """(entry, reason) of each record that route_to_both does not change."""
    reasons = []
    for entry in parse(data):
        parts = recipient.split(entry.value)
        if entry.field.lower() == "maildrop" and any(
            recipient.goes_to(part, *old) for part in parts
        ):
            continue
        reasons.append((entry, _reason(entry, parts, old, targets)))
    return reasons


def _reason(entry: Entry, parts: list[str], old: Sequence[str], targets: Sequence[str]) -> Reason:
    if entry.field.lower() != "maildrop":
        return Reason.OTHER_FIELD
    if any(map(recipient.is_special, parts)):
        return Reason.SPECIAL
    if back(entry.value, old[0], targets) != entry.value:
        return Reason.BOTH_ALREADY
    names = "|".join(map(re.escape, old))
    named = re.compile(rf"@({names})\.?(?![\w.-])", re.IGNORECASE)
    if any(named.search(part) and not recipient.address(part) for part in parts):
        return Reason.ODD_ADDRESS
    if any(recipient.goes_to(part, *targets) for part in parts):
        return Reason.ONE_TARGET
    if not any("@" in part for part in parts):
        return Reason.LOCAL
    return Reason.ELSEWHERE


def recipients(data: bytes) -> dict[str, list[str]]:
    """`{key: [addresses of its maildrops]}`, all in lower case."""
    listed: dict[str, list[str]] = {}
    for entry in parse(data):
        if entry.field.lower() == "maildrop":
            addresses = map(recipient.address, recipient.split(entry.value))
            listed.setdefault(entry.key.lower(), []).extend(
                f"{address['local']}@{address['host']}".lower() for address in addresses if address
            )
    return listed


@dataclass(frozen=True)
class Forward:
    """A record that sends mail away from the site's mailboxes.

    elsewhere: its addresses. here: the value that stays without them, "" when nothing does.
    """

    entry: Entry
    elsewhere: tuple[str, ...]
    here: str

    def line(self, value: str) -> str:
        """The record's line with another value, without line end."""
        record = _LINE.fullmatch(self.entry.raw)
        return decode(record["key"] + record["gap"]) + value

    @property
    def text(self) -> str:
        return _text(self.entry.raw)


def forwards(data: bytes, here: Sequence[str]) -> list[Forward]:
    """The records that name an address at a host other than `here`.

    Records with a program, a file or a list are left out.
    """
    own, records = {host.lower().rstrip(".") for host in here}, []
    for entry in parse(data):
        parts = recipient.split(entry.value)
        if entry.field.lower() != "maildrop" or any(map(recipient.is_special, parts)):
            continue
        away = [
            part
            for part in parts
            if (address := recipient.address(part)) and address["host"].lower() not in own
        ]
        if away:
            stay = ",".join(part for part in parts if part not in away).strip()
            records.append(Forward(entry, tuple(part.strip().strip("<>") for part in away), stay))
    return records
