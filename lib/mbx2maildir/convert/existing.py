"""The Maildir a user has on the new host already: what dual delivery put there, to be reconciled with the history."""

import os
import re

from mbx2maildir.formats import message_key as digest
from mbx2maildir.formats.patterns import Pattern

NAME_FLAGS = Pattern(rb"(.*?)(?::2,([A-Za-z]*))?\Z", re.DOTALL)
KNOWN_FILES = Pattern(
    rb"(cur|new|tmp|maildirfolder|maildirsize|subscriptions|cutover\.json|dovecot[-.].*)\Z",
    re.DOTALL,
)


class Message:
    """A message file: folder (Maildir++ name, b"" for INBOX), subdir (b"cur", b"new"), name, base, letters, uid or 0."""

    __slots__ = ("folder", "subdir", "name", "base", "letters", "uid", "key")

    def __init__(self, folder, subdir, name, uids):
        match = NAME_FLAGS.match(name)
        self.folder, self.subdir, self.name = folder, subdir, name
        self.base, self.letters = match.group(1), match.group(2) or b""
        self.uid = uids.get(self.base, 0)
        self.key = None

    def path(self, root):
        return os.path.join(root, folder_directory(self.folder), self.subdir, self.name)


def folder_directory(name):
    """Maildir++ name → directory relative to the Maildir."""
    return b"." + name if name else b""


def folder_names(root):
    """Maildir++ names of a Maildir, b"" (INBOX) first."""
    try:
        entries = sorted(os.listdir(root))
    except FileNotFoundError:
        return []
    return [b""] + [
        entry[1:]
        for entry in entries
        if entry.startswith(b".")
        and len(entry) > 1
        and entry != b".."
        and os.path.isdir(os.path.join(root, entry, b"cur"))
    ]


def foreign_entries(root, names):
    """Entries of a Maildir that are neither mail nor Dovecot's own files."""
    mine = {folder_directory(name) for name in names if name}
    try:
        entries = sorted(os.listdir(root))
    except FileNotFoundError:
        return []
    return [entry for entry in entries if entry not in mine and not KNOWN_FILES.match(entry)]


def uidlist(directory):
    """dovecot-uidlist → (uidvalidity, next uid, {base name: uid}); (0, 0, {}) when there is none."""
    uidvalidity = uidnext = 0
    uids = {}
    path = os.path.join(directory, b"dovecot-uidlist")
    if not os.path.exists(path):
        return 0, 0, uids
    with open(path, "rb") as lines:
        head = lines.readline()
        if head.startswith(b"3 "):
            for field in head.split()[1:]:
                if field[:1] in (b"V", b"N") and field[1:].isdigit():
                    if field[:1] == b"V":
                        uidvalidity = int(field[1:])
                    else:
                        uidnext = int(field[1:])
        for line in lines:
            uid, colon, name = line.rstrip(b"\n").partition(b":")
            uid = uid.split()[0] if uid.split() else b""
            if colon and uid.isdigit():
                uids[NAME_FLAGS.match(name).group(1)] = int(uid)
    return uidvalidity, uidnext, uids


def keyword_names(directory):
    """dovecot-keywords → {letter: name}."""
    names = {}
    try:
        with open(os.path.join(directory, b"dovecot-keywords"), "rb") as lines:
            for line in lines:
                number, _, name = line.rstrip(b"\n").partition(b" ")
                if number.isdigit() and int(number) < 26 and name:
                    names[bytes([97 + int(number)])] = name
    except FileNotFoundError:
        pass
    return names


def listing(root, name):
    """Message files of one folder → list of (subdir, file name), sorted."""
    found = []
    for subdir in (b"cur", b"new"):
        try:
            entries = os.listdir(os.path.join(root, folder_directory(name), subdir))
        except FileNotFoundError:
            continue
        found += [(subdir, entry) for entry in entries if not entry.startswith(b".")]
    return sorted(found)


class NewSide:
    """All messages of an existing Maildir with their keys.

    messages: list of Message in the order they are to be appended (folder, UID, name: the time of delivery).
    lengths: set of body lengths an old message must have to be worth a key. Empty when there is nothing to reconcile.
    """

    def __init__(self, root):
        self.root = root
        self.messages = []
        self.lengths = set()
        self.folders = {}
        self.keywords = {}
        self.names = folder_names(root)
        for name in self.names:
            directory = os.path.join(root, folder_directory(name))
            uidvalidity, uidnext, uids = uidlist(directory)
            self.folders[name] = (uidvalidity, uidnext)
            self.keywords[name] = keyword_names(directory)
            found = [Message(name, subdir, entry, uids) for subdir, entry in listing(root, name)]
            found.sort(key=lambda message: (message.uid or 1 << 32, message.base))
            self.messages += found

    def read(self):
        """Work out the keys. A message file that vanished meanwhile (a reader on the new side) is left out."""
        kept = []
        for message in self.messages:
            try:
                fd = os.open(message.path(self.root), os.O_RDONLY | os.O_NOFOLLOW)
            except FileNotFoundError:
                continue
            try:
                message.key, lengths = digest.key_of_file(fd)
            finally:
                os.close(fd)
            self.lengths.update(lengths)
            kept.append(message)
        self.messages = kept
        return self
