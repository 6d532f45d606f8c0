"""Conversion of one user into a staged tree: prepare → each folder → finish. Publishing is
publish.py's.

The three functions take and give plain values (dicts, lists, bytes), so that they can run in
different processes. Files are created with the user's effective uid and gid: no chown a message,
and the user's quota counts.
"""

import os
import time

from mbx2maildir import errors
from mbx2maildir.convert import delta, folder_keywords, in_use, index, ranges, salvage, staged
from mbx2maildir.formats import file_names, maildir, uidlist
from mbx2maildir.formats.keywords import KeywordTable

# how often a folder is read again that changed while it was read; twice as often while users are at
# work
TRIES = 3
PAUSE = 0.3  # seconds; c-client's expunge of a folder takes about that


def folder(
    user,
    found,
    name,
    spool=None,
    fallback_uidvalidity=0,
    strict=False,
    progress=staged.quiet,
    live=False,
    parts=1,
):
    """Bring one folder (or INBOX: name b"") of the staged tree up to date with the old store.

    found: source.Found, or None for an INBOX that does not exist. spool: Found to append (INBOX
    only). live: users and mail are still at work on the old store; what they change meanwhile is
    left to the next pass where that does no harm. → dict: folder, old (path relative to the
    folders), messages, bytes (as stored), expunged, uidvalidity, uidnext, keywords (names by
    letter), lost_keywords, warnings (texts), damage (list, with "file"), spool (messages from
    there); written, renamed, removed: message files touched in this pass; unchanged: nothing but
    the old file's state had to be looked at. With parts above 1, a folder that is to be written
    from its beginning may come back as work for as many processes (ranges.begin()). Errors:
    ShortRead when the old file still changes after TRIES attempts, and what reading and writing can
    raise.
    """
    for attempt in range(2 * TRIES if live else TRIES):
        time.sleep(PAUSE * min(attempt, TRIES))
        state = index.load(user, name)
        before = sources_stamp(found, spool)
        scanned = time.time_ns()
        # a state that salvage left is none for a pass that is to fail at damage
        if (
            state
            and state["sources"] == before
            and not state["fresh"]
            and not (strict and state["result"]["damage"])
        ):
            return dict(state["result"], written=0, renamed=0, removed=0, unchanged=True)
        try:
            result = convert_folder(
                user,
                found,
                name,
                spool,
                fallback_uidvalidity,
                strict,
                progress,
                state,
                live,
                parts if state is None else 1,
            )
        except (errors.ShortRead, errors.DamagedMbx) as error:
            # what looks like damage may be a change half done
            if not isinstance(error, errors.ShortRead) and not (
                live and sources_stamp(found, spool) != before
            ):
                raise
            continue
        if "cuts" in result:
            return dict(result, before=before, scanned=scanned)
        if settled(user, found, name, spool, before, scanned, live, result):
            return result
    raise errors.ShortRead(
        "the mailbox changed every time it was read", found.path if found else spool.path
    )


def settled(user, found, name, spool, before, scanned, live, result):
    """Save the state of a folder that was converted → whether what was read is what stands in the
    old files.

    before, scanned: their state and the time when reading began.
    """
    after = sources_stamp(found, spool)
    # a change within the clock's grain after this pass could look like no change: such a file is
    # read again
    fresh = result.pop("unfinished") or any(
        scanned - stamp[4] < index.CLOCK_SKEW for stamp in before if stamp
    )
    broken = result.pop("broken_off", None)
    good = not broken
    if after != before or broken:
        if after == before and isinstance(broken, errors.DamagedMbx):
            raise broken  # nobody was at it: it is damaged
        if not live:
            return False
        fresh, good = True, in_use.keep_what_stands(user, found, name, before, result) and good
    if not good and "index" not in result:
        return False
    index.save(
        user,
        name,
        {
            "sources": before,
            "fresh": fresh,
            "result": result,
            "index": result.pop("index"),
            "tree": index.tree_stamp(staged.folder_path(user, name)),
        },
    )
    return good


def sources_stamp(found, spool):
    """The state of the old files a folder is made from."""
    stamps = []
    for item in (found, spool):
        try:
            stamps.append(index.stamp(os.stat(item.path)) if item is not None else None)
        except FileNotFoundError as error:
            raise errors.UnreadableMail("the file disappeared", item.path) from error
    return stamps


def convert_folder(
    user, found, name, spool, fallback_uidvalidity, strict, progress, state, live=False, parts=1
):
    """One attempt of folder(): anew when state is None, else by the difference to it."""
    uid, gid = user.get("uid"), user.get("gid")
    result = staged.empty_result(name)
    result["old"] = os.fsdecode(found.name) if found is not None and name else ""
    if found is None:
        found, spool = spool, None
    box = spool_box = writer = notes_of_index = None
    descriptors = []
    at_work = live and in_use.lately(sources_stamp(found, spool), time.time_ns())
    try:
        if found is not None:
            fd, box = found.open(uid, gid, strict, at_work)
            descriptors.append(fd)
        if spool is not None:
            fd, spool_box = spool.open(uid, gid, strict, at_work)
            descriptors.append(fd)
        keywords = (
            folder_keywords.keywords_of(found, box, user, strict, result)
            if box
            else KeywordTable([])
        )
        uidvalidity = (box.uidvalidity if box else 0) or fallback_uidvalidity
        usable = (
            state is not None
            and state["result"]["head_uidvalidity"] == uidvalidity
            and not state["result"]["renumbered"]
            and index.intact(user, name, state)
        )
        index.forget_state(user, name)
        try:
            if not usable:
                staged.clear_folder(user, name)
                cuts = ranges.cuts(box, parts)
                if cuts:
                    with staged.inside(user, name) as path:
                        maildir.FolderWriter(path, b"", 0, top=not name).abandon()
                    return {
                        "cuts": cuts,
                        "keywords": keywords,
                        "uidvalidity": uidvalidity,
                        "result": result,
                    }
            notes_of_index = index.Writer(user, name)
            blocks = index.open_blocks(user, name) if usable else None
            with staged.inside(user, name) as path:
                if usable:
                    known_lines = uidlist.open_lines(path)
                writer = maildir.FolderWriter(
                    path, file_names.host_name(user["host"]), uidvalidity, top=not name
                )
                if usable:
                    before = state["result"]
                    old_keywords = KeywordTable(before["slots"], before["used"])
                    runs = (
                        box
                        if box and box.format == "mbx" and old_keywords.letter == keywords.letter
                        else None
                    )
                    delta.update(
                        writer,
                        runs,
                        in_use.until_broken(live, staged.wanted(box, spool_box, result), result),
                        delta.Before(blocks, known_lines),
                        before,
                        old_keywords,
                        keywords,
                        notes_of_index,
                        result,
                        progress,
                    )
                else:
                    result["uidnext"] = 1
                    if box is not None:
                        delta.write(
                            writer,
                            box,
                            in_use.until_broken(live, box.messages(), result),
                            keywords,
                            notes_of_index,
                            result,
                            progress,
                        )
                        result["uidnext"] = box.uidnext
                    if spool_box is not None:
                        delta.write(
                            writer,
                            spool_box,
                            staged.spooled(spool_box, result),
                            keywords,
                            notes_of_index,
                            result,
                            progress,
                        )
                staged.finish_folder(
                    user, name, writer, box, uidvalidity, fallback_uidvalidity, keywords, result
                )
            result["index"] = notes_of_index.finish()
        except OSError as error:
            raise errors.space_error(error, staged.folder_path(user, name)) from error
        if usable and result["renumbered"]:
            raise errors.ShortRead("UIDs were reassigned while it was read", found.path)
        for mailbox in (box, spool_box):
            if mailbox is not None:
                salvage.set_aside(user, name, mailbox.fd, mailbox.damage)
                result["damage"] += [dict(item, file=mailbox.file) for item in mailbox.damage]
        if box is not None:
            result["expunged"] = box.expunged
        result["unfinished"] = any(
            mailbox.unfinished for mailbox in (box, spool_box) if mailbox is not None
        )
        result["warnings"] += salvage.notes(result)
        return result
    finally:
        for open_one in (writer, notes_of_index):
            if open_one is not None:
                open_one.abandon()
        for descriptor in descriptors:
            os.close(descriptor)


def join(user, found, name, spool, job, parts, fallback, strict, progress, live):
    """Make one folder of its parts → as folder(), which is called when they do not fit."""
    parts = sorted(parts, key=lambda part: part["part"])
    result = job["result"]
    if ranges.fit(job, parts):
        try:
            ranges.put_together(
                user, found, name, spool, job, parts, fallback, strict, progress, result
            )
        except OSError as error:
            raise errors.space_error(error, staged.folder_path(user, name)) from error
        if settled(user, found, name, spool, job["before"], job["scanned"], live, result):
            return result
    return folder(user, found, name, spool, fallback, strict, progress, live)
