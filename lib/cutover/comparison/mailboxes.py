"""Both mail stores read by servers the converter has nothing to do with, and compared message by message.

Old side: c-client's imapd, started as the user (PREAUTH). New side: Dovecot's imap by `doveadm exec`, the same way.
Both work while the services are closed to users. Always EXAMINE: reading changes nothing.
"""

import contextlib
import dataclasses
import hashlib
import math
import os
import time

from cutover.connect import imap
from cutover.model import errors

SHOWN = 20  # differences told in full for one folder


def name(text: str) -> str:
    """A folder's name as it lies on disk (modified UTF-7 or raw bytes) as imap.Session says it."""
    return imap.decode_name(os.fsencode(text))


def maildir(site, user: dict) -> str:
    """Where the mail of a user (an entry of facts.users) lies on the new host."""
    return site.new_store.maildir.format(user=user["user"], home=user["home"])


def folder_names(site, folder: dict) -> tuple:
    """(old, new) names, as IMAP says them, of a folder of the store's `state`; old is None where only the new side has it."""
    old, new = folder["old"], folder["name"].replace(".", "/")
    if old:
        return name(site.old_store.imap_prefix + old), name(new) if new else "INBOX"
    return (None, name(new)) if new else ("INBOX", "INBOX")


@contextlib.contextmanager
def old_session(hosts, user: str):
    """c-client as the user, on the old host. → imap.Session"""
    site = hosts.site
    with preauth(hosts.ssh(site.roles.old).open([site.old_store.imapd], as_user=user)) as session:
        yield session


@contextlib.contextmanager
def new_session(hosts, user: str):
    """Dovecot as the user, on the new host. → imap.Session

    Run as the user and without -u: with it doveadm asks Dovecot's auth service, which is stopped like the rest.
    """
    with preauth(
        hosts.ssh(hosts.site.roles.new).open(["doveadm", "exec", "imap"], as_user=user)
    ) as session:
        yield session


@contextlib.contextmanager
def preauth(stream, server: str | None = None):
    """The IMAP session that a command opened on a host begins by itself; it ends with the command. `server`: what errors call it,
    if not by the command. → imap.Session"""
    try:
        session = imap.preauth(stream, timeout=300, server=server)
        yield session
        session.logout()
    finally:
        stream.close()


def old_folders(session, prefix: str) -> list:
    """The names c-client lists: INBOX, and all below the prefix that clients of the site use."""
    names = [name for name, _, selectable in session.folders(prefix + "*") if selectable]
    return ["INBOX", *sorted(name for name in names if name.upper() != "INBOX")]


def _counted(old, new):
    """As compare(), of two folders that were only opened."""
    lacking = [f"{old.exists - new.exists} messages are missing"] if new.exists < old.exists else []
    look = Look()
    look.count = old.exists
    return {
        "old": old.exists,
        "new": new.exists,
        "extra": [],
        "differences": lacking,
        "differing": len(lacking),
        "lost": 0,
        "line_ends": 0,
        "contents": 0,
        "look": look,
    }


@dataclasses.dataclass
class Contents:
    """Which messages' contents are read: a share of them that the seed decides, and none after the deadline."""

    seed: str
    share: float = 1.0
    deadline: float = math.inf  # by time.monotonic()

    def of(self, user: str, folder: str):
        """→ a function: whether the content of the message with a UID is to be read."""

        def wanted(uid):
            if time.monotonic() > self.deadline:
                return False
            if self.share >= 1:
                return True
            text = f"{self.seed}\0{user}\0{folder}\0{uid}".encode("utf-8", "surrogateescape")
            return int.from_bytes(hashlib.sha256(text).digest()[:8]) < self.share * 2**64

        return wanted


def compare(
    old: imap.Folder, new: imap.Folder, lost_keywords=(), same_text=lambda uid: False
) -> dict:
    """Two readings of one folder, whose messages come by ascending UID; iterators will do, and little is kept of them.

    → `{"old": n, "new": n, "extra": [messages on the new side alone, by UID], "differences": [text, …], "differing": n,
    "lost": n, "line_ends": n, "contents": n whose digests were compared, "look": what is the same for the same messages in any
    order}`. Every message of the old side must be on the new side under its UID, with the same flags, keywords, INTERNALDATE,
    size and, where both were read, digest. Two things no Maildir can keep are counted apart from what differs: `lost_keywords`
    that found no letter among its 26, as the conversion reported, and bare LFs, which Dovecot sends as CRLF: then the size
    differs and the text, line ends aside, must not. `same_text(uid)` reads it where no digest is there.
    """
    found, extra, differing = [], [], 0
    lost = line_ends = count = missing = contents = 0
    look = Look()
    allowed = frozenset(lost_keywords)

    def wrong(text):
        nonlocal differing
        differing += 1
        if len(found) < SHOWN:
            found.append(text)

    if old.uidvalidity != new.uidvalidity:
        wrong(f"UIDVALIDITY {old.uidvalidity} became {new.uidvalidity}")
    olds, news = iter(old.messages), iter(new.messages)
    message, other = next(olds, None), next(news, None)
    while message is not None or other is not None:
        if message is None or other is not None and other.uid < message.uid:
            extra.append(other)
            if other.uid < (old.uidnext or 0):
                wrong(
                    f"UID {other.uid}: not in the old folder, and below its UIDNEXT {old.uidnext}"
                )
            other = next(news, None)
            continue
        count += 1
        look.add(message)
        if other is None or message.uid < other.uid:
            missing += 1
            wrong(f"UID {message.uid}: missing")
            message = next(olds, None)
            continue
        lost += bool(message.flags & allowed)
        read = message.digest is not None and other.digest is not None
        contents += read
        if message.size != other.size and (
            message.digest == other.digest if read else same_text(message.uid)
        ):
            line_ends += 1
            other = dataclasses.replace(other, size=message.size)
        for what in _differs(message, other, allowed):
            wrong(f"UID {message.uid}: {what}")
        message, other = next(olds, None), next(news, None)
    if old.uidnext and new.uidnext < old.uidnext:
        wrong(f"UIDNEXT {old.uidnext} became {new.uidnext}")
    return {
        "old": count,
        "new": count - missing + len(extra),
        "extra": extra,
        "differences": found,
        "differing": differing,
        "lost": lost,
        "line_ends": line_ends,
        "contents": contents,
        "look": look,
    }


class Look:
    """What a number of messages look like together, whatever their order: by their digests where all have one."""

    def __init__(self, messages=()):
        self.count = self.size = self.dates = self.digests = 0
        self.whole = True
        for message in messages:
            self.add(message)

    def add(self, message):
        self.count, self.size = self.count + 1, self.size + message.size
        self.dates += int(message.internaldate.timestamp())
        self.whole = self.whole and message.digest is not None
        self.digests = (self.digests + int(message.digest, 16)) % 2**256 if self.whole else 0

    def like(self, other) -> bool:
        return (self.count, self.size, self.dates) == (other.count, other.size, other.dates) and (
            not (self.whole and other.whole) or self.digests == other.digests
        )


def _differs(old, new, allowed):
    if old.flags - allowed != new.flags - allowed:
        lost, gained = sorted(old.flags - allowed - new.flags), sorted(new.flags - old.flags)
        yield "flags " + " and ".join(
            [
                *([f"lost {' '.join(lost)}"] if lost else []),
                *([f"gained {' '.join(gained)}"] if gained else []),
            ]
        )
    if old.internaldate != new.internaldate:
        yield f"INTERNALDATE {old.internaldate.isoformat()} became {new.internaldate.isoformat()}"
    if old.size != new.size:
        yield f"size {old.size} became {new.size}"
    if None not in (old.digest, new.digest) and old.digest != new.digest:
        yield f"content {str(old.digest)[:12]}… became {str(new.digest)[:12]}…"


def read_user(hosts, user: str, folders: list, level: str, contents: Contents) -> list:
    """All folders of one user, read on both sides and compared. `contents`: which messages' contents, at level "content".

    `folders`: what the conversion says, `[{"old", "new", "lost_keywords", "salvaged"}]`, `old` None for a folder that only the
    new side has, `salvaged` messages read from a damaged file (None: it is whole). → rows of plain values, one a folder:
    `{"user", "old_name", "new_name", "old", "new", "extra", "spool", "differences", "differing", "lost", "line_ends",
    "contents": number compared by content, "notes": [text], "unknown": it is no folder to the conversion, "salvaged": it is
    damaged and nothing was compared}`.
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
            wanted = contents.of(user, old_name)
            there = _open_old(old, row, level, folder and folder["salvaged"], wanted)
            if there is not None and folder is not None:
                result = _compare_new(old, new, there, row, level, folder, wanted)
                _uidvalidity(old, there, row)
                if old_name == "INBOX" and result is not None:
                    _spool(
                        old,
                        site.old_store.spool.format(user=user, home=""),
                        result["look"],
                        result["extra"],
                        row,
                    )
        for new_name in sorted(only_new):
            count = new.status(new_name, ["MESSAGES"])["MESSAGES"]
            rows.append({**_row(user, None, new_name), "new": count, "extra": count})
        _subscriptions(set(old.subscribed()), set(new.subscribed()), rows)
    return rows


def _subscriptions(old, new, rows):
    """What a user has subscribed to on the old side must be so on the new: many a client shows nothing else."""
    for row in rows:
        if row["old_name"] in old and row["new_name"] and row["new_name"] not in new:
            _wrong(row, "the subscription to it is missing")


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
        "lost": 0,
        "line_ends": 0,
        "contents": 0,
        "notes": [],
        "unknown": False,
        "salvaged": False,
    }


def _open_old(old, row, level, salvaged, wanted):
    """The folder as c-client opens it, or None when there is nothing to compare."""
    try:
        folder = old.stream(row["old_name"], level, wanted=wanted)
    except imap.FolderUnreadable as error:
        return _unreadable(error, row, salvaged)
    if row["new_name"] is None:
        row.update(unknown=True, notes=[f"c-client shows it as {folder.exists} message(s)"])
        return None
    return folder


def _unreadable(error, row, salvaged):
    """A folder that c-client will not open, or not give all of. → an empty one for an INBOX that never was, else None."""
    if salvaged is not None:
        row.update(
            salvaged=True,
            notes=[
                f"c-client cannot read it ({error.reason}); {salvaged} messages were salvaged and "
                "compared with nothing"
            ],
        )
    elif row["old_name"] == "INBOX":
        return imap.Folder("INBOX", 0, 0, [])  # a user who never had an INBOX
    elif row["new_name"] is None:
        row.update(unknown=True, notes=[f"no folder to c-client either ({error.reason})"])
    else:
        _wrong(row, f"c-client cannot read it: {error}")
    return None


def _compare_new(old, new, folder, row, level, said, wanted):
    """Fill a row from both sides. → what compare() found, None where a side could not be read to its end."""

    def same_text(uid):
        texts = (
            session.fetch(name, uid)
            for session, name in ((old, row["old_name"]), (new, row["new_name"]))
        )
        return len({imap.Digest().update(text).hexdigest() for text in texts}) == 1

    try:
        # of what only the new side has each content is read: the spool is looked for among it
        there = new.stream(
            row["new_name"], level, wanted=lambda uid: uid >= (folder.uidnext or 0) or wanted(uid)
        )
        if folder.uidvalidity == 0:
            folder.uidvalidity = there.uidvalidity
        result = (
            _counted(folder, there)
            if level == "count"
            else compare(folder, there, said["lost_keywords"], same_text)
        )
    except imap.FolderUnreadable as error:
        if error.server == old.server and said["salvaged"] is not None:
            _unreadable(error, row, said["salvaged"])
        else:
            _wrong(row, str(error))
        return None
    except errors.CutoverError as error:
        _wrong(row, str(error))
        return None
    row.update(
        {key: value for key, value in result.items() if key not in ("extra", "look")},
        extra=max(0, there.exists - folder.exists) if level == "count" else len(result["extra"]),
    )
    if row["line_ends"]:
        row["notes"].append(
            f"{row['line_ends']} messages hold bare LFs, which Dovecot shows as CRLF: other sizes, the same text"
        )
    if row["lost"]:
        row["notes"].append(
            f"{row['lost']} messages lack {', '.join(said['lost_keywords'])}: Maildir has 26 keywords"
        )
    return result


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
        return  # no spool file, or an empty one
    row["spool"] = len(spool)
    if inbox.count == len(spool) and (not inbox.size or inbox.like(Look(spool))):
        return  # the spool is what the old server shows as INBOX
    digests = [message.digest for message in added if message.digest]
    if not digests:
        if row["extra"] < len(spool):
            _wrong(
                row, f"{len(spool)} messages in the spool, {row['extra']} added to the new INBOX"
            )
        return
    for message in spool:
        if message.digest in digests:
            digests.remove(message.digest)
        else:
            _wrong(
                row,
                f"the spool's message of {message.internaldate.isoformat()} is not in the new INBOX",
            )
