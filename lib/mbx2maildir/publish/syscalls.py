"""System calls that not every Python offers: renameat2 (to exchange two trees at once), syncfs and
close_range."""

import ctypes
import errno
import os

AT_FDCWD = -100
RENAME_NOREPLACE = 1
RENAME_EXCHANGE = 2

_libc = ctypes.CDLL(None, use_errno=True)


def exchange(first, second):
    """Swap two paths in one step. → False when kernel or file system cannot. Errors: OSError."""
    return _renameat2(first, second, RENAME_EXCHANGE)


def rename_new(source, target):
    """Rename to a path that must not exist. → False when kernel or file system cannot. Errors:
    FileExistsError, OSError."""
    return _renameat2(source, target, RENAME_NOREPLACE)


def _renameat2(source, target, flags):
    if not hasattr(_libc, "renameat2"):
        return False
    if (
        _libc.renameat2(
            AT_FDCWD,
            ctypes.c_char_p(os.fsencode(source)),
            AT_FDCWD,
            ctypes.c_char_p(os.fsencode(target)),
            ctypes.c_uint(flags),
        )
        == 0
    ):
        return True
    code = ctypes.get_errno()
    if code in (errno.ENOSYS, errno.EINVAL):
        return False
    raise OSError(code, os.strerror(code), os.fsdecode(target))


def syncfs(path):
    """Write the file system that holds `path` to disk. Errors: OSError (EIO: what was written
    before is not safe)."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        if hasattr(_libc, "syncfs"):
            if _libc.syncfs(fd) != 0:
                code = ctypes.get_errno()
                raise OSError(code, os.strerror(code), os.fsdecode(path))
        else:
            os.sync()
    finally:
        os.close(fd)


def sync_directory(path):
    """Make the entries of a directory durable."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def close_range(first, last):
    """Close every descriptor from first to last. → False when kernel or C library cannot."""
    if not hasattr(_libc, "close_range"):
        return False
    return _libc.close_range(ctypes.c_uint(first), ctypes.c_uint(last), ctypes.c_int(0)) == 0
