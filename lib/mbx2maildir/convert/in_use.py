"""A mailbox that users and mail change while presync reads it.

c-client changes flags in place and appends at the end: neither moves a text, so what was read is
good, and only the next pass must look again. An expunge slides what follows to the front; then what
was read behind it may be in pieces. Which of the two it was, the message lines say: a message whose
line still stands where it stood was never moved.
"""

import itertools
import os

from mbx2maildir import errors
from mbx2maildir.convert import delta, index, staged
from mbx2maildir.formats import file_names, maildir, uidlist
from mbx2maildir.formats.keywords import KeywordTable

LATELY = 60 * 10**9  # nanoseconds


def lately(stamps, now):
    """Whether one of the old files changed so shortly before `now` that somebody may be at it."""
    return any(now - stamp[4] < LATELY for stamp in stamps if stamp)


def until_broken(live, messages, result):
    """The messages, while users are at work only up to where a change half done makes reading on
    impossible."""
    if not live:
        return messages
    return broken_off(messages, result)


def broken_off(messages, result):
    try:
        yield from messages
    except (errors.ShortRead, errors.DamagedMbx) as error:
        result["broken_off"] = error


def standing(box, blocks):
    """How many messages of an index, from the first on, stand in the old file where they stood,
    whatever became of their flags.

    A UID given since is the one that was worked out here, or the message is not the same. Messages
    from the spool are not asked for: each pass writes them anew.
    """
    count = 0
    for block in blocks:
        heads = list(
            map(os.pread, itertools.repeat(box.fd), itertools.repeat(index.HEAD), block.lines)
        )
        if b"".join(heads) != block.heads:
            for place, head in enumerate(heads):
                known = block.heads[place * index.HEAD : (place + 1) * index.HEAD]
                if head == known or not block.lines[place]:
                    continue
                now, then = box.line_of(head), box.line_of(known)
                if (
                    now is None
                    or now[0] != then[0]
                    or now[1] not in (then[1], block.record(place).uid)
                ):
                    return count + place
        count += block.count
    return count


def keep_what_stands(user, file, name, before, result):
    """After a pass over a folder that changed meanwhile → whether all that was read is good.

    If not, what may be in pieces is taken out of the staged folder again, so that the next attempt
    need not begin at the beginning; then result["index"] is that of the rest, or is gone where
    nothing can be kept.
    """
    count = 0
    if file is None or file.format != "mbx":
        return True  # all of it is written anew when the file has changed
    try:
        fd, box = file.open(live=True)
    except errors.StoreError:
        fd = box = None
    same = False
    try:
        if (
            box is not None
            and index.stamp(os.fstat(fd))[:2] == before[0][:2]
            and not result["renumbered"]
        ):
            count, same = standing(box, index.open_blocks(user, name)), True
    finally:
        if fd is not None:
            os.close(fd)
    if same and count == result["index"][0]:
        return True
    if count:
        cut_off(user, name, count, result)
    else:
        del result["index"]
    return False


def cut_off(user, name, count, result):
    """Leave only the first `count` messages in a staged folder."""
    notes = index.Writer(user, name)
    blocks = index.open_blocks(user, name)
    table = KeywordTable(result["slots"], result["used"])
    path = staged.folder_path(user, name)
    before = delta.Before(blocks, uidlist.open_lines(path))
    writer = maildir.FolderWriter(
        path, file_names.host_name(user["host"]), result["head_uidvalidity"], top=not name
    )
    try:
        while before.block is not None:
            block, place = before.block, before.place
            run = min(block.count - place, count)
            if run:
                notes.keep(block, place, place + run, 0)
                writer.keep_lines(before.lines[place : place + run])
                count -= run
                before.advance(run)
                continue
            record = before.record
            writer.drop(
                index.base_name(record, writer.suffix),
                record.recent,
                index.letters(table, record.flags, record.bits),
            )
            result["messages"] -= 1
            result["bytes"] -= record.stored
            result["bare_lf"] -= record.virtual != record.size
            before.advance()
        writer.close(
            result["uidvalidity"],
            result["uidnext"],
            staged.folder_guid(user, name, result["uidvalidity"]),
            table.file_text(),
        )
    finally:
        writer.abandon()
    result["index"] = notes.finish()
