"""Writer of one Maildir++ folder as Dovecot keeps it: message files, dovecot-uidlist, dovecot-keywords.

File names are `<seconds>.M<uid>P<uidvalidity>.<host>,S=<bytes>,W=<bytes with CRLF>:2,<flags>`: the same message gets the
same name in every pass. Text is stored with LF line ends, otherwise untouched; mtime is INTERNALDATE. Recent mail lies in
new/, the rest in cur/. Nothing is synced here: the tree is staged, and one syncfs makes it durable before it is published.
"""

import errno
import io
import itertools
import os

from mbx2maildir import errors
from mbx2maildir.formats import mbx
from mbx2maildir.formats.patterns import Pattern

DIRECTORY_MODE = 0o700
FILE_MODE = 0o600
COPY_CHUNK = 1 << 20
UIDLIST_HEAD = (
    80  # bytes kept free at the top of dovecot-uidlist; its numbers are known only at the end
)
NO_SPACE = (errno.ENOSPC, errno.EDQUOT)
CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
LF_AFTER_CR = Pattern(rb"(?<!\r)\r\n")

# In the order of their letters, as Dovecot writes them. MBX "deleted" is T (trashed).
FLAG_LETTERS = (
    (mbx.DRAFT, b"D"),
    (mbx.FLAGGED, b"F"),
    (mbx.ANSWERED, b"R"),
    (mbx.SEEN, b"S"),
    (mbx.DELETED, b"T"),
)
LETTER_FLAGS = {letter: flag for flag, letter in FLAG_LETTERS}


def flag_letters(flags):
    return b"".join(letter for flag, letter in FLAG_LETTERS if flags & flag)


LETTERS_BY_FLAGS = tuple(flag_letters(flags) for flags in range(64))


def to_lf(text, decoder=io.IncrementalNewlineDecoder):
    """Text with CRLF line ends → (as stored, its size as IMAP shows it).

    Dovecot gives a CR back to each LF that has none; so a CRLF stays one where the byte before it is a CR, and the way back
    is exact, but for bare LFs, which no LF storage can tell from line ends. The decoder is C code, three times as fast as
    bytes.replace, and says whether any line end was not CRLF.
    """
    newlines = decoder(None, True)
    stored = newlines.decode(text.decode("latin-1"), True).encode("latin-1")
    if newlines.newlines == "\r\n" or newlines.newlines is None:
        return stored, len(text)
    stored = LF_AFTER_CR.sub(b"\n", text)
    return stored, virtual_size(stored)


def virtual_size(stored):
    """Bytes of a stored text as IMAP shows it (RFC822.SIZE)."""
    size = len(stored) + stored.count(b"\n")
    return size - stored.count(b"\r\n") if b"\r" in stored else size


def host_name(host):
    """A host's name as Maildir allows it in file names."""
    return os.fsencode(host).replace(b"/", b"\\057").replace(b":", b"\\072").replace(b",", b"\\054")


def space_error(error, path):
    """An OSError while writing → the store's own error."""
    if error.errno in NO_SPACE:
        return errors.NoSpace("cannot write: {}".format(os.strerror(error.errno)), path)
    return errors.StoreError(
        "cannot write: {}".format(error.strerror),
        path,
        todo="See why, then run the same command again.",
    )


def suffix(host, uidvalidity):
    """The part of a file name between UID and sizes. host as host_name() gives it."""
    return b"P%d.%b,S=" % (uidvalidity, host)


class FolderWriter:
    """Writes one folder; an existing one (of an earlier pass) is written anew around the files it has.

    part: number of a range of the messages, written beside others; take() of the folder's own writer joins its lines.
    """

    def __init__(self, path, host, uidvalidity, top=False, part=None):
        self.path = path
        self.suffix = suffix(host, uidvalidity)
        os.makedirs(path, DIRECTORY_MODE, exist_ok=True)
        for name in (b"cur", b"new", b"tmp"):
            os.makedirs(os.path.join(path, name), DIRECTORY_MODE, exist_ok=True)
        if not top and part is None:
            replace_file(os.path.join(path, b"maildirfolder"), b"")
        self.directories = [
            os.open(os.path.join(path, name), os.O_RDONLY | os.O_DIRECTORY)
            for name in (b"cur", b"new")
        ]
        self.uidlist = os.open(
            os.path.join(path, b"dovecot-uidlist.new" if part is None else part_name(part)),
            os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC,
            FILE_MODE,
        )
        self.lines = [b" " * (UIDLIST_HEAD - 1) + b"\n"] if part is None else []

    def add(self, uid, recent, letters, seconds, stored, virtual):
        """Write one message; stored and virtual as to_lf() gives them."""
        length = len(stored)
        name = b"%d.M%d%b%d,W=%d" % (seconds, uid, self.suffix, length, virtual)
        fd = os.open(name + b":2," + letters, CREATE, FILE_MODE, dir_fd=self.directories[recent])
        try:
            written = os.write(fd, stored)
            while written < length:
                written += os.write(fd, memoryview(stored)[written:])
            os.utime(fd, (seconds, seconds))
        finally:
            os.close(fd)
        self.lines.append(b"%d :%b\n" % (uid, name))
        if len(self.lines) > 4096:
            self.flush()

    def copy(self, uid, recent, letters, seconds, texts, crlf=True):
        """As add(), for a text too large to hold, which comes in pieces; crlf: with CRLF line ends, else with LF.

        → (bytes stored, bytes as IMAP shows them).
        """
        temporary = os.path.join(self.path, b"tmp", b"M%d" % uid)
        fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, FILE_MODE)
        try:
            length, virtual = (copy_lf if crlf else copy_plain)(texts, fd)
            os.utime(fd, (seconds, seconds))
        except BaseException:
            os.unlink(temporary)  # it may be what filled the disk
            raise
        finally:
            os.close(fd)
        name = b"%d.M%d%b%d,W=%d" % (seconds, uid, self.suffix, length, virtual)
        os.rename(temporary, name + b":2," + letters, dst_dir_fd=self.directories[recent])
        self.enlist(uid, name)
        return length, virtual

    def keep(self, uid, name, before, after):
        """Keep a message file of an earlier pass; before and after: (recent, letters)."""
        if before != after:
            os.rename(
                name + b":2," + before[1],
                name + b":2," + after[1],
                src_dir_fd=self.directories[before[0]],
                dst_dir_fd=self.directories[after[0]],
            )
        self.enlist(uid, name)

    def drop(self, name, recent, letters):
        """Remove a message file of an earlier pass."""
        os.unlink(name + b":2," + letters, dir_fd=self.directories[recent])

    def enlist(self, uid, name):
        self.lines.append(b"%d :%b\n" % (uid, name))
        if len(self.lines) > 4096:
            self.flush()

    def keep_lines(self, lines):
        """As enlist(), for messages of an earlier pass whose files stay as they are: their lines of its dovecot-uidlist."""
        self.lines += lines
        if len(self.lines) > 4096:
            self.flush()

    def take(self, part):
        """Join the lines of a range of the messages, and remove their file."""
        self.flush()
        with open(os.path.join(self.path, part_name(part)), "rb") as source:
            for piece in iter(lambda: source.read(COPY_CHUNK), b""):
                self.lines = [piece]
                self.flush()
            os.unlink(source.name)

    def flush(self):
        write_all(self.uidlist, b"".join(self.lines))
        self.lines = []

    def close(self, uidvalidity, uidnext, guid, keywords=b""):
        """Finish the folder: uidlist head, dovecot-keywords. guid is 32 hexadecimal digits."""
        self.flush()
        write_uidlist_head(self.uidlist, uidvalidity, uidnext, guid)
        self.abandon()
        os.rename(
            os.path.join(self.path, b"dovecot-uidlist.new"),
            os.path.join(self.path, b"dovecot-uidlist"),
        )
        path = os.path.join(self.path, b"dovecot-keywords")
        if keywords:
            replace_file(path, keywords)
        elif os.path.lexists(path):
            os.unlink(path)

    def abandon(self):
        """Close what is open, whatever state the folder is in."""
        for fd in self.directories + [self.uidlist]:
            if fd >= 0:
                os.close(fd)
        self.directories, self.uidlist = [], -1


def write_uidlist_head(fd, uidvalidity, uidnext, guid):
    """The first line of dovecot-uidlist, padded between its fields to UIDLIST_HEAD bytes."""
    head = b"3 V%d" % uidvalidity
    rest = b"N%d G%b\n" % (uidnext, guid)
    os.pwrite(fd, head + b" " * (UIDLIST_HEAD - len(head) - len(rest)) + rest, 0)


def uidlist_lines(path):
    """A folder's dovecot-uidlist, as an open file behind its head."""
    lines = open(os.path.join(path, b"dovecot-uidlist"), "rb")  # noqa: SIM115
    lines.readline()
    return lines


def part_name(part):
    return b"dovecot-uidlist.part%d" % part


def pieces(source, offset, size):
    """The bytes of a range of a file, in pieces. Errors: ShortRead."""
    end = offset + size
    while offset < end:
        piece = os.pread(source, min(COPY_CHUNK, end - offset), offset)
        if not piece:
            raise errors.ShortRead("the mailbox shrank while it was read", "", offset)
        offset += len(piece)
        yield piece


def copy_lf(texts, target):
    """Write CRLF text that comes in pieces, with LF line ends → (bytes written, bytes as IMAP shows them)."""
    length = virtual = 0
    before = b""  # the last byte written: to_lf() must see whether a CR came before
    held = b""  # a CR at the end of a piece waits for what follows
    for piece in itertools.chain(texts, (None,)):
        at_end = piece is None
        piece, held = held + (piece or b""), b""
        if not at_end and piece.endswith(b"\r"):
            piece, held = piece[:-1], b"\r"
        if before == b"\r":
            stored, size = to_lf(before + piece)
            stored, size = stored[1:], size - 1
        else:
            stored, size = to_lf(piece)
        virtual += size
        write_all(target, stored)
        length += len(stored)
        before = stored[-1:] or before
    return length, virtual


def copy_plain(texts, target):
    """Write text with LF line ends and no CRs that comes in pieces → (bytes written, bytes as IMAP shows them)."""
    length = virtual = 0
    for piece in texts:
        write_all(target, piece)
        length += len(piece)
        virtual += len(piece) + piece.count(b"\n")
    return length, virtual


def write_all(fd, data):
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]


def write_file(path, data, mode=FILE_MODE):
    """Create a small file; it must not exist."""
    fd = os.open(path, CREATE, mode)
    try:
        write_all(fd, data)
    finally:
        os.close(fd)


def replace_file(path, data):
    """Write a small file whether it exists or not, in one step."""
    temporary = path + b".new"
    if os.path.lexists(temporary):
        os.unlink(temporary)
    write_file(temporary, data)
    os.rename(temporary, path)


def guid(*parts):
    """A mailbox GUID (32 hexadecimal digits) that is the same in every pass."""
    import hashlib

    return hashlib.sha256(b"\0".join(parts)).hexdigest()[:32].encode("ascii")
