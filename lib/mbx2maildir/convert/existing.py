"""The Maildir a user has on the new host already: what dual delivery put there, to be reconciled
with the history."""

import os
import re

from mbx2maildir import errors, files
from mbx2maildir.formats import file_names, keywords, maildir, message_key, uidlist
from mbx2maildir.patterns import Pattern

KNOWN_FILES = Pattern(
    rb"(cur|new|tmp|maildirfolder|maildirsize|subscriptions|cutover\.json|dovecot[-.].*)\Z",
    re.DOTALL,
)


class Message:
    """A message file: folder (Maildir++ name, b"" for INBOX), subdir (b"cur", b"new"), name, base,
    letters, uid or 0."""

    __slots__ = ("folder", "subdir", "name", "base", "letters", "uid", "key")

    def __init__(self, folder, subdir, name, uids):
        match = file_names.NAME_FLAGS.match(name)
        self.folder, self.subdir, self.name = folder, subdir, name
        self.base, self.letters = match.group(1), match.group(2) or b""
        self.uid = uids.get(self.base, 0)
        self.key = None

    def path(self, root):
        return os.path.join(root, maildir.folder_directory(self.folder), self.subdir, self.name)


def foreign_entries(root, names):
    """Entries of a Maildir that are neither mail nor Dovecot's own files."""
    mine = {maildir.folder_directory(name) for name in names if name}
    try:
        entries = sorted(os.listdir(root))
    except FileNotFoundError:
        return []
    return [entry for entry in entries if entry not in mine and not KNOWN_FILES.match(entry)]


class NewSide:
    """All messages of an existing Maildir with their keys.

    messages: list of Message in the order they are to be appended (folder, UID, name: the time of
    delivery). odd: entries of its folders that are no files.
    lengths: set of body lengths an old message must have to be worth a key. Empty when
    there is nothing to reconcile.
    """

    def __init__(self, root):
        self.root = root
        self.messages = []
        self.odd = []
        self.lengths = set()
        self.folders = {}
        self.keywords = {}
        self.names = maildir.folder_names(root)
        for name in self.names:
            directory = os.path.join(root, maildir.folder_directory(name))
            uidvalidity, uidnext, uids = uidlist.read(directory)
            self.folders[name] = (uidvalidity, uidnext)
            self.keywords[name] = keywords.read(directory)
            in_folder = [
                Message(name, subdir, entry, uids) for subdir, entry in maildir.listing(root, name)
            ]
            in_folder.sort(key=lambda message: (message.uid or 1 << 32, message.base))
            self.messages += in_folder

    def read(self, progress=None):
        """Work out the keys. A message file that vanished meanwhile (a reader on the new side) is
        left out."""
        kept = []
        for message in self.messages:
            if progress is not None:
                progress(0, 0)
            path = message.path(self.root)
            try:
                fd = files.open_regular(path)
            except FileNotFoundError:
                continue
            except errors.UnreadableMail:
                if files.is_regular(path):
                    raise
                self.odd.append(os.path.relpath(path, self.root))
                continue
            try:
                message.key, lengths = message_key.key_of_file(fd)
            finally:
                os.close(fd)
            self.lengths.update(lengths)
            kept.append(message)
        self.messages = kept
        return self
