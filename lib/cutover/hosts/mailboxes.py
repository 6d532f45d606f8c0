"""Both mail stores read by servers the converter has nothing to do with, and compared message by message.

Old side: c-client's imapd, started as the user (PREAUTH). New side: Dovecot's imap by `doveadm exec`, the same way.
Both work while the services are closed to users. Always EXAMINE: reading changes nothing.
"""

import contextlib
import dataclasses
import os
import time

from cutover import errors
from cutover.hosts import imap

SHOWN = 20  # differences told in full for one folder


def name(text: str) -> str:
    """A folder's name as it lies on disk (modified UTF-7 or raw bytes) as imap.Session says it."""
    return imap.decode_name(os.fsencode(text))


@contextlib.contextmanager
def old_session(hosts, user: str):
    """c-client as the user, on the old host. → imap.Session"""
    site = hosts.site
    with _session(hosts.ssh(site.roles.old).open([site.old_store.imapd], as_user=user)) as session:
        yield session


@contextlib.contextmanager
def new_session(hosts, user: str):
    """Dovecot as the user, on the new host. → imap.Session

    Run as the user and without -u: with it doveadm asks Dovecot's auth service, which is stopped like the rest.
    """
    with _session(hosts.ssh(hosts.site.roles.new).open(["doveadm", "exec", "imap"], as_user=user)) as session:
        yield session


@contextlib.contextmanager
def _session(stream):
    try:
        session = imap.preauth(stream, timeout=300)
        yield session
        session.logout()
    finally:
        stream.close()


def old_folders(session, prefix: str) -> list:
    """The names c-client lists: INBOX, and all below the prefix that clients of the site use."""
    names = [name for name, _, selectable in session.folders(prefix + "*") if selectable]
    return ["INBOX", *sorted(name for name in names if name.upper() != "INBOX")]


def compare(old: imap.Folder, new: imap.Folder, lost_keywords=(), same_text=lambda uid: False) -> dict:
    """Two readings of one folder.

    → `{"old": n, "new": n, "extra": [messages on the new side alone, by UID], "differences": [text, …], "differing": n,
    "lost": n, "line_ends": n}`. Every message of the old side must be on the new side under its UID, with the same flags,
    keywords, INTERNALDATE, size and, where both were read, digest. Two things no Maildir can keep are counted apart from what
    differs: `lost_keywords` that found no letter among its 26, as the conversion reported, and bare LFs, which Dovecot sends
    as CRLF: then the size differs and the text, line ends aside, must not. `same_text(uid)` reads it where no digest is there.
    """
    found, lost, line_ends, count, missing = [], 0, 0, 0, 0
    allowed = frozenset(lost_keywords)
    if old.uidvalidity != new.uidvalidity:
        found.append(f"UIDVALIDITY {old.uidvalidity} became {new.uidvalidity}")
    there = {message.uid: message for message in new.messages}
    for message in old.messages:
        count += 1
        other = there.pop(message.uid, None)
        if other is None:
            missing += 1
            found.append(f"UID {message.uid}: missing")
            continue
        lost += bool(message.flags & allowed)
        if message.size != other.size and (message.digest == other.digest if message.digest else same_text(message.uid)):
            line_ends += 1
            other = dataclasses.replace(other, size=message.size)
        found += [f"UID {message.uid}: {what}" for what in _differs(message, other, allowed)]
    extra = [message for _, message in sorted(there.items())]
    if old.uidnext and new.uidnext < old.uidnext:
        found.append(f"UIDNEXT {old.uidnext} became {new.uidnext}")
    found += [f"UID {message.uid}: not in the old folder, and below its UIDNEXT {old.uidnext}"
              for message in extra if message.uid < (old.uidnext or 0)]
    return {"old": count, "new": count - missing + len(extra), "extra": extra, "differences": found[:SHOWN],
            "differing": len(found), "lost": lost, "line_ends": line_ends}


def _differs(old, new, allowed):
    if old.flags - allowed != new.flags - allowed:
        lost, gained = sorted(old.flags - allowed - new.flags), sorted(new.flags - old.flags)
        yield "flags " + " and ".join(
            [*([f"lost {' '.join(lost)}"] if lost else []), *([f"gained {' '.join(gained)}"] if gained else [])]
        )
    if old.internaldate != new.internaldate:
        yield f"INTERNALDATE {old.internaldate.isoformat()} became {new.internaldate.isoformat()}"
    if old.size != new.size:
        yield f"size {old.size} became {new.size}"
    if old.digest != new.digest:
        yield f"content {str(old.digest)[:12]}… became {str(new.digest)[:12]}…"


def read_user(hosts, user: str, folders: list, level: str) -> list:
    """All folders of one user, read on both sides and compared.

    `folders`: what the conversion says, `[{"old", "new", "lost_keywords", "salvaged"}]`, `old` None for a folder that only the
    new side has, `salvaged` messages read from a damaged file (None: it is whole). → rows of plain values, one a folder:
    `{"user", "old_name", "new_name", "old", "new", "extra", "spool", "differences", "differing", "lost", "notes": [text],
    "unknown": it is no folder to the conversion, "salvaged": it is damaged and nothing was compared}`.
    """
    site = hosts.site
    said = {folder["old"]: folder for folder in folders if folder["old"] is not None}
    rows = []
    with old_session(hosts, user) as old, new_session(hosts, user) as new:
        only_new = {name for name, _, selectable in new.folders("*") if selectable} | {"INBOX"}
        for old_name in old_folders(old, site.old_store.imap_prefix):
            folder = said.get(old_name)
            row = _row(user, old_name, folder and folder["new"])
            rows.append(row)
            only_new.discard(row["new_name"])
            there = _read_old(old, row, level, folder and folder["salvaged"])
            if there is not None and folder is not None:
                added = _compare_new(old, new, there, row, level, folder["lost_keywords"])
                _uidvalidity(old, there, row)
                if old_name == "INBOX":
                    _spool(old, site.old_store.spool.format(user=user, home=""), there, added, row)
        for new_name in sorted(only_new):
            count = new.status(new_name, ["MESSAGES"])["MESSAGES"]
            rows.append({**_row(user, None, new_name), "new": count, "extra": count})
    return rows


def _row(user, old_name, new_name):
    return {"user": user, "old_name": old_name, "new_name": new_name, "old": 0, "new": 0, "extra": 0, "spool": 0,
            "differences": [], "differing": 0, "lost": 0, "line_ends": 0, "notes": [], "unknown": False,
            "salvaged": False}


def _read_old(old, row, level, salvaged):
    """The folder as c-client reads it, or None when there is nothing to compare."""
    try:
        folder = old.read(row["old_name"], level)
    except imap.FolderUnreadable as error:
        if salvaged is not None:
            row.update(salvaged=True, notes=[f"c-client cannot read it ({error.reason}); {salvaged} messages were salvaged and "
                                             "compared with nothing"])
        elif row["old_name"] == "INBOX":
            return imap.Folder("INBOX", 0, 0, [])       # a user who never had an INBOX
        elif row["new_name"] is None:
            row.update(unknown=True, notes=[f"no folder to c-client either ({error.reason})"])
        else:
            _wrong(row, f"c-client cannot read it: {error}")
        return None
    if row["new_name"] is None:
        row.update(unknown=True, notes=[f"c-client shows it as {len(folder.messages)} message(s)"])
        return None
    return folder


def _compare_new(old, new, folder, row, level, lost_keywords):
    """Fill a row from both sides. → the messages that only the new side has."""
    try:
        there = new.read(row["new_name"], level)
    except errors.CutoverError as error:
        _wrong(row, str(error))
        return []
    if folder.uidvalidity == 0:
        folder.uidvalidity = there.uidvalidity
    def same_text(uid):
        texts = (session.fetch(name, uid) for session, name in ((old, row["old_name"]), (new, row["new_name"])))
        return len({imap.Digest().update(text).hexdigest() for text in texts}) == 1

    result = compare(folder, there, lost_keywords, same_text)
    added = result.pop("extra")
    row.update(result, extra=len(added))
    if row["line_ends"]:
        row["notes"].append(f"{row['line_ends']} messages hold bare LFs, which Dovecot shows as CRLF: other sizes, the same text")
    if row["lost"]:
        row["notes"].append(f"{row['lost']} messages lack {', '.join(lost_keywords)}: Maildir has 26 keywords")
    return added


def _uidvalidity(old, folder, row):
    """Where the old server takes the time of day for UIDVALIDITY, as it does for files that hold none, there is none to keep."""
    text = next((text for text in row["differences"] if text.startswith("UIDVALIDITY ")), None)
    if text is None:
        return
    deadline = time.monotonic() + 3
    while time.monotonic() < deadline:
        if old.read(row["old_name"], "count").uidvalidity != folder.uidvalidity:
            row["differences"].remove(text)
            row["differing"] -= 1
            row["notes"].append("the old server gave it another UIDVALIDITY at each reading")
            return
        time.sleep(0.5)


def _wrong(row, text):
    row["differences"].append(text)
    row["differing"] += 1


def _spool(session, path, inbox, added, row):
    """c-client reads the spool; each message must be among those the new INBOX has beyond the old, by digest."""
    try:
        spool = session.read(path, "content").messages
    except imap.FolderUnreadable:
        return          # no spool file, or an empty one
    row["spool"] = len(spool)
    wanted = [message.digest for message in spool]
    if inbox.messages and sorted(wanted) == sorted(str(message.digest) for message in inbox.messages):
        return          # the spool is what the old server shows as INBOX
    digests = [message.digest for message in added if message.digest]
    if not digests:
        if len(added) < len(spool):
            _wrong(row, f"{len(spool)} messages in the spool, {len(added)} added to the new INBOX")
        return
    for message in spool:
        if message.digest in digests:
            digests.remove(message.digest)
        else:
            _wrong(row, f"the spool's message of {message.internaldate.isoformat()} is not in the new INBOX")
