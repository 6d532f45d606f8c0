"""The milter by which an MX marks spam and puts mail off: what sendmail's configuration says of it, and whether it answers.

Read from sendmail.cf (`O InputMailFilters`, `X` lines: Sendmail Installation and Operation Guide, 5.11), by the first packet of
the milter protocol (SMFIC_OPTNEG, sendmail's libmilter/docs), by Redis' PING, and from `rspamadm configdump`.
"""

import json
import re

CONFIGURATION = "/etc/mail/sendmail.cf"
GREETING = r"\0\0\0\15O\0\0\0\6\0\0\1\377\0\37\377\377"  # length, O, version, actions, steps: 4 bytes each but the letter
PATIENCE = 5  # seconds for an answer


def read(hosts, name: str, milter: str, redis: str | None) -> dict:
    """`{"filters": [in their order], "socket", "flags": text or None when sendmail does not know it, "answers": bool,
    "redis": bool, None when there is none to ask, "greylist": seconds or None when they cannot be read}`"""
    known = parse_milters(hosts.run(name, ["cat", CONFIGURATION], sudo=True).text)
    socket, flags = known.get(milter, (None, None))
    dump = hosts.run(name, ["rspamadm", "configdump", "-j", "greylist"], sudo=True, check=False)
    return {
        "filters": list(known),
        "socket": socket,
        "flags": flags,
        "answers": bool(socket) and _answers(hosts, name, socket),
        "redis": None
        if redis is None
        else _said(hosts, name, *redis.rsplit(":", 1), r"PING\r\n")[:1] in ("+", "-"),
        "greylist": parse_greylist(dump.text),
    }


def parse_milters(text: str) -> dict:
    """The milters that sendmail asks about each message, in their order: `{name: (socket, flags)}`."""
    lines = re.sub(r"\n[ \t]+", " ", text).splitlines()
    used = [
        name.strip()
        for line in lines
        if line.startswith("O InputMailFilters=")
        for name in re.split(r"[,;]", line.partition("=")[2])
    ]
    told = {}
    for line in lines:
        if found := re.match(r"X([^,\s]+),(.*)", line):
            equates = dict(re.findall(r"\b([SF])=([^,\s]*)", found[2]))
            told[found[1]] = (equates.get("S", ""), equates.get("F", ""))
    return {name: told[name] for name in used if name in told}


def parse_greylist(text: str) -> float | None:
    """Seconds for which rspamd puts off what it greylists, by the dump of its module; None when it is off, or not rspamd."""
    try:
        found = json.loads(text)
        return float(found["timeout"]) if found.get("enabled", True) else None
    except (ValueError, KeyError, TypeError, AttributeError):
        return None


def _answers(hosts, name, socket):
    """Whether the milter says which version it speaks; of a local socket, whether it is there."""
    kind, _, place = socket.partition(":")
    if not kind.startswith("inet"):
        return hosts.run(name, ["test", "-S", place or kind], sudo=True, check=False).rc == 0
    port, _, address = place.partition("@")
    return "O" in _said(hosts, name, address or "127.0.0.1", port, GREETING)


def _said(hosts, name, address, port, text):
    """The first bytes that a port of, or near, a host answers to `text` (printf's escapes), asked from that host."""
    script = 'exec 3<>"/dev/tcp/$0/$1" && printf "$2" >&3 && head -c 5 <&3 | tr "\\0" " "'
    return hosts.run(
        name,
        ["timeout", str(PATIENCE), "bash", "-c", script, address.strip("[]"), port, text],
        check=False,
    ).text
