"""POSIX ACLs of files (acl(5)), as the kernel keeps them: linux/posix_acl_xattr.h."""

import os
import struct

NAMED, MASK = {0x02: "uid", 0x08: "gid"}, 0x10


def readers(path):
    """The users and groups that a file's ACL names and lets read it; none where the file system has
    no ACLs."""
    try:
        value = os.getxattr(path, "system.posix_acl_access")
    except OSError:
        return []
    entries = [struct.unpack_from("<HHI", value, offset) for offset in range(4, len(value) - 7, 8)]
    mask = next((rights for tag, rights, _ in entries if tag == MASK), 7)
    return [
        "{} {}".format(NAMED[tag], number)
        for tag, rights, number in entries
        if tag in NAMED and rights & mask & 4
    ]


def shared(paths):
    """Those of some files that an ACL lets others read. Yields (path, readers)."""
    for path in paths:
        if names := readers(path):
            yield path, names
