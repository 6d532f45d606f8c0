"""Control groups of the hosts. Each has its own: else the seven systemds would share one, and see each other's services."""

import contextlib
import os
import pathlib
import time

from lab import errors

# a lab in a world of its own (see world.py) has its own: control groups are the one thing that its namespaces do not keep apart
NAMED_BY = "CUTOVER_LAB_CGROUP"
CGROUP = os.environ.get(NAMED_BY, "cutover-lab")


def _hierarchies():
    """Roots of the control group hierarchies that systemd uses: the unified one and, on old layouts, name=systemd."""
    found = []
    with open("/proc/self/mounts") as mounts:
        for line in mounts:
            _, point, kind, options = line.split()[:4]
            if kind == "cgroup2" or (kind == "cgroup" and "name=systemd" in options.split(",")):
                found.append(pathlib.Path(point))
    return found


def make(name):
    """Make a host's control groups; returns their directories.

    Raises errors.Missing where the machine does not let root make any (a container with a read-only /sys/fs/cgroup).
    """
    made = [hierarchy / CGROUP / name for hierarchy in _hierarchies()]
    try:
        for group in made:
            group.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise errors.Missing(
            f"the rehearsal lab needs to make control groups, and this machine refuses: {error}. In a "
            "container, run it with --privileged and /sys/fs/cgroup writable."
        ) from None
    return made


def processes(name):
    """Ids of the processes in a host's control groups, as far as this machine's process table knows them."""
    found = set()
    for hierarchy in _hierarchies():
        for place, _, _ in os.walk(hierarchy / CGROUP / name):
            with contextlib.suppress(OSError):
                found |= set(map(int, (pathlib.Path(place) / "cgroup.procs").read_text().split()))
    return found - {0}


def present(group=CGROUP):
    """The lab's control groups that exist, leaves first."""
    found = []
    for hierarchy in _hierarchies():
        for place, _, _ in os.walk(hierarchy / group, topdown=False):
            found.append(pathlib.Path(place))
    return found


def remove(group=CGROUP):
    """Remove all of the lab's control groups; the hosts must have ended."""
    for _ in range(40):
        for place in present(group):
            with contextlib.suppress(OSError):
                place.rmdir()
        if not present(group):
            return
        time.sleep(0.05)
