"""The removal of what was staged, by a process that is its user."""

import os

from mbx2maildir import files

NAME = b".trash"  # in a user's own index directory: what is being removed


def new_name():
    """A name that was never given before."""
    return os.urandom(16).hex()


def discard(path, index):
    """Remove a directory of a staged tree: moved away first, so that a kill cannot leave it half
    there. index: the user's index directory."""
    trash = os.path.join(index, NAME)
    os.makedirs(trash, 0o700, exist_ok=True)
    doomed = os.path.join(trash, new_name().encode("ascii"))
    os.rename(path, doomed)
    remove(doomed)


def remove(path):
    """Remove a directory with all in it, or whatever its user put in its place."""
    import shutil

    # rmtree() would wait for a pipe
    shutil.rmtree(path) if files.is_directory(path) else os.unlink(path)


def empty(directory):
    """Remove all that lies in a directory."""
    for entry in os.listdir(directory):
        remove(os.path.join(directory, entry))
