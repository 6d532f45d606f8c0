"""Which file is a user's INBOX, and what waits in the spool, as c-client finds them.

c-client asks its drivers in this order: `~/mbox` (a mbox or empty, while the spool is one or holds
nothing), `~/INBOX` (mix, mx, MBX, tenex, mtx), the spool (MMDF or mbox). Where none takes it,
INBOX is empty if the spool is, and cannot be opened if it is not. A read-write session then moves
the spool's mail into INBOX.
"""

import os
import stat

from mbx2maildir import errors
from mbx2maildir.convert import source

BLANKS = b"\r\n \t"
IN_SPOOL = ("mbox", "mmdf")  # formats in which the spool alone is INBOX


def find(candidates, spool_path):
    """→ (INBOX, spool: source.Found or None; what was passed over, as in source.folders()).

    The first candidate that c-client takes is INBOX, and any mailbox of another name than
    c-client's: somebody named it. Errors: UnreadableMail.
    """
    passed = []
    spool = spool_file(spool_path, passed)
    files = [look(os.fsencode(path)) for path in candidates]
    files = [file for file in files if file is not None]
    odd = spool is None and bool(spool_path) and size_of(spool_path) > 0
    taken = next((file for file in files if is_inbox(file, spool, odd)), None)
    if taken is None and (spool is None or spool.format not in IN_SPOOL):
        closed = next((file for file in files if isinstance(file, errors.StoreError)), None)
        if closed is not None:
            raise closed
        if spool is not None:
            raise errors.UnreadableMail(
                "the spool is in the format {}, and nobody can open it without an INBOX that "
                "c-client takes".format(spool.format),
                spool.path,
                todo="Move it into a folder, or make an INBOX in MBX format, then run the same "
                "command again.",
            )
    for file in files:
        if file is not taken:
            passed.append(not_inbox(file, taken or spool))
    if taken is not None and not taken.size:
        if spool is not None:
            spool.waits = True
        return spool, None, passed  # c-client appends the spool to it as it is
    return taken, spool, passed


def look(path):
    """A candidate → Found, or None when it does not exist. Returns the error when it is no regular
    file or its user may not read it, and an entry for `passed` when it is no mailbox."""
    try:
        if stat.S_ISDIR(os.stat(path).st_mode):
            file = source.as_mailbox(path, b"")
            if file is not None:
                return file
        file, why = source.identify(path, b"")
    except FileNotFoundError:
        return None
    except errors.UnreadableMail as error:
        return error
    except OSError as error:
        return source.passed_over(path, error.strerror)
    if file is None and why is source.EMPTY:
        file = source.Found(path, b"", "mbox", os.stat(path))
    return file or source.passed_over(path, why)


def size_of(path):
    try:
        return os.path.getsize(path)
    except OSError:
        return 0


def is_inbox(file, spool, odd):
    """Whether c-client takes a candidate for INBOX. odd: the spool holds something that is no
    mail, be it a blank line."""
    if not isinstance(file, source.Found):
        return False
    name = os.path.basename(file.path)
    if name == b"mbox":
        return file.format == "mbox" and not odd and (spool is None or spool.format == "mbox")
    return name != b"INBOX" or file.format not in IN_SPOOL


def not_inbox(file, taken):
    """The entry for a candidate that is not INBOX."""
    if isinstance(file, errors.StoreError):
        return source.passed_over(os.fsencode(file.file), file.what)
    if not isinstance(file, source.Found):
        return file
    if not file.size:
        return source.passed_over(file.path, source.EMPTY, size=0)
    where = errors.printable(taken.path) if taken else "no file"
    why = "not INBOX: c-client takes {} for it".format(where)
    return source.passed_over(file.path, why, file.format, file.size)


def spool_file(path, passed):
    """The spool, when it holds mail → Found or None. NULs are passed over. Errors: UnreadableMail
    when it holds something else, which c-client leaves where it is."""
    if not path:
        return None
    path = os.fsencode(path)
    try:
        spool, why = source.identify(path, b"")
    except FileNotFoundError:
        return None
    if spool is not None or why is source.EMPTY:
        return spool
    content = what_it_holds(path)
    if content == "text":
        raise errors.UnreadableMail(
            "the spool is {}; c-client takes no mail out of it".format(why),
            path,
            todo="Look at its beginning. Move what stands before the first message away, then run "
            "the same command again.",
        )
    if content == "NULs":
        passed.append(source.passed_over(path, "holds only NUL bytes", size=os.path.getsize(path)))
    return None


def what_it_holds(path):
    """ "blanks", "NULs" or "text"."""
    content = "blanks"
    with os.fdopen(source.open_mail(path), "rb") as file:
        for block in iter(lambda: file.read(1 << 20), b""):
            if block.strip(BLANKS + b"\0"):
                return "text"
            if b"\0" in block:
                content = "NULs"
    return content
