"""Conversion of one user into a staged tree: prepare → each folder → finish. Publishing is publish.py's.

The three functions take and give plain values (dicts, lists, bytes), so that they can run in different processes.
Files are created with the user's effective uid and gid: no chown a message, and the user's quota counts.
"""

import contextlib
import os
import time

from . import digest, errors, existing, maildir, marker, mbox, mbx, source
from .keywords import KeywordTable
from .names import Names

PROGRESS_EVERY = 512  # messages between looks at the clock


def quiet(messages, size):
    """The progress callback of a caller who does not want any."""


@contextlib.contextmanager
def inside(user, folder=b""):
    """Work as the user inside the staged tree, by relative paths. → the folder's path.

    The user need not be able to reach the tree by its absolute path: the directory is entered as root.
    """
    before = os.open(".", os.O_RDONLY | os.O_DIRECTORY)
    group = os.getegid()
    switch = os.geteuid() == 0 and user.get("uid") is not None
    try:
        os.chdir(user["staging"])
        if switch:
            os.setegid(user["gid"])
            os.seteuid(user["uid"])
        yield existing.folder_directory(folder) or b"."
    finally:
        if switch:
            os.seteuid(0)
            os.setegid(group)
        os.fchdir(before)
        os.close(before)


def prepare(user, strict=False):
    """Look at both sides and begin the staged tree.

    user: an entry of the plan with "staging" (path) added. → {"inbox", "spool": Found or None, "folders": [(Found, Maildir
    name)], "passed", "changes", "subscriptions", "elsewhere", "new": NewSide or None, "foreign", "bytes"}.
    """
    uid, gid = user.get("uid"), user.get("gid")
    inbox = source.inbox(user.get("inbox") or [], uid, gid)
    spool = source.spool_file(user.get("spool"), uid, gid)
    besides = [inbox.path if inbox else None, user.get("spool"), user.get("subscriptions"), *(user.get("inbox") or [])]
    folders, passed = source.folders(user.get("folders"), uid, gid, besides)
    subscribed, elsewhere = source.subscriptions(
        user.get("subscriptions"), user.get("folders"), user.get("home"), uid, gid)
    names = Names([found.name for found in folders])
    target = os.fsencode(user["maildir"])
    new = existing.NewSide(target).read() if os.path.isdir(target) else None
    marker.begin_tree(os.fsencode(user["staging"]),
                      {"complete": False, "user": user["user"], "run": user.get("run", "")}, user)
    wanted = [b"INBOX" if name is None else names.maildir(name) for name in subscribed]
    return {"inbox": inbox, "spool": spool, "passed": passed, "changes": names.changes, "elsewhere": elsewhere,
            "folders": [(found, names.maildir(found.name)) for found in folders],
            "subscriptions": list(dict.fromkeys(wanted)), "new": new,
            "foreign": existing.foreign_entries(target, new.names) if new else [],
            "bytes": sum(found.size for found in [*folders, inbox, spool] if found)}


def empty_result(name):
    return {"folder": name, "messages": 0, "bytes": 0, "expunged": 0, "uidvalidity": 0, "uidnext": 1, "keywords": [],
            "lost_keywords": [], "warnings": [], "damage": [], "hits": []}


def folder(user, found, name, spool=None, lengths=(), fallback_uidvalidity=0, strict=False, progress=quiet):
    """Convert one folder (or INBOX: name b"") into the staged tree.

    found: source.Found, or None for an INBOX that does not exist. spool: Found to append (INBOX only).
    → dict: folder, messages, bytes (stored), expunged, uidvalidity, uidnext, keywords (names by letter), warnings (texts),
    damage (list, with "file"), hits (list of [key, uid, subdir, file name] for messages that may be on the new side too).
    """
    uid, gid = user.get("uid"), user.get("gid")
    if found is None and spool is not None:
        found, spool = spool, None
    result = empty_result(name)
    result["old"] = os.fsdecode(found.name) if found is not None and name else ""
    fd = spool_fd = writer = None
    try:
        box = None
        if found is not None:
            fd, box = found.open(uid, gid, strict)
        if spool is not None:
            spool_fd = source.open_mail(spool.path, uid, gid)
        keywords = keyword_table(found, box, user, strict, result) if box else KeywordTable([])
        try:
            with inside(user, name) as path:
                uidvalidity = box.uidvalidity if box else 0
                writer = maildir.FolderWriter(path, maildir.host_name(user["host"]),
                                              uidvalidity or fallback_uidvalidity, top=not name)
                if box is not None:
                    write_messages(writer, box, fd, keywords, lengths, result, progress)
                uidnext = box.uidnext if box else 1
                if spool_fd is not None:
                    uidnext = write_spool(writer, spool_fd, spool, uidnext, lengths, result)
                result["uidvalidity"] = (box.uidvalidity if box else 0) or fallback_uidvalidity
                result["uidnext"] = uidnext
                writer.close(result["uidvalidity"], uidnext, folder_guid(user, name, result["uidvalidity"]),
                             keywords.file_text())
        except OSError as error:
            where = os.path.join(os.fsencode(user["staging"]), existing.folder_directory(name))
            raise maildir.space_error(error, where) from error
        result.update(messages=writer.messages, bytes=writer.bytes, keywords=keywords.names)
        if box is not None:
            result["expunged"] = box.expunged
            result["warnings"] += notes(found, box, writer)
            salvage(user, name, fd, box.damage)
            result["damage"] = [dict(item, file=errors.printable(found.path)) for item in box.damage]
        return result
    finally:
        if writer is not None:
            writer.abandon()
        for descriptor in (fd, spool_fd):
            if descriptor is not None:
                os.close(descriptor)


def folder_guid(user, name, uidvalidity):
    return maildir.guid(os.fsencode(user["host"]), os.fsencode(user["user"]), name, b"%d" % uidvalidity)


def keyword_table(found, box, user, strict, result):
    """The folder's keyword letters. With more than 26 names a pass over the message lines finds those in use."""
    if sum(1 for name in box.keywords if name) <= 26:
        return KeywordTable(box.keywords)
    used = 0
    lost = {}
    fd, again = found.open(user.get("uid"), user.get("gid"), strict)
    try:
        for message in again.messages(texts=False):
            used |= message[3]
        table = KeywordTable(box.keywords, used)
        if table.dropped_bits:
            for slot, name in enumerate(box.keywords):
                if table.dropped_bits >> slot & 1:
                    lost[slot] = [name, []]
            for message in again.messages(texts=False):
                bits = message[3] & table.dropped_bits
                for slot, entry in lost.items():
                    if bits >> slot & 1:
                        entry[1].append(message[0])
    finally:
        os.close(fd)
    for name, uids in lost.values():
        result["lost_keywords"].append(errors.printable(name))
        result["warnings"].append("keyword {} has no letter left of Maildir's 26 and is lost on UIDs {}".format(
            errors.printable(name), ranges(uids)))
    return table


def ranges(uids):
    """[1, 2, 3, 7] → "1:3,7"."""
    out = []
    for uid in uids:
        if out and out[-1][1] == uid - 1:
            out[-1][1] = uid
        else:
            out.append([uid, uid])
    return ",".join(str(first) if first == last else "{}:{}".format(first, last) for first, last in out)


def write_messages(writer, box, fd, keywords, lengths, result, progress):
    """The hot loop: every visible message of a mailbox into the writer."""
    letters_by_flags = maildir.LETTERS_BY_FLAGS
    letters_of = keywords.letters
    known = sum(keywords.letter) if keywords.letter else 0
    add, to_lf, hits, lf_already = writer.add, maildir.to_lf, result["hits"], box.format == "mbox"
    counted = done_bytes = bare_lf = 0
    for uid, recent, flags, bits, seconds, size, offset, text in box.messages():
        letters = letters_by_flags[flags & 0x2f]
        if bits & known:
            letters += letters_of(bits & known)
        if text is None:
            name = writer.copy(uid, recent, letters, seconds, fd, offset, size)
            if lengths:
                hits.append([key_of(writer, recent, name, letters), uid, b"new" if recent else b"cur",
                             name + b":2," + letters])
        else:
            stored, virtual = (text, size) if lf_already else to_lf(text)
            bare_lf += virtual != size
            name = add(uid, recent, letters, seconds, stored, virtual)
            if lengths and digest.body_length(stored) in lengths:
                hits.append([digest.key(stored), uid, b"new" if recent else b"cur", name + b":2," + letters])
        counted += 1
        if counted >= PROGRESS_EVERY:
            progress(counted, writer.bytes - done_bytes)
            counted, done_bytes = 0, writer.bytes
    progress(counted, writer.bytes - done_bytes)
    writer.bare_lf += bare_lf


def key_of(writer, recent, name, letters):
    fd = os.open(name + b":2," + letters, os.O_RDONLY, dir_fd=writer.directories[recent])
    try:
        return digest.key_of_file(fd)[0]
    finally:
        os.close(fd)


def write_spool(writer, fd, spool, uidnext, lengths, result):
    """Append what c-client would move from the spool at the next login: Recent, UIDs after the last one."""
    count = 0
    for flags, seconds, text in mbox.snarfed(fd, spool.path):
        letters = maildir.LETTERS_BY_FLAGS[flags & 0x2f]
        name = writer.add(uidnext, True, letters, seconds, text, len(text) + text.count(b"\n"))
        if lengths and digest.body_length(text) in lengths:
            result["hits"].append([digest.key(text), uidnext, b"new", name + b":2," + letters])
        uidnext += 1
        count += 1
    if count:
        result["spool"] = count
    return uidnext


def notes(found, box, writer):
    """Warnings about a folder that was converted."""
    texts = []
    if box.renumbered:
        texts.append("UIDs do not rise, or lie above UIDLAST: renumbered under a new UIDVALIDITY, as c-client would")
    if writer.bare_lf:
        texts.append("{} messages hold bare LFs: their size grows by the CRs Dovecot adds".format(writer.bare_lf))
    for item in box.damage:
        aside = ", {} bytes set aside".format(item["length"]) if item["length"] else ""
        texts.append("{}: {} at byte {}{}".format(item["kind"], item["what"], item["offset"], aside))
    return texts


def salvage(user, name, fd, damage):
    """Set the damaged ranges of a folder aside as files: <salvage>/<folder>/<offset>-<length>."""
    if not user.get("salvage"):
        return
    for item in damage:
        if not item["length"]:
            continue
        directory = os.path.join(os.fsencode(user["salvage"]), name or b"INBOX")
        path = os.path.join(directory, b"%d-%d" % (item["offset"], item["length"]))
        try:
            os.makedirs(directory, maildir.DIRECTORY_MODE, exist_ok=True)
            target = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, maildir.FILE_MODE)
            try:
                position, end = item["offset"], item["offset"] + item["length"]
                while position < end:
                    block = os.pread(fd, min(mbx.CHUNK, end - position), position)
                    if not block:
                        break
                    position += os.write(target, block)
            finally:
                os.close(target)
        except OSError as error:
            raise maildir.space_error(error, path) from error
        item["set_aside"] = errors.printable(path)


def fallback_uidvalidity(new_folders, name, found=None):
    """UIDVALIDITY for a folder whose old file states none: the new side's, else the old file's time, else now.

    new_folders: {Maildir name: (uidvalidity, uidnext)} of existing.NewSide.
    """
    known = new_folders.get(name, (0, 0))[0]
    return known or (found.ctime // 1000000000 if found else int(time.time()))
