"""A store as both servers show it, and as the converter surveys and converts it: programs as
shipped, run in the mail host's root directory."""

import contextlib
import hashlib
import imaplib
import json
import os
import stat
import subprocess
import time

from cutover.remote import ship
from mbx2maildir.formats import dates, line_ends, mbx, readers

from store import oracle

PROGRAM = "/opt/store.pyz"
# The old host's zone is in the plan: nothing of it may come from here.
PYTHON = ["env", "-i", "TZ=NEW-7:13", "/usr/bin/python3", "-I", "-S", PROGRAM]
INDEXES = (b".mxindex", b".mixmeta")


def convert(host, stores):
    """Survey and convert → ({user: survey}, {user: error}, {user: state})."""
    program = host.root / PROGRAM[1:]
    if not program.exists():
        program.parent.mkdir(exist_ok=True)
        ship.build(program)
    plan = {"run": "r1", "work": "/var/imap/.work", "jobs": 2, "host": "mailboxvm"}
    plan["users"] = [store.entry() for store in stores]
    (host.root / "tmp/plan").write_text(json.dumps(plan))
    surveyed = ask(host, "survey", "--plan", "/tmp/plan", "--json")
    events = host.root / "tmp/events"
    events.unlink(missing_ok=True)
    ask(host, "convert-users", "--plan", "/tmp/plan", "--events", "/tmp/events")
    failed = {}
    for line in events.read_text().splitlines():
        event = json.loads(line)
        if event["event"] == "error":
            failed[event["user"]] = event["what"]
    state = ask(host, "state", "--plan", "/tmp/plan", "--json")
    return by_name(surveyed), failed, by_name(state)


def by_name(answer):
    return {entry["user"]: entry for entry in answer["users"]}


def ask(host, *argv):
    """Run the converter → its JSON answer, if it gives one."""
    done = subprocess.run(["chroot", host.root, *PYTHON, *argv], capture_output=True)
    assert done.returncode in (0, 1) and not done.stderr, (argv, done.stdout, done.stderr)
    return json.loads(done.stdout) if "--json" in argv else None


class Session:
    """Sessions of c-client as a user: a new one where the last ended."""

    def __init__(self, user):
        self.user, self.stack, self.connection = user, contextlib.ExitStack(), None
        self.tenex = False

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.close()

    def close(self):
        self.stack.close()
        self.connection, self.tenex = None, False

    def open(self):
        if self.connection is None:
            self.connection = self.stack.enter_context(self.user.cclient())
        return self.connection

    def view(self, name, tenex=False):
        """A mailbox's view as oracle.view(); None where c-client opens nothing, "text" for what it
        shows as a text file. tenex: its driver shows one folder's text in another of a session."""
        if tenex and self.tenex:
            self.close()
        connection = self.open()
        self.tenex = self.tenex or tenex
        try:
            view = oracle.view(connection, name)
            return "text" if is_text_file(connection, view) else view
        except (AssertionError, KeyError):
            return None
        except (imaplib.IMAP4.error, OSError):
            self.close()  # there are mailboxes at which it ends
            return None


def is_text_file(connection, view):
    """Whether c-client's phile driver shows a plain file as one message."""
    if len(view["messages"]) != 1:
        return False
    answer = connection.fetch("1", "(BODY.PEEK[HEADER])")[1][0]
    text = answer[1] if isinstance(answer, tuple) else b""  # a short one is a quoted string
    return b"\r\nSubject: /" in text and b"\r\nMIME-Version: 1.0\r\n" in text


def simple_first(name):
    """A key to sort names by; last are those that c-client lists and takes for another place."""
    return name.startswith((b"{", b"#", b"~")), name.count(b"/"), name


class Old:
    """What c-client shows of a store. views: of Session.view(), by the place of a file or directory;
    subscribed: names; inbox, spool: views."""

    def __init__(self, store):
        self.store, self.views = store, {}
        with Session(store.user) as session:
            self.subscribed = oracle.folder_list(session.open(), command="lsub")
            listed = oracle.folder_list(session.open())
            # it does not list every name it opens, nor open every file
            listed += [b"mail/" + name for name in store.names]
            listed += sorted(store.mail)
            for name in sorted(set(listed), key=simple_first):
                self.look(session, name)
            self.inbox = session.view(b"INBOX", self.is_tenex(b"INBOX"))
            spool = b"/var/mail/" + os.fsencode(store.user.name)
            self.spool = session.view(spool, self.is_tenex(spool))

    def is_tenex(self, name):
        path = within(self.store.host.root, os.path.join(self.store.own, name))
        return self.format(path) == "tenex"

    def format(self, path):
        """A mailbox's format by its beginning; "" for what is none, None for a directory."""
        real = os.path.join(os.fsencode(self.store.host.root), path[1:])
        try:
            if stat.S_ISREG(os.stat(real).st_mode):
                with open(real, "rb") as file:
                    return readers.kind(file.read(readers.HEAD))
            if any(os.path.isfile(os.path.join(real, index)) for index in INDEXES):
                return "directory"
        except OSError:
            return ""
        return None

    def look(self, session, name):
        path = within(self.store.host.root, os.path.join(self.store.own, name))
        if path is None or path in self.views:
            return
        if os.path.basename(path).startswith((b".mix", b".mxindex")):
            return  # of a mailbox that is a directory
        format_ = self.format(path)
        if format_ is not None and not belongs_to_mx(self.store.host.root, path):
            if name.upper() == b"INBOX":  # which is not the file of that name
                name = path
            self.views[path] = session.view(name, format_ == "tenex")


def belongs_to_mx(root, path):
    """Whether a file is a message of a mx mailbox."""
    directory = os.path.join(os.fsencode(root), os.path.dirname(path)[1:])
    return os.path.basename(path).isdigit() and os.path.exists(directory + b"/.mxindex")


def within(root, path, depth=0):
    """A path of the mail host without links, as the host sees it; None for a loop."""
    done = b"/"
    for part in path.split(b"/"):
        if part in (b"", b"."):
            continue
        if part == b"..":
            done = os.path.dirname(done)
            continue
        here = os.path.join(done, part)
        try:
            target = os.readlink(os.path.join(os.fsencode(root), here[1:]))
        except OSError:
            done = here
            continue
        done = None if depth > 20 else within(root, os.path.join(done, target), depth + 1)
        if done is None:
            return None
    return done


class New:
    """What Dovecot shows of a user: lists of folders and subscriptions; views by name."""

    def __init__(self, user, names):
        with user.dovecot() as connection:
            self.listed = oracle.folder_list(connection)
            self.subscribed = oracle.folder_list(connection, command="lsub")
            self.views = {name: oracle.view(connection, name) for name in [*names, b"INBOX"]}


def snarfed(user):
    """INBOX with the spool's mail, as a read-write session of c-client moves it there."""
    try:
        with user.cclient() as connection:
            opened = connection.select("INBOX")[0] == "OK"
            return oracle.view(connection, b"INBOX") if opened else None
    except (imaplib.IMAP4.error, KeyError, OSError):
        return None  # there are mailboxes at which it ends


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
