"""The lab's marker, and its processes, which are known by pid and start time."""

import contextlib
import json
import os
import signal

from lab import paths

MARKER = paths.STATE / "marker.json"


def read():
    """The marker of the lab that is up, or half up, as a dict. None without a lab.

    Keys: made_by, lab (random id, also in every host's /etc/cutover-lab), phase ("starting", "up"
    or "stopping"), seed (the snapshot's name or None), suites (role → Debian suite), old_world,
    domain, hosts: name → {address, fqdn, base (path), pid, start, leader, leader_start,
    fingerprint}. `pid` is systemd-nspawn's, `leader` the host's init as this machine sees it.
    """
    try:
        return json.loads(MARKER.read_text())
    except (FileNotFoundError, json.JSONDecodeError):
        return None


def write(marker):
    """Put the marker in place atomically."""
    part = MARKER.with_suffix(".part")
    part.write_text(json.dumps(marker, indent=1) + "\n")
    part.replace(MARKER)


def start_time(pid):
    """Start time of a live process, in clock ticks since boot. None if it is gone or a zombie."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as stat:
            fields = stat.read().rpartition(b")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return None if fields[0] in (b"Z", b"X") else int(fields[19])


def alive(pid, started):
    """True while this process runs, and not a later one with the same pid."""
    return pid is not None and started is not None and start_time(pid) == started


def end(pid, started, number):
    """Send a signal to this process, if it still runs. The pidfd protects a later process."""
    try:
        handle = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    try:
        if alive(pid, started):
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(handle, number)
    finally:
        os.close(handle)
