"""One user's folders, read by servers the converter has nothing to do with, and compared.

Old side: c-client. New side: Dovecot. Always EXAMINE: reading changes nothing.
"""

import dataclasses
import hashlib
import math
import time

from cutover.comparison import messages
from cutover.connect import imap
from cutover.facts import mailboxes
from cutover.model import errors


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
    with mailboxes.old_session(hosts, user) as old, mailboxes.new_session(hosts, user) as new:
        only_new = {name for name, _, selectable in new.folders("*") if selectable} | {"INBOX"}
        for old_name in mailboxes.old_folders(old, site.old_store.imap_prefix):
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
            messages.counted(folder, there)
            if level == "count"
            else messages.compare(folder, there, said["lost_keywords"], same_text)
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
    if inbox.count == len(spool) and (not inbox.size or inbox.like(messages.Look(spool))):
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
