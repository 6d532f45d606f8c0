"""The file that marks a tree as made by the converter, and the removal of staged trees (of nothing
else)."""

import json
import os

from mbx2maildir import errors

NAME = b"cutover.json"


def new_name():
    """A name that was never given before."""
    return os.urandom(16).hex()


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
        raise errors.space_error(error, path) from error
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
    """The directory beside staging where trees are begun and removed: whatever lies there is
    ours."""
    return os.path.join(os.path.dirname(os.path.dirname(tree)), b"trash")


def begin_tree(tree, user):
    """Create a tree that has its marker from the first moment, owned by the user → the marker's
    values."""
    if os.path.lexists(tree):
        os.rmdir(tree)  # only an empty one
    fresh = os.path.join(trash_of(tree), new_name().encode("ascii"))
    os.mkdir(fresh, 0o700)
    values = {
        "complete": False,
        "user": user["user"],
        "run": user.get("run", ""),
        "tree": new_name(),
    }
    write(fresh, values, user)
    if os.geteuid() == 0 and user.get("uid") is not None:
        os.chown(fresh, user["uid"], user["gid"])
    os.rename(fresh, tree)
    return values


def take_up(tree, user):
    """The tree an earlier pass or an unfinished run left in staging → its marker's values, or None
    when there is none.

    Errors: PublishError for any other tree. What a crash left there may be a user's own Maildir,
    just swapped out.
    """
    if not os.path.lexists(tree) or os.path.isdir(tree) and not os.listdir(tree):
        return None
    values = read(tree)
    if (
        values is None
        or values.get("user") != user["user"]
        or (values.get("complete") and values.get("run") != user.get("run", ""))
    ):
        raise errors.PublishError(
            "the staging directory holds a tree that this run must not change",
            tree,
            todo="Finish the run it belongs to, or move it away. Then run the same command again.",
        )
    if values.get("complete"):
        values["complete"] = False
        write(tree, values, user)
    return values


def discard(path, tree):
    """Remove a directory of a staged tree: moved to the trash first, so that a kill cannot leave it
    half there."""
    doomed = os.path.join(trash_of(tree), new_name().encode("ascii"))
    os.rename(path, doomed)
    remove(doomed)


def remove(directory):
    """Remove a directory that lies in the trash."""
    import shutil

    shutil.rmtree(directory)
