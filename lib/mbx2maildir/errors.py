"""One base for the converter's errors, a class per cause. Callers use the attributes, not the
text."""

import errno
import os

NO_SPACE = (errno.ENOSPC, errno.EDQUOT)


class StoreError(Exception):
    """A mail store is not as needed.

    Attributes: file (text), offset (bytes or None), what (what is wrong), todo (what to do).
    """

    todo = "Fix the file, then run the same command again."

    def __init__(self, what, file="", offset=None, todo=None):
        self.what = what
        self.file = printable(file)
        self.offset = offset
        if todo is not None:
            self.todo = todo
        super().__init__(what)

    def __str__(self):
        return sentence(self.as_dict())

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

    todo = "The file is skipped. Look at it only if a user misses mail."


class DamagedMbx(StoreError):
    """c-client would not read the MBX file like this. Raised in strict mode; else it is
    salvaged."""

    todo = "Run without --strict to salvage what is readable."


class ShortHeader(DamagedMbx):
    """The file ends inside the 2,048 byte header."""


class BadHeader(DamagedMbx):
    """UIDVALIDITY or UIDLAST in the header is not a hexadecimal number."""


class BadMessageLine(DamagedMbx):
    """Something else is where a message line must be."""


class ShortTail(DamagedMbx):
    """A message runs past the end of the file."""


class BadSize(DamagedMbx):
    """A message line states an impossible size."""


class StaleCopy(DamagedMbx):
    """A second copy of a message, left by an expunge that was killed."""


class BadDate(DamagedMbx):
    """The internal date of a message is impossible."""


class ShortRead(StoreError):
    """The file has fewer bytes than its size promised: it shrank while it was read."""

    todo = (
        "Something still writes to this mailbox. Stop reading and delivery there, "
        "then run the same command again."
    )


class NotThere(StoreError):
    """The user has no mail, and its place is an empty directory owned by root: a mount point."""

    todo = "Mount the old mail there (old_store.seen_at), then run the same command again."


class UnreadableMail(StoreError):
    """The user's mail cannot be read."""

    todo = "Restore its owner and mode, or move it away, then run the same command again."


class NoSpace(StoreError):
    """The file system of the new store is full, or out of inodes or quota."""

    todo = "Free space on the new store, then run the same command again to resume."


class BadPlan(StoreError):
    """The plan file is wrong or incomplete."""

    todo = "Fix the plan file."


class BadWorkDirectory(StoreError):
    """The work directory cannot be made or written to."""

    todo = (
        "Choose a directory you can write to, on the file system of the Maildirs "
        '(--work, or "work" in the plan).'
    )


class NoMaildir(StoreError):
    """The Maildir to look at does not exist, or is not a directory."""

    todo = "Check --maildir."


class PublishError(StoreError):
    """A staged Maildir cannot be put in place."""

    todo = "See what is at this path, then run the same command again."


class TakenOver(StoreError):
    """Another host has claimed the user since; what was done here is not published."""

    todo = "The host that has the user now publishes it. Nothing needs to be done here."

    def __init__(self, claim):
        super().__init__("another host has taken over this user", claim)


class Reported(StoreError):
    """An error of another process, as it described it there; see describe()."""

    def __init__(self, values):
        self.values = values
        super().__init__(values["what"], values["file"], values["offset"], values["todo"])

    def as_dict(self):
        return self.values


def printable(path):
    """Text of a path that may hold any bytes: what is not UTF-8 is shown as \\xNN."""
    if isinstance(path, str):
        path = path.encode("utf-8", "surrogateescape")
    return bytes(path).decode("utf-8", "backslashreplace")


def for_terminal(text):
    """Lines for people: control characters and the like, which users put into names, as escapes."""
    return "".join(
        letter
        if letter == "\n" or letter.isprintable()
        else letter.encode("unicode_escape").decode("ascii")
        for letter in text
    )


def space_error(error, path):
    """An OSError while writing → NoSpace or another StoreError."""
    if error.errno in NO_SPACE:
        return NoSpace("cannot write: {}".format(os.strerror(error.errno)), path)
    return StoreError(
        "cannot write: {}".format(error.strerror),
        path,
        todo="Fix the cause, then run the same command again.",
    )


def work_error(error, path):
    """An OSError while making or locking the work directory → NoSpace or BadWorkDirectory."""
    if error.errno in NO_SPACE:
        return space_error(error, path)
    return BadWorkDirectory("cannot write to the work directory: {}".format(error.strerror), path)


def describe(error):
    """An exception in the form of StoreError.as_dict(), of a fault of ours with "traceback"."""
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
            "todo": "Fix the cause, then run the same command again.",
        }
    if isinstance(error, (RecursionError, MemoryError)):
        return {
            "kind": type(error).__name__,
            "file": "",
            "offset": None,
            "what": "something among the user's files is nested too deeply, or too large",
            "todo": "Find it and move it away, then run the same command again. Or leave the user "
            "out (--without).",
        }
    import traceback

    return {
        "kind": type(error).__name__,
        "file": "",
        "offset": None,
        "what": "bug in the converter: {}".format(error),
        "todo": "Report this with the traceback.",
        "traceback": traceback.format_exc(),
    }


def sentence(values):
    """A dict of as_dict() as text for the operator."""
    place = values["file"]
    if values["offset"] is not None:
        place += " at byte {}".format(values["offset"])
    return "{}{}. {}".format(place + ": " if place else "", values["what"], values["todo"])
