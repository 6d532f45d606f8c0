"""Builders of MBX files and of small sites, byte by byte, for tests that need exact damage."""

import contextlib
import os
import pathlib
import shutil
import tempfile

DATE = b" 3-Feb-2009 01:02:03 +0100"
SECONDS = 1233619323


def header(uidvalidity=1234567890, uidlast=0, keywords=(), pid=b"00000000\r\n"):
    head = b"*mbx*\r\n%08x%08x\r\n" % (uidvalidity, uidlast)
    head += b"".join(word + b"\r\n" for word in keywords) + b"\r\n" * (30 - len(keywords))
    return head.ljust(2038, b"\0") + pid


def line(size, uid=0, flags=0, keywords=0, date=DATE):
    return b"%b,%d;%08x%04x-%08x\r\n" % (date, size, keywords, flags, uid)


def text(number=1, body=b"Hello.\r\n"):
    return (
        b"From: a@example.org\r\nSubject: message %d\r\nMessage-ID: <%d@example.org>\r\n\r\n"
        % (number, number)
        + body
    )


def message(content, uid=0, flags=0, keywords=0, date=DATE):
    return line(len(content), uid, flags, keywords, date) + content


def mbx(*messages, uidlast=0, **more):
    """An MBX file. messages: bytes as they stand in the file."""
    return header(uidlast=uidlast, **more) + b"".join(messages)


def simple(count, flags=0x11, **more):
    """count messages with UIDs 1…count."""
    return mbx(
        *(message(text(number), number, flags) for number in range(1, count + 1)),
        uidlast=count,
        **more,
    )


@contextlib.contextmanager
def open_site():
    """A Site in a directory that its users can pass: what is theirs, they look at themselves.
    pytest closes the directories it gives."""
    root = pathlib.Path(tempfile.mkdtemp(prefix="mbx2maildir-"))
    root.chmod(0o755)
    try:
        yield Site(root)
    finally:
        shutil.rmtree(root, ignore_errors=True)


class Site:
    """Homes and Maildirs below one directory, owned by whoever runs the test."""

    def __init__(self, root):
        self.root = root
        self.users = []

    def user(self, name, inbox=None, folders=(), spool=None, subscriptions=None):
        home = self.root / "home" / name
        (home / "mail").mkdir(parents=True)
        if inbox is not None:
            (home / "INBOX").write_bytes(inbox)
        for path, content in dict(folders).items():
            target = os.path.join(os.fsencode(home / "mail"), os.fsencode(path))
            os.makedirs(os.path.dirname(target), exist_ok=True)
            with open(target, "wb") as file:
                file.write(content)
        if subscriptions is not None:
            (home / ".mailboxlist").write_bytes(subscriptions)
        (self.root / "spool").mkdir(exist_ok=True)
        if spool is not None:
            (self.root / "spool" / name).write_bytes(spool)
        self.users.append(
            {
                "user": name,
                "uid": os.geteuid(),
                "gid": os.getegid(),
                "inbox": [str(home / "mbox"), str(home / "INBOX")],
                "spool": str(self.root / "spool" / name),
                "folders": str(home / "mail"),
                "subscriptions": str(home / ".mailboxlist"),
                "maildir": str(self.maildir(name)),
            }
        )
        return home

    def maildir(self, name):
        return self.root / "new" / "imap" / name

    def plan(self, run="r1", **more):
        (self.root / "new").mkdir(exist_ok=True)
        return {
            "run": run,
            "work": str(self.root / "new" / "work"),
            "jobs": 2,
            "host": "mailboxvm",
            "users": self.users,
            **more,
        }
