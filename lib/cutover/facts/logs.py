"""Logins and deliveries in a mail host's log: lines of sendmail and UW imapd.

The log is systemd's journal or the files of a syslog daemon, whichever reaches back further.
"""

import dataclasses
import math
import re
from collections.abc import Iterable

from cutover.facts import syslog_files

LINE = re.compile(r"(\d+\.\d+) \S+ ([^\s\[:]+)(?:\[\d+\])?: (.*)")
# not Preauthenticated: verify logs in that way
LOGIN = re.compile(r"(?:Login|Authenticated|Auth|APOP) user=(\S+)(?: host=(.*))?")
FROM = re.compile(r"(\w+): from=.*?, msgid=(<[^>]*>|[^,]*),.* relay=([^=]*)$")
TO = re.compile(r"(\w+): to=(.*?), (?:ctladdr=.*?, )?delay=.*, mailer=local,.* stat=Sent")
ADDRESS = re.compile(r"\[(?:IPv6:)?([0-9A-Fa-f.:]+)\]")
SERVERS = {"imapd", "ipop3d", "ipop2d"}
SHOWN = 20  # logins and deliveries listed in full


@dataclasses.dataclass(frozen=True)
class Login:
    """at: seconds since the epoch. host: the client's, "" when the log does not say."""

    at: float
    user: str
    host: str

    def text(self) -> str:
        return f"{self.user} from {self.host or 'unknown'}"


@dataclasses.dataclass(frozen=True)
class Delivery:
    """A delivery into mailboxes of the host.

    at: seconds since the epoch. relay: the address that handed the message in, "" for the host.
    """

    at: float
    users: list[str]
    msgid: str
    relay: str

    def text(self) -> str:
        return f"{self.msgid} to {', '.join(self.users)} by {self.relay or 'the host itself'}"


class Reader:
    """Collects `logins` and `deliveries` of a log that begins at `first`."""

    def __init__(self, first: float = math.inf):
        self.first = first
        self.logins: list[Login] = []
        self.deliveries: list[Delivery] = []
        self._accepted = {}  # queue id: (message id, relay) of messages that came in

    @property
    def accepted(self) -> set[str]:
        """The ids of the messages that came in."""
        return {msgid for msgid, _ in self._accepted.values()}

    def line(self, raw: bytes) -> None:
        """Take a line of `journalctl -o short-unix`."""
        if match := LINE.match(raw.decode("utf-8", "backslashreplace")):
            self.take(float(match[1]), match[2], match[3])

    def take(self, at: float, program: str, text: str) -> None:
        """Take what a program logged."""
        if program in SERVERS and (login := LOGIN.match(text)):
            self.logins.append(Login(at, login[1], login[2] or ""))
        elif accepted := FROM.match(text):
            address = ADDRESS.search(accepted[3])
            self._accepted[accepted[1]] = (accepted[2], address[1] if address else "")
        elif (sent := TO.match(text)) and sent[1] in self._accepted:
            msgid, relay = self._accepted[sent[1]]
            recipients = sent[2].split(",")
            users = [address.strip(" <>").partition("@")[0].lower() for address in recipients]
            self.deliveries.append(Delivery(at, users, msgid, relay))


def read(hosts, name: str, since: float) -> Reader:
    """A host's log of mail from a time on (seconds since the epoch)."""
    reader = Reader(_journal_begins(hosts, name))
    if reader.first > since:
        files = Reader()
        first = syslog_files.read(hosts, name, since, files.take)
        if first is not None and first < reader.first:
            files.first = first
            return files
    if math.isinf(reader.first):
        return reader
    argv = ["journalctl", "-q", "--no-pager", "-o", "short-unix"]
    argv += [f"--since=@{int(since)}", "SYSLOG_FACILITY=2"]
    hosts.ssh(name).stream(argv, sudo=True, on_line=reader.line, idle_timeout=600)
    return reader


def _journal_begins(hosts, name):
    """When a host's journal begins, seconds since the epoch; infinity when there is none."""
    argv = ["sh", "-c", "journalctl -q --no-pager -o short-unix | head -n 1"]
    match = re.match(r"\d+\.\d+", hosts.run(name, argv, sudo=True).text)
    return float(match[0]) if match else math.inf


@dataclasses.dataclass(frozen=True)
class Shown:
    """The last of them, as text."""

    logins: list[str]
    direct: list[str]


@dataclasses.dataclass(frozen=True)
class OldHostUse:
    """What happened on the old host since a time.

    first: when its log begins, seconds since the epoch. logins: number of logins.
    dual: number of deliveries to users that an MX handed in. direct: number of all others.
    """

    first: float
    logins: int
    direct: int
    dual: int
    shown: Shown


def old_host(hosts, since: float, users: Iterable[str]) -> OldHostUse:
    """Logins, and deliveries to `users`, on the old host since a time (seconds since the epoch)."""
    site = hosts.site
    reader = read(hosts, site.roles.old, since)
    mx, names = {site.address(name) for name in site.roles.mx}, set(users)
    deliveries = [delivery for delivery in reader.deliveries if names.intersection(delivery.users)]
    direct = [delivery for delivery in deliveries if delivery.relay not in mx]
    return OldHostUse(
        first=reader.first,
        logins=len(reader.logins),
        direct=len(direct),
        dual=len(deliveries) - len(direct),
        shown=Shown(
            [login.text() for login in reader.logins[-SHOWN:]],
            [delivery.text() for delivery in direct[-SHOWN:]],
        ),
    )


def delivered(hosts, since: float) -> set[tuple[str, str]]:
    """`{(user, message id)}` delivered into mailboxes of the new host since a time."""
    return {
        (user, delivery.msgid)
        for delivery in read(hosts, hosts.site.roles.new, since).deliveries
        for user in delivery.users
    }


@dataclasses.dataclass(frozen=True)
class OldAlone:
    """Messages that the old host delivered to users, and the new one did not.

    deliveries: of the old host, by message and user. alone: of these, on the old host only. first:
    the first of them, as text.
    """

    deliveries: int
    alone: int
    first: list[str]


def old_alone(hosts, since: float, until: float, users: Iterable[str]) -> OldAlone:
    """What was delivered between two times (seconds since the epoch), by the logs of both hosts."""
    names, seen = set(users), {}
    for delivery in read(hosts, hosts.site.roles.old, since).deliveries:
        if delivery.at <= until:
            for user in names.intersection(delivery.users):
                seen.setdefault((user, delivery.msgid), delivery)
    # read last: what has come since is there as well
    new = delivered(hosts, since)
    alone = [pair for pair in seen if pair not in new]
    first = [dataclasses.replace(seen[pair], users=[pair[0]]).text() for pair in alone[:SHOWN]]
    return OldAlone(len(seen), len(alone), first)
