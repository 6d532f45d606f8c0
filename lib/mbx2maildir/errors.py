"""One error base for the store. Each class is one cause; what a caller needs stands in attributes, not in the text."""

import errno
import os

NO_SPACE = (errno.ENOSPC, errno.EDQUOT)


class StoreError(Exception):
    """Something about a mail store is not as needed.

    Attributes: file (str), offset (int bytes or None), what (str: what is wrong), todo (str: what to do about it).
    """

    todo = "Mend the file and run the same command again."

    def __init__(self, what, file="", offset=None, todo=None):
        self.what = what
        self.file = printable(file)
        self.offset = offset
        if todo is not None:
            self.todo = todo
        super().__init__(what)

    def __str__(self):
        place = self.file + (" at byte {}".format(self.offset) if self.offset is not None else "")
        return "{}{}. {}".format(place + ": " if place else "", self.what, self.todo)

    def as_dict(self):
        return {
            "kind": type(self).__name__,
            "file": self.file,
            "offset": self.offset,
            "what": self.what,
            "todo": self.todo,
        }


class NotMbx(StoreError):
    """The file does not begin with the magic of an MBX file."""

    todo = "It is passed over; nothing need be done unless a user misses it."


class DamagedMbx(StoreError):
    """The MBX file does not read as c-client reads it (raised in strict mode only; else it is salvaged)."""

    todo = "Run without --strict to salvage what is readable."


class ShortHeader(DamagedMbx):
    """The file ends inside the 2,048 byte header."""


class BadHeader(DamagedMbx):
    """UIDVALIDITY or UIDLAST of the header are no hexadecimal numbers."""


class BadMessageLine(DamagedMbx):
    """Where a message line must stand there is something else."""


class ShortTail(DamagedMbx):
    """A message runs past the end of the file."""


class BadSize(DamagedMbx):
    """A message line states a size that cannot be."""


class StaleCopy(DamagedMbx):
    """A second copy of a message, as an expunge leaves it that was killed."""


class BadDate(DamagedMbx):
    """The internal date of a message is impossible."""


class ShortRead(StoreError):
    """Fewer bytes came than the size of the file promised: it shrank while it was read."""

    todo = "Something still writes to this mailbox. Stop reading and delivery there, then run the same command again."


class NotThere(StoreError):
    """Nothing of the user's is to be seen, and the place where it would be is an empty directory of root's: a mount point."""

    todo = "Mount the old mail there (old_store.seen_at), and run the same command again."


class UnreadableMail(StoreError):
    """The user's mail cannot be read."""

    todo = "Give the file its owner and mode back, or move it away, and run the same command again."


class NoSpace(StoreError):
    """The file system of the new store is full, or out of inodes or quota."""

    todo = "Free space on the new store and run the same command again: it goes on with what is missing."


class BadPlan(StoreError):
    """The plan file does not say what is needed."""

    todo = "Mend the plan file."


class PublishError(StoreError):
    """A staged Maildir cannot be put in place."""

    todo = "See what stands at this path, then run the same command again."


def printable(path):
    """Text of a path that may hold any bytes: what is not UTF-8 is shown as \\xNN."""
    if isinstance(path, str):
        path = path.encode("utf-8", "surrogateescape")
    return bytes(path).decode("utf-8", "backslashreplace")


def space_error(error, path):
    """An OSError while writing → the store's own error."""
    if error.errno in NO_SPACE:
        return NoSpace("cannot write: {}".format(os.strerror(error.errno)), path)
    return StoreError(
        "cannot write: {}".format(error.strerror),
        path,
        todo="See why, then run the same command again.",
    )


def describe(error):
    if isinstance(error, StoreError):
        return error.as_dict()
    if isinstance(error, OSError) and error.errno in NO_SPACE:
        return space_error(error, error.filename or "").as_dict()
    if isinstance(error, OSError):
        return {
            "kind": "OSError",
            "file": printable(error.filename or ""),
            "offset": None,
            "what": error.strerror or str(error),
            "todo": "See why, then run the same command again.",
        }
    import traceback

    return {
        "kind": type(error).__name__,
        "file": "",
        "offset": None,
        "what": "fault of the converter: {}".format(error),
        "todo": "Report this with the traceback.",
        "traceback": traceback.format_exc(),
    }


def system_error(error):
    """An OSError nobody expected, as text for the operator."""
    place = "{}: ".format(printable(error.filename)) if error.filename else ""
    return "{}{}. Fix the cause, then run the same command again.".format(
        place, error.strerror or error
    )
