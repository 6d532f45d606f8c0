"""Small files and long ranges of bytes: written whole, read in pieces."""

import os

from mbx2maildir import errors

DIRECTORY_MODE = 0o700
FILE_MODE = 0o600
COPY_CHUNK = 1 << 20
CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC


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
