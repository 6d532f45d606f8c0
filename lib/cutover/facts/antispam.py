"""The milter by which an MX marks spam and puts mail off: its configuration and whether it works.

Read from sendmail.cf (`O InputMailFilters`, `X` lines: Sendmail Installation and Operation Guide,
5.11), by the first packet of the milter protocol (SMFIC_OPTNEG, sendmail's libmilter/docs), by
Redis' PING, and from `rspamadm configdump`.
"""

import dataclasses
import json
import re
from typing import NamedTuple

from cutover import model
from cutover.facts import time_limit

CONFIGURATION = "/etc/mail/sendmail.cf"
# length, O, version, actions, steps: 4 bytes each except the letter
GREETING = r"\0\0\0\15O\0\0\0\6\0\0\1\377\0\37\377\377"
PATIENCE = 5  # seconds for an answer


class Milter(NamedTuple):
    """A milter's S= and F= in sendmail.cf."""

    socket: str
    flags: str


@dataclasses.dataclass(frozen=True)
class Antispam:
    """What one MX knows of its milter.

    filters: names of all milters, in order.
    socket, flags: of this milter; None when sendmail does not know it.
    redis: whether it answers; None without one.
    greylist: seconds for which mail is put off; None when unknown.
    """

    filters: list[str]
    socket: str | None
    flags: str | None
    answers: bool
    redis: bool | None
    greylist: float | None


def read(hosts, name: str, milter: str, redis: str | None) -> Antispam:
    """The state of one milter, and of its Redis (`host:port`), on one MX."""
    milters = parse_milters(hosts.run(name, ["cat", CONFIGURATION], sudo=True).text)
    known = milters.get(milter)
    dump = hosts.run(name, ["rspamadm", "configdump", "-j", "greylist"], sudo=True, check=False)
    return Antispam(
        filters=list(milters),
        socket=known and known.socket,
        flags=known and known.flags,
        answers=known is not None and bool(known.socket) and _answers(hosts, name, known.socket),
        redis=None if redis is None else _redis_answers(hosts, name, redis),
        greylist=parse_greylist(dump.text),
    )


def parse_milters(text: str) -> dict[str, Milter]:
    """The milters that sendmail asks about each message, by name, in order."""
    lines = model.lines(re.sub(r"\n[ \t]+", " ", text))
    used = [
        name.strip()
        for line in lines
        if line.startswith("O InputMailFilters=")
        for name in re.split(r"[,;]", line.partition("=")[2])
    ]
    defined = {}
    for line in lines:
        if definition := re.match(r"X([^,\s]+),(.*)", line):
            equates = dict(re.findall(r"\b([SF])=([^,\s]*)", definition[2]))
            defined[definition[1]] = Milter(equates.get("S", ""), equates.get("F", ""))
    return {name: defined[name] for name in used if name in defined}


def parse_greylist(text: str) -> float | None:
    """Seconds of rspamd's greylisting, from the dump of its module; None when off or not rspamd."""
    try:
        module = json.loads(text)
        return float(module["timeout"]) if module.get("enabled", True) else None
    except (ValueError, KeyError, TypeError, AttributeError):
        return None


def _answers(hosts, name, socket):
    """Whether the milter answers with its version; for a local socket, whether it exists."""
    kind, _, place = socket.partition(":")
    if not kind.startswith("inet"):
        return hosts.run(name, ["test", "-S", place or kind], sudo=True, check=False).rc == 0
    port, _, address = place.partition("@")
    return "O" in _reply(hosts, name, address or "127.0.0.1", port, GREETING)


def _redis_answers(hosts, name, redis):
    address, port = redis.rsplit(":", 1)
    return _reply(hosts, name, address, port, r"PING\r\n")[:1] in ("+", "-")


def _reply(hosts, name, address, port, text):
    """The first bytes that address:port replies to `text` (printf escapes), asked from a host."""
    script = 'exec 3<>"/dev/tcp/$0/$1" && printf "$2" >&3 && head -c 5 <&3 | tr "\\0" " "'
    argv = ["bash", "-c", script, address.strip("[]"), port, text]
    return hosts.run(name, time_limit.limited(PATIENCE, argv), check=False).text
