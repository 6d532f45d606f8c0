"""`compare`: our own quick check of an old store against a Maildir. It shares code with the
converter, so it is no proof: that is a second reader's (c-client's imapd against Dovecot). It finds
what changed or went missing since."""

import hashlib
import os

from mbx2maildir import errors, files
from mbx2maildir.convert import existing, incoming, source
from mbx2maildir.formats import file_names, keywords, maildir, uidlist
from mbx2maildir.formats.names import Names


def task_compare(*arguments):
    """compare(), for a process that is the user."""
    return compare(*arguments[:-1])


def compare(inbox, spool, folders, subscriptions, target, dots=None):
    """→ {"folders": [{"folder", "old", "new", "only_new"}], "differences": [{"folder", "uid",
    "what", "old", "new"}], "messages"}. only_new: messages behind the last UID of the old folder
    (delivered to the new side)."""
    if not os.path.isdir(target):
        raise errors.NoMaildir(
            "no such directory",
            target,
            todo="Check --maildir. If nothing is converted yet, run `convert` first.",
        )
    source.expect_directory(folders)
    first, spooled, _passed = incoming.find(inbox, spool)
    old_folders, _passed = source.folders(folders, besides=[*inbox, spool, subscriptions])
    names = Names([entry.name for entry in old_folders], dots)
    root = os.fsencode(target)
    rows, differences = [], []
    for entry, name in [(first or spooled, b"")] + [
        (entry, names.maildir(entry.name)) for entry in old_folders
    ]:
        directory = os.path.join(root, maildir.folder_directory(name))
        if not os.path.isdir(os.path.join(directory, b"cur")):
            differences.append(
                {
                    "folder": show(name),
                    "uid": None,
                    "what": "folder",
                    "old": "there",
                    "new": "missing",
                }
            )
            continue
        rows.append(
            compare_folder(
                entry, spooled if first and not name else None, name, directory, differences
            )
        )
    expected = {names.maildir(entry.name) for entry in old_folders} | {b""}
    only = [name for name in maildir.folder_names(root) if name not in expected]
    return {
        "folders": rows,
        "differences": differences,
        "messages": sum(row["old"] for row in rows),
        "only_new_folders": [show(name) for name in only],
    }


def show(name):
    return errors.printable(name) or "INBOX"


def compare_folder(entry, spool, name, directory, differences):
    uidvalidity, uidnext, uids = uidlist.read(directory)
    files = {}
    for subdir, filename in maildir.listing(directory, b""):
        message = existing.Message(b"", subdir, filename, uids)
        files[message.uid or filename] = message
    words = keywords.read(directory)

    def differ(uid, what, old, new):
        differences.append({"folder": show(name), "uid": uid, "what": what, "old": old, "new": new})

    row = {"folder": show(name), "old": 0, "new": len(files), "only_new": 0}
    last = 0
    if entry is not None:
        fd, box = entry.open()
        try:
            for uid, recent, flags, bits, seconds, size, offset, text in box.messages():
                row["old"] += 1
                last = uid
                message = files.pop(uid, None)
                if message is None:
                    differ(uid, "message", "there", "missing")
                    continue
                compare_message(
                    directory,
                    message,
                    fd,
                    box,
                    recent,
                    flags,
                    bits,
                    seconds,
                    size,
                    offset,
                    text,
                    words,
                    lambda what, old, new, uid=uid: differ(uid, what, old, new),
                )
        finally:
            os.close(fd)
        if box.uidvalidity and uidvalidity != box.uidvalidity:
            differ(None, "UIDVALIDITY", box.uidvalidity, uidvalidity)
        last = max(last, box.uidlast)
    if spool is not None:
        fd, box = spool.open()
        os.close(fd)
    if uidnext <= last:
        differ(None, "UIDNEXT", last + 1, uidnext)
    row["only_new"] = len(files)
    for uid, message in files.items():
        if isinstance(uid, int) and uid <= last:
            differ(uid, "message", "missing", errors.printable(message.name))
    return row


def compare_message(
    directory, message, fd, box, recent, flags, bits, seconds, size, offset, text, words, differ
):
    path = os.path.join(directory, message.subdir, message.name)
    letters = set(message.letters)
    wanted = set(file_names.LETTERS_BY_FLAGS[flags & 0x2F])
    if letters & set(b"DFRST") != wanted:
        differ(
            "flags",
            bytes(sorted(wanted)).decode("ascii"),
            bytes(sorted(letters & set(b"DFRST"))).decode("ascii"),
        )
    old_words = {
        word.lower() for slot, word in enumerate(box.keywords) if word and bits >> slot & 1
    }
    new_words = {words.get(bytes([letter]), b"?").lower() for letter in letters if letter >= 97}
    if old_words != new_words:
        differ(
            "keywords",
            sorted(map(errors.printable, old_words)),
            sorted(map(errors.printable, new_words)),
        )
    if recent != (message.subdir == b"new"):
        differ("recent", bool(recent), message.subdir == b"new")
    status = os.stat(path)
    if int(status.st_mtime) != seconds:
        differ("date", seconds, int(status.st_mtime))
    old, new = old_digest(fd, offset, size, text), file_digest(path)
    if old != new:
        differ("content", old, new)


def old_digest(fd, offset, size, text):
    """SHA-256 of a text without CRs: line ends normalised."""
    digest = hashlib.sha256()
    if text is not None:
        for piece in [text] if isinstance(text, bytes) else text.pieces():
            digest.update(piece.translate(None, b"\r"))
        return digest.hexdigest()
    end = offset + size
    while offset < end:
        block = os.pread(fd, min(files.COPY_CHUNK, end - offset), offset)
        if not block:
            break
        digest.update(block.translate(None, b"\r"))
        offset += len(block)
    return digest.hexdigest()


def file_digest(path):
    digest = hashlib.sha256()
    with os.fdopen(files.open_regular(path), "rb") as lines:
        for block in iter(lambda: lines.read(files.COPY_CHUNK), b""):
            digest.update(block.translate(None, b"\r"))
    return digest.hexdigest()


def text(values):
    """The comparison for a human."""
    lines = [
        "{:<30} old {:>8} new {:>8} only new {:>6}".format(
            row["folder"], row["old"], row["new"], row["only_new"]
        )
        for row in values["folders"]
    ]
    lines += [
        "DIFFERS {} uid {}: {} old {} new {}".format(
            item["folder"], item["uid"], item["what"], item["old"], item["new"]
        )
        for item in values["differences"]
    ]
    lines.append(
        "{} messages compared, {} differences.".format(
            values["messages"], len(values["differences"])
        )
    )
    return "\n".join(lines)
