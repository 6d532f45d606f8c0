"""Warnings about a converted folder, and its damaged ranges kept as files."""

import os

from mbx2maildir import errors, files
from mbx2maildir.formats import mbx_lines


def notes(result):
    """Warnings about a folder that was converted."""
    texts = []
    if result["renumbered"]:
        texts.append(
            "UIDs do not rise, or exceed UIDLAST or what IMAP allows: renumbered under a new "
            "UIDVALIDITY"
        )
    if result.get("bare_lf"):
        texts.append(
            "{} messages contain bare LFs: their size grows by the CRs Dovecot adds".format(
                result["bare_lf"]
            )
        )
    for item in result["damage"]:
        aside = ", {} bytes set aside".format(item["length"]) if item["length"] else ""
        texts.append(
            "{}: {} at byte {}{}".format(item["kind"], item["what"], item["offset"], aside)
        )
    return texts


def set_aside(user, name, fd, damage):
    """Set the damaged ranges of a folder aside as files: <salvage>/<folder>/<offset>-<length>."""
    if not user.get("salvage"):
        return
    for item in damage:
        if not item["length"]:
            continue
        directory = os.path.join(os.fsencode(user["salvage"]), name or b"INBOX")
        path = os.path.join(directory, b"%d-%d" % (item["offset"], item["length"]))
        try:
            os.makedirs(directory, files.DIRECTORY_MODE, exist_ok=True)
            target = os.open(
                path,
                os.O_WRONLY
                | os.O_CREAT
                | os.O_TRUNC
                | os.O_NOFOLLOW
                | os.O_NONBLOCK
                | os.O_CLOEXEC,
                files.FILE_MODE,
            )
            try:
                copy_range(fd, target, item["offset"], item["length"])
            finally:
                os.close(target)
        except OSError as error:
            raise errors.space_error(error, path) from error
        item["set_aside"] = errors.printable(path)


def copy_range(fd, target, offset, length):
    """Copy a range of a file to the start of another; its holes stay holes."""
    os.ftruncate(target, length)
    position, end = offset, offset + length
    while position < end:
        position = files.next_data(fd, position)
        if position is None or position >= end:
            break
        block = os.pread(fd, min(mbx_lines.CHUNK, end - position), position)
        if not block:
            break
        position += os.pwrite(target, block, position - offset)
