"""What a mail host is built on: virtualisation, multipath, the file system under the new store.

`{"virtual": text, "clocksource": text or "", "write_cache": {disk: "write back" or "write through"}, "multipath": None or {map:
{"active": n, "failed": n}}, "multipath_error": text, "filesystem": {"type", "source", "target", "options": [text]}, "density":
bytes of disk an inode or None, "dovecot": {setting: value}}`. Read with systemd-detect-virt(1), multipath(8), findmnt(8), df(1),
doveconf(1), lsblk(8) and sysfs.
"""

import re

CLOCK = "/sys/devices/system/clocksource/clocksource0/current_clocksource"
NO_COMMAND = 127  # a shell's exit status
SETTINGS = (
    "mmap_disable",
    "mail_fsync",
    "dotlock_use_excl",
    "mail_nfs_storage",
    "mail_nfs_index",
    "lock_method",
)
SHARED = (
    "nfs",
    "nfs4",
    "ocfs2",
    "gfs2",
    "ceph",
    "fuse.glusterfs",
    "cifs",
)  # file systems that several hosts may write to


def read(hosts, name: str, path: str) -> dict:
    """Of one host and the file system that holds, or will hold, `path`."""
    place = hosts.run(
        name,
        [
            "sh",
            "-c",
            'while [ ! -e "$1" ]; do set -- "$(dirname "$1")"; done; echo "$1"',
            "sh",
            path,
        ],
        sudo=True,
    ).text.strip()
    disk, (paths, failed) = filesystem(hosts, name, place), multipath(hosts, name)
    return {
        "virtual": hosts.run(name, ["systemd-detect-virt"], check=False).text.strip() or "unknown",
        "clocksource": hosts.run(name, ["cat", CLOCK], check=False).text.strip(),
        "write_cache": write_cache(hosts, name, disk["source"]),
        "multipath": paths,
        "multipath_error": failed,
        "filesystem": disk,
        "density": density(
            hosts.run(name, ["df", "-B1", "--output=size,itotal", place], sudo=True).text
        ),
        "dovecot": settings(hosts, name),
    }


def multipath(hosts, name: str):
    """`(paths, error)`: each map's paths, None where there is no multipath; what the command says when it fails, else ""."""
    # by a shell: sudo's status for a command that is not there is 1, that of many failures
    result = hosts.run(name, ["sh", "-c", "exec multipath -ll"], sudo=True, check=False)
    if result.rc == NO_COMMAND:
        return None, ""
    if result.rc:
        return None, result.err.decode(
            "utf-8", "replace"
        ).strip() or result.text.strip() or f"exit status {result.rc}"
    return parse_multipath(result.text) or None, ""


def parse_multipath(text: str) -> dict:
    """`multipath -ll`: a map's line names its device dm-N; a path's holds its host:channel:id:lun and states."""
    found, current = {}, None
    for line in text.splitlines():
        if head := re.match(r"(\S+) .*\bdm-\d+\b", line):
            current = found.setdefault(head[1], {"active": 0, "failed": 0})
        elif current is not None and re.search(r"\s\d+:\d+:\d+:\d+\s", line):
            current["active" if re.search(r"\bactive ready\b", line) else "failed"] += 1
    return found


def filesystem(hosts, name: str, path: str) -> dict:
    argv = [
        "findmnt",
        "--noheadings",
        "--nofsroot",
        "--pairs",
        "--first-only",
        "--output",
        "FSTYPE,SOURCE,TARGET,OPTIONS",
        "--target",
        path,
    ]
    text = hosts.run(name, argv, sudo=True).text
    said = dict(re.findall(r'(\w+)="([^"]*)"', text))
    return {
        "type": said.get("FSTYPE", "unknown"),
        "source": said.get("SOURCE", ""),
        "target": said.get("TARGET", path),
        "options": said.get("OPTIONS", "").split(","),
    }


def write_cache(hosts, name: str, source: str) -> dict:
    """Of each disk beneath a file system's device, whether it has a cache that must be flushed; {} where no disk is seen."""
    script = (
        'lsblk -nrso NAME,TYPE -- "$1" 2>/dev/null | while read -r disk type; do [ "$type" != disk ] || '
        'echo "$disk $(cat "/sys/block/$disk/queue/write_cache")"; done'
    )
    lines = hosts.run(
        name, ["sh", "-c", script, "sh", source], sudo=True, check=False
    ).text.splitlines()
    return dict(line.split(" ", 1) for line in lines)


def density(text: str):
    """`df --output=size,itotal`: bytes of disk for each inode; None where inodes have no number of their own."""
    size, inodes = text.splitlines()[-1].split()
    return None if inodes in ("0", "-") else int(size) // int(inodes)


def settings(hosts, name: str) -> dict:
    """Those settings of Dovecot's on which a shared file system depends; one that a version does not have is left out."""
    found = {}
    for key in SETTINGS:
        result = hosts.run(name, ["doveconf", "-h", key], sudo=True, check=False)
        if result.rc == 0:
            found[key] = result.text.strip()
    return found
