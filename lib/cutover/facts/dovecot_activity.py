"""Logins, refused logins and limits by Dovecot's log; missing folders by a counter in Dovecot.

Dovecot logs nothing of a folder that a program asks for and that does not exist. Its stats process
counts commands by their answer, so it is asked to count these: a counter in memory, which a restart
of Dovecot ends too. The wording is that of 2.3 and of 2.4.
"""

import dataclasses
import re
from collections.abc import Iterable

from cutover import model
from cutover.connect import imap
from cutover.facts import logs

FAILED, TLS, LIMIT, TEMPORARY, OTHER = "auth-failed", "tls", "limit", "temporary", "other"

_LOGIN = re.compile(
    r"(?:imap|pop3)-login: (?:Login|Logged in): user=<([^>]*)>.*? rip=([0-9A-Fa-f.:]+)"
)
_ENDED = re.compile(
    r"(?:imap|pop3)-login: (?!Login:|Logged in:)(.*?): user=<([^>]*)>.*? rip=([0-9A-Fa-f.:]+)(.*)"
)
# of a login that ended, the first that fits; a connection that sent no name is no login
_REASONS = (
    (LIMIT, re.compile(r"Maximum number of connections")),
    (TLS, re.compile(r"SSL_accept|SSL routines|disallowed|secured connection")),
    (TEMPORARY, re.compile(r"[Tt]emporary|auth service|internal failure|before auth was ready")),
    (FAILED, re.compile(r"auth[ _]failed")),
)
_LIMITS = re.compile(
    r"reached, client connections are being dropped|[Ii]notify \w+ limit for user|"
    r"Too many open files|Cannot allocate memory"
)
CUT = "…"  # ends a name of which only the beginning is known
_COUNTER = "cutover_missing"
# 2.3 keeps no code of a reply but TRYCREATE. Patterns with a prefix: some programs open no folder
# before LIST shows it.
_FILTER = (
    "event=imap_command_finished AND ("
    "(tagged_reply_state=NO AND (cmd_name=SELECT OR cmd_name=EXAMINE OR cmd_name=STATUS)) OR "
    '(cmd_name=APPEND AND tagged_reply="*TRYCREATE*") OR '
    '((cmd_name=LIST OR cmd_name=LSUB) AND cmd_args="*/*"))'
)
# what follows a name: items of STATUS, the literal of APPEND, options of LIST
_NAME = r'(?:"((?:\\.|[^"\\])*)"?|(.*?)(?=_[(<]|_RETURN|$))'
_OPENED = re.compile(r"(?:SELECT|EXAMINE|STATUS|APPEND)_" + _NAME)
_LISTED = re.compile(r'(?:LIST|LSUB)_(?:\([^)]*\)_)?(?:"([^"]*)"|([^_"]*))_\(?' + _NAME)


@dataclasses.dataclass(frozen=True)
class Login:
    """at: seconds since the epoch."""

    at: float
    user: str
    address: str


@dataclasses.dataclass(frozen=True)
class Refusal:
    """A login that failed. reason: one of the constants above. name: as the program sent it."""

    at: float
    reason: str
    name: str
    address: str


class Reader:
    """Collects `logins`, `refusals` and `limits` (texts) from the lines of a host's journal.

    cursor: where to read on.
    """

    def __init__(self):
        self.logins: list[Login] = []
        self.refusals: list[Refusal] = []
        self.limits: list[str] = []
        self.cursor = ""

    def line(self, raw: bytes) -> None:
        text = raw.decode("utf-8", "backslashreplace")
        if text.startswith("-- cursor: "):
            self.cursor = text.removeprefix("-- cursor: ")
        elif (match := logs.LINE.match(text)) and match[2].startswith("dovecot"):
            self._judge(float(match[1]), match[3])

    def _judge(self, at, text):
        if login := _LOGIN.match(text):
            self.logins.append(Login(at, login[1], login[2]))
        elif _LIMITS.search(text):
            self.limits.append(text)
        elif ended := _ENDED.match(text):
            reason = next((name for name, sign in _REASONS if sign.search(ended[1] + ended[4])), "")
            if ended[2] or reason in (TLS, LIMIT):
                self.refusals.append(Refusal(at, reason or OTHER, ended[2], ended[3]))


def read(hosts, name: str, since: float, cursor: str = "") -> Reader:
    """What Dovecot logged on a host since a time (seconds since the epoch), or since a cursor."""
    reader = Reader()
    argv = ["journalctl", "-q", "--no-pager", "-o", "short-unix", "--show-cursor"]
    argv += [f"--after-cursor={cursor}" if cursor else f"--since=@{int(since)}"]
    hosts.ssh(name).stream(
        [*argv, "SYSLOG_FACILITY=2"], sudo=True, on_line=reader.line, idle_timeout=120
    )
    reader.cursor = reader.cursor or cursor
    return reader


def missing(hosts, name: str, users: Iterable[str]) -> dict[tuple[str, str], int]:
    """`{(user, folder): how often a program asked for it}`: folders that could not be opened, and
    patterns with a "/", such as `mail/*`, whether they lead to folders or not.

    The first call has Dovecot begin to count.
    """
    counted = parse_counts(_counters(hosts, name), users)
    if counted is None:
        argv = [
            "doveadm",
            "stats",
            "add",
            "--group-by",
            "user cmd_name cmd_args",
            _COUNTER,
            _FILTER,
        ]
        hosts.run(name, argv, sudo=True)
    return counted or {}


def _counters(hosts, name):
    return hosts.run(name, ["doveadm", "-f", "tab", "stats", "dump", "-f", "count"], sudo=True).text


def parse_counts(text: str, users: Iterable[str]) -> dict[tuple[str, str], int] | None:
    """The output of `doveadm -f tab stats dump -f count`; None while nothing is counted.

    The parts of a counter's name are joined by `_`, which a user's name may have too; a blank has
    become `_`. 2.3 shows 32 bytes of each part, then `…`.
    """
    known, counted, counts = sorted(users, key=len, reverse=True), False, {}
    for line in model.lines(text)[1:]:
        # a folder's name may hold a tab
        counter, _, number = ["", "", *line.rsplit("\t", 2)][-3:]
        counted = counted or counter == _COUNTER
        rest = counter.removeprefix(_COUNTER + "_")
        user = next((user for user in known if rest.startswith(user + "_")), None)
        asked = _asked(rest.removeprefix(user + "_")) if user and rest != counter else None
        if asked:
            counts[user, asked] = counts.get((user, asked), 0) + int(number)
    return counts if counted else None


def _asked(text):
    """The folder, or the pattern of folders, of a counted command; None where it shows none."""
    if opened := _OPENED.match(text):
        return _plain(opened[1] or opened[2])
    if listed := _LISTED.match(text):
        return _plain((listed[1] or listed[2] or "") + (listed[3] or listed[4] or ""))
    return None


def _plain(text):
    folder, cut, _ = (text or "").partition(CUT)
    return imap.decode_name(re.sub(rb"\\(.)", rb"\1", folder.encode())) + cut


def stop_counting(hosts, name: str) -> None:
    """Remove the counter of missing(), if it is there."""
    if parse_counts(_counters(hosts, name), ()) is not None:
        hosts.run(name, ["doveadm", "stats", "remove", _COUNTER], sudo=True)


def folders(hosts, name: str, user: str) -> list[str]:
    """The folders of a user, as Dovecot lists them."""
    listed = hosts.run(name, ["doveadm", "mailbox", "list", "-u", user], sudo=True)
    return model.lines(listed.text)
