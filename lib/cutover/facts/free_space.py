"""Free space of the file system that holds, or will hold, a directory. Read with df(1)."""

import dataclasses

from cutover import model


@dataclasses.dataclass(frozen=True)
class FreeSpace:
    """bytes: free bytes; inodes: free inodes, None on a file system without a limit."""

    bytes: int
    inodes: int | None


def read(hosts, name: str, path: str) -> FreeSpace:
    """Free space for `path` on a host; `path` need not exist yet."""
    argv = ["df", "--output=avail,iavail,itotal", "-B1", existing(hosts, name, path)]
    return parse(hosts.run(name, argv, sudo=True).text)


def existing(hosts, name: str, path: str) -> str:
    """`path`, or the nearest directory above it that exists on the host."""
    while hosts.run(name, ["test", "-e", path], sudo=True, check=False).rc and path != "/":
        path = path.rsplit("/", 1)[0] or "/"
    return path


def parse(text: str) -> FreeSpace:
    """The output of `df --output=avail,iavail,itotal -B1`."""
    free, free_inodes, inodes = model.lines(text)[1].split()
    return FreeSpace(int(free), None if inodes in ("0", "-") else int(free_inodes))
