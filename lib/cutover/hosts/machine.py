"""What a mail host is built on: virtualisation, multipath, the file system under the new store.

`{"virtual": text, "multipath": None or {map: {"active": n, "failed": n}}, "filesystem": {"type", "source", "target", "options":
[text]}, "density": bytes of disk an inode or None, "dovecot": {setting: value}}`. Read with systemd-detect-virt(1), multipath(8),
findmnt(8), df(1) and doveconf(1).
"""

import re

SETTINGS = ("mmap_disable", "mail_fsync", "dotlock_use_excl", "mail_nfs_storage", "mail_nfs_index", "lock_method")
SHARED = ("nfs", "nfs4", "ocfs2", "gfs2", "ceph", "fuse.glusterfs", "cifs")     # file systems that several hosts may write to


def read(hosts, name: str, path: str) -> dict:
    """Of one host and the file system that holds, or will hold, `path`."""
    place = hosts.run(name, ["sh", "-c", 'while [ ! -e "$1" ]; do set -- "$(dirname "$1")"; done; echo "$1"', "sh", path],
                      sudo=True).text.strip()
    return {"virtual": hosts.run(name, ["systemd-detect-virt"], check=False).text.strip() or "unknown",
            "multipath": multipath(hosts, name), "filesystem": filesystem(hosts, name, place),
            "density": density(hosts.run(name, ["df", "-B1", "--output=size,itotal", place], sudo=True).text),
            "dovecot": settings(hosts, name)}


def multipath(hosts, name: str):
    """Each map's paths, None where there is no multipath."""
    result = hosts.run(name, ["multipath", "-ll"], sudo=True, check=False)
    return None if result.rc else parse_multipath(result.text) or None


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
    argv = ["findmnt", "--noheadings", "--nofsroot", "--pairs", "--first-only", "--output", "FSTYPE,SOURCE,TARGET,OPTIONS",
            "--target", path]
    text = hosts.run(name, argv, sudo=True).text
    said = dict(re.findall(r'(\w+)="([^"]*)"', text))
    return {"type": said.get("FSTYPE", "unknown"), "source": said.get("SOURCE", ""), "target": said.get("TARGET", path),
            "options": said.get("OPTIONS", "").split(",")}


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
