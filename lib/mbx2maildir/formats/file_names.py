"""Names of Maildir message files: flags as letters, host, UIDVALIDITY and sizes."""

import os
import re

from mbx2maildir.formats import mbx
from mbx2maildir.patterns import Pattern

# In the order of their letters, as Dovecot writes them. MBX "deleted" is T (trashed).
FLAG_LETTERS = (
    (mbx.DRAFT, b"D"),
    (mbx.FLAGGED, b"F"),
    (mbx.ANSWERED, b"R"),
    (mbx.SEEN, b"S"),
    (mbx.DELETED, b"T"),
)


def flag_letters(flags):
    return b"".join(letter for flag, letter in FLAG_LETTERS if flags & flag)


LETTERS_BY_FLAGS = tuple(flag_letters(flags) for flags in range(64))


def host_name(host):
    """A host's name as Maildir allows it in file names."""
    return os.fsencode(host).replace(b"/", b"\\057").replace(b":", b"\\072").replace(b",", b"\\054")


def suffix(host, uidvalidity):
    """The part of a file name between UID and sizes. host as host_name() gives it."""
    return b"P%d.%b,S=" % (uidvalidity, host)


NAME_FLAGS = Pattern(rb"(.*?)(?::2,([A-Za-z]*))?\Z", re.DOTALL)
