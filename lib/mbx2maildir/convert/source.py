"""What the old store holds for one user: folders, and files passed over with the reason. INBOX and
the spool are incoming.py's.

All of it is looked at by a process that is the user (switch.py), as c-client is: it follows links,
and finds what the kernel lets the user read. A file or directory among the folders that is closed
to its user is an error, not passed over: it may be mail whose mode is wrong.
"""

import os
import stat

from mbx2maildir import errors, files
from mbx2maildir.formats import directories, readers

EMPTY = "empty file"  # the reason that identify() gives for one
DEEPEST = 100  # levels of folders
MOST = 200000  # entries below the folders' root


def join(directory, name):
    return os.path.join(os.fsencode(directory), name)


def open_mail(path):
    """Open a regular file for reading, through links too. Errors: UnreadableMail;
    FileNotFoundError passes."""
    try:
        return files.open_regular(path, follow=True)
    except errors.UnreadableMail as error:
        if isinstance(error.__cause__, PermissionError) and not os.access(path, os.R_OK):
            raise closed(path) from error
        raise


def closed(path):
    """The error for what its user may not read."""
    try:
        status = os.stat(path)
        whose = ": owner {}, mode {:04o}".format(status.st_uid, status.st_mode & 0o7777)
    except OSError:
        whose = ""
    return errors.UnreadableMail(
        "its user (uid {}) may not read it{}".format(os.geteuid(), whose), path
    )


def passed_over(path, why, format_="", size=None):
    """What is passed over: a path, the reason, and for mail its format and bytes."""
    return {"file": path, "why": why, "format": format_, "size": size}


def why_not(block, size):
    """Why a file that begins with these bytes is no mail folder."""
    if not size:
        return EMPTY
    if block.startswith(b"JMF6"):
        return "Outlook Express mailbox, a format c-client does not know"
    return "not a mail folder: it begins with {!r}".format(block[:12])


class Found:
    """One mailbox: path (bytes), name (bytes, relative to the folders' root; b"" for INBOX), format
    (a key of readers.MAILBOXES), size, ctime. old: the name, but for a folder of a further root its
    path below the home, with a leading "/". waits: of a spool, that INBOX is an empty mbox so far.
    """

    waits = False

    def __init__(self, path, name, format_, status):
        self.path, self.name, self.format, self.size = path, name, format_, status.st_size
        self.old, self.is_directory = name, stat.S_ISDIR(status.st_mode)
        self.inode, self.ctime = status.st_ino, status.st_ctime_ns

    def open(self, strict=False, live=False):
        """→ (fd, Mailbox)."""
        try:
            fd = open_directory(self.path) if self.is_directory else open_mail(self.path)
        except FileNotFoundError as error:
            raise errors.UnreadableMail("the file disappeared", self.path) from error
        try:
            return fd, readers.MAILBOXES[self.format](fd, self.path, strict, live)
        except BaseException:
            os.close(fd)
            raise


def identify(path, name):
    """→ (Found or None, reason why not). Errors: UnreadableMail."""
    fd = open_mail(path)
    try:
        status = os.fstat(fd)
        block = os.pread(fd, readers.HEAD, 0)
    finally:
        os.close(fd)
    format_ = readers.kind(block)
    if not format_:
        return None, why_not(block, status.st_size)
    return Found(path, name, format_, status), ""


def as_mailbox(path, name):
    """A directory that is a mailbox itself → Found or None. size: of the files in it."""
    format_ = directories.kind(path)
    if not format_:
        return None
    mailbox = Found(path, name, format_, os.stat(path))
    mailbox.size = directories.size(path, format_)
    return mailbox


def open_directory(path):
    """Open a directory. Errors: UnreadableMail; FileNotFoundError passes."""
    try:
        return os.open(path, files.READ | os.O_DIRECTORY)
    except FileNotFoundError:
        raise
    except OSError as error:
        raise closed(path) from error


def expect_directory(root):
    """For a root of folders that somebody typed. Errors: UnreadableMail when it is no directory."""
    if not os.path.isdir(root):
        raise errors.UnreadableMail(
            "not a directory" if os.path.lexists(root) else "no such directory",
            root,
            todo="Check --folders.",
        )


def expect_mounted(root):
    """For a user of whom neither INBOX nor folders were found: the old store must be there all the
    same. Errors: NotThere."""
    place = os.path.abspath(os.fsencode(root))
    if os.path.lexists(place):
        return
    while not os.path.lexists(place):
        place = os.path.dirname(place)
    # a home that is empty belongs to its user
    if os.path.isdir(place) and os.stat(place).st_uid == 0 and not os.listdir(place):
        raise errors.NotThere("an empty directory: is the old mail not mounted?", place)


def folders(root, besides=(), unreadable=None):
    """Walk the folders' root → (list of Found, list of passed_over())). Sorted by name.

    besides: paths that are no folders though they lie there (INBOX, the list of subscriptions).
    Errors: UnreadableMail for a file or directory that cannot be read; with a list in `unreadable`,
    what stands in the way is added there (as dicts) instead.
    """
    walk = Walk(besides, unreadable)
    if root and os.path.isdir(os.fsencode(root)):
        walk.top(os.fsencode(root))
    walk.files.sort(key=lambda file: file.name)
    return walk.files, walk.passed


class Walk:
    """A walk through a user's folders. files: list of Found; passed: what is no folder, and why.

    A directory is seen once, under its own name; links to directories are followed after all else
    (linked). What leads to a seen one is passed over, with the name of that one as "alias".
    """

    def __init__(self, besides, unreadable):
        self.unreadable, self.entries = unreadable, 0
        self.files, self.passed = [], []
        self.skip = {identity(path) for path in besides if path} - {None}
        self.root, self.seen, self.links, self.linked = b"", {}, [], False

    def top(self, root):
        status = os.stat(root)
        self.root, self.seen[(status.st_dev, status.st_ino)] = root, b""
        self.enter(root, b"")
        self.linked = True
        while self.links:
            links, self.links = sorted(self.links), []
            for name, identity_ in links:
                self.follow(name, identity_)

    def refuse(self, error):
        if self.unreadable is None:
            raise error
        self.unreadable.append(error.as_dict())

    def skip_file(self, path, why, **more):
        name = os.path.relpath(path, self.root)
        self.passed.append(dict(passed_over(path, why), name=name, **more))

    def follow(self, name, identity_):
        """A directory, which may have been seen under another name."""
        path, real = join(self.root, name), self.seen.get(identity_)
        if real is None:
            self.seen[identity_] = name
            self.enter(path, name + b"/")
        elif not real or name.startswith(real + b"/"):
            self.skip_file(path, "a loop", alias=real)
        else:
            why = "another name of {}".format(errors.printable(real))
            self.skip_file(path, why, alias=real)

    def enter(self, directory, prefix):
        # c-client finds nothing in a closed directory. Whose mail it is, and whether it is meant to
        # be closed, only a human can say.
        if prefix.count(b"/") > DEEPEST:
            what = "folders are nested more than {} levels deep".format(DEEPEST)
            todo = "Move what is below it up or away, then run the same command again."
            self.refuse(errors.UnreadableMail(what, directory, todo=todo))
        elif os.access(directory, os.R_OK | os.X_OK):
            mailbox = as_mailbox(directory, prefix[:-1]) if prefix else None
            if mailbox is not None:
                self.files.append(mailbox)
            self.list(directory, prefix, mailbox and mailbox.format)
        else:
            self.refuse(closed(directory))

    def list(self, directory, prefix, format_=None):
        """Look at what a directory holds. format_: of the mailbox that the directory itself is."""
        try:
            names = sorted(os.listdir(directory))
        except OSError as error:
            what = "cannot list the directory: {}".format(error.strerror)
            self.refuse(errors.UnreadableMail(what, directory))
            return
        self.entries += len(names)
        if self.entries > MOST:
            what = "more than {} files and directories among the folders".format(MOST)
            self.refuse(errors.UnreadableMail(what, directory))
            return
        for entry in names:
            if directories.is_inside(format_, entry):
                continue
            path = join(directory, entry)
            try:
                status = os.stat(path)
            except OSError as error:
                self.skip_file(path, error.strerror)
                continue
            if (status.st_dev, status.st_ino) in self.skip:
                self.skip_file(path, "INBOX, the spool or the list of subscriptions")
            else:
                self.look_at(path, entry, prefix, status)

    def look_at(self, path, entry, prefix, status):
        is_directory = stat.S_ISDIR(status.st_mode)
        rights = os.R_OK | os.X_OK if is_directory else os.R_OK
        if os.path.islink(path) and not os.access(path, rights):
            self.skip_file(path, "a link to what its user may not read")
        elif self.linked and status.st_uid != os.geteuid() and not os.access(path, rights):
            # another's: its mode is no mistake of this user's
            self.skip_file(path, "a link leads to it, and its user may not read it")
        elif is_directory:
            directory = (prefix + entry, (status.st_dev, status.st_ino))
            if os.path.islink(path):
                self.links.append(directory)
            else:
                self.follow(*directory)
        elif stat.S_ISREG(status.st_mode):
            try:
                file, why = identify(path, prefix + entry)
            except errors.UnreadableMail as error:
                self.refuse(error)
                return
            if file is not None:
                self.files.append(file)
            else:
                self.skip_file(path, why)
        else:
            self.skip_file(path, "not a regular file")


def identity(path):
    try:
        status = os.stat(os.fsencode(path))
    except OSError:
        return None
    return status.st_dev, status.st_ino
