"""Sessions over mailboxes in memory, for what copying back reads."""

import datetime

from cutover.carryback.published import PublishedFolder, PublishedTree
from cutover.connect import imap

DATE = datetime.datetime(2026, 3, 14, 9, 26, tzinfo=datetime.UTC)


class Session:
    """folders: `{name: Folder}`; subscribed: lines of the list."""

    server = "fake"

    def __init__(self, folders, subscribed=()):
        self.content, self.lines = folders, list(subscribed)

    def folders(self, pattern="*"):
        prefix = pattern.rstrip("*%")
        return [(name, "/", True) for name in self.content if name.startswith(prefix)]

    def subscribed(self):
        return self.lines

    def status(self, name, items):
        return {"UIDVALIDITY": self.content[name].uidvalidity}

    def stream(self, name, level="metadata"):
        if name not in self.content:
            raise imap.FolderUnreadable(server=self.server, folder=name, reason="no such folder")
        return self.content[name].as_imap(name)

    read = stream

    def texts(self, name, messages):
        for message in messages:
            yield message, self.content[name].texts[message.uid]


class Refusing:
    """An old server that refuses the commands named in `refuses` and remembers the others."""

    def __init__(self, refuses=()):
        self.refuses, self.done = refuses, []

    def _do(self, command, *arguments):
        if command in self.refuses:
            raise imap.CommandRefused(server="old", command=command, reason="quota")
        self.done.append((command, *arguments))

    def append(self, folder, text, flags, date):
        self._do("APPEND", folder, flags)
        return 100 + sum(command == "APPEND" for command, *_ in self.done)

    def change(self, folder):
        self._do("SELECT", folder)

    def create(self, folder):
        self._do("CREATE", folder)

    def store(self, uids, words, add):
        self._do("STORE", uids, words, add)

    def delete(self, folder, uids):
        self._do("DELETE", folder, uids)


class Folder:
    """messages: `{UID: (text, flags)}`; a text alone has no flags."""

    def __init__(self, messages=None, uidvalidity=7, keywords=()):
        rows = {
            uid: row if isinstance(row, tuple) else (row, ())
            for uid, row in (messages or {}).items()
        }
        self.uidvalidity, self.keywords = uidvalidity, frozenset(keywords)
        self.texts = {uid: b"Subject: " + text.encode() for uid, (text, _) in rows.items()}
        self.flags = {uid: frozenset(flags) for uid, (_, flags) in rows.items()}

    def as_imap(self, name):
        messages = [
            imap.Message(uid, self.flags[uid], False, DATE, len(text))
            for uid, text in self.texts.items()
        ]
        return imap.Folder(name, self.uidvalidity, None, messages, len(messages), self.keywords)


class Unreadable(Folder):
    def as_imap(self, name):
        raise imap.FolderUnreadable(server="fake", folder=name, reason="broken")


def published(*names, limit=10, lost=()):
    """A tree with INBOX and these folders, UIDVALIDITY 7, 8, …, converted up to `limit`."""
    folders = [PublishedFolder("", "INBOX", "INBOX", 7, limit, frozenset(lost))]
    folders += [
        PublishedFolder(name, f"mail/{name}", name, uidvalidity, limit)
        for uidvalidity, name in enumerate(names, 8)
    ]
    return PublishedTree("alice", True, False, "t1", "t1", 1.0, tuple(folders), ())
