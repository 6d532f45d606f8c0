"""Totals of the seeded mail as c-client counts them.

Read with EXAMINE from an imapd run as the user, which starts in PREAUTH.
"""

import json
import os
import re

from lab import errors, inside, paths, store, topology

PLACE = paths.STATE / "manifest.json"
MAGIC = b"*mbx*\r\n"


def read():
    """The manifest of the lab that is up, as `take` made it. None without seeded mail."""
    try:
        return json.loads(PLACE.read_text())
    except FileNotFoundError:
        return None


def take():
    """Count the old servers' mail now.

    → {"messages", "bytes": totals, "users": user → {"messages", "bytes", "folders": name →
    figures, "spool": figures of mail in the spool in addition to an INBOX, or None,
    "passed_over": name → "mbox" or "file", files in ~/mail that are not MBX folders}}.

    Figures: {"messages", "recent", "unseen", "uidvalidity" (None if nothing on disk keeps it),
    "uidnext", "bytes" with CRLF line ends, "format"}. The format is "mbx"; of an INBOX also
    "mbox" (the spool file) or "none". Names are as UW serves them, raw bytes as latin-1. Totals
    count the folders and the spool, not what was passed over.
    """
    users = {user: _user(user) for user in topology.USERS}
    return {
        "messages": sum(user["messages"] for user in users.values()),
        "bytes": sum(user["bytes"] for user in users.values()),
        "users": users,
    }


def _user(user):
    spool = store.spool(user)
    names = [b"INBOX", *_files(user)]
    formats = {name: _format(store.home(user) / os.fsdecode(name)) for name in names}
    if formats[b"INBOX"] == "none" and _format(spool) == "mbox":
        formats[b"INBOX"] = "mbox"
    elif _format(spool) == "mbox":
        formats[f"/var/mail/{user}".encode()] = "mbox"
    kept = [
        name for name, kind in formats.items() if kind == "mbx" or not name.startswith(b"mail/")
    ]
    figures = _examine(user, kept)
    folders = {name.decode("latin-1"): figures[name] | {"format": formats[name]} for name in kept}
    waiting = folders.pop(f"/var/mail/{user}", None)
    for figures in (waiting, folders["INBOX"] if formats[b"INBOX"] == "none" else None):
        if figures is not None:
            # nothing keeps it: c-client makes up a new one at every open
            figures["uidvalidity"] = None
    counted = [*folders.values(), *filter(None, [waiting])]
    return {
        "messages": sum(folder["messages"] for folder in counted),
        "bytes": sum(folder["bytes"] for folder in counted),
        "folders": folders,
        "spool": waiting,
        "passed_over": {
            name.decode("latin-1"): kind for name, kind in formats.items() if name not in kept
        },
    }


def _files(user):
    """Every file in a user's ~/mail, as names in bytes relative to the home."""
    root = bytes(store.home(user))
    names = []
    for place, _, files in os.walk(root + b"/mail"):
        names += [(place + b"/" + name)[len(root) + 1 :] for name in files]
    return sorted(names)


def _format(path):
    try:
        with open(path, "rb") as source:
            start = source.read(len(MAGIC))
    except FileNotFoundError:
        return "none"
    return (
        "mbx"
        if start == MAGIC
        else "mbox"
        if start.startswith(b"From ")
        else "file"
        if start
        else "none"
    )


def _examine(user, names):
    """name → figures of EXAMINE, SEARCH and FETCH.

    Raises errors.LabError if c-client does not open a folder.
    """
    commands = b"".join(
        b"e%d EXAMINE {%d+}\r\n%s\r\ns%d SEARCH UNSEEN\r\nf%d FETCH 1:* RFC822.SIZE\r\n"
        % (number, len(name), name, number, number)
        for number, name in enumerate(names)
    )
    server = store.old_server(user)
    answer = inside.run(
        server,
        ["/usr/sbin/imapd"],
        user=user,
        input=commands + b"z LOGOUT\r\n",
        text=False,
        timeout=120,
    ).stdout
    figures = {}
    for number, name in enumerate(names):
        if b"\r\ne%d OK" % number not in answer:
            raise errors.LabError(
                f"c-client on the lab's {server} does not open {name!r} of {user}: "
                f"{answer[-300:]!r}"
            )
    for number, name in enumerate(names):
        start = answer.index(b"\r\nf%d " % (number - 1)) if number else 0
        part = answer[start : answer.index(b"\r\nf%d " % number)]
        unseen = re.search(rb"\* SEARCH([ \d]*)\r\n", part)
        figures[name] = {
            "messages": _number(rb"\* (\d+) EXISTS", part),
            "recent": _number(rb"\* (\d+) RECENT", part),
            "unseen": len(unseen.group(1).split()) if unseen else 0,
            "uidvalidity": _number(rb"UIDVALIDITY (\d+)", part),
            "uidnext": _number(rb"UIDNEXT (\d+)", part),
            "bytes": sum(map(int, re.findall(rb"RFC822\.SIZE (\d+)", part))),
        }
    return figures


def _number(pattern, text):
    return int(re.search(pattern, text).group(1))
