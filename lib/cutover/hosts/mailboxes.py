"""Both mail stores read by servers the converter has nothing to do with, and compared message by message.

Old side: c-client's imapd, started as the user (PREAUTH). New side: Dovecot's imap by `doveadm exec`. Both work while the
services are closed to users. Always EXAMINE: reading changes nothing.
"""

import contextlib
import os

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
    """Dovecot as the user, on the new host. → imap.Session"""
    stream = hosts.ssh(hosts.site.roles.new).open(["doveadm", "exec", "imap", "-u", user], sudo=True)
    with _session(stream) as session:
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


def compare(old: imap.Folder, new: imap.Folder) -> dict:
    """Two readings of one folder.

    → `{"old": n, "new": n, "extra": [messages on the new side alone, by UID], "differences": [text, …], "differing": n}`.
    Every message of the old side must be on the new side under its UID, with the same flags, keywords, INTERNALDATE (as
    an instant and as written), size and, where both were read, digest.
    """
    found = []
    if old.uidvalidity != new.uidvalidity:
        found.append(f"UIDVALIDITY {old.uidvalidity} became {new.uidvalidity}")
    there = {message.uid: message for message in new.messages}
    count = 0
    for message in old.messages:
        count += 1
        other = there.pop(message.uid, None)
        found += (
            [f"UID {message.uid}: missing"]
            if other is None
            else [f"UID {message.uid}: {what}" for what in _differs(message, other)]
        )
    extra = [message for _, message in sorted(there.items())]
    if old.uidnext and new.uidnext < old.uidnext:
        found.append(f"UIDNEXT {old.uidnext} became {new.uidnext}")
    found += [
        f"UID {message.uid}: not in the old folder, and below its UIDNEXT {old.uidnext}"
        for message in extra
        if message.uid < old.uidnext
    ]
    return {
        "old": count,
        "new": count - sum(1 for text in found if text.endswith(": missing")) + len(extra),
        "extra": extra,
        "differences": found[:SHOWN],
        "differing": len(found),
    }


def _differs(old, new):
    if old.flags != new.flags:
        lost, gained = sorted(old.flags - new.flags), sorted(new.flags - old.flags)
        yield "flags " + " and ".join(
            [*([f"lost {' '.join(lost)}"] if lost else []), *([f"gained {' '.join(gained)}"] if gained else [])]
        )
    if old.internaldate != new.internaldate:
        yield f"INTERNALDATE {old.internaldate.isoformat()} became {new.internaldate.isoformat()}"
    if old.size != new.size:
        yield f"size {old.size} became {new.size}"
    if old.digest != new.digest:
        yield f"content {str(old.digest)[:12]}… became {str(new.digest)[:12]}…"


def read_user(hosts, user: str, mapping: dict, level: str) -> list:
    """All folders of one user, read on both sides and compared.

    `mapping` is the converter's: old name (as clients said it) → new name. → rows of plain values, one a folder:
    `{"user", "old_name", "new_name", "old", "new", "extra", "spool", "differences", "differing", "passed_over"}`.
    """
    site = hosts.site
    rows = []
    with old_session(hosts, user) as old, new_session(hosts, user) as new:
        only_new = {name for name, _, selectable in new.folders("*") if selectable} | {"INBOX"}
        for old_name in old_folders(old, site.old_store.imap_prefix):
            row = _row(user, old_name, mapping.get(old_name))
            rows.append(row)
            only_new.discard(row["new_name"])
            _read_both(old, new, row, level)
            if old_name == "INBOX":
                _spool(old, site.old_store.spool.format(user=user, home=""), row)
        for new_name in sorted(only_new):
            count = new.status(new_name, ["MESSAGES"])["MESSAGES"]
            rows.append({**_row(user, None, new_name), "new": count, "extra": count})
    for row in rows:
        del row["added"]
    return rows


def _row(user, old_name, new_name):
    return {
        "user": user,
        "old_name": old_name,
        "new_name": new_name,
        "old": 0,
        "new": 0,
        "extra": 0,
        "spool": 0,
        "differences": [],
        "differing": 0,
        "passed_over": "",
        "added": [],
    }


def _read_both(old, new, row, level):
    """Fill a row from both sides."""
    try:
        folder = old.read(row["old_name"], level)
    except imap.FolderUnreadable as error:
        if row["old_name"] == "INBOX":
            folder = None  # a user who never had an INBOX; what is in the spool is told apart
        elif row["new_name"] is None:
            row["passed_over"] = f"no folder to c-client either ({error.reason})"
            return
        else:
            _wrong(row, f"c-client cannot read it: {error}")
            return
    if row["new_name"] is None:
        row["old"] = sum(1 for _ in folder.messages) if folder else 0
        if row["old"]:
            _wrong(row, f"c-client reads {row['old']} messages; the conversion passed it over")
        return
    try:
        there = new.read(row["new_name"], level)
    except errors.CutoverError as error:
        _wrong(row, str(error))
        return
    if folder is None:
        folder = imap.Folder(row["old_name"], there.uidvalidity, 0, [])
    result = compare(folder, there)
    row["added"] = result.pop("extra")
    row.update(result, extra=len(row["added"]))


def _wrong(row, text):
    row["differences"].append(text)
    row["differing"] += 1


def _spool(session, path, row):
    """c-client reads the spool; each message must be among those the new INBOX has beyond the old, by digest."""
    try:
        spool = list(session.read(path, "content").messages)
    except imap.FolderUnreadable:
        return  # no spool file, or an empty one
    row["spool"] = len(spool)
    digests = [message.digest for message in row["added"] if message.digest]
    if digests:
        for message in spool:
            if message.digest in digests:
                digests.remove(message.digest)
            else:
                _wrong(row, f"the spool's message of {message.internaldate.isoformat()} is not in the new INBOX")
    elif len(row["added"]) < len(spool):
        _wrong(row, f"{len(spool)} messages in the spool, {len(row['added'])} added to the new INBOX")
