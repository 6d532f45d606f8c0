"""The file that marks a tree as made by the converter, and the removal of staged trees (of nothing else)."""

import json
import os
import shutil
import uuid

from . import errors

NAME = b"cutover.json"


def write(tree, values, user=None):
    """Write (replace) a tree's marker. values: dict."""
    path = os.path.join(tree, NAME)
    temporary = path + b".tmp"
    try:
        with open(temporary, "w") as target:
            os.fchmod(target.fileno(), 0o600)
            json.dump(values, target, sort_keys=True)
            target.write("\n")
            target.flush()
            os.fsync(target.fileno()) if values.get("durable") else None
        os.rename(temporary, path)
    except OSError as error:
        from . import maildir

        raise maildir.space_error(error, path) from error
    if user is not None and os.geteuid() == 0 and user.get("uid") is not None:
        os.chown(path, user["uid"], user["gid"])


def read(tree):
    """A tree's marker → dict, or None when it has none (or none that can be read)."""
    try:
        with open(os.path.join(tree, NAME), "rb") as source:
            values = json.loads(source.read().decode("utf-8"))
    except (OSError, ValueError):
        return None
    return values if isinstance(values, dict) else None


def trash_of(tree):
    """The directory beside staging where trees are begun and removed: whatever lies there is ours."""
    return os.path.join(os.path.dirname(os.path.dirname(tree)), b"trash")


def begin_tree(tree, values, user):
    """Create a tree that has its marker from the first moment, owned by the user, and clear what an earlier try left."""
    remove_staged(tree, values["run"])
    fresh = os.path.join(trash_of(tree), uuid.uuid4().hex.encode("ascii"))
    os.mkdir(fresh, 0o700)
    write(fresh, values, user)
    if os.geteuid() == 0 and user.get("uid") is not None:
        os.chown(fresh, user["uid"], user["gid"])
    os.rename(fresh, tree)


def remove_staged(tree, run):
    """Remove a tree an earlier try of the same run left in staging.

    Errors: PublishError for any other tree. What a crash left there may be a user's own Maildir, just swapped out.
    """
    if not os.path.lexists(tree):
        return
    if os.path.isdir(tree) and not os.path.islink(tree):
        values = read(tree)
        if not os.listdir(tree) or values is not None and values.get("run") == run:
            doomed = os.path.join(trash_of(tree), uuid.uuid4().hex.encode("ascii"))
            os.rename(tree, doomed)  # a removal that is killed half way must not leave a tree without its marker
            shutil.rmtree(doomed)
            return
    raise errors.PublishError("this tree stands where one is to be staged, and has no mark of this run", tree)
