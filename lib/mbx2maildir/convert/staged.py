"""One folder of a user's staged tree: where it is, who writes there, how it begins and ends."""

import os
import time

from mbx2maildir.convert import trash
from mbx2maildir.formats import line_ends, maildir, mbx, uidlist


class Moved:
    """In the place of a mailbox: what c-client moves out of the spool, as it would then be."""

    format = "moved"


def quiet(messages, size):
    """The progress callback of a caller who does not want any."""


def empty_result(name):
    return {
        "folder": name,
        "old": "",
        "messages": 0,
        "bytes": 0,
        "bare_lf": 0,
        "expunged": 0,
        "uidvalidity": 0,
        "uidnext": 1,
        "keywords": [],
        "lost_keywords": [],
        "warnings": [],
        "damage": [],
        "spool": 0,
        "written": 0,
        "renamed": 0,
        "removed": 0,
        "unchanged": False,
    }


def folder_path(user, name):
    return os.path.join(os.fsencode(user["staging"]), maildir.folder_directory(name))


def folder_guid(user, name, uidvalidity):
    return uidlist.guid(
        os.fsencode(user["host"]), os.fsencode(user["user"]), name, b"%d" % uidvalidity
    )


def fallback_uidvalidity(new_folders, name, source=None, root=None):
    """UIDVALIDITY for a folder whose old file states none: the new side's, else the old file's
    time, else that of the directory of folders (the same in every pass), else now.

    new_folders: {Maildir name: (uidvalidity, uidnext)} of existing.NewSide.
    """
    known = new_folders.get(name, (0, 0))[0]
    if not known and source is None and root and os.path.isdir(os.fsencode(root)):
        return int(os.stat(os.fsencode(root)).st_ctime)
    return known or (source.ctime // 1000000000 if source else int(time.time()))


def clear_folder(user, name):
    """Remove what an earlier pass left of a folder."""
    path = folder_path(user, name)
    if name:
        if os.path.isdir(path):
            trash.discard(path, os.fsencode(user["index"]))
        return
    for entry in (b"cur", b"new", b"tmp"):
        if os.path.isdir(os.path.join(path, entry)):
            trash.discard(os.path.join(path, entry), os.fsencode(user["index"]))
    for entry in os.listdir(path):
        if entry.startswith(b"dovecot-uidlist") or entry == b"dovecot-keywords":
            os.unlink(os.path.join(path, entry))


def wanted(box, spool_box, result):
    """The messages a folder must have, in UID order: those of the mailbox, then what c-client would
    take from the spool.

    Yields (message as its mailbox gives it, without text; mailbox). Sets result["uidnext"],
    ["spool"].
    """
    for message in box.messages(False) if box is not None else ():
        yield message, box
    result["uidnext"] = box.uidnext if box is not None else 1
    for message in spooled(box, spool_box, result) if spool_box is not None else ():
        yield message, Moved


def spooled(box, spool_box, result):
    """The messages c-client would take from the spool, from UID result["uidnext"] on; that and
    result["spool"] go on.

    To a mbox the spool is appended as it is. Into any other INBOX its messages are copied: their
    keywords, UIDs and "old" do not survive that.
    """
    if box is not None and box.format == spool_box.format == "mbox":
        spool_box.follow(box)
        for message in spool_box.messages():
            result["spool"] += 1
            yield message
        result["uidnext"] = spool_box.uidnext
        return
    for _uid, _recent, flags, _bits, seconds, size, offset, text in spool_box.messages():
        if spool_box.format == "mbx":
            text = line_ends.stored_text(spool_box.fd, offset, size, mbx.LARGE)
            if text is None:
                spool_box.shrank(offset)
        if text:
            shown = line_ends.sizes(text)[1]
            yield result["uidnext"], True, flags & ~mbx.OLD, 0, seconds, shown, 0, text
            result["uidnext"] += 1
            result["spool"] += 1


def finish_folder(user, name, writer, box, uidvalidity, fallback, keywords, result):
    """Give a folder whose messages are written its heads, and the result what is known only now."""
    result["head_uidvalidity"] = uidvalidity
    result["renumbered"] = bool(box and box.renumbered)
    result["uidvalidity"] = (box.uidvalidity if box else 0) or fallback
    result["slots"], result["used"], result["keywords"] = (
        keywords.slots,
        keywords.used,
        keywords.names,
    )
    writer.close(
        result["uidvalidity"],
        result["uidnext"],
        folder_guid(user, name, result["uidvalidity"]),
        keywords.file_text(),
    )
