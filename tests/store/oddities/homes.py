"""A user's home as twenty years leave it, made of blocks: INBOX, spool, folders, links, lists, what
lies outside, and a Maildir on the new side."""

import os
import random
import re
import shutil

from store import oracle
from store.oddities import blocks

NAMES = [
    b"work",
    b"work/alpha",
    b"sub/a",
    b"sub/b.c",
    b"b_c",
    b"b.c",
    b"a.b/c",
    b"a/b.c",
    b"{2008}",
    b"{old}/x",
    b"Progetti {2008}",
    b"caf&AOk-",
    b"caf\xc3\xa9",
    b"caf\xe9",
    b"caf&AOk",
    b"a&b",
    b"&",
    b"~t",
    b"sub/~t",
    b".archive/2009",
    b".hidden",
    b"sub/.old",
    b"..x",
    b"x..y",
    b"deep/er/est/and/more",
    b"Case",
    b"case",
    b"INBOX",
    b"Inbox",
    b"inbox/x",
    b"INBOX.sent",
    b" leading",
    b"trailing ",
    b'quo"te',
    b"back\\slash",
    b"per%cent",
    b"st*ar",
    b"#news",
    b"sub/#x",
    b"(x) [y]",
    b"-f",
    b"cur",
    b"new/x",
    b"tmp",
    b"dovecot.index",
    b"maildirfolder",
    b"subscriptions",
    b"c\x01tl",
    b"t\tab",
    b"cr\r",
    b"l\nf",
    b"n" * 251,
    b"d/" + b"n" * 250,
    b"\xe5\xb1\xb1" * 60,
    b"1",
]
DIRECTORIES = ["mx", "mix"]
OUTSIDE = [
    b"Sent Items",
    b"archive/2009",
    b"archive/.old/x",
    b"saved-messages",
    b"Mail/sent",
    b"work",
    b".pine/sent",
    b"public_html/x.html",
    b"dead.letter",
    b"{2008}",
    b"#old",
    b"~t",
    b"Inbox",
]
ZONES = [0, 0, 3600, 3600, 19800, -28800, -12600, 45900]  # seconds east of Greenwich
FROM_WITH_CR = re.compile(rb"^From [^\n]*\r[^\n]", re.MULTILINE)
OFFICE = 9000  # the group of what is shared


class Store:
    """A random store of one user of a mail host. mail: paths of what was put as mail, in any
    format. delivered: messages that dual delivery put on the new side. roots: further roots. cut:
    of "mbox" and "spool" those that end within a line, to which c-client adds what it writes; and
    "From" where one has a CR in a From_ line, which c-client takes for one once it has written."""

    def __init__(self, host, slot, seed):
        name = f"o{slot}"
        self.user = host.users.get(name) or host.user(name, groups=(OFFICE,))
        self.host, self.seed = host, seed
        self.home = os.fsencode(self.user.home)
        self.own = b"/home/" + name.encode()
        self.remove()
        self.folder(b"mail")
        self.choose = random.Random(seed)
        self.user.zone = self.choose.choice(ZONES)
        self.mail, self.names, self.directories, self.roots = set(), [], [], []
        self.delivered = 0
        parts = (self.inbox, self.spool, self.folders, self.links, self.outside)
        for part in (*parts, self.subscriptions, self.new_side):
            part()

    def remove(self):
        """Remove the files of the user's store before this one."""
        for path in (self.user.home, self.user.maildir):
            shutil.rmtree(path, ignore_errors=True)
        self.user.spool.unlink(missing_ok=True)

    def folder(self, path):
        """Make a directory of the user's, and those above it → whether it is there."""
        path = os.path.join(self.home, path)
        missing = []
        while not os.path.lexists(path):
            missing.append(path)
            path = os.path.dirname(path)
        for made in reversed(missing if os.path.isdir(path) else []):
            try:
                os.mkdir(made, 0o700)
            except OSError:
                return False
            os.chown(made, self.user.uid, self.user.uid)
        return os.path.isdir(path) or not missing

    def put(self, path, content, mode=0o600):
        """Write a file unless its path is taken. Returns whether it was written."""
        path = os.path.join(self.home, path)
        if os.path.lexists(path) or not self.folder(os.path.dirname(path)):
            return False
        try:
            with open(path, "wb") as file:
                file.write(content)
        except OSError:
            return False  # the directory above it is a file
        os.chmod(path, mode)
        os.chown(path, self.user.uid, self.user.uid)
        return True

    def link(self, path, target):
        path = os.path.join(self.home, path)
        if not os.path.lexists(path) and self.folder(os.path.dirname(path)):
            os.symlink(target, path)

    def put_mail(self, path, kind, mode=0o600):
        """Put mail in a format, or a directory that c-client is to make."""
        if kind in DIRECTORIES and path.isascii() and path.decode().isprintable():
            if not os.path.lexists(os.path.join(self.home, path)):
                self.folder(os.path.dirname(path))
                self.directories.append((kind, path))
                self.mail.add(path)
        elif self.put(path, blocks.FILES.get(kind, blocks.mbx)(self.choose), mode):
            self.mail.add(path)

    def put_any(self, path):
        """Mail in any format, or what is none."""
        choose = self.choose
        kind = choose.choice([*blocks.FILES, "mbox", "mbx", *blocks.FILES, *DIRECTORIES, "none"])
        if kind == "none":
            self.put(path, choose.choice(blocks.NO_MAIL))
        else:
            self.put_mail(path, kind, 0 if choose.random() < 0.003 else 0o600)

    def inbox(self):
        """`~/mbox` and `~/INBOX`, in all combinations."""
        choose = self.choose
        kind = choose.choice(["", "", "", "", "empty", "mbox", "mbox", "mbx", "other", "none"])
        if choose.random() < 0.04:
            kind = choose.choice(["directory", "closed", "link"])
        if kind == "directory":
            self.put(b"mbox/x", b"")
        elif kind == "closed":
            self.put(b"mbox", blocks.mbox(choose), 0)
        elif kind == "link":
            self.put_mail(b"Mail/mbox", "mbox")
            self.link(b"mbox", b"Mail/mbox")
        elif kind == "other":
            self.put_mail(b"mbox", choose.choice(["mmdf", "tenex", "mtx"]))
        elif kind in ("empty", "none"):
            self.put(b"mbox", b"" if kind == "empty" else choose.choice(blocks.NO_MAIL))
        elif kind:
            self.put_mail(b"mbox", kind)
        kind = choose.choice(["", "", "empty", "mbx", "mbx", "mbx", "any"])
        if kind == "any":
            self.put_any(b"INBOX")
        elif kind:
            self.put(b"INBOX", b"") if kind == "empty" else self.put_mail(b"INBOX", kind)

    def spool(self):
        choose = self.choose
        kind = choose.choice(["", "", "mbox", "mbox", "mbox", "mbx", "mmdf", "mtx", ""])
        if choose.random() < 0.05:
            kind = choose.choice(["before", "none", "none"])
        spool = os.fsencode(self.user.spool)
        if kind == "none":
            self.put(spool, choose.choice(blocks.NO_MAIL))
        elif kind == "before":
            self.put(spool, b"text before\n" + blocks.mbox(choose))
        elif kind:
            self.put(spool, blocks.FILES[kind](choose))
        places = {"mbox": self.user.home / "mbox", "spool": self.user.spool}
        files = {name: path for name, path in places.items() if path.is_file()}
        self.cut = {name for name, path in files.items() if path.read_bytes()[-1:] != b"\n"}
        if any(FROM_WITH_CR.search(path.read_bytes()) for path in files.values()):
            self.cut.add("From")

    def folders(self):
        for name in self.choose.sample(NAMES, self.choose.choice([1, 2, 2, 3, 4, 6])):
            self.put_any(b"mail/" + name)
            self.names.append(name)

    def links(self):
        """At most one loop: c-client follows each to the twentieth level."""
        choose, user = self.choose, os.fsencode(self.user.name)
        work = choose.choice(self.names)
        top = work.partition(b"/")[0]
        recipes = {
            b"mail/loop": [b".", b"..", b"../mail", b"loop"],
            b"mail/Archive": [top, work, self.own + b"/mail/" + top, b"../mail/" + work],
            b"mail/zlast": [b"Archive", top, b"../archive", b"../Sent Items", b"../INBOX"],
            b"mail/nowhere": [b"gone", b"/gone/away", b"../../gone/x"],
            b"mail/office": [b"/shared/office", b"/shared/closed", b"/shared", b"/shared/team"],
            b"mail/spool": [b"/var/mail/" + user],
            b"box": [b"mail/" + work, b"mail", b"/shared/office", b"mail/" + top],
            b"mail/sub/up": [b"../" + work, b"../../archive"],
        }
        paths = choose.sample(sorted(recipes), choose.choice([0, 0, 1, 1, 2]))
        for path in paths[: 1 if b"mail/loop" in paths else 2]:
            self.link(path, choose.choice(recipes[path]))

    def outside(self):
        choose = self.choose
        for name in choose.sample(OUTSIDE, choose.choice([0, 0, 1, 2, 3])):
            self.put_any(name)
        if choose.random() < 0.1:
            self.put(b"Maildir/cur/1.x", b"Subject: other\n\nformat\n")
            self.folder(b"Maildir/new")
            self.folder(b"Maildir/tmp")
        if choose.random() < 0.25:
            below = choose.choice([b"archive", b"Sent Items", b"Mail", b"", b"archive/2009"])
            path = os.fsdecode(os.path.join(self.own, below))
            name = choose.choice(["old", os.fsdecode(below), "work", "sub/x"])
            self.roots.append({"path": path.rstrip("/"), "name": name})

    def subscriptions(self):
        choose, user = self.choose, os.fsencode(self.user.name)
        places = [b"mail/"] * 4 + [b"~/mail/", b"~%b/mail/" % user, self.own + b"/mail/"]
        places += [b"{localhost}mail/", b"{old.example.org:143/imap}~/mail/", b"mail//", b"./mail/"]
        places += [b"mail/../mail/", b"mail/./", b"", b"MAIL/"]
        lines = [choose.choice(places) + name for name in self.names if choose.random() < 0.8]
        lines += choose.sample(OUTSIDE, 1)
        more = [
            b"INBOX",
            b"inbox",
            b"mail/gone",
            b"#news.comp",
            b"",
            b"mail/",
            b"mail",
            b"mail/loop",
        ]
        more += [b"/var/mail/" + user, b"~other/mail/x", b"{other}INBOX", b"#mh/x", b"../o1/mail/x"]
        lines += choose.sample(more, 3) + lines[:1]
        choose.shuffle(lines)
        end = choose.choice([b"\n", b"\n", b"\n", b"\r\n"])
        mode = 0 if choose.random() < 0.003 else 0o600
        if choose.random() < 0.9:
            self.put(b".mailboxlist", b"".join(line + end for line in lines), mode)

    def new_side(self):
        """What dual delivery, or an accident, left on the new side."""
        choose = self.choose
        if choose.random() > 0.15:
            return
        place = os.fsencode(self.user.maildir)
        for name in (b"cur", b"new", b"tmp"):
            self.folder(os.path.join(place, name))
        what = choose.choice(["mail", "fifo", "directory"])
        if what == "mail":
            text = b"Subject: delivered twice\nMessage-ID: <%d@twice>\n\nnew\n" % self.seed
            self.put(os.path.join(place, b"new/1700000000.M1P1.new"), text)
            self.delivered = 1
        elif what == "fifo":
            os.mkfifo(os.path.join(place, b"new/fifo"), 0o600)
            os.chown(os.path.join(place, b"new/fifo"), self.user.uid, self.user.uid)
        else:
            self.folder(os.path.join(place, b"new/directory"))

    def entry(self):
        """The user as the converter's plan says it."""
        home, name = os.fsdecode(self.own), self.user.name
        return {
            "user": name,
            "uid": self.user.uid,
            "gid": self.user.uid,
            "home": home,
            "old_home": home,
            "inbox": [f"{home}/mbox", f"{home}/INBOX"],
            "spool": f"/var/mail/{name}",
            "folders": f"{home}/mail",
            "subscriptions": f"{home}/.mailboxlist",
            "maildir": f"/var/imap/{name}",
            "roots": self.roots,
            "zone": self.user.zone,
        }

    def make_directories(self):
        """mx and mix mailboxes, by c-client itself."""
        if not self.directories:
            return
        with self.user.cclient() as connection:
            for kind, name in self.directories:
                self.make_directory(connection, kind, name)

    def make_directory(self, connection, kind, name):
        choose = self.choose
        full = oracle.quoted(b"#driver.%b/%b" % (kind.encode(), name))
        if connection.create(full)[0] != "OK":
            return
        quoted = oracle.quoted(name)
        flags = ["()", r"(\Seen)", r"(\Flagged work)", r"(\Deleted)", r"(\Answered Work urgent)"]
        for number in range(choose.randrange(5)):
            connection.literal = b"Subject: %d\r\n\r\nbody\r\n" % number
            date = f'" 3-Feb-{choose.choice([2009, 1998, 1970])} 01:02:03 +0100"'
            connection._simple_command("APPEND", quoted, choose.choice(flags), date)
        if choose.random() < 0.5:
            status, answer = connection.select(quoted)
            if status == "OK" and answer[0] != b"0":
                connection.store(choose.choice(["1", "1:*"]), "+FLAGS", "(urgent)")
                connection.expunge()


def share(host):
    """Files that a group of the users, or nobody, may read."""
    place = host.root / "shared"
    (place / "team").mkdir(parents=True, exist_ok=True)
    for name, mode in (("office", 0o660), ("closed", 0o600), ("team/x", 0o660)):
        (place / name).write_bytes(blocks.mbx(random.Random(name)))
        os.chown(place / name, 0, OFFICE)
        (place / name).chmod(mode)
    os.utime(place / "office", (10**9, 10**9))
