"""Writer of one Maildir++ folder as Dovecot keeps it: message files, dovecot-uidlist,
dovecot-keywords.

File names are `<seconds>.M<uid>P<uidvalidity>.<host>,S=<bytes>,W=<bytes with CRLF>:2,<flags>`: the
same message gets the same name in every pass. Text is stored with LF line ends, otherwise
untouched; mtime is INTERNALDATE. Recent mail lies in new/, the rest in cur/. Nothing is synced
here: the tree is staged, and one syncfs makes it durable before it is published.
"""

import os

from mbx2maildir import errors, files
from mbx2maildir.formats import file_names, line_ends, uidlist

MOST = 2000000  # entries in one directory of a Maildir: more than any mail program can use


class FolderWriter:
    """Writes one folder; an existing one (of an earlier pass) is written anew around the files it
    has.

    part: number of a range of the messages, written beside others; take() of the folder's own
    writer joins its lines.
    """

    def __init__(self, path, host, uidvalidity, top=False, part=None):
        self.path = path
        self.suffix = file_names.suffix(host, uidvalidity)
        os.makedirs(path, files.DIRECTORY_MODE, exist_ok=True)
        for name in (b"cur", b"new", b"tmp"):
            os.makedirs(os.path.join(path, name), files.DIRECTORY_MODE, exist_ok=True)
        if not top and part is None:
            files.replace_file(os.path.join(path, b"maildirfolder"), b"")
        self.directories = [
            os.open(os.path.join(path, name), os.O_RDONLY | os.O_DIRECTORY)
            for name in (b"cur", b"new")
        ]
        self.uidlist = files.create(
            os.path.join(path, b"dovecot-uidlist.new" if part is None else uidlist.part_name(part)),
            os.O_RDWR,
        )
        self.lines = [b" " * (uidlist.HEAD_SIZE - 1) + b"\n"] if part is None else []

    def add(self, uid, recent, letters, seconds, stored, virtual):
        """Write one message; stored and virtual as to_lf() gives them."""
        length = len(stored)
        name = b"%d.M%d%b%d,W=%d" % (seconds, uid, self.suffix, length, virtual)
        fd = os.open(
            name + b":2," + letters,
            os.O_WRONLY | files.CREATE,
            files.FILE_MODE,
            dir_fd=self.directories[recent],
        )
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
        """As add(), for a text too large to hold, which comes in pieces; crlf: with CRLF line ends,
        else with LF.

        → (bytes stored, bytes as IMAP shows them).
        """
        temporary = os.path.join(self.path, b"tmp", b"M%d" % uid)
        fd = files.create(temporary)
        try:
            length, virtual = (line_ends.copy_lf if crlf else line_ends.copy_plain)(texts, fd)
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
        """As enlist(), for messages of an earlier pass whose files stay as they are: their lines of
        its dovecot-uidlist."""
        self.lines += lines
        if len(self.lines) > 4096:
            self.flush()

    def take(self, part):
        """Join the lines of a range of the messages, and remove their file."""
        self.flush()
        path = os.path.join(self.path, uidlist.part_name(part))
        with os.fdopen(files.open_regular(path), "rb") as source:
            for piece in iter(lambda: source.read(files.COPY_CHUNK), b""):
                self.lines = [piece]
                self.flush()
        os.unlink(path)

    def flush(self):
        files.write_all(self.uidlist, b"".join(self.lines))
        self.lines = []

    def close(self, uidvalidity, uidnext, guid, keywords=b""):
        """Finish the folder: uidlist head, dovecot-keywords. guid is 32 hexadecimal digits."""
        self.flush()
        uidlist.write_head(self.uidlist, uidvalidity, uidnext, guid)
        self.abandon()
        os.rename(
            os.path.join(self.path, b"dovecot-uidlist.new"),
            os.path.join(self.path, b"dovecot-uidlist"),
        )
        path = os.path.join(self.path, b"dovecot-keywords")
        if keywords:
            files.replace_file(path, keywords)
        elif os.path.lexists(path):
            os.unlink(path)

    def abandon(self):
        """Close what is open, whatever state the folder is in."""
        for fd in self.directories + [self.uidlist]:
            if fd >= 0:
                os.close(fd)
        self.directories, self.uidlist = [], -1


def folder_directory(name):
    """Maildir++ name → directory relative to the Maildir."""
    return b"." + name if name else b""


def entries_of(directory):
    """The names in a directory, sorted. Errors: UnreadableMail for more than MOST."""
    names = []
    with os.scandir(directory) as entries:
        for entry in entries:
            names.append(entry.name)
            if len(names) > MOST:
                what = "more than {} entries in one directory".format(MOST)
                todo = "Move some away, then run the same command again."
                raise errors.UnreadableMail(what, directory, todo=todo)
    return sorted(names)


def folder_names(root):
    """Maildir++ names of a Maildir, b"" (INBOX) first. Errors: as entries_of()."""
    try:
        entries = entries_of(root)
    except FileNotFoundError:
        return []
    return [b""] + [
        entry[1:]
        for entry in entries
        if entry.startswith(b".")
        and len(entry) > 1
        and entry != b".."
        and files.is_directory(os.path.join(root, entry))
        and files.is_directory(os.path.join(root, entry, b"cur"))
    ]


def listing(root, name):
    """Message files of one folder → list of (subdir, file name), sorted."""
    in_folder = []
    for subdir in (b"cur", b"new"):
        directory = os.path.join(root, folder_directory(name), subdir)
        if not files.is_directory(directory):
            continue
        names = entries_of(directory)
        in_folder += [(subdir, name) for name in names if not name.startswith(b".")]
    return in_folder
