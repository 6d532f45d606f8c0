"""Become a user for good.

The converter's parent runs as root over trees that their users can shape. Whatever belongs to a
user is looked at only by a process that is that user: what it may read, the kernel says, and what
it is led to by a link or a rename is nothing that the user could not reach without it.
"""

import contextlib
import os
import resource

from mbx2maildir.publish import syscalls

MEMORY_BYTES = 4 << 30  # address space of a worker
HIGHEST = (1 << 31) - 1  # number of a descriptor


def preload():
    """Import what is needed only now and then: once a process is the user, it may not be able to
    read Python's own files, or the program's."""
    import base64  # noqa: F401
    import encodings.utf_16_be  # noqa: F401
    import hashlib
    import pwd  # noqa: F401
    import shutil  # noqa: F401
    import traceback  # noqa: F401

    hashlib.sha256(b"")
    with open(os.devnull, "w", encoding="utf-8"):
        pass


def needed(user):
    """Whether a process that works for `user` must become that user. user: a plan's entry, or None
    for work that is nobody's.

    Errors: ValueError when root does not know who the user is.
    """
    if user is None or os.geteuid() != 0:
        return False
    if user.get("uid") is None or user.get("gid") is None:
        raise ValueError("uid and gid of the user are needed when it is run as root")
    return user["uid"] != 0


def groups(user):
    """All groups of a user; the group of the plan alone for one whom the host does not know."""
    import pwd

    try:
        name = user["user"]
        if pwd.getpwnam(name).pw_uid != user["uid"]:
            name = pwd.getpwuid(user["uid"]).pw_name
    except KeyError:
        try:
            name = pwd.getpwuid(user["uid"]).pw_name
        except KeyError:
            return [user["gid"]]
    return os.getgrouplist(name, user["gid"])


def become(user):
    """Be the user from here on, with all groups, without a way back."""
    os.umask(0o077)
    if not needed(user):
        return
    os.setgroups(groups(user))
    os.setgid(user["gid"])
    os.setuid(user["uid"])


def limit():
    """Bound what a worker may take, whatever its user's mail is like. No core either: it would hold
    what we know of other users."""
    for which, most in ((resource.RLIMIT_AS, MEMORY_BYTES), (resource.RLIMIT_CORE, 0)):
        hard = resource.getrlimit(which)[1]
        most = most if hard == resource.RLIM_INFINITY else min(most, hard)
        resource.setrlimit(which, (most, most))


def close_others(kept):
    """Close every descriptor but these: a user's process gets nothing that root has open."""
    first, gaps = 0, []
    for number in (*sorted(kept), HIGHEST + 1):
        if first < number:
            gaps.append((first, number - 1))
        first = number + 1
    if all(syscalls.close_range(*gap) for gap in gaps):
        return
    # slow with hundreds of claims open
    try:
        numbers = [int(name) for name in os.listdir("/proc/self/fd")]
    except OSError:
        numbers = range(3, 1024)
    for number in numbers:
        if number not in kept:
            with contextlib.suppress(OSError):
                os.close(number)
