"""A large folder that is written from its beginning, spread over the workers by ranges of its
messages.

Where a range begins is guessed: at the next well-formed message line behind an even share of the
bytes. A text can hold such a line, and UIDs that are not in the file depend on all messages before.
So the parts are joined only when each ends exactly where the next begins, and all UIDs but those of
the last part stand in the file and rise; else the folder is written by one worker.
"""

import os

from mbx2maildir import errors
from mbx2maildir.convert import delta, index, salvage, source, staged
from mbx2maildir.formats import file_names, maildir, mbx, mbx_header

PART_BYTES = 32 << 20


def split(items):
    """Put folders together into parts of about PART_BYTES, largest first."""

    def size(item):
        return sum(file.size for file in (item[0], item[2]) if file)

    parts, part, total = [], [], 0
    for item in sorted(items, key=size, reverse=True):
        if part and total + size(item) > PART_BYTES:
            parts.append(part)
            part, total = [], 0
        part.append(item)
        total += size(item)
    return parts + ([part] if part else [])


class Doubt(Exception):
    """A range that cannot be written without knowing what precedes it."""


class Range(mbx.Mailbox):
    """A range of a mailbox, whose UIDs must be those that stand there; only behind the last of all
    others may be given."""

    def __init__(self, fd, file, strict, start, stop):
        self.ends = stop is None
        super().__init__(fd, file, strict, start=start, stop=stop)

    def unusual_uid(self, uid):
        if uid or not self.ends:
            raise Doubt()
        return super().unusual_uid(uid)


def cuts(box, parts):
    """Where the ranges after the first begin. Empty when the folder is small, or is no MBX file."""
    if parts < 2 or box is None or box.format != "mbx" or box.size < 2 * PART_BYTES:
        return []
    share = max(PART_BYTES, box.size // 256)
    starts = [box.next_line(position) for position in range(share, box.size - share // 2, share)]
    return sorted({position for position in starts if position < box.size} - {box.start})


def jobs(job):
    """A folder's work as a list of (start, stop), stop None for the end of the file."""
    starts = [mbx_header.HEADER_SIZE, *job["cuts"]]
    return [
        (start, starts[number + 1] if number + 1 < len(starts) else None)
        for number, start in enumerate(starts)
    ]


def write(user, file, name, job, number, limits, strict, progress, live):
    """Write the messages of one range → what join() needs of it."""
    try:
        return write_range(user, file, name, job, number, limits, strict, progress)
    except (
        Doubt,
        FileExistsError,
        errors.ShortRead,
    ):  # a UID that is in the file twice may give one file name twice
        return {"part": number, "doubt": True}
    except errors.DamagedMbx:
        if not live:
            raise
        return {"part": number, "doubt": True}


def write_range(user, file, name, job, number, limits, strict, progress):
    fd = source.open_mail(file.path)
    writer = notes = None
    result = staged.empty_result(name)
    try:
        box = Range(fd, file.path, strict, start=limits[0], stop=limits[1])
        notes = index.Writer(user, name, number)
        path = staged.folder_path(user, name)
        writer = maildir.FolderWriter(
            path,
            file_names.host_name(user["host"]),
            job["uidvalidity"],
            top=not name,
            part=number,
        )
        delta.write(writer, box, box.messages(), job["keywords"], notes, result, progress)
        writer.flush()
        return {
            "part": number,
            "count": notes.finish_part(),
            "end": box.position,
            "first": box.first,
            "last": box.last,
            "expunged": box.expunged,
            "uidlast": box.uidlast,
            "damage": box.damage,
            **{key: result[key] for key in ("messages", "bytes", "written", "bare_lf")},
        }
    except FileExistsError:
        raise
    except OSError as error:
        raise errors.space_error(error, staged.folder_path(user, name)) from error
    finally:
        for open_one in (writer, notes):
            if open_one is not None:
                open_one.abandon()
        os.close(fd)


def fit(job, parts):
    """Whether the parts, in order, are what one pass over the whole would have given."""
    last = 0
    for part, (_start, stop) in zip(parts, jobs(job)):  # noqa: B905
        if part.get("doubt") or stop is not None and part["end"] != stop:
            return False
        if part["first"] and part["first"] <= last:
            return False
        last = max(last, part["last"])
    return True


def put_together(user, file, name, spool, job, parts, fallback, strict, progress, result):
    keywords = job["keywords"]
    descriptors = []
    notes = writer = spool_box = None
    try:
        fd, box = file.open(strict)
        descriptors.append(fd)
        if spool is not None:
            spool_fd, spool_box = spool.open(strict)
            descriptors.append(spool_fd)
        notes = index.Writer(user, name)
        box.uidlast = parts[-1]["uidlast"]
        result["uidnext"] = box.uidnext
        path = staged.folder_path(user, name)
        writer = maildir.FolderWriter(
            path, file_names.host_name(user["host"]), job["uidvalidity"], top=not name
        )
        for part in parts:
            writer.take(part["part"])
        for part in parts:
            notes.take(part)
            for key in ("messages", "bytes", "written", "bare_lf", "expunged"):
                result[key] = result.get(key, 0) + part[key]
            salvage.set_aside(user, name, fd, part["damage"])
            result["damage"] += [dict(item, file=box.file) for item in part["damage"]]
        if spool_box is not None:
            delta.write(
                writer,
                staged.Moved,
                staged.spooled(box, spool_box, result),
                keywords,
                notes,
                result,
                progress,
            )
        staged.finish_folder(
            user, name, writer, box, job["uidvalidity"], fallback, keywords, result
        )
        result["index"] = notes.finish()
        if spool_box is not None:
            salvage.set_aside(user, name, spool_box.fd, spool_box.damage)
            result["damage"] += [dict(item, file=spool_box.file) for item in spool_box.damage]
        result["unfinished"] = False
        result["warnings"] += salvage.notes(result)
    finally:
        for open_one in (writer, notes):
            if open_one is not None:
                open_one.abandon()
        for descriptor in descriptors:
            os.close(descriptor)
