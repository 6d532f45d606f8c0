"""Two readers that share nothing with the converter: c-client's imapd and Dovecot's imap, both run
as the user, PREAUTH."""

import contextlib
import datetime
import fcntl
import hashlib
import imaplib
import os
import pathlib
import re
import shlex
import subprocess
import tempfile

LOCATION = {
    "2.3": """
mail_location = maildir:/var/imap/%u
pop3_uidl_format = %08Xv%08Xu
stats_writer_socket_path =
""",
    "2.4": """
dovecot_config_version = 2.4.0
dovecot_storage_version = 2.4.0
mail_driver = maildir
mail_path = /var/imap/%{user}
mail_inbox_path = /var/imap/%{user}
pop3_uidl_format = %{uidvalidity | hex(8)}%{uid | hex(8)}
""",
}
DOVECOT = """
namespace inbox {
  inbox = yes
  separator = /
}
log_path = /tmp/dovecot.log
info_log_path = /dev/null
ssl = no
mail_fsync = never
first_valid_uid = 500
"""
# -k: 2.4 would read its settings without USER in the environment
IMAP, POP3 = (
    [f"/usr/lib/dovecot/{name}", "-k", "-c", "/etc/dovecot/oracle.conf"]
    for name in ("imap", "pop3")
)
FIRST_UID = 2000
imaplib._MAXLINE = 1 << 24


class MailHost:
    """A root directory (an overlay over the lab's base) with imapd, mailutil, dmail and Dovecot in
    it."""

    def __init__(self, root):
        self.root = pathlib.Path(root)
        self.users = {}
        debian = int((self.root / "etc/debian_version").read_text().partition(".")[0])
        spelling = "2.4" if debian >= 13 else "2.3"
        (self.root / "etc/dovecot/oracle.conf").write_text(LOCATION[spelling] + DOVECOT)
        # c-client looks up names such as {2008} as hosts: without it, for ten seconds each
        (self.root / "etc/nsswitch.conf").write_text("passwd: files\ngroup: files\nhosts: files\n")
        for name, mode in (("var/imap", 0o755), ("tmp", 0o1777), ("var/mail", 0o1777)):
            (self.root / name).mkdir(parents=True, exist_ok=True)
            (self.root / name).chmod(mode)
        # c-client logs through syslog only; Dovecot's complaints must be seen
        self.log = self.root / "tmp/dovecot.log"
        self.log.touch()
        self.log.chmod(0o666)

    def user(self, name, groups=()):
        """Make a user with a home; → User. groups: numbers of further groups."""
        uid = FIRST_UID + len(self.users)
        home = self.root / "home" / name
        (home / "mail").mkdir(parents=True)
        with open(self.root / "etc/passwd", "a") as passwd:
            passwd.write(f"{name}:x:{uid}:{uid}::/home/{name}:/bin/sh\n")
        with open(self.root / "etc/group", "a") as group:
            group.write(f"{name}:x:{uid}:\n")
            for number in groups:
                group.write(f"{name}-{number}:x:{number}:{name}\n")
        for path in (home, home / "mail"):
            os.chown(path, uid, uid)
        self.users[name] = User(self, name, uid, groups)
        return self.users[name]

    def complaints(self):
        """What Dovecot logged since the last call."""
        text = self.log.read_text()
        self.log.write_text("")
        return text


class Connection(imaplib.IMAP4_stream):
    """An IMAP session with a program, which no shell starts."""

    def __init__(self, argv):
        self.argv = argv
        super().__init__(shlex.join(argv))
        # imaplib takes a status text that ends in a folder's name like {2008} for a literal
        self.Literal = re.compile(rb"(?!\[).*{(?P<size>\d+)}$")

    def open(self, host=None, port=None, timeout=None):
        self.host, self.port, self.sock, self.file = None, None, None, None
        pipe = subprocess.PIPE
        self.process = subprocess.Popen(
            self.argv, stdin=pipe, stdout=pipe, stderr=subprocess.DEVNULL
        )
        self.writefile, self.readfile = self.process.stdin, self.process.stdout

    def examine(self, name):
        """EXAMINE a folder whose name may hold any bytes."""
        if name.isascii() and name.decode().isprintable():
            return self.select(quoted(name), readonly=True)
        self.untagged_responses = {}
        self.literal, self.is_readonly = name, True  # as a literal, c-client takes any
        answer = self._simple_command("EXAMINE")
        self.state = "SELECTED" if answer[0] == "OK" else "AUTH"
        return answer


class User:
    """A user of the mail host. zone: seconds east of Greenwich where the user's programs run."""

    def __init__(self, host, name, uid, groups=()):
        self.host, self.name, self.uid, self.groups, self.zone = host, name, uid, groups, 0
        self.home = host.root / "home" / name
        self.maildir = host.root / "var/imap" / name
        self.spool = host.root / "var/mail" / name

    def argv(self, *command):
        west = -self.zone // 60
        zone = f"OLD{'-' * (west < 0)}{abs(west) // 60}:{abs(west) % 60:02}" if west else "UTC"
        return [
            "chroot",
            f"--userspec={self.uid}:{self.uid}",
            f"--groups={','.join(map(str, (self.uid, *self.groups)))}",
            str(self.host.root),
            "/usr/bin/env",
            "-i",
            "-C",
            f"/home/{self.name}",
            f"HOME=/home/{self.name}",
            f"USER={self.name}",
            f"TZ={zone}",
            "PATH=/usr/sbin:/usr/bin:/sbin:/bin",
            *command,
        ]

    def run(self, *command, stdin=b""):
        done = subprocess.run(self.argv(*command), input=stdin, capture_output=True)
        assert done.returncode == 0, (command, done.stdout, done.stderr)
        return done.stdout

    @contextlib.contextmanager
    def cclient(self):
        with self.imap("/usr/sbin/imapd") as connection:
            yield connection

    @contextlib.contextmanager
    def dovecot(self):
        with self.imap(*IMAP) as connection:
            yield connection

    @contextlib.contextmanager
    def imap(self, *command):
        connection = Connection(self.argv(*command))
        try:
            yield connection
        finally:
            with contextlib.suppress(Exception):
                connection.logout()

    def plan(self, run="r1", work=None, **more):
        return {
            "run": run,
            "work": str(work or self.host.root / "var/imap/.work"),
            "jobs": 2,
            "host": "mailboxvm",
            "users": [self.entry(**more)],
        }

    def entry(self, **more):
        return {
            "user": self.name,
            "uid": self.uid,
            "gid": self.uid,
            "inbox": [str(self.home / "mbox"), str(self.home / "INBOX")],
            "spool": str(self.spool),
            "folders": str(self.home / "mail"),
            "subscriptions": str(self.home / ".mailboxlist"),
            "maildir": str(self.maildir),
            **more,
        }


def ok(answer):
    assert answer[0] == "OK", answer
    return answer[1]


def quoted(name):
    return b'"' + name.replace(b"\\", b"\\\\").replace(b'"', b'\\"') + b'"'


FETCHED = re.compile(
    rb"(\d+) \(UID (\d+) FLAGS \(([^)]*)\) INTERNALDATE \"([^\"]*)\" RFC822\.SIZE (\d+) BODY\[\]",
    re.S,
)


def view(connection, name):
    """EXAMINE a folder → {"uidvalidity", "uidnext", "messages": [(uid, flags, date, size,
    digest)]}; date in seconds."""
    connection.untagged_responses.clear()
    ok(connection.examine(name))
    answers = dict(connection.untagged_responses)
    uidvalidity = int(answers["UIDVALIDITY"][-1])
    uidnext = int(answers["UIDNEXT"][-1])
    messages = []
    if int(answers["EXISTS"][-1]):
        for item in ok(connection.fetch("1:*", "(UID FLAGS INTERNALDATE RFC822.SIZE BODY.PEEK[])")):
            if not isinstance(item, tuple):
                match = FETCHED.match(item)
                if match:  # a short text may come as a quoted string
                    messages.append(
                        message(match, item[match.end() :].partition(b'"')[2].rpartition(b'"')[0])
                    )
                continue
            messages.append(message(FETCHED.match(item[0]), item[1]))
    return {"uidvalidity": uidvalidity, "uidnext": uidnext, "messages": messages}


def message(match, text):
    flags = tuple(sorted(flag.lower() for flag in match.group(3).split()))
    return (
        int(match.group(2)),
        flags,
        seconds(match.group(4).decode()),
        int(match.group(5)),
        hashlib.sha256(text.replace(b"\r\n", b"\n")).hexdigest()[:16],
    )


def seconds(text):
    """Seconds since the epoch of an INTERNALDATE. c-client tells days such as 31-Feb."""
    day, month, year, hour, minute, second, sign, east, minutes = re.match(
        r" ?(\d+)-(...)-(\d+) (\d+):(\d+):(\d+) ([+-])(\d\d)(\d\d)", text
    ).groups()
    first = datetime.datetime.strptime(f"1 {month} {year} +0000", "%d %b %Y %z").timestamp()
    zone = (int(east) * 60 + int(minutes)) * (-60 if sign == "-" else 60)
    clock = int(hour) * 3600 + int(minute) * 60 + int(second)
    return int(first) + (int(day) - 1) * 86400 + clock - zone


def folder_list(connection, pattern="*", command="list"):
    """Names by LIST or LSUB."""
    names = []
    for item in ok(getattr(connection, command)('""', f'"{pattern}"')):
        if isinstance(item, tuple):
            names.append(item[1])
        elif item:
            name = re.match(rb"\(.*?\) (?:\"[^\"]*\"|NIL) (.*)\Z", item, re.S).group(1)
            names.append(
                name[1:-1].replace(b'\\"', b'"').replace(b"\\\\", b"\\")
                if name.startswith(b'"')
                else name
            )
    return names


@contextlib.contextmanager
def mounted(base):
    """An overlay over the base, with /dev and /proc, gone afterwards. What a killed test run left
    goes before: what no process of any lane holds locked."""
    for left in pathlib.Path("/var/tmp").glob("cutover-store-*/lock"):
        with contextlib.suppress(OSError), open(left) as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            unmount(left.parent / "root")
            subprocess.run(["rm", "-rf", "--one-file-system", left.parent], check=False)
    with (
        tempfile.TemporaryDirectory(prefix="cutover-store-", dir="/var/tmp") as scratch,
        open(os.path.join(scratch, "lock"), "w") as lock,
    ):
        fcntl.flock(lock, fcntl.LOCK_EX)
        top = pathlib.Path(scratch)
        top.chmod(0o711)  # the users' own processes look at what is theirs
        for name in ("upper", "work", "root"):
            (top / name).mkdir()
        root = top / "root"
        call = lambda *argv: subprocess.run(argv, check=True)  # noqa: E731
        call(
            "mount",
            "-t",
            "overlay",
            "overlay",
            "-o",
            f"lowerdir={base},upperdir={top}/upper,workdir={top}/work",
            str(root),
        )
        try:
            call("mount", "--bind", "/dev", str(root / "dev"))
            call("mount", "-t", "proc", "proc", str(root / "proc"))
            yield root
        finally:
            unmount(root)


def unmount(root):
    for path in (root / "proc", root / "dev", root):
        subprocess.run(["umount", "-l", str(path)], check=False, stderr=subprocess.DEVNULL)
