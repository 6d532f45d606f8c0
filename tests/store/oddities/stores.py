"""A user's store as twenty years leave it, made of blocks; and what must hold after a conversion.

The rule: whatever c-client shows is shown by Dovecot in the same way, or the survey names it.
"""

import contextlib
import hashlib
import os
import pathlib
import random
import time

from mbx2maildir.formats import dates, line_ends, mbx, readers

from store import oracle
from store.oddities import blocks

NAMES = [
    b"work",
    b"sub/a",
    b"sub/b.c",
    b"b_c",
    b"b.c",
    b"{2008}",
    b"Progetti {2008}",
    b"caf&AOk-",
    b"~t",
    b".archive/2009",
    b"sub/.old",
    b"deep/er/est",
    b"Case",
    b"case",
    b"INBOX.sent",
    b" leading",
]
DIRECTORIES = ["mx", "mix"]
NO_MAIL = [b"", b"\n", b"# not mail\n", b"JMF6", b"\0" * 100, b"From me to you\n"]
TIME_OF_DAY = 3600  # seconds around now in which a UIDVALIDITY was made up


class Store:
    """One user with a random store."""

    def __init__(self, host, seed):
        self.user = host.user(f"o{seed}")
        self.choose = random.Random(seed)
        self.directories = []
        self.subscribed = []
        for part in (self.inbox, self.spool, self.folders, self.links, self.subscriptions):
            part()

    def put(self, path, content, mode=0o600):
        path = pathlib.Path(os.fsdecode(path))
        if path.exists():
            return
        made = []
        parent = path.parent
        while not parent.exists():
            made.append(parent)
            parent = parent.parent
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        path.chmod(mode)
        for entry in [path, *made]:
            os.chown(entry, self.user.uid, self.user.uid)

    def mail(self, kinds):
        return blocks.FILES[self.choose.choice(kinds)](self.choose)

    def inbox(self):
        """`~/mbox` and `~/INBOX`, in all combinations."""
        home, choose = self.user.home, self.choose
        kind = choose.choice(["", "", "", "empty", "mbox", "mbx", "text", "directory", "closed"])
        if kind == "directory":
            self.put(home / "mbox/x", b"")
        elif kind == "closed":
            self.put(home / "mbox", blocks.mbox(choose), 0)
        elif kind:
            content = {"empty": b"", "text": b"no mail\n"}.get(kind)
            self.put(home / "mbox", self.mail([kind]) if content is None else content)
        kind = choose.choice(
            ["", "empty", "mbx", "mbx", "mbx", "mtx", "tenex", "mbox", "mx", "mix"]
        )
        if kind in DIRECTORIES:
            self.directories.append((kind, b"INBOX"))
        elif kind:
            self.put(home / "INBOX", b"" if kind == "empty" else self.mail([kind]))

    def spool(self):
        choose = self.choose
        kind = choose.choice(
            ["", "", "mbox", "mbox", "mbox", "mbx", "mmdf", "mtx", "odd", "before"]
        )
        if kind == "odd":
            self.put(self.user.spool, choose.choice(NO_MAIL))
        elif kind == "before":
            self.put(self.user.spool, b"text before\n" + blocks.mbox(choose))
        elif kind:
            self.put(self.user.spool, self.mail([kind]))

    def folders(self):
        mail = os.fsencode(self.user.home / "mail")
        for name in self.choose.sample(NAMES, self.choose.randrange(1, 6)):
            kind = self.choose.choice([*blocks.FILES, *blocks.FILES, *DIRECTORIES, "odd"])
            if kind in DIRECTORIES:
                self.directories.append((kind, b"mail/" + name))
                self.put(os.path.join(mail, os.path.dirname(name), b".x"), b"")
            elif kind == "odd":
                self.put(os.path.join(mail, name), self.choose.choice(NO_MAIL))
            else:
                self.put(os.path.join(mail, name), self.mail([kind]))
            self.subscribed.append(name)

    def links(self):
        """At most one: c-client follows each to the twentieth level."""
        links = [None, None, None, (b"loop", b"."), (b"loop", b".."), (b"alias", b"sub")]
        link = self.choose.choice(links)
        if link is not None:
            os.symlink(link[1], os.path.join(os.fsencode(self.user.home / "mail"), link[0]))

    def subscriptions(self):
        names = [name for name in self.subscribed if self.choose.random() < 0.8]
        lines = [self.choose.choice([b"mail/", b"mail/", b"~/mail/"]) + name for name in names]
        lines += self.choose.sample([b"INBOX", b"gone", b"#news.comp", b"mail//work"], 2)
        self.put(self.user.home / ".mailboxlist", b"".join(line + b"\n" for line in lines))

    def make_directories(self, connection):
        """mx and mix mailboxes, by c-client itself."""
        for kind, name in self.directories:
            full = oracle.quoted(b"#driver.%b/%b" % (kind.encode(), name)).decode("latin-1")
            if connection.create(full)[0] != "OK":
                continue
            quoted = oracle.quoted(name).decode("latin-1")
            for number in range(self.choose.randrange(5)):
                connection.literal = b"Subject: %d\r\n\r\nbody\r\n" % number
                flags = self.choose.choice(["()", r"(\Seen)", r"(\Flagged work)", r"(\Deleted)"])
                date = '" 3-Feb-2009 01:02:03 +0100"'
                connection._simple_command("APPEND", quoted, flags, date)
            if self.choose.random() < 0.5:
                status, answer = connection.select(quoted)
                if status == "OK" and answer[0] != b"0":
                    connection.store("1", "+FLAGS", "(urgent)")
                    connection.expunge()


def is_text_file(connection, name, view):
    """Whether c-client shows a file that is no mail as one message (its phile driver)."""
    if len(view["messages"]) != 1:
        return False
    answer = connection.fetch("1", "(BODY.PEEK[HEADER])")[1][0]
    text = answer[1] if isinstance(answer, tuple) else b""  # a short one is a quoted string
    return b"\r\nSubject: /" in text and b"\r\nMIME-Version: 1.0\r\n" in text


def look_once(connection, name):
    """c-client's view of a folder; None where it opens nothing; "text" for what it shows as a text
    file."""
    try:
        view = oracle.view(connection, name)
    except (AssertionError, KeyError):
        return None
    return "text" if is_text_file(connection, name, view) else view


def look(user, names):
    """name → c-client's view, as look_once(), each in a session of its own."""
    views = {}
    for name in names:
        with user.cclient() as connection:
            views[name] = look_once(connection, name)
    return views


FLAGS = [
    (mbx.SEEN, b"\\seen"),
    (mbx.DELETED, b"\\deleted"),
    (mbx.FLAGGED, b"\\flagged"),
    (mbx.ANSWERED, b"\\answered"),
    (mbx.DRAFT, b"\\draft"),
]


def read(path):
    """A file as our reader shows it, in the form of oracle.view(); None for no mailbox, and where
    damage is salvaged that c-client refuses."""
    dates.use_zone(0)
    fd = os.open(path, os.O_RDONLY)
    try:
        format_ = readers.kind(os.pread(fd, readers.HEAD, 0))
        if not format_:
            return None
        box = readers.MAILBOXES[format_](fd, str(path))
        messages = []
        for uid, _recent, flags, bits, when, size, offset, text in box.messages():
            if format_ == "mbx":
                text = line_ends.stored_text(fd, offset, size, 1 << 30)
            words = {
                word.lower() for slot, word in enumerate(box.keywords) if word and bits >> slot & 1
            }
            names = sorted([name for flag, name in FLAGS if flags & flag] + list(words))
            # both servers show 0x80 for NUL
            shown = text.replace(b"\r\n", b"\n").replace(b"\0", b"\x80")
            digest = hashlib.sha256(shown).hexdigest()[:16]
            messages.append((uid, tuple(names), when, size, digest))
        if box.damage:
            return None
        now = int(time.time())
        uidvalidity = box.uidvalidity or now
        return {"uidvalidity": uidvalidity, "uidnext": box.uidnext, "messages": messages}
    finally:
        os.close(fd)
        dates.use_zone(None)


def without_recent(message):
    return (message[0], tuple(flag for flag in message[1] if flag != b"\\recent"), *message[2:])


def differences(old, new, as_read=()):
    """How Dovecot's view of a folder differs from c-client's → list of texts. \\Recent is the next
    session's; Dovecot knows it of the last messages only.

    as_read: digests that are right in any case."""
    texts = []
    made_up = abs(old["uidvalidity"] - time.time()) < TIME_OF_DAY
    if old["uidvalidity"] != new["uidvalidity"] and not made_up:
        texts.append(f"UIDVALIDITY {old['uidvalidity']} {new['uidvalidity']}")
    if old["uidnext"] != new["uidnext"]:
        texts.append(f"UIDNEXT {old['uidnext']} {new['uidnext']}")
    olds, news = old["messages"], new["messages"]
    if len(olds) != len(news):
        texts.append(f"{len(olds)} messages, {len(news)}")
    for old_message, new_message in zip(olds, news, strict=False):
        old_message, new_message = without_recent(old_message), without_recent(new_message)
        if (
            old_message[4] == new_message[4] or new_message[4] in as_read
        ):  # c-client's sizes of odd headers and bare LFs are its own
            old_message, new_message = old_message[:3], new_message[:3]
        old_message = (old_message[0], tuple(dict.fromkeys(old_message[1])), *old_message[2:])
        if old_message != new_message:
            texts.append(f"{old_message} {new_message}")
    return texts


@contextlib.contextmanager
def cleaned(host, users):
    """Remove the users' files in the end."""
    import shutil

    try:
        yield
    finally:
        for user in users:
            for path in (user.home, user.maildir):
                shutil.rmtree(path, ignore_errors=True)
            user.spool.unlink(missing_ok=True)
        shutil.rmtree(host.root / "var/imap/.work", ignore_errors=True)
