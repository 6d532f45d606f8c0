"""Totals of the seeded mail as c-client itself counts them: EXAMINE in an imapd run as the user, which starts PREAUTH."""

import json
import os
import re

from cutover.lab import container, hosts, paths, store

PLACE = paths.STATE / "manifest.json"
MAGIC = b"*mbx*\r\n"


def read():
    """The manifest of the seeded lab that is up, as `take` made it; None without seeded mail."""
    try:
        return json.loads(PLACE.read_text())
    except FileNotFoundError:
        return None


def take():
    """Count mailboxold's mail now.

    Returns {"messages": total, "bytes": total, "users": user → {"messages", "bytes", "folders": name → {"messages",
    "recent", "unseen", "uidvalidity", "uidnext", "bytes", "format"}, "spool": messages waiting in the spool beside an
    INBOX, "passed_over": [names of files in ~/mail that are no folder]}}. Names as UW serves them, raw bytes as latin-1;
    `bytes` are those of the messages with CRLF line ends. "format" is "mbx" or "mbox".
    """
    users = {user: _user(user) for user in hosts.USERS}
    return {"messages": sum(each["messages"] for each in users.values()),
            "bytes": sum(each["bytes"] for each in users.values()), "users": users}


def _user(user):
    names = _names(user)
    spool = store.spool(user)
    leftovers = spool.exists() and spool.stat().st_size > 0 and (store.home(user) / "INBOX").exists()
    counted = _examine(user, names + ([f"/var/mail/{user}".encode()] if leftovers else []))
    waiting = counted.pop(f"/var/mail/{user}", None)
    folders = {name: figures for name, figures in counted.items() if figures is not None}
    passed_over = [name for name, figures in counted.items() if figures is None and name != "INBOX"]
    return {"messages": sum(each["messages"] for each in folders.values()) + (waiting["messages"] if waiting else 0),
            "bytes": sum(each["bytes"] for each in folders.values()) + (waiting["bytes"] if waiting else 0),
            "folders": folders, "spool": waiting["messages"] if waiting else 0, "passed_over": sorted(passed_over)}


def _names(user):
    """INBOX and every file in ~/mail, as names in bytes."""
    root = bytes(store.home(user))
    found = []
    for place, _, files in os.walk(root + b"/mail"):
        found += [(place + b"/" + name)[len(root) + 1:] for name in files]
    return [b"INBOX", *sorted(found)]


def _examine(user, names):
    """name → figures of an EXAMINE and a FETCH of sizes, None for what c-client will not open."""
    commands = b""
    for number, name in enumerate(names):
        literal = b"{%d+}\r\n%s" % (len(name), name)
        commands += b"e%d EXAMINE %s\r\ns%d SEARCH UNSEEN\r\nf%d FETCH 1:* RFC822.SIZE\r\n" % (number, literal, number, number)
    answer = container.run("mailboxold", ["/usr/sbin/imapd"], user=user, input=commands + b"z LOGOUT\r\n", text=False,
                           timeout=120).stdout
    found, chunk = {}, []
    for line in answer.split(b"\r\n"):
        chunk.append(line)
        ended = re.match(rb"([esf])(\d+) (OK|NO|BAD)", line)
        if not ended:
            continue
        kind, number, verdict = ended.groups()
        name = names[int(number)].decode("latin-1")
        text = b"\n".join(chunk)
        chunk = []
        if kind == b"e":
            found[name] = _figures(text, names[int(number)], user) if verdict == b"OK" else None
        elif found[name] is not None and verdict == b"OK":
            if kind == b"s":
                found[name]["unseen"] = len(re.search(rb"\* SEARCH([ \d]*)", text).group(1).split())
            else:
                found[name]["bytes"] = sum(map(int, re.findall(rb"RFC822\.SIZE (\d+)", text)))
    return found


def _figures(text, name, user):
    def number(pattern):
        return int(re.search(pattern, text).group(1))

    path = store.home(user) / name.decode("utf-8", "surrogateescape")
    with_magic = path.exists() and path.read_bytes()[:len(MAGIC)] == MAGIC
    return {"messages": number(rb"\* (\d+) EXISTS"), "recent": number(rb"\* (\d+) RECENT"), "unseen": 0,
            "uidvalidity": number(rb"UIDVALIDITY (\d+)"), "uidnext": number(rb"UIDNEXT (\d+)"), "bytes": 0,
            "format": "mbx" if with_magic else "mbox"}
