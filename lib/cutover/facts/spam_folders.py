"""SPAM folders by `doveadm`, and Maildirs beside the mailboxes that users do not see."""

from cutover.connect import ssh
from cutover.model import errors

TARGET = (
    "aside/SPAM"  # as Dovecot calls the Maildir of what was set aside, in the calls below alone
)
GONE = ".deleted"  # after the Maildir's name: the note that its messages were deleted for good
NO_MAILBOX = 68  # doveadm's exit status for a folder that is not there


def _namespace(place: str) -> list:
    """Options that give one doveadm call a namespace of its own over a directory."""
    settings = {
        "location": f"maildir:{place}",
        "prefix": "aside/",
        "separator": "/",
        "list": "no",
        "hidden": "yes",
        "subscriptions": "no",
    }
    listed = [
        "namespace=aside",
        *(f"namespace/aside/{key}={value}" for key, value in settings.items()),
    ]
    return [part for each in listed for part in ("-o", each)]


def shown(place: str) -> str:
    """The options in short, for a plan."""
    return f"-o namespace/aside/location=maildir:{place}"


def old(hosts, name: str, user: str, folder: str, before: str) -> list:
    """UIDs of the messages of a folder that arrived before a date (`YYYY-MM-DD`), ascending; empty without the folder."""
    return _uids(hosts, name, user, [], ["mailbox", folder, "before", before])


def _uids(hosts, name, user, options, query):
    done = hosts.run(
        name,
        ["doveadm", *options, "-f", "tab", "fetch", "-u", user, "uid", *query],
        sudo=True,
        check=False,
    )
    if done.rc == NO_MAILBOX:
        return []
    if done.rc:
        raise ssh.CommandFailed.of(done)
    lines = done.text.split()
    if lines and lines[0] != "uid":
        raise errors.Unreadable(f"{name}: doveadm fetch of {user} said {done.text[:200]!r}")
    return sorted(map(int, lines[1:]))


def among(hosts, name: str, user: str, folder: str, uids: str) -> int:
    """How many of some messages are still in a folder."""
    return len(_uids(hosts, name, user, [], ["mailbox", folder, "uid", uids]))


def uidvalidity(hosts, name: str, user: str, folder: str) -> int | None:
    """A folder's UIDVALIDITY, None without the folder."""
    asked = ["doveadm", "-f", "tab", "mailbox", "status", "-u", user, "uidvalidity", folder]
    done = hosts.run(name, asked, sudo=True, check=False)
    lines = done.text.splitlines()
    return int(lines[1].split("\t")[-1]) if done.rc == 0 and len(lines) > 1 else None


def aside(hosts, name: str, user: str, place: str) -> int:
    """How many messages lie in a Maildir of what was set aside."""
    if hosts.run(name, ["test", "-d", place], sudo=True, check=False).rc:
        return 0
    return len(_uids(hosts, name, user, _namespace(place), ["mailbox", TARGET, "all"]))


def make(hosts, name: str, user: str, place: str) -> None:
    """Make the directory for it: the user's own, below one that others can pass through and not list."""
    top, _, _ = place.rpartition("/")
    above, _, _ = top.rpartition("/")
    hosts.run(name, ["install", "-d", "-m", "0711", "--", above, top], sudo=True)
    group = hosts.run(name, ["id", "-gn", "--", user]).text.strip()
    hosts.run(
        name, ["install", "-d", "-m", "0700", "-o", user, "-g", group, "--", place], sudo=True
    )


def move(hosts, name: str, user: str, place: str, target: str, query) -> None:
    """Dovecot moves what a query finds into a folder, which it makes if there is none."""
    hosts.run(
        name,
        ["doveadm", *_namespace(place), "mailbox", "create", "-u", user, target],
        sudo=True,
        check=False,
    )
    hosts.run(
        name,
        ["doveadm", *_namespace(place), "move", "-u", user, target, *query],
        sudo=True,
        timeout=600,
    )


def kept(hosts, name: str, top: str, below: str = ".") -> dict:
    """`{run: {"users": {user: messages}, "days": whole days since the latest of them was set aside}}` of what lies below the
    directory for set-aside SPAM; `below`: of a part of it, `RUN/USER`. A message's ctime is when it came there, or later."""
    script = r"""cd "$1/$2" 2>/dev/null && cd "$1" || exit 0
find "./$2" -type f \( -path '*/cur/*' -o -path '*/new/*' \) -printf '%C@ %p\n' | awk -v now="$(date +%s)" '
    { changed = int($1); sub(/^[^ ]* (\.\/)+/, ""); split($0, part, "/"); whose = part[1] "/" part[2]
      count[whose]++; if (changed > latest[whose]) latest[whose] = changed }
    END { for (whose in count) print count[whose], int((now - latest[whose]) / 86400), whose }'"""
    found = {}
    for line in hosts.run(
        name, ["sh", "-c", script, "kept", top, below], sudo=True, timeout=300
    ).text.splitlines():
        count, days, path = line.split(" ", 2)
        run, _, user = path.partition("/")
        days = max(0, int(days))
        each = found.setdefault(run, {"users": {}, "days": days})
        each["users"][user], each["days"] = int(count), min(each["days"], days)
    return found


def expunge(hosts, name: str, user: str, place: str, note: str) -> None:
    """Dovecot deletes all that was set aside in a Maildir; before that, a note of it is left beside."""
    hosts.run(name, ["tee", "--", place + GONE], sudo=True, input=f"{note}\n".encode())
    hosts.run(
        name,
        ["doveadm", *_namespace(place), "expunge", "-u", user, "mailbox", TARGET, "all"],
        sudo=True,
        timeout=600,
    )


def gone(hosts, name: str, place: str) -> str:
    """The note that what was set aside in a Maildir was deleted for good, or ""."""
    return hosts.run(name, ["cat", "--", place + GONE], sudo=True, check=False).text.strip()


def between(hosts, name: str, user: str, folder: str, since: str, until: str) -> list:
    """UIDs of the messages of a folder that arrived on or after one day (`YYYY-MM-DD`) and before another, ascending."""
    return _uids(hosts, name, user, [], ["mailbox", folder, "since", since, "before", until])


def has_id(hosts, name: str, user: str, message_id: str) -> bool:
    """Whether a message with this Message-ID lies in any folder of a user."""
    return bool(_uids(hosts, name, user, [], ["mailbox", "*", "header", "Message-ID", message_id]))
