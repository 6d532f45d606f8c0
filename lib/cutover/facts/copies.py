"""One user's mail in the copy on the backup host, and the same next to the live mailbox.

Beside means below new_store.work on the new host, where no user and no client sees it; Dovecot
reads it there in a mount namespace of its own (mailboxes.tree_session).
"""

import collections
import dataclasses
import hashlib
import json

from cutover import model
from cutover.connect import ssh
from cutover.facts import copied_tree, mailboxes, users

OTHERS = 50  # users whose mail directories show how one is made

# the directories are on standard input
_LIKE = "xargs -0 -r stat --dereference --format '%g %a' -- 2> /dev/null; :"


@dataclasses.dataclass(frozen=True)
class CopiedFolder:
    """A folder in the copy. messages: files. uids: those its UID list names."""

    directory: str
    messages: int
    uidvalidity: int | None
    uids: list[int]


@dataclasses.dataclass(frozen=True)
class MailDirectory:
    """The directory of a user's mail, or how to make it when it is gone.

    there: it exists. parent: the directory above it exists. asked, found: other users, and how many
    of them have theirs. group: the gid that most of those have, None if each has its user's own.
    mode: the mode of most, in octal.
    """

    path: str
    there: bool
    parent: bool = True
    asked: int = 0
    found: int = 0
    group: int | None = None
    mode: str = "700"


@dataclasses.dataclass(frozen=True)
class FolderState:
    """A live folder as it was before a restore added anything."""

    uidvalidity: int
    uidnext: int
    exists: int


def listing(hosts, user: str) -> dict[str, CopiedFolder] | None:
    """A user's folders in the copy, by the name IMAP uses; None when the copy has no such user."""
    site = hosts.site
    rows = copied_tree.folders(hosts, f"{site.backup.target}/{user}")
    if rows is None:
        return None
    return {
        mailboxes.shown(site, directory[1:]): _copied(directory, *rest) for directory, *rest in rows
    }


def _copied(directory, number, head, uids):
    validity = [field[1:] for field in head.split()[1:] if field.startswith("V")]
    return CopiedFolder(
        directory,
        int(number),
        int(validity[0]) if validity else None,
        [int(uid) for uid in uids.split() if uid.isdigit()],
    )


def tree(site, run: str, user: str, folder: str, other: str = "") -> str:
    """Where on the new host a run keeps what it brought of a user, or of one folder.

    other: the source, if it is not the copy.
    """
    key = "\0".join([folder, other]) if other else folder
    digest = hashlib.sha256(key.encode("utf-8", "surrogateescape")).hexdigest()[:8]
    return f"{site.new_store.work}/restore/{run}/{user}{f'-{digest}' if key else ''}"


def brought(hosts, place: str) -> bool:
    """Whether a complete tree is in `place`."""
    return is_directory(hosts, f"{place}/cur")


def mail_directory(hosts, account: users.Account) -> MailDirectory:
    """The directory of a user's mail; if it is gone, what those of other users are like."""
    new, path = hosts.site.roles.new, mailboxes.maildir(hosts.site, account)
    if is_directory(hosts, path):
        return MailDirectory(path, True)
    others = [other for other in users.read(hosts, new) if other.user != account.user][:OTHERS]
    paths = "".join(f"{mailboxes.maildir(hosts.site, other)}\0" for other in others)
    output = hosts.run(new, ["sh", "-c", _LIKE], sudo=True, input=paths.encode()).text
    rows = [line.split() for line in model.lines(output)]
    own = {str(other.gid) for other in others}
    groups = collections.Counter(None if group in own else int(group) for group, _ in rows)
    modes = collections.Counter(mode for _, mode in rows)
    return MailDirectory(
        path=path,
        there=False,
        parent=is_directory(hosts, path.rpartition("/")[0]),
        asked=len(others),
        found=len(rows),
        group=groups.most_common(1)[0][0] if rows else None,
        mode=modes.most_common(1)[0][0] if rows else "700",
    )


def is_directory(hosts, path: str) -> bool:
    """Whether a directory is on the new host."""
    return hosts.run(hosts.site.roles.new, ["test", "-d", path], sudo=True, check=False).rc == 0


def note(hosts, place: str) -> dict[str, FolderState]:
    """What a restore wrote down per folder before it added anything; empty when it did not."""
    try:
        data = json.loads(hosts.ssh(hosts.site.roles.new).get(f"{place}.json", sudo=True))
    except ssh.NoSuchFile:
        return {}
    return {folder: FolderState(**values) for folder, values in data.items()}
