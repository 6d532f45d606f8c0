"""The file that marks a tree as made by the converter, and the removal of staged trees (of nothing
else). All of it is done by a process that is the tree's user: the tree is within the user's reach.
"""

import json
import os

from mbx2maildir import errors, files

NAME = b"cutover.json"
TRASH = b".trash"  # in a user's own index directory: what is being removed
LARGEST = 64 << 20
DIGITS = 20
COUNTS = ("messages", "bytes", "expunged", "matched", "appended")
LISTS = ("folders", "warnings", "passed", "renamed")
FOLDER_COUNTS = ("messages", "bytes", "expunged", "uidvalidity", "uidnext", "spool", "appended")


def new_name():
    """A name that was never given before."""
    return os.urandom(16).hex()


def write(tree, values):
    """Write (replace) a tree's marker. values: dict."""
    path = os.path.join(tree, NAME)
    try:
        files.replace_file(path, (json.dumps(values, sort_keys=True) + "\n").encode("ascii"))
    except OSError as error:
        raise errors.space_error(error, path) from error


def number(text):
    if len(text) > DIGITS:
        raise ValueError("a number of {} digits".format(len(text)))
    return int(text)


def load(tree):
    """A tree's marker → dict, or None when it has none. Errors: UnreadableMail when something else
    is there."""
    path = os.path.join(tree, NAME)
    try:
        content = files.read_small(path, LARGEST)
    except (FileNotFoundError, NotADirectoryError):
        return None
    try:
        values = json.loads(content.decode("utf-8"), parse_int=number)
    except (ValueError, RecursionError) as error:
        raise errors.UnreadableMail("not what the converter wrote there", path) from error
    if not is_valid(values):
        raise errors.UnreadableMail("not what the converter wrote there", path)
    return values


def is_valid(values):
    """Whether these are a marker's values, with all that is asked of one that is complete."""
    if not isinstance(values, dict) or not isinstance(values.get("complete"), bool):
        return False
    if not all(isinstance(values.get(key), str) for key in ("user", "run", "tree")):
        return False
    if not values["complete"]:
        return True
    return (
        all(is_count(values.get(key, 0)) for key in COUNTS)
        and all(isinstance(values.get(key, []), list) for key in LISTS)
        and all(isinstance(text, str) for text in values.get("warnings", []))
        and all(map(is_folder, values.get("folders", [])))
        and all(map(is_texts, values.get("passed", []) + values.get("renamed", [])))
    )


def is_count(value):
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def is_folder(values):
    return (
        isinstance(values, dict)
        and isinstance(values.get("folder"), str)
        and all(is_count(values.get(key, 0)) for key in FOLDER_COUNTS)
        and isinstance(values.get("warnings"), list)
        and all(isinstance(text, str) for text in values["warnings"])
    )


def is_texts(values):
    return isinstance(values, dict) and all(isinstance(text, str) for text in values.values())


def read(tree):
    """A tree's marker → dict, or None when it has none (or none that can be read)."""
    try:
        return load(tree)
    except (errors.StoreError, OSError):
        return None


def is_empty(tree):
    """Whether nothing was begun in a tree, not even its marker."""
    return not set(os.listdir(tree)) - {NAME + b".new"}


def begin_tree(tree, user):
    """Begin a tree in its empty directory: with its marker → the marker's values."""
    os.makedirs(tree, 0o700, exist_ok=True)
    values = {
        "complete": False,
        "user": user["user"],
        "run": user.get("run", ""),
        "tree": new_name(),
    }
    write(tree, values)
    return values


def take_up(tree, user):
    """The tree an earlier pass or an unfinished run left in staging → its marker's values, or None
    when there is none.

    Errors: PublishError for any other tree. What a crash left there may be a user's own Maildir,
    just swapped out.
    """
    if not os.path.lexists(tree) or files.is_directory(tree) and is_empty(tree):
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
        write(tree, values)
    return values


def discard(path, index):
    """Remove a directory of a staged tree: moved away first, so that a kill cannot leave it half
    there. index: the user's index directory."""
    trash = os.path.join(index, TRASH)
    os.makedirs(trash, 0o700, exist_ok=True)
    doomed = os.path.join(trash, new_name().encode("ascii"))
    os.rename(path, doomed)
    remove(doomed)


def remove(directory):
    """Remove a directory."""
    import shutil

    shutil.rmtree(directory)


def empty(directory):
    """Remove all that lies in a directory."""
    for entry in os.listdir(directory):
        path = os.path.join(directory, entry)
        remove(path) if files.is_directory(path) else os.unlink(path)
