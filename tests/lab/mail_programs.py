"""Users' mail programs, run unattended on a host of the lab, each with its own local copy of mail.

A program is configured once and never again. `fetch` runs it and tells what it did.
"""

import collections
import contextlib
import re
import shlex
import typing

import pexpect
from cutover import site
from cutover.facts import webmail
from cutover.model import errors
from lab import container, keys, people, topology

HOST = "webmail"  # any host that is neither mail server
PLACE = "/var/tmp/programs"

# getmail 6.18 asks for SIGCHLD only after fork: baseclasses.py, forkchild
CHILD_MISSED = re.compile(r"waiting child pid|, in (forkchild|_child_handler|_wait_for_child)$")


class Outcome(typing.NamedTuple):
    """folders: with mail, as the program names them. messages: brought by this run.

    errors: lines of complaint; a failed run has at least one. flags: `{(folder, flags): how many
    messages the program shows so}`. restarts: after a fault of its own, each perhaps with a message
    that it had.
    """

    folders: set
    messages: int
    errors: list
    flags: dict
    restarts: int = 0


class Program:
    """One user's mail program. `settings` are its files, `argv` runs it."""

    name = ""
    tls = True

    def __init__(self, lab, user):
        self.lab, self.user = lab, user
        self.place = f"{PLACE}/{self.name}-{user}".replace(" ", "-")
        self.seen = set()
        self.shell(f"mkdir -p {self.place}/mail")
        for name, text in self.settings().items():
            self.shell(f"cat > {self.place}/{name}; chmod 600 {self.place}/{name}", input=text)

    @property
    def password(self):
        return (keys.SECRETS / self.user).read_text()

    def shell(self, script, **options):
        argv = ["sh", "-euc", script]
        return self.lab.run(HOST, argv, user=topology.OPERATOR, timeout=300, **options)

    def settings(self):
        raise NotImplementedError

    def command(self):
        raise NotImplementedError

    def fetch(self):
        """Run the program once."""
        done = self.shell(f"export HOME={self.place}; cd; set +e; {self.command()}", check=False)
        stderr = (done.stderr or "").splitlines()
        # Debian 13's mbsync has a new name for SSLType, which Debian 12's does not know
        complaints = [line for line in stderr if line.strip() and ": notice: SSLType" not in line]
        if done.returncode and not complaints:
            complaints = [f"exit {done.returncode}"]
        listed = self.shell(f"cd {self.place}/mail; find . -type f -path '*/[cn][ue][rw]/*'").stdout
        # mbsync writes its own number and the flags behind the comma or the colon; a message that
        # was read moves from new to cur
        files, flags = set(), collections.Counter()
        for line in listed.splitlines():
            folder, _, name = line.rsplit("/", 2)
            files.add((folder, name.partition(",")[0].partition(":")[0]))
            flags[folder, name.partition(":2,")[2]] += 1
        brought, self.seen = files - self.seen, self.seen | files
        return Outcome({folder for folder, _ in files}, len(brought), complaints, flags)


class Mbsync(Program):
    name = "mbsync"
    path, patterns = "", "INBOX mail/*"

    def settings(self):
        return {
            "mbsyncrc": f"""\
IMAPAccount site
Host mailbox.lab.test
User {self.user}
Pass {self.password}
SSLType IMAPS
CertificateFile /etc/ssl/lab/ca.pem

IMAPStore far
Account site
{f"Path {self.path}" if self.path else ""}

MaildirStore near
Path {self.place}/mail/
Inbox {self.place}/mail/INBOX
SubFolders Verbatim

Channel all
Far :far:
Near :near:
Patterns {self.patterns}
Create Near
Sync All
SyncState *
"""
        }

    def command(self):
        return "mbsync -q -c mbsyncrc -a"


class MbsyncWithPath(Mbsync):
    name = "mbsync with Path mail/"
    path, patterns = "mail/", "*"


class MbsyncWithTilde(Mbsync):
    name = "mbsync with Path ~/mail/"
    path, patterns = "~/mail/", "*"


class OfflineImap(Program):
    name = "OfflineIMAP"

    def settings(self):
        return {
            ".offlineimaprc": f"""\
[general]
accounts = site
ui = quiet
[Account site]
localrepository = near
remoterepository = far
[Repository near]
type = Maildir
localfolders = {self.place}/mail
[Repository far]
type = IMAP
remotehost = mailbox.lab.test
remoteuser = {self.user}
remotepass = {self.password}
ssl = yes
sslcacertfile = /etc/ssl/lab/ca.pem
reference = mail/
"""
        }

    def command(self):
        return "offlineimap -o"


class Fetchmail(Program):
    """POP3, and mail stays on the server."""

    name = "fetchmail"

    def settings(self):
        return {
            ".fetchmailrc": f"""\
poll mailbox.lab.test protocol pop3 uidl
user "{self.user}" password "{self.password}"
keep
sslproto ""
mda "{self.place}/mda"
""",
            "mda": f"#!/bin/sh\nexec cat > {self.place}/mail/cur/$$.$(date +%s%N)\n",
        }

    def command(self):
        # 1: there was no mail
        return (
            f"mkdir -p mail/cur; chmod 700 mda; "
            f"fetchmail -s -f {shlex.quote(self.place)}/.fetchmailrc || [ $? = 1 ]"
        )


class Getmail(Program):
    """POP3, and mail stays on the server.

    A program takes the messages, which it does not do too fast: getmail asks to be told of the end
    of its child only after it has forked, and waits a minute for a child that had ended before. It
    writes a Maildir itself by such a child, which takes no time where the disk is memory.
    """

    name = "getmail"

    def settings(self):
        return {
            "getmailrc": f"""\
[retriever]
type = SimplePOP3Retriever
server = mailbox.lab.test
username = {self.user}
password = {self.password}
[destination]
type = MDA_external
path = /bin/sh
arguments = ("-c", "cat > $(mktemp {self.place}/mail/new/XXXXXXXX); sleep 0.05")
[options]
read_all = false
delete = false
verbose = 0
"""
        }

    def command(self):
        return f"mkdir -p mail/cur mail/new mail/tmp; getmail --getmaildir={self.place}"

    def fetch(self):
        """As often as getmail, on a busy machine, misses the end of its own child process: it ends
        with a complaint or a traceback and goes on at its next start, perhaps with the message it
        had just had.
        """
        outcome = super().fetch()
        for _ in range(3):
            if not any(CHILD_MISSED.search(line) for line in outcome.errors):
                break
            again = super().fetch()
            outcome = Outcome(
                outcome.folders | again.folders,
                outcome.messages + again.messages,
                again.errors,
                again.flags,
                outcome.restarts + 1,
            )
        return outcome


class OnScreen(Program):
    """A program for a terminal. Its user opens every folder by the name it has on the old server."""

    prefix = "mail/"

    @property
    def folders(self):
        names = [name for name, messages, _ in people.folders(self.user) if messages]
        return [name.removeprefix(self.prefix) for name in names]


class Mutt(OnScreen):
    """With its header cache and its message cache. All messages of a folder are read."""

    name = "mutt"
    read = "<tag-pattern>~A<enter><tag-prefix><pipe-message>cat >/dev/null<enter><exit>"

    def settings(self):
        return {
            ".muttrc": f"""\
set folder = imaps://mailbox.lab.test/{self.prefix}
set spoolfile = imaps://mailbox.lab.test/INBOX
set imap_user = {self.user}
set imap_pass = "{self.password}"
set certificate_file = /etc/ssl/lab/ca.pem
set ssl_usesystemcerts = no
set header_cache = {self.place}/mail
set message_cachedir = {self.place}/mail
set wait_key = no
set sleep_time = 0
set confirmappend = no
set delete = yes
"""
        }

    def fetch(self):
        shown, flags, brought, complaints = set(), collections.Counter(), set(), []
        for folder in self.folders:
            status, lines = self.open(folder, self.read)
            complaints += [f"{folder}: exit {status}"] if status else []
            for line in lines:
                if re.match(r"\w+ (NO|BAD) ", line):
                    complaints.append(line)
                elif line.endswith(" EXISTS"):
                    shown.add((folder, line))
                elif message := re.match(r"\* (\d+) FETCH .*BODY\[.*\}$", line):
                    brought.add((folder, message[1]))
                if message := re.match(r"\* \d+ FETCH \(UID \d+ FLAGS \((.*?)\)", line):
                    flags[folder, frozenset(message[1].split()) - {"\\Recent"}] += 1
        return Outcome(shown, len(brought), complaints, flags)

    def open(self, folder, keys):
        """(exit status, lines of the server)"""
        place = "!" if folder == "INBOX" else f"={folder}"
        argv = ["mutt", "-n", "-d", "2", "-f", place, "-e", f'push "{keys}"']
        # Debian 13's does not open a terminal without a size
        command = f"stty rows 24 cols 80; {shlex.join(argv)}"
        line = f"TERM=xterm timeout 60 script -qec {shlex.quote(command)} /dev/null"
        done = self.shell(f"export HOME={self.place}; cd; {line}", check=False)
        log = self.shell(f"cat {self.place}/.muttdebug0").stdout
        return done.returncode, re.findall(r"^\[[^]]*\] \d+< (.*)", log, re.MULTILINE)

    def move_first(self, folder, other):
        """Move a folder's first message into another folder."""
        self.open(folder, f"<first-entry><save-message>={other}<enter><sync-mailbox><exit>")


class Alpine(OnScreen):
    """It keeps nothing: each folder is opened, and its messages are listed."""

    name = "alpine"

    def settings(self):
        server = f"{{mailbox.lab.test/ssl/user={self.user}}}"
        return {
            ".pinerc": f"""\
personal-name={self.user}
user-domain=lab.test
inbox-path={server}INBOX
folder-collections=Mail {server}{self.prefix}[]
feature-list=quit-without-confirm,expunge-only-manually
last-version-used=6.26
pruning-rule=no-no
"""
        }

    def fetch(self):
        shown, complaints = set(), []
        for folder in self.folders:
            try:
                count, listed = self.look(folder)
            except (pexpect.TIMEOUT, pexpect.EOF) as error:
                complaints.append(f"{folder}: {error}")
                continue
            shown.add((folder, count))
            top = folder.partition("/")[0] + "/" * ("/" in folder)
            if top not in listed:
                complaints.append(f"{top} is not listed: {listed}")
        return Outcome(shown, 0, complaints, {})

    def look(self, folder):
        """How many messages a folder shows, and the words in the list of folders."""
        with self.screen("-i", "-f", folder) as screen:
            screen.expect("PASSWORD")
            screen.sendline(self.password)
            screen.expect("Preserve password")
            screen.send("n")
            screen.expect(r"Message\s+\d+ of (\d+)")
            count = int(screen.match[1])
            screen.send("l")
            screen.expect("FOLDER LIST")
            screen.expect("PrevFldr")
            listed = re.findall(r"[\w./-]+", re.sub(r"\x1b\[[\d;?]*\w", " ", screen.before))
            screen.send("q")
            screen.expect(pexpect.EOF)
        return count, listed

    @contextlib.contextmanager
    def screen(self, *arguments):
        user, init = topology.OPERATOR, container.leader(HOST)[0]
        argv = ["-t", str(init), "-a", "setpriv", "--reuid", user, "--regid", user]
        argv += ["--init-groups", "env", "-C", self.place, f"HOME={self.place}", "TERM=xterm"]
        argv += ["SSL_CERT_FILE=/etc/ssl/lab/ca.pem", "alpine", *arguments]
        screen = pexpect.spawn("nsenter", argv, dimensions=(40, 120), encoding="latin-1")
        try:
            yield screen
        finally:
            screen.close(force=True)


class Roundcube(Program):
    """The site's webmail, which shows the subscribed folders, under the server's names for them."""

    name = "Roundcube"

    def __init__(self, lab, user):
        self.user = user

    def fetch(self):
        parameters = site.load("parameters/lab.yaml")
        at = parameters.address(HOST)
        browser = webmail.Browser(parameters.webmail.url, at, parameters.webmail.ca)
        shown, complaints = set(), []
        try:
            browser.login(self.user, self.password)
            for folder in browser.mailboxes:
                page = browser.first_page(folder)
                if page.count:
                    name = folder.removeprefix("mail/")
                    shown.add((name, page.count, tuple(page.uids)))
            browser.logout()
        except errors.CutoverError as error:
            complaints.append(str(error))
        return Outcome(shown, 0, complaints, {})


KEEPING = (Mbsync, MbsyncWithPath, MbsyncWithTilde, OfflineImap, Mutt)  # a copy of all folders
POP3 = (Fetchmail, Getmail)
ALL = (*KEEPING, *POP3, Alpine, Roundcube)
