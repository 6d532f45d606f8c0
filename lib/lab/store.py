"""The mail directories of the lab's hosts: on this machine below STATE, bound into the hosts."""

import os

from lab import paths, state, topology

STORE = paths.STATE / "store"
DIRECTORIES = {topology.STORE: STORE, topology.POSTA: paths.STATE / "store2"}  # by alias


def alias(user):
    """The alias of a user's store in the lab that is up."""
    marker = state.read()
    return topology.alias_of(user, marker["hosts"] if marker else ())


def old_server(user):
    """Name of a user's old server."""
    return topology.old_server(alias(user))


def home(user):
    """A user's home on the user's old server, as a path of this machine."""
    return DIRECTORIES[alias(user)] / "home" / user


def spool(user):
    """A user's spool file on the user's old server, as a path of this machine."""
    return DIRECTORIES[alias(user)] / "spool" / user


def imap(user):
    """A user's Maildir on the user's new server, as a path of this machine."""
    return DIRECTORIES[alias(user)] / "imap" / user


def make_old(directory):
    """Make what an old server of a store has: empty directories of homes and spool files."""
    (directory / "home").mkdir(parents=True)
    (directory / "spool").mkdir()
    # root:mail 1777 and setgid, as Debian's base-files makes it
    os.chown(directory / "spool", 0, 8)
    os.chmod(directory / "spool", 0o3777)


def tail(path, offset):
    """Bytes of a file from an offset. Empty if it does not exist."""
    try:
        with open(path, "rb") as source:
            source.seek(offset)
            return source.read()
    except FileNotFoundError:
        return b""
