"""The mail directories of the lab's hosts: on this machine below STATE, bound into the hosts."""

from lab import paths

STORE = paths.STATE / "store"


def home(user):
    """A user's home on mailboxold, as a path of this machine."""
    return STORE / "home" / user


def spool(user):
    """A user's spool file on mailboxold, as a path of this machine."""
    return STORE / "spool" / user


def imap(user):
    """A user's Maildir on mailboxvm, as a path of this machine."""
    return STORE / "imap" / user


def tail(path, offset):
    """Bytes of a file from an offset. Empty if it does not exist."""
    try:
        with open(path, "rb") as source:
            source.seek(offset)
            return source.read()
    except FileNotFoundError:
        return b""
