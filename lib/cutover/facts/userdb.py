"""The source text of sendmail's user database: who is routed where. Bytes in, bytes out, no host.

The format is makemap(8)'s: one `key:field<white space>value` a line. There is no continuation and no comment but a
line beginning with "#"; a line beginning with white space is an error, even a blank one. The value goes to the end of
the line, and a carriage return before it belongs to the value: sendmail 8.17's makemap was asked for all of this.
"""

import enum
import re
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

LINE_LIMIT = 1022  # bytes without the line end; makemap refuses the whole map for a longer one


@dataclass(frozen=True)
class Entry:
    """One record. `line_number` counts from 1; `raw` is the line with its end; `value` is without trailing blanks."""

    line_number: int
    key: str
    field: str
    value: str
    raw: bytes


# key, separator, value, trailing white space and line end; what matches nothing is a comment, blank, or an error
_LINE = re.compile(
    rb"(?P<key>[^\s#][^\s]*)(?P<gap>[ \t]+)(?P<value>[^\r\n]*?)(?P<tail>[ \t]*\r*\n?)", re.DOTALL
)


def decode(data: bytes) -> str:
    return data.decode("utf-8", "surrogateescape")


def encode(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")


def _lines(data: bytes) -> list[bytes]:
    """Lines with their ends; only "\\n" ends one (bytes.splitlines would also split at a lone "\\r")."""
    return re.findall(rb"[^\n]*\n|[^\n]+", data)


def _record(line: bytes) -> re.Match | None:
    found = _LINE.fullmatch(line)
    return found if found and found["value"] else None


def parse(data: bytes) -> list[Entry]:
    """The records of the text, in order. Comments, blank lines and lines makemap would refuse are not among them."""
    entries = []
    for number, line in enumerate(_lines(data), 1):
        if found := _record(line):
            key, _, name = decode(found["key"]).rpartition(":")
            entries.append(Entry(number, key, name, decode(found["value"]), line))
    return entries


def problems(data: bytes) -> list[tuple[int, str]]:
    """(line number, what is wrong) of the lines makemap refuses, or takes otherwise than they look."""
    found = []
    for number, line in enumerate(_lines(data), 1):
        body = line.rstrip(b"\n")
        if not body or body.startswith(b"#"):
            continue
        if body[:1].isspace() and body != b"\r":
            found.append(
                (
                    number,
                    "begins with white space: makemap refuses it (there are no continuation lines)",
                )
            )
        elif len(body) > LINE_LIMIT:
            found.append((number, f"is {len(body)} bytes long, makemap takes {LINE_LIMIT}"))
        elif body.endswith(b"\r"):
            found.append((number, "ends in a carriage return, which becomes part of the address"))
        elif not _record(line):
            found.append((number, "has a key and no value"))
        elif b":" not in _LINE.fullmatch(line)["key"]:
            found.append((number, "has a key without a field (USER:maildrop)"))
    return sorted(found)


def duplicates(data: bytes) -> list[tuple[str, list[int]]]:
    """(key:field, line numbers) of keys that stand more than once: makemap needs -d for them, and then all count."""
    where: dict[str, list[int]] = {}
    for entry in parse(data):
        where.setdefault(f"{entry.key}:{entry.field}".lower(), []).append(entry.line_number)
    return [(key, numbers) for key, numbers in where.items() if len(numbers) > 1]


# -- recipients of one value

# A recipient, and what is around it: split at commas outside "quotes", <angles> and (comments).
_RECIPIENT = re.compile(
    r'((?:"(?:\\.|[^"\\])*"|<[^<>]*>|\([^()]*\)|[^,"<(]|["<(])*)(,|$)', re.DOTALL
)


def _split(value: str) -> list[str]:
    """The comma-separated parts, with the white space around them; ",".join gives the value back."""
    parts = []
    for found in _RECIPIENT.finditer(value):
        parts.append(found.group(1))
        if found.group(2) == "":
            break
    return parts


def _is_special(recipient: str) -> bool:
    """A program, a file, or an include list (aliases(5)): nothing that is mailed to a host."""
    bare = recipient.strip().strip('"')
    return bare.startswith(("|", "/", ":include:"))


_ADDRESS = re.compile(
    r'(?P<lead>\s*)(?P<open><?)(?P<local>(?:"(?:\\.|[^"\\])*"|[^\s"@<>(),])+)@(?P<host>[^\s@<>(),"]+?)'
    r"(?P<dot>\.?)(?P<close>>?)(?P<trail>\s*)"
)


def _address(recipient: str) -> re.Match | None:
    found = _ADDRESS.fullmatch(recipient)
    balanced = found and bool(found["open"]) == bool(found["close"])
    return found if balanced and not _is_special(recipient) else None


def _goes_to(recipient: str, host: str) -> re.Match | None:
    found = _address(recipient)
    return found if found and found["host"].lower() == host.lower().rstrip(".") else None


def _both(value: str, old: str, targets: Sequence[str]) -> str:
    parts = []
    for part in _split(value):
        found = _goes_to(part, old)
        if found:
            named = ", ".join(
                f"{found['open']}{found['local']}@{target}{found['close']}" for target in targets
            )
            part = f"{found['lead']}{named}{found['trail']}"
        parts.append(part)
    return ",".join(parts)


def _back(value: str, old: str, targets: Sequence[str]) -> str:
    parts, at, made = _split(value), 0, []
    while at < len(parts):
        run = [_goes_to(part, target) for part, target in zip(parts[at:], targets, strict=False)]
        if (
            len(run) == len(targets)
            and all(run)
            and len({(found["local"], found["open"]) for found in run}) == 1
        ):
            first, last = run[0], run[-1]
            name = f"{first['open']}{first['local']}@{old}{first['close']}"
            made.append(f"{first['lead']}{name}{last['trail']}")
            at += len(targets)
        else:
            made.append(parts[at])
            at += 1
    return ",".join(made)


# -- the whole text


def _rewrite(data: bytes, change) -> tuple[bytes, list[tuple[str, str]]]:
    made, changes = [], []
    for line in _lines(data):
        found = _record(line)
        if found and found["key"].lower().endswith(b":maildrop"):
            value = encode(change(decode(found["value"]), line))
            if value != found["value"]:
                new = found["key"] + found["gap"] + value + found["tail"]
                changes.append((decode(line.rstrip(b"\r\n")), decode(new.rstrip(b"\r\n"))))
                line = new
        made.append(line)
    return b"".join(made), changes


def route_to_both(
    data: bytes, old: str, targets: Sequence[str]
) -> tuple[bytes, list[tuple[str, str]]]:
    """Send what goes to `X@old` to `X@` each of the targets instead; return (new text, [(old line, new line)]).

    Of a `maildrop` value with several recipients only those at `old` are replaced. The host is compared without
    regard to case or a final dot. Every other byte stays; done twice, the second time changes nothing.
    """
    return _rewrite(data, lambda value, line: _both(value, old, targets))


def route_back(
    data: bytes,
    old: str,
    targets: Sequence[str],
    changes: Iterable[tuple[str, str]] = (),
) -> tuple[bytes, list[tuple[str, str]]]:
    """The inverse of route_to_both: `X@` all the targets, next to each other and in order, becomes `X@old`.

    `changes`, as route_to_both returned them, give back lines in their old spelling to the byte (`X@MAILBOX…`,
    a final dot); without them the host is written as in `old`.
    """
    was: dict[str, deque[str]] = {}
    for before, after in changes:
        was.setdefault(after, deque()).append(before)

    def change(value: str, line: bytes) -> str:
        spelled = was.get(decode(line.rstrip(b"\r\n")))
        if spelled:
            return decode(_LINE.fullmatch(encode(spelled.popleft()))["value"])
        return _back(value, old, targets)

    return _rewrite(data, change)


class Reason(enum.Enum):
    """Why route_to_both leaves a record alone."""

    OTHER_FIELD = "is not a maildrop"
    SPECIAL = "delivers to a program, a file or a list"
    BOTH_ALREADY = "goes to all targets already"
    ODD_ADDRESS = "names the old host in a form that is not a plain address"
    ONE_TARGET = "goes to one of the targets only"
    LOCAL = "names a local user, no host"
    ELSEWHERE = "forwards elsewhere"


def left_alone(data: bytes, old: str, targets: Sequence[str]) -> list[tuple[Entry, Reason]]:
    """(entry, reason) of each record that route_to_both does not change."""
    reasons = []
    for entry in parse(data):
        parts = _split(entry.value)
        if entry.field.lower() == "maildrop" and any(_goes_to(part, old) for part in parts):
            continue
        reasons.append((entry, _reason(entry, parts, old, targets)))
    return reasons


def _reason(entry: Entry, parts: list[str], old: str, targets: Sequence[str]) -> Reason:
    if entry.field.lower() != "maildrop":
        return Reason.OTHER_FIELD
    if any(map(_is_special, parts)):
        return Reason.SPECIAL
    if _back(entry.value, old, targets) != entry.value:
        return Reason.BOTH_ALREADY
    if any(old.lower() in part.lower() and not _address(part) for part in parts):
        return Reason.ODD_ADDRESS
    if any(_goes_to(part, target) for target in targets for part in parts):
        return Reason.ONE_TARGET
    if not any("@" in part for part in parts):
        return Reason.LOCAL
    return Reason.ELSEWHERE


@dataclass(frozen=True)
class Forward:
    """A record that sends mail away from the site's mailboxes. `elsewhere`: its addresses; `here`: the value that stays without
    them, "" where nothing does."""

    entry: Entry
    elsewhere: tuple[str, ...]
    here: str

    def line(self, value: str) -> str:
        """The record's line, without its end, with another value."""
        found = _LINE.fullmatch(self.entry.raw)
        return decode(found["key"] + found["gap"]) + value

    @property
    def text(self) -> str:
        return decode(self.entry.raw.rstrip(b"\r\n"))


def forwards(data: bytes, here: Sequence[str]) -> list[Forward]:
    """The records that name an address at a host which is not among `here`. Programs, files and lists are no forwards, and a
    record that holds one is left out whole."""
    mine, found = {host.lower().rstrip(".") for host in here}, []
    for entry in parse(data):
        parts = _split(entry.value)
        if entry.field.lower() != "maildrop" or any(map(_is_special, parts)):
            continue
        away = [
            part
            for part in parts
            if (address := _address(part)) and address["host"].lower() not in mine
        ]
        if away:
            stay = ",".join(part for part in parts if part not in away).strip()
            found.append(Forward(entry, tuple(part.strip().strip("<>") for part in away), stay))
    return found


# -- the files on a host


def read_source(hosts, name: str, path: str) -> bytes:
    return hosts.ssh(name).get(path, sudo=True)


def read_backup(hosts, name: str, path: str):
    """The backup's bytes, or None before there is one."""
    if hosts.run(name, ["test", "-e", path], sudo=True, check=False).rc:
        return None
    return hosts.ssh(name).get(path, sudo=True)
