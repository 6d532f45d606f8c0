"""Small files and long ranges of bytes: written whole, read in pieces."""

import errno
import os
import stat

from mbx2maildir import errors

DIRECTORY_MODE = 0o700
FILE_MODE = 0o600
COPY_CHUNK = 1 << 20
CREATE = os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
READ = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK
KINDS = (
    (stat.S_ISREG, "a file"),
    (stat.S_ISLNK, "a link"),
    (stat.S_ISDIR, "a directory"),
    (stat.S_ISFIFO, "a FIFO"),
    (stat.S_ISSOCK, "a socket"),
)


def kind(status):
    """What is there when it is no regular file, in words."""
    return next((text for test, text in KINDS if test(status.st_mode)), "a device")


def open_regular(path, follow=False):
    """Open a file for reading, whoever chose what lies at its name: no device is touched, nothing
    is waited for. follow: links too.

    Errors: UnreadableMail; FileNotFoundError passes.
    """
    try:
        status = os.stat(path, follow_symlinks=follow)
        if not stat.S_ISREG(status.st_mode):
            raise errors.UnreadableMail("{}, not a regular file".format(kind(status)), path)
        fd = os.open(path, READ if follow else READ | os.O_NOFOLLOW)
    except FileNotFoundError:
        raise
    except OSError as error:
        raise errors.UnreadableMail("cannot open: {}".format(error.strerror), path) from error
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        os.close(fd)
        raise errors.UnreadableMail("not a regular file", path)
    return fd


def read_small(path, limit):
    """The content of a file of at most `limit` bytes. Errors: as open_regular(), UnreadableMail
    for a larger one."""
    fd = open_regular(path)
    try:
        data = bytearray()
        while len(data) <= limit:
            piece = os.read(fd, min(COPY_CHUNK, limit + 1 - len(data)))
            if not piece:
                return bytes(data)
            data += piece
    finally:
        os.close(fd)
    raise errors.UnreadableMail("larger than {} bytes".format(limit), path)


def is_regular(path):
    """Whether a regular file is there, not a link to one."""
    try:
        return stat.S_ISREG(os.lstat(path).st_mode)
    except OSError:
        return False


def is_directory(path):
    """Whether a directory is there, not a link to one."""
    try:
        return stat.S_ISDIR(os.lstat(path).st_mode)
    except OSError:
        return False


def next_data(fd, position):
    """The first position with data from `position` on; None when only a hole is left."""
    try:
        return os.lseek(fd, position, os.SEEK_DATA)
    except OSError as error:
        return None if error.errno == errno.ENXIO else position


def pieces(source, offset, size):
    """The bytes of a range of a file, in pieces. Errors: ShortRead."""
    end = offset + size
    while offset < end:
        piece = os.pread(source, min(COPY_CHUNK, end - offset), offset)
        if not piece:
            raise errors.ShortRead("the mailbox shrank while it was read", "", offset)
        offset += len(piece)
        yield piece


def write_all(fd, data):
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]


def write_sparse(fd, data):
    """As write_all(), but zeros alone become a hole: a file of terabytes without data must not fill
    the disk of everybody. The caller gives the file its length at the end."""
    if data[:1] == b"\0" and data.count(b"\0") == len(data):
        os.lseek(fd, len(data), os.SEEK_CUR)
    else:
        write_all(fd, data)


def create(path, flags=os.O_WRONLY):
    """Open a new file in place of what lies there, which may be a pipe that nobody reads."""
    if os.path.lexists(path):
        os.unlink(path)
    return os.open(path, flags | CREATE, FILE_MODE)


def write_file(path, data, mode=FILE_MODE):
    """Create a small file; it must not exist."""
    fd = os.open(path, os.O_WRONLY | CREATE, mode)
    try:
        write_all(fd, data)
    finally:
        os.close(fd)


def replace_file(path, data, durable=False):
    """Write a small file whether it exists or not, in one step."""
    temporary = path + b".new"
    fd = create(temporary)
    try:
        write_all(fd, data)
        if durable:
            os.fsync(fd)
    finally:
        os.close(fd)
    os.rename(temporary, path)
