"""mailboxold's homes on a disk that reads slowly, for benchmarks.

It is a file system on a loop device whose reads a control group limits (blkio, version 1; a machine
without device mapper and NBD has nothing else). All that reads from it shares the limit, in order
of arrival. Writes, and what is in the page cache, are as fast as ever.
"""

import contextlib
import os
import pathlib

from lab import control, errors, paths, store, system

LIMIT = pathlib.Path("/sys/fs/cgroup/blkio/blkio.throttle.read_bps_device")
HOME = store.STORE / "home"
BYTES = 4 << 30  # of the file system; its file is sparse


@contextlib.contextmanager
def slow(rate: float):
    """Move the homes of a running lab there; `rate` in MB per second.

    Both mail hosts are off meanwhile. A process that is killed leaves the limit on the loop device:
    write "MAJOR:MINOR 0" to LIMIT. Raises errors.Missing.
    """
    if not LIMIT.exists():
        raise errors.Missing(f"{LIMIT} is missing: this machine cannot make a disk slow.")
    for name in ("mailboxold", "mailboxvm"):
        control.stop(name)
    file, place = paths.STATE / "slow.img", paths.STATE / "slow"
    with open(file, "wb") as image:
        image.truncate(BYTES)
    system.call("mkfs.ext4", "-q", "-F", file)
    place.mkdir()
    system.call("mount", "-o", "loop,noatime", file, place)
    system.call("cp", "-a", f"{HOME}/.", place)
    system.call("umount", place)
    system.call("mount", "-o", "loop,noatime", file, HOME)
    device = os.stat(HOME).st_dev
    device = f"{os.major(device)}:{os.minor(device)}"
    control.up()
    LIMIT.write_text(f"{device} {rate * 1e6:.0f}\n")
    try:
        yield
    finally:
        LIMIT.write_text(f"{device} 0\n")


def forget(directory: pathlib.Path) -> None:
    """Drop the files below a directory of HOME from the page cache."""
    system.call("sync", "--file-system", directory)
    for path in directory.rglob("*"):
        with contextlib.suppress(OSError):  # not a file, or moved meanwhile
            file = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
            try:
                os.posix_fadvise(file, 0, 0, os.POSIX_FADV_DONTNEED)
            finally:
                os.close(file)
