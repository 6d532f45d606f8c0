"""Both mail stores read by servers the converter has nothing to do with, and compared message by message.

Old side: c-client's imapd, started as the user (PREAUTH). New side: Dovecot's imap by `doveadm exec`. Both work while the
services are closed to users. Always EXAMINE: reading changes nothing.
"""

import contextlib

from cutover import errors
from cutover.hosts import imap

SHOWN = 20      # differences told in full for one folder


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
        found += [f"UID {message.uid}: missing"] if other is None else [
            f"UID {message.uid}: {what}" for what in _differs(message, other)]
    extra = [message for _, message in sorted(there.items())]
    if new.uidnext < old.uidnext:
        found.append(f"UIDNEXT {old.uidnext} became {new.uidnext}")
    found += [f"UID {message.uid}: not in the old folder, and below its UIDNEXT {old.uidnext}"
              for message in extra if message.uid < old.uidnext]
    return {"old": count, "new": count - sum(1 for text in found if text.endswith(": missing")) + len(extra),
            "extra": extra, "differences": found[:SHOWN], "differing": len(found)}


def _differs(old, new):
    if old.flags != new.flags:
        lost, gained = sorted(old.flags - new.flags), sorted(new.flags - old.flags)
        yield "flags " + " and ".join([*([f"lost {' '.join(lost)}"] if lost else []),
                                       *([f"gained {' '.join(gained)}"] if gained else [])])
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
        listed_new = {name for name, _, selectable in new.folders("*") if selectable} | {"INBOX"}
        for name in old_folders(old, site.old_store.imap_prefix):
            row = {"user": user, "old_name": name, "new_name": mapping.get(name), "old": 0, "new": 0, "extra": 0, "spool": 0,
                   "differences": [], "differing": 0, "passed_over": ""}
            rows.append(row)
            try:
                folder = old.read(name, level)
            except imap.FolderUnreadable as error:
                if row["new_name"] is None:
                    row["passed_over"] = str(error)
                else:
                    row.update(differences=[f"c-client cannot read it: {error}"], differing=1)
                continue
            if row["new_name"] is None:
                messages = list(folder.messages)
                row.update(old=len(messages), differing=1, differences=["c-client reads it, the conversion passed it over"])
                continue
            listed_new.discard(row["new_name"])
            try:
                result = compare(folder, new.read(row["new_name"], level))
            except errors.CutoverError as error:
                row.update(differences=[str(error)], differing=1)
                continue
            extra = result.pop("extra")
            row.update(result, extra=len(extra))
            if name == "INBOX":
                row["spool"] = _spool(old, site.old_store.spool.format(user=user, home=""), extra, row)
        rows += [{"user": user, "old_name": None, "new_name": name, "old": 0, "new": 0, "extra": 0, "spool": 0,
                  "differences": [], "differing": 0, "passed_over": "", "only_new": _count(new, name)}
                 for name in sorted(listed_new)]
    return rows


def _count(session, name):
    return session.status(name, ["MESSAGES"]).get("MESSAGES", 0)


def _spool(session, path, extra, row):
    """How many messages c-client finds in the spool; each must be among the new INBOX's extra ones, by digest."""
    try:
        spool = list(session.read(path, "content").messages)
    except imap.FolderUnreadable:
        return 0        # no spool file, or an empty one
    digests = [message.digest for message in extra if message.digest]
    if digests:
        for message in spool:
            if message.digest in digests:
                digests.remove(message.digest)
            else:
                row["differences"].append(f"spool message of {message.internaldate.isoformat()} is not in the new INBOX")
                row["differing"] += 1
    elif len(extra) < len(spool):
        row["differences"].append(f"{len(spool)} messages in the spool, {len(extra)} appended to the new INBOX")
        row["differing"] += 1
    return len(spool)
