"""SPAM folders, and what was set aside of them in Maildirs that no client sees; by `doveadm`."""

import dataclasses
import datetime

from cutover import model
from cutover.connect import ssh
from cutover.connect.imap import fetch
from cutover.facts import dovecot
from cutover.model import errors, moving

TARGET = "aside/SPAM"  # what Dovecot calls a Maildir of set-aside messages, in these calls only
GONE = ".deleted"  # after the Maildir's name: the note that its messages were deleted
NO_MAILBOX = 68  # doveadm's exit status for a folder that does not exist

# a name with a line end is no message of Dovecot's: its user would be writing lines of the others
_KEPT = r"""cd "$1/$2" 2>/dev/null && cd "$1" || exit 0
find "./$2" -type f \( -path '*/cur/*' -o -path '*/new/*' \) \
    ! -path '*
*' -printf '%C@ %p\n' |
awk -v now="$(date +%s)" '
    { changed = int($1); sub(/^[^ ]* (\.\/)+/, ""); split($0, part, "/")
      whose = part[1] "/" part[2]
      count[whose]++; if (changed > latest[whose]) latest[whose] = changed }
    END { for (whose in count) print count[whose], int((now - latest[whose]) / 86400), whose }'"""


@dataclasses.dataclass(frozen=True)
class OldMessages:
    """Messages of one user's folder. old: their UIDs, such as "1:7,9". count: how many."""

    uidvalidity: int | None = moving()
    old: str = ""
    count: int = moving(default=0)


@dataclasses.dataclass(frozen=True)
class Kept:
    """What one run set aside. users: messages per user. days: since the latest was set aside."""

    users: dict[str, int] = moving(default_factory=dict)
    days: int = moving(default=0)

    @property
    def messages(self) -> int:
        return sum(self.users.values())


def doveadm(hosts, name: str, place: str) -> list[str]:
    """The words that begin a doveadm call which sees the Maildir at `place` as aside/."""
    return ["doveadm", *dovecot.spelling(hosts, name).hidden_namespace("aside", place)]


def today(hosts, name: str) -> datetime.date:
    """The date by a host's clock."""
    return datetime.date.fromisoformat(hosts.run(name, ["date", "+%Y-%m-%d"]).text.strip())


def old(hosts, name: str, user: str, folder: str, before: str) -> OldMessages | None:
    """The messages of a folder that arrived before a day ("YYYY-MM-DD"), or None."""
    uids = _uids(hosts, name, user, ["mailbox", folder, "before", before])
    if not uids:
        return None
    numbers = fetch.number_set(uids).decode()
    return OldMessages(uidvalidity(hosts, name, user, folder), numbers, len(uids))


def _uids(hosts, name, user, query, doveadm=("doveadm",)):
    argv = [*doveadm, "-f", "tab", "fetch", "-u", user, "uid", *query]
    return sorted(map(int, _rows(hosts, name, argv) or []))


def _rows(hosts, name, argv):
    """The rows that doveadm prints below its heading; None without the folder."""
    result = hosts.run(name, argv, sudo=True, check=False)
    if result.rc == NO_MAILBOX:
        return None
    if result.rc:
        raise ssh.CommandFailed.of(result)
    heading, *rows = model.lines(result.text) or [""]
    if not heading.endswith(("uid", "uidvalidity")):
        raise errors.Unreadable(f"doveadm on {name} gave an unknown answer: {result.text[:200]!r}")
    return rows


def among(hosts, name: str, user: str, folder: str, uids: str) -> int:
    """How many of some messages are still in a folder."""
    return len(_uids(hosts, name, user, ["mailbox", folder, "uid", uids]))


def between(hosts, name: str, user: str, folder: str, since: str, until: str) -> list[int]:
    """UIDs of the messages that arrived on or after one day ("YYYY-MM-DD") and before another."""
    return _uids(hosts, name, user, ["mailbox", folder, "since", since, "before", until])


def has_id(hosts, name: str, user: str, message_id: str) -> bool:
    """Whether a message with this Message-ID is in any folder of a user."""
    query = ["mailbox", "*", "header", "Message-ID", message_id]
    return bool(_uids(hosts, name, user, query))


def uidvalidity(hosts, name: str, user: str, folder: str, doveadm=("doveadm",)) -> int | None:
    """A folder's UIDVALIDITY, None without the folder. doveadm: the words that begin the call."""
    argv = [*doveadm, "-f", "tab", "mailbox", "status", "-u", user, "uidvalidity", folder]
    rows = _rows(hosts, name, argv)
    return int(rows[0].split("\t")[-1]) if rows else None


def aside(hosts, name: str, user: str, place: str) -> int:
    """How many messages are in a Maildir of set-aside messages."""
    if hosts.run(name, ["test", "-d", place], sudo=True, check=False).rc:
        return 0
    query = ["mailbox", TARGET, "all"]
    return len(_uids(hosts, name, user, query, doveadm(hosts, name, place)))


def kept(hosts, name: str, top: str, below: str = ".") -> dict[str, Kept]:
    """What is set aside below the directory for it, per run.

    below: only a part of it, `RUN/USER`. A message's ctime is when it was set aside, or later.
    """
    argv = ["sh", "-c", _KEPT, "kept", top, below]
    runs = {}
    for line in model.lines(hosts.run(name, argv, sudo=True, timeout=300).text):
        count, days, path = line.split(" ", 2)
        run, _, user = path.partition("/")
        days = max(0, int(days))
        former = runs.get(run, Kept(days=days))
        runs[run] = Kept({**former.users, user: int(count)}, min(former.days, days))
    return runs


def gone(hosts, name: str, place: str) -> str:
    """The note that the set-aside messages of a Maildir were deleted, or ""."""
    return hosts.run(name, ["cat", "--", place + GONE], sudo=True, check=False).text.strip()
