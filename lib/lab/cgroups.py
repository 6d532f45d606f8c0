"""Control groups of the hosts, one per host: sharing, their systemds would see each other."""

import contextlib
import os
import pathlib
import time

from lab import errors

# a lab in a world of its own (world.py) has its own: no namespace keeps control groups apart
NAMED_BY = "CUTOVER_LAB_CGROUP"
CGROUP = os.environ.get(NAMED_BY, "cutover-lab")


def _hierarchies():
    """Roots of systemd's control group hierarchies: the unified one, and the old one if any."""
    roots = []
    with open("/proc/self/mounts") as mounts:
        for line in mounts:
            _, point, kind, options = line.split()[:4]
            if kind == "cgroup2" or (kind == "cgroup" and "name=systemd" in options.split(",")):
                roots.append(pathlib.Path(point))
    return roots


def make(name):
    """Make a host's control groups; returns their directories.

    Raises errors.Missing if root cannot make any, as in a container with a read-only
    /sys/fs/cgroup.
    """
    made = [hierarchy / CGROUP / name for hierarchy in _hierarchies()]
    try:
        for group in made:
            group.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise errors.Missing(
            f"creating control groups on this machine failed: {error}. In a container, run the lab "
            "with --privileged and a writable /sys/fs/cgroup."
        ) from None
    return made


def processes(name):
    """Ids of the processes in a host's control groups that this machine's process table has."""
    pids = set()
    for hierarchy in _hierarchies():
        for place, _, _ in os.walk(hierarchy / CGROUP / name):
            with contextlib.suppress(OSError):
                pids |= set(map(int, (pathlib.Path(place) / "cgroup.procs").read_text().split()))
    return pids - {0}


def present(group=CGROUP):
    """The lab's control groups that exist, leaves first."""
    return [
        pathlib.Path(place)
        for hierarchy in _hierarchies()
        for place, _, _ in os.walk(hierarchy / group, topdown=False)
    ]


def remove(group=CGROUP):
    """Remove all control groups of the lab. Its hosts must have ended."""
    for _ in range(40):
        for place in present(group):
            with contextlib.suppress(OSError):
                place.rmdir()
        if not present(group):
            return
        time.sleep(0.05)
