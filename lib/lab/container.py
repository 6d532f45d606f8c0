"""One host as a systemd-nspawn container: start it, know its processes, end them."""

import contextlib
import os
import pathlib
import signal
import subprocess
import time

from lab import cgroups, disk, errors, network, state

BOOT = pathlib.Path("/proc/sys/kernel/random/boot_id")


def start(name, binds=()):
    """Start the host and return while it boots; `binds` are options such as --bind=A:B.

    The wrapping shell records its process before it becomes systemd-nspawn. So a lab command that
    is killed at any moment leaves no process without a record.
    """
    place = disk.directory(name)
    steps = [
        f"read -r stat < /proc/$$/stat && "
        f'{{ echo "$stat"; cat {BOOT}; }} > {place}/process.part && '
        f"mv {place}/process.part {place}/process"
    ]
    steps += [f"echo 0 > {group}/cgroup.procs" for group in cgroups.make(name)]
    command = [
        "systemd-nspawn",
        "--quiet",
        "--settings=no",
        "--register=no",
        "--keep-unit",
        "--boot",
        "--console=pipe",
        f"--machine={name}",
        f"--directory={disk.root(name)}",
        "--link-journal=no",
        "--resolv-conf=off",
        "--timezone=off",
        f"--network-namespace-path={network.NAMESPACES / network.namespace(name)}",
        *binds,
    ]
    script = " && ".join([*steps, 'exec "$@"'])
    (place / "process").unlink(missing_ok=True)
    with open(place / "console.log", "ab") as log:
        done = subprocess.run(
            ["setsid", "--fork", "sh", "-c", script, "sh", *command],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            cwd="/",
            env={"PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8"},
        )
    for _ in range(500):
        if done.returncode or (place / "process").exists():
            break
        time.sleep(0.01)
    if not (place / "process").exists():
        raise errors.LabError(
            f"starting the lab's {name} failed: exit {done.returncode}. See {place}/console.log."
        )


def process(name):
    """(pid, start time) of the host's systemd-nspawn as recorded.

    None if none was started since this machine booted.
    """
    try:
        stat, *boot = (disk.directory(name) / "process").read_text().splitlines()
    except FileNotFoundError:
        return None
    # a record without a boot id: the start time alone must do
    if boot and boot[0] != BOOT.read_text().strip():
        return None
    fields = stat.rpartition(")")
    return int(fields[0].split()[0]), int(fields[2].split()[19])


def running(name):
    """True while the host's systemd-nspawn runs."""
    identity = process(name)
    return identity is not None and state.alive(*identity)


def leader(name):
    """(pid, start time) of the host's init on this machine, or None."""
    identity = process(name)
    if identity is None or not state.alive(*identity):
        return None
    try:
        children = (
            pathlib.Path(f"/proc/{identity[0]}/task/{identity[0]}/children").read_text().split()
        )
    except FileNotFoundError:
        return None
    for child in map(int, children):
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            if os.readlink(f"/proc/{child}/ns/pid") != os.readlink("/proc/self/ns/pid"):
                return child, state.start_time(child)
    return None


def stop(names, grace):
    """End hosts: a clean poweroff within `grace` seconds in all, then a kill. 0 kills at once."""
    live = {name: process(name) for name in names if running(name)}
    inits = {name: leader(name) for name in live}
    if grace:
        for identity in live.values():
            state.end(*identity, signal.SIGTERM)
        _gone(live.values(), grace)
    for name, identity in live.items():
        state.end(*identity, signal.SIGKILL)
        if inits[name]:
            state.end(*inits[name], signal.SIGKILL)
    _gone([*live.values(), *filter(None, inits.values())], 5)
    for name in names:
        _empty(name)


def _gone(identities, seconds):
    until = time.monotonic() + seconds
    while any(state.alive(*identity) for identity in identities) and time.monotonic() < until:
        time.sleep(0.02)


def _empty(name):
    """Kill what is left in the host's control groups; only the lab puts processes there."""
    for _ in range(100):
        left = {pid for pid in cgroups.processes(name) if state.start_time(pid) is not None}
        if not left:
            return
        for pid in left:
            state.end(pid, state.start_time(pid), signal.SIGKILL)
        time.sleep(0.02)
    raise errors.LabError(
        f"stopping the lab's {name} failed: these processes do not end: {sorted(left)}"
    )
