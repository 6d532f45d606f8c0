"""What root knows of users' trees, in files that only root can reach.

<work>/<run>/state/USER.json says what the run published, <work>/staged/USER.json what lies in
staging. A tree is recognised by the directory itself, not by what is in it: by an extended
attribute that only root can set, which goes where `rsync -X` copies the directory, or by its inode
where the file system keeps no such attribute.

{"tree": its id, "marked": whether the attribute was set, "inode"}, and of the state: "phase"
("published" or "unpublished"), "published_at" and the figures of merge.summary(); of what is
staged: "run", "user", "complete", "folders" and "at" of the last pass, and once it is complete the
figures too. Earlier versions kept "tree" in cutover.json in the user's tree: their records have no
"inode".
"""

import contextlib
import errno
import json
import os
import re
import stat

from mbx2maildir import errors, files
from mbx2maildir.publish import syscalls

LARGEST = 64 << 20
OLDER = b"cutover.json"
ID = re.compile("[0-9a-f]{32}\\Z")
UNSUPPORTED = (errno.ENOTSUP, errno.EPERM, errno.EINVAL)


def attribute():
    return "{}.mbx2maildir".format("trusted" if os.geteuid() == 0 else "user")


def mark(directory, tree):
    """Mark a directory as the tree with this id → the beginning of its record."""
    fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        marked = True
        try:
            os.setxattr(fd, attribute(), tree.encode("ascii"))
        except OSError as error:
            if error.errno not in UNSUPPORTED:
                raise
            marked = False
        return {"tree": tree, "marked": marked, "inode": os.fstat(fd).st_ino}
    finally:
        os.close(fd)


def is_tree(path, record, older=None):
    """Whether the tree of a record lies at a path, in a directory that only root can write to.

    older: tree_of() of what lies there, for a record of an older version.
    """
    try:
        status = os.lstat(path)
        if not record or not stat.S_ISDIR(status.st_mode):
            return False
        if "inode" not in record:
            return older is not None and record.get("tree") == older
        if record["marked"]:
            value = os.getxattr(path, attribute(), follow_symlinks=False)
            return value == record["tree"].encode("ascii")
    except OSError:
        return False
    return status.st_ino == record["inode"]


def tree_of(tree):
    """The id that an older version left in a tree, or None. For a process that is its user."""
    try:
        values = json.loads(files.read_small(os.path.join(tree, OLDER), LARGEST).decode("utf-8"))
    except (errors.StoreError, OSError, ValueError, RecursionError):
        return None
    known = values.get("tree") if isinstance(values, dict) else None
    return known if isinstance(known, str) and ID.match(known) else None


def read(path):
    """A record → dict, empty without the file. Errors: PublishError when it cannot be parsed."""
    try:
        values = json.loads(files.read_small(path, LARGEST).decode("utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except (ValueError, RecursionError) as error:
        raise broken(path) from error
    if not isinstance(values, dict):
        raise broken(path)
    return values


def broken(path):
    return errors.PublishError(
        "not what the converter wrote there",
        path,
        todo="Restore this file from a backup, or move it away if the user's mail was not "
        "published by this run. Then run the same command again.",
    )


def write(path, values, durable=True):
    files.replace_file(path, json.dumps(values, sort_keys=True).encode("ascii"), durable)
    if durable:
        syscalls.sync_directory(os.path.dirname(path))


def remove(path):
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path)
