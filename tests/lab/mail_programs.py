"""Users' mail programs, run unattended on a host of the lab, each with its own local copy of mail.

A program is configured once and never again. `fetch` runs it and tells what it did.
"""

import shlex
import typing

from lab import keys, topology

HOST = "webmail"  # any host that is neither mail server
PLACE = "/var/tmp/programs"


class Outcome(typing.NamedTuple):
    """folders: with mail, as the program's local copy names them. messages: brought by this run.

    errors: lines of complaint; a failed run has at least one.
    """

    folders: set
    messages: int
    errors: list


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
        complaints = [line for line in (done.stderr or "").splitlines() if line.strip()]
        if done.returncode and not complaints:
            complaints = [f"exit {done.returncode}"]
        listed = self.shell(f"cd {self.place}/mail; find . -type f -path '*/[cn][ue][rw]/*'").stdout
        # mbsync writes its own number and the flags behind the comma or the colon; a message that
        # was read moves from new to cur
        files = set()
        for line in listed.splitlines():
            folder, _, name = line.rsplit("/", 2)
            files.add((folder, name.partition(",")[0].partition(":")[0]))
        brought, self.seen = files - self.seen, self.seen | files
        return Outcome({folder for folder, _ in files}, len(brought), complaints)


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
    """POP3, and mail stays on the server."""

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
type = Maildir
path = {self.place}/mail/
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
        with that complaint and goes on at its next start.
        """
        outcome = super().fetch()
        for _ in range(3):
            if not any("waiting child pid" in line for line in outcome.errors):
                break
            again = super().fetch()
            outcome = Outcome(
                outcome.folders | again.folders, outcome.messages + again.messages, again.errors
            )
        return outcome


ALL = (Mbsync, MbsyncWithPath, MbsyncWithTilde, OfflineImap, Fetchmail, Getmail)
