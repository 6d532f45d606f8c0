"""A world per lab: its own network, mounts, process ids and control groups.

Several labs run side by side, each with the same addresses. The tests' lanes are such worlds.

    python -m lab.world NAME PROGRAM [ARGUMENT …]

runs a program in a world. Its network is isolated. When the program ends or is killed, everything
that still runs in its world ends too.
"""

import os
import subprocess
import sys

from lab import cgroups, paths

# $1: the lab's own directory, which another hides; then the program. The shell stays as process 1.
_ENTER = r"""
set -e
top=$1; shift
mount --make-rprivate /
# what a lab outside has mounted there: hidden below, it would still be listed in this world
awk -v top="$top/" 'index($2, top) == 1 { print $2 }' /proc/self/mounts | tac |
while read -r point; do umount --lazy "$point"; done
# in memory: ext4 looks for each new file's inode among all those that other labs have just deleted
mount -t tmpfs -o mode=0755 world "$top"
mkdir -p /run/netns /run/systemd/nspawn
mount -t tmpfs -o mode=0755 world /run/netns
mount -t tmpfs -o mode=0700 world /run/systemd/nspawn
ip link set lo up
set +e
"$@"
exit $?
"""
_APART = [
    "setpriv",
    "--pdeathsig",
    "KILL",
    "unshare",
    "--mount",
    "--net",
    "--pid",
    "--fork",
    "--kill-child",
    "--mount-proc",
]


def enter(name, command):
    """Run `command` (a list) in the world `name`; returns its exit code. Needs root.

    A lab in that world is gone when this returns.
    """
    top = paths.STATE.parent
    top.mkdir(parents=True, exist_ok=True)
    group = f"{cgroups.CGROUP}-{name}"
    environment = {**os.environ, cgroups.NAMED_BY: group}
    done = subprocess.run(
        [*_APART, "sh", "-c", _ENTER, "world", str(top), *command], env=environment
    )
    cgroups.remove(group)
    return done.returncode


def inside():
    """Whether this process runs in a world: a lab it leaves up is gone when the world ends."""
    return cgroups.NAMED_BY in os.environ


if __name__ == "__main__":
    sys.exit(enter(sys.argv[1], sys.argv[2:]))
