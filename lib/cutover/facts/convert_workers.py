"""What tells whether a host can convert for others, and read users' mail: see site.convert."""

import dataclasses
import hashlib
import json

from cutover import model
from cutover.facts import dovecot, users

# argv: the host's address, first and last port, the directory for Dask; then directories. Each is
# described as it, or the nearest one above it, is now. Opens no file below them.
_PROGRAM = r"""
import json, os, platform, socket, sys
address, first, last, disk = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4]
def existing(path):
    while not os.path.isdir(path):
        path = os.path.dirname(path)
    return path
def mounted(path):
    best = ("", "", "")
    with open("/proc/self/mountinfo") as lines:
        for line in lines:
            left, _, right = line.partition(" - ")
            point = left.split(" ")[4]
            if (path + "/").startswith(point.rstrip("/") + "/") and len(point) >= len(best[0]):
                best = (point, *right.split(" ")[:2])
    return best
def place(path):
    path = existing(path)
    point, kind, source = mounted(os.path.realpath(path))
    file, disk = os.stat(path), os.statvfs(path)
    return {"path": path, "type": kind, "source": source, "inode": file.st_ino,
            "mtime": file.st_mtime_ns, "total": disk.f_blocks * disk.f_frsize,
            "fsid": getattr(disk, "f_fsid", 0)}
def free(port):
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        try:
            probe.bind((address, port))
        except OSError:
            return False
        return True
space = os.statvfs(existing(disk))
print(json.dumps({
    "python": list(sys.version_info[:3]), "machine": platform.machine(),
    "ports": sum(free(port) for port in range(first, last + 1)),
    "free": space.f_bavail * space.f_frsize,
    "systemd": os.path.isdir("/run/systemd/system"),
    "places": {path: place(path) for path in sys.argv[5:]},
}))
"""


@dataclasses.dataclass(frozen=True)
class Place:
    """A directory and its file system. path: the directory, or the nearest one above that exists.

    total: bytes of the file system. fsid: its number, 0 where it has none. mtime: nanoseconds.
    """

    path: str
    type: str
    source: str
    inode: int
    mtime: int
    total: int
    fsid: int

    def is_same(self, other: "Place") -> bool:
        """Whether two hosts see one directory. By its times only where nothing else tells file
        systems apart, as they may change meanwhile."""
        ours, theirs = (
            (
                place.path,
                place.type,
                place.inode,
                place.total,
                place.fsid,
                place.fsid or place.mtime,
            )
            for place in (self, other)
        )
        return ours == theirs


@dataclasses.dataclass(frozen=True)
class Reader:
    """With what a host would read mail. version: of Dovecot. settings: a digest of each that does
    not have its default, by name. users: a digest of the mail users the host knows."""

    version: str
    settings: dict[str, str]
    users: str


@dataclasses.dataclass(frozen=True)
class Worker:
    """A host. python: its version; ports: how many are free; free: bytes for Dask on its disk.

    places: the old mail's directories and the new store's, by the path in the parameters.
    reader: None in facts recorded by an earlier version.
    """

    python: list[int]
    machine: str
    ports: int
    free: int
    systemd: bool
    places: dict[str, Place]
    reader: model.Reading[Reader] | None = None


def of_site(hosts) -> list[str]:
    """The hosts that a site's conversion has, and the new one, which is first."""
    return list(dict.fromkeys([hosts.site.roles.new, *hosts.site.convert.workers]))


def read(hosts, name: str, *paths: str) -> Worker:
    """What a host is as a worker. paths: further directories to look at."""
    site = hosts.site
    section = site.convert
    argv = [
        site.new_store.python,
        "-I",
        "-c",
        _PROGRAM,
        site.address(name),
        *map(str, section.ports),
        section.place,
        *sorted(set(site.old_store.seen_at.values())),
        site.new_store.work,
        *paths,
    ]
    answer = hosts.run(name, argv, sudo=True)
    worker = model.from_json(Worker, json.loads(answer.out))
    return dataclasses.replace(worker, reader=model.read(_reader, hosts, name))


def _reader(hosts, name):
    settings = dovecot.sections(hosts, name, "-n")
    return Reader(
        dovecot.spelling(hosts, name).version,
        {key: _digest(value) for key, value in settings.items()},
        _digest(model.to_json(users.read(hosts, name))),
    )


def _digest(value):
    return hashlib.sha256(json.dumps(value).encode()).hexdigest()[:16]
