"""The platform of a mail host: virtualisation, multipath, the file system under the new store.

Read with systemd-detect-virt(1), multipath(8), findmnt(8), df(1), lsblk(8) and sysfs.
"""

import dataclasses
import re

from cutover import model
from cutover.facts import dovecot, free_space

CLOCK = "/sys/devices/system/clocksource/clocksource0/current_clocksource"
NO_COMMAND = 127  # a shell's exit status


@dataclasses.dataclass(frozen=True)
class Paths:
    """How many paths of one multipath device work, and how many do not."""

    active: int = 0
    failed: int = 0


@dataclasses.dataclass(frozen=True)
class FileSystem:
    """One mounted file system: its type, device, mount point and mount options."""

    type: str
    source: str
    target: str
    options: list[str]


@dataclasses.dataclass(frozen=True)
class Machine:
    """What a host runs on.

    virtual: as systemd-detect-virt names it, or "unknown".
    multipath: the paths of each device; None without multipath, or if it cannot be read.
    density: bytes of disk per inode; None where the number of inodes has no limit.
    dovecot: its settings that matter on a shared file system.
    clocksource: "" without one; None in facts of older versions.
    write_cache: "write back" or "write through" of each disk.
    multipath_error: why multipath cannot be read, or "".
    """

    virtual: str
    multipath: dict[str, Paths] | None
    filesystem: FileSystem
    density: int | None
    dovecot: dict[str, str]
    clocksource: str | None = None
    write_cache: dict[str, str] = dataclasses.field(default_factory=dict)
    multipath_error: str = ""


def read(hosts, name: str, path: str) -> Machine:
    """The platform of a host, and the file system that holds, or will hold, `path`."""
    place = free_space.existing(hosts, name, path)
    disk, (paths, error) = filesystem(hosts, name, place), multipath(hosts, name)
    sizes = hosts.run(name, ["df", "-B1", "--output=size,itotal", place], sudo=True).text
    virtual = hosts.run(name, ["systemd-detect-virt"], check=False).text.strip()
    return Machine(
        virtual=virtual or "unknown",
        multipath=paths,
        filesystem=disk,
        density=density(sizes),
        dovecot=dovecot.shared(hosts, name),
        clocksource=hosts.run(name, ["cat", CLOCK], check=False).text.strip(),
        write_cache=write_cache(hosts, name, disk.source),
        multipath_error=error,
    )


def multipath(hosts, name: str) -> tuple[dict[str, Paths] | None, str]:
    """(paths of each device, error): None without multipath, an error when the command fails."""
    # through a shell, because sudo exits with 1 for a missing command and for many other failures
    result = hosts.run(name, ["sh", "-c", "exec multipath -ll"], sudo=True, check=False)
    if result.rc == NO_COMMAND:
        return None, ""
    if result.rc:
        stderr = result.err.decode("utf-8", "replace").strip()
        return None, stderr or result.text.strip() or f"exit status {result.rc}"
    return parse_multipath(result.text) or None, ""


def parse_multipath(text: str) -> dict[str, Paths]:
    """The output of `multipath -ll`.

    The line of a device names its dm-N; the line of a path has its host:channel:id:lun and state.
    """
    devices, device = {}, None
    for line in model.lines(text):
        if head := re.match(r"(\S+) .*\bdm-\d+\b", line):
            device = head[1]
            devices.setdefault(device, Paths())
        elif device is not None and re.search(r"\s\d+:\d+:\d+:\d+\s", line):
            paths = devices[device]
            active = bool(re.search(r"\bactive ready\b", line))
            devices[device] = Paths(paths.active + active, paths.failed + (not active))
    return devices


def filesystem(hosts, name: str, path: str) -> FileSystem:
    """The file system of an existing path."""
    argv = ["findmnt", "--noheadings", "--nofsroot", "--pairs", "--first-only"]
    argv += ["--output", "FSTYPE,SOURCE,TARGET,OPTIONS", "--target", path]
    return parse_findmnt(hosts.run(name, argv, sudo=True).text, path)


def parse_findmnt(text: str, path: str) -> FileSystem:
    """The output of `findmnt --pairs`; `path` is the mount point if there is none."""
    fields = dict(re.findall(r'(\w+)="([^"]*)"', text))
    return FileSystem(
        fields.get("FSTYPE", "unknown"),
        fields.get("SOURCE", ""),
        fields.get("TARGET", path),
        fields.get("OPTIONS", "").split(","),
    )


def write_cache(hosts, name: str, source: str) -> dict[str, str]:
    """The cache mode of each disk below a file system's device; empty when no disk is visible."""
    script = (
        'lsblk -nrso NAME,TYPE -- "$1" 2>/dev/null | while read -r disk type; do '
        '[ "$type" != disk ] || echo "$disk $(cat "/sys/block/$disk/queue/write_cache")"; done'
    )
    argv = ["sh", "-c", script, "sh", source]
    lines = model.lines(hosts.run(name, argv, sudo=True, check=False).text)
    return dict(line.split(" ", 1) for line in lines)


def density(text: str) -> int | None:
    """Bytes of disk per inode from `df --output=size,itotal`; None when inodes are unlimited."""
    size, inodes = model.lines(text)[-1].split()
    return None if inodes in ("0", "-") else int(size) // int(inodes)
