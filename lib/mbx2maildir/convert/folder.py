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
from mbx2maildir.formats import dates, file_names, maildir, uidlist
from mbx2maildir.formats.keywords import KeywordTable

# how often a folder is read again that changed while it was read; twice as often while users are at
# work
TRIES = 3
PAUSE = 0.3  # seconds; c-client's expunge of a folder takes about that


def folder(
    user,
    file,
    name,
    spool=None,
    fallback_uidvalidity=0,
    strict=False,
    progress=staged.quiet,
    live=False,
    parts=1,
):
    """Bring one folder (or INBOX: name b"") of the staged tree up to date with the old store.

    file: source.Found; None if there is no INBOX. spool: Found to append (INBOX only).
    live: users still work on the old store; their changes may be left to the next pass.
    → the dict of staged.empty_result(), filled in: bytes as stored, keywords by letter, message
    files written, renamed and removed in this pass; unchanged: only the old file's state was read.
    With parts above 1, a large folder may come back as work for several processes (ranges.py).
    Errors: ShortRead if the old file still changes after TRIES attempts; those of its parts.
    """
    for attempt in range(2 * TRIES if live else TRIES):
        time.sleep(PAUSE * min(attempt, TRIES))
        state, before = index.load(user, name), sources_stamp(file, spool)
        scanned = time.time_ns()
        # a pass that must fail at damage does not use a state that salvage left
        if (
            state
            and state["sources"] == before
            and state["zone"] == dates.local_zone()
            and not state["fresh"]
            and not (strict and state["result"]["damage"])
        ):
            return dict(state["result"], written=0, renamed=0, removed=0, unchanged=True)
        try:
            result = convert_folder(
                user,
                file,
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
                live and sources_stamp(file, spool) != before
            ):
                raise
            continue
        if "cuts" in result:
            return dict(result, before=before, scanned=scanned)
        if settled(user, file, name, spool, before, scanned, live, result):
            return result
    raise errors.ShortRead(
        "the mailbox changed every time it was read", file.path if file else spool.path
    )


def settled(user, file, name, spool, before, scanned, live, result):
    """Save the state of a folder that was converted → whether what was read is what is in the
    old files.

    before, scanned: their state and the time when reading began.
    """
    after = sources_stamp(file, spool)
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
        fresh, good = True, in_use.keep_what_stands(user, file, name, before, result) and good
    if not good and "index" not in result:
        return False
    index.save(
        user,
        name,
        {
            "sources": before,
            "zone": dates.local_zone(),
            "fresh": fresh,
            "result": result,
            "index": result.pop("index"),
            "tree": index.tree_stamp(staged.folder_path(user, name)),
        },
    )
    return good


def sources_stamp(file, spool):
    """The state of the old files a folder is made from."""
    stamps = []
    for item in (file, spool):
        try:
            stamps.append(index.stamp(os.stat(item.path)) if item is not None else None)
        except FileNotFoundError as error:
            raise errors.UnreadableMail("the file disappeared", item.path) from error
    return stamps


def convert_folder(
    user, file, name, spool, fallback_uidvalidity, strict, progress, state, live=False, parts=1
):
    """One attempt of folder(): from the beginning, or what differs from `state` if given."""
    attempt = Attempt(user, name, fallback_uidvalidity, progress, live)
    attempt.result["old"] = os.fsdecode(file.old) if file is not None and name else ""
    if file is None:
        file, spool = spool, None
    try:
        attempt.open(file, spool, strict)
        return attempt.run(state, parts)
    finally:
        attempt.close()


class Attempt:
    """One attempt at one folder: its open old files, and what is written."""

    def __init__(self, user, name, fallback_uidvalidity, progress, live):
        self.user, self.name, self.fallback = user, name, fallback_uidvalidity
        self.progress, self.live = progress, live
        self.result = staged.empty_result(name)
        self.box = self.spool_box = self.writer = self.notes = None
        self.descriptors = []

    def open(self, file, spool, strict):
        """Open the old files and work out keywords and UIDVALIDITY."""
        at_work = self.live and in_use.lately(sources_stamp(file, spool), time.time_ns())
        if file is not None:
            fd, self.box = file.open(strict, at_work)
            self.descriptors.append(fd)
        if spool is not None:
            fd, self.spool_box = spool.open(strict, at_work)
            self.descriptors.append(fd)
        self.keywords = KeywordTable([])
        if self.box:
            self.keywords = folder_keywords.keywords_of(file, self.box, strict, self.result)
        self.uidvalidity = (self.box.uidvalidity if self.box else 0) or self.fallback

    def close(self):
        for target in (self.writer, self.notes):
            if target is not None:
                target.abandon()
        for descriptor in self.descriptors:
            os.close(descriptor)

    def run(self, state, parts):
        """→ the result, or the work for several processes (see folder())."""
        user, name = self.user, self.name
        usable = (
            state is not None
            and state["result"]["head_uidvalidity"] == self.uidvalidity
            and not state["result"]["renumbered"]
            and index.intact(user, name, state)
        )
        index.forget_state(user, name)
        try:
            if not usable:
                staged.clear_folder(user, name)
                cuts = ranges.cuts(self.box, parts)
                if cuts:
                    return self.hand_out(cuts)
            self.write(state["result"] if usable else None)
        except OSError as error:
            raise errors.space_error(error, staged.folder_path(user, name)) from error
        if usable and self.result["renumbered"]:
            raise errors.ShortRead("UIDs were reassigned while it was read", self.box.file)
        return self.finish()

    def hand_out(self, cuts):
        """Make the folder's directories and leave its messages to several processes."""
        path = staged.folder_path(self.user, self.name)
        maildir.FolderWriter(path, b"", 0, top=not self.name).abandon()
        return {
            "cuts": cuts,
            "keywords": self.keywords,
            "uidvalidity": self.uidvalidity,
            "result": self.result,
        }

    def write(self, before):
        """Write the folder. before: the result of the last pass to take over from, or None."""
        user, name, result = self.user, self.name, self.result
        self.notes = index.Writer(user, name)
        blocks = None if before is None else index.open_blocks(user, name)
        path = staged.folder_path(user, name)
        lines = None if before is None else uidlist.open_lines(path)
        self.writer = maildir.FolderWriter(
            path, file_names.host_name(user["host"]), self.uidvalidity, top=not name
        )
        if before is None:
            self.write_all()
        else:
            self.update(before, delta.Before(blocks, lines))
        staged.finish_folder(
            user,
            name,
            self.writer,
            self.box,
            self.uidvalidity,
            self.fallback,
            self.keywords,
            result,
        )
        result["index"] = self.notes.finish()

    def write_all(self):
        result = self.result
        result["uidnext"] = 1
        more = (self.keywords, self.notes, result, self.progress)
        if self.box is not None:
            messages = in_use.until_broken(self.live, self.box.messages(), result)
            delta.write(self.writer, self.box, messages, *more)
            result["uidnext"] = self.box.uidnext
        if self.spool_box is not None:
            messages = staged.spooled(self.box, self.spool_box, result)
            delta.write(self.writer, staged.Moved, messages, *more)

    def update(self, old, before):
        """Write what differs from the last pass. old: its result."""
        box, result = self.box, self.result
        old_keywords = KeywordTable(old["slots"], old["used"])
        same_letters = old_keywords.letter == self.keywords.letter
        messages = staged.wanted(box, self.spool_box, result)
        delta.update(
            self.writer,
            box if box and box.format == "mbx" and same_letters else None,
            in_use.until_broken(self.live, messages, result),
            before,
            old,
            old_keywords,
            self.keywords,
            self.notes,
            result,
            self.progress,
        )

    def finish(self):
        """Damage and warnings → the result."""
        result = self.result
        boxes = [box for box in (self.box, self.spool_box) if box is not None]
        for box in boxes:
            salvage.set_aside(self.user, self.name, box.fd, box.damage)
            result["damage"] += [dict(item, file=box.file) for item in box.damage]
        if self.box is not None:
            result["expunged"] = self.box.expunged
        result["unfinished"] = any(box.unfinished for box in boxes)
        result["warnings"] += salvage.notes(result)
        return result


def join(user, file, name, spool, job, parts, fallback, strict, progress, live):
    """Make one folder of its parts → as folder(), which is called when they do not fit."""
    parts = sorted(parts, key=lambda part: part["part"])
    result = job["result"]
    if ranges.fit(job, parts):
        try:
            ranges.put_together(
                user, file, name, spool, job, parts, fallback, strict, progress, result
            )
        except OSError as error:
            raise errors.space_error(error, staged.folder_path(user, name)) from error
        if settled(user, file, name, spool, job["before"], job["scanned"], live, result):
            return result
    return folder(user, file, name, spool, fallback, strict, progress, live)
