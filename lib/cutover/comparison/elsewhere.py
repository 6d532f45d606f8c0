"""Mail that the old server shows a user and that the conversion does not know.

The old server is asked for all names, as mail programs ask it, but by one directory after another:
links that lead back would make it list millions. c-client lists every file of a home
and opens any of them (a plain file as one message, which it reads whole). So only those are opened
that do not begin like a plain file.
"""

import contextlib
import dataclasses
import os
from collections.abc import Collection, Iterator

from mbx2maildir.formats import readers

from cutover.comparison import folders
from cutover.connect import imap
from cutover.facts import mailboxes
from cutover.facts.users import Account

NAMES = 50_000  # looked at per user
OPENED = 500  # of them opened
HEAD = 1500  # bytes: a From line may be long
WAIT = 600  # seconds
HEADS = ["head", "-v", "-c", str(HEAD), "--"]
IDENTITIES = [
    "sh",
    "-c",
    """find -L "$@" -maxdepth 0 -printf '%D:%i %p\\0'; true""",
    "identities",
]
COMPARED = 20  # messages by which a copy is known
# mailboxes of the format mix
DIRECTORIES = [
    "sh",
    "-c",
    'for p; do [ -d "$p" ] && printf "%s\\0" "$p"; done; true',
    "directories",
]


@dataclasses.dataclass(frozen=True)
class Unknown:
    """A mailbox of the old server that the conversion does not know."""

    name: str
    messages: int


@dataclasses.dataclass
class Elsewhere:
    """names: listed by the old server besides the converted folders. accepted: of them, those that
    the parameters accept. unseen: names that were not looked at, at least.
    """

    names: int = 0
    accepted: int = 0
    unseen: int = 0
    mail: list[Unknown] = dataclasses.field(default_factory=list)


def read(
    hosts,
    session: imap.Session,
    account: Account,
    converted: Collection[folders.Converted],
    passed: Collection[str],
) -> Elsewhere:
    """All that c-client lists for a user besides `converted`, with old names as IMAP says them.

    Another name of what is converted is known, and so is a copy of it.
    session: the user's on the old side. passed: names of what the conversion passed over, such as
    links to INBOX, and loops.
    """
    store = hosts.site.old_store

    def accepts(name):
        return store.accepts(_path(account, name), account.user, account.home)

    if accepts(""):
        return Elsewhere(accepted=1)
    prune = [*passed, *_names(store.accepted, account)]
    listing = mailboxes.old_listing(session, "", prune, most=NAMES)
    listed = {name for name, selectable in listing.items() if selectable}
    olds = [folder.old for folder in converted if folder.old]
    names = listed - {*olds, *map(os.path.normpath, passed), "INBOX"}
    names = sorted(names, key=lambda name: (len(name), name))
    accepted = {name for name in names if accepts(name)}
    result = Elsewhere(len(names), len(accepted))
    names = [name for name in names if name not in accepted]
    result.unseen = int(len(listing) >= NAMES) + max(0, len(names) - NAMES)
    opened = _not_plain(hosts, account, names[:NAMES])
    result.unseen += max(0, len(opened) - OPENED)
    opened = opened[:OPENED]
    left_out = {_path(account, os.path.normpath(name)) for name in passed}
    inboxes = {account.fill(path) for path in (*store.inbox, store.spool)} - left_out
    files = _files(hosts, account, [*olds, *inboxes, *opened] if opened else [])
    known = {files[name] for name in (*olds, *inboxes) if name in files}
    looks = _Looks(session, [folder.old for folder in converted if folder.salvaged is None])
    for name in opened:
        if name in files and files[name] in known:
            continue
        known.add(files.get(name))
        with contextlib.suppress(imap.FolderUnreadable):  # no mail program can open it either
            messages = session.examine(name).exists
            if messages and not looks.has(name):
                result.mail.append(Unknown(name, messages))
    return result


def _names(accepted, account):
    """What the parameters accept, as names of the old server."""
    for entry in accepted:
        text = entry.replace("{user}", account.user).replace("{home}", account.home).rstrip("/")
        if text.startswith(account.home + "/"):
            yield text.removeprefix(account.home + "/")


def _path(account, name):
    return name if name.startswith("/") else f"{account.home}/{name}"


def _ask(hosts, account, argv, paths) -> bytes:
    """What a program on the old host says of some paths to their user."""
    if not paths:
        return b""
    return hosts.run(
        hosts.site.roles.old,
        ["xargs", "-0", *argv],
        as_user=account.user,
        input=b"\0".join(paths),
        timeout=WAIT,
        check=False,
    ).out


def _files(hosts, account, names) -> dict[str, bytes]:
    """b"device:inode" of the files to which names lead: one mailbox may have several."""
    paths = {name: imap.encode_name(_path(account, name)) for name in names}
    lines = _ask(hosts, account, IDENTITIES, dict.fromkeys(paths.values())).split(b"\0")
    identities = {path: identity for identity, _, path in (line.partition(b" ") for line in lines)}
    return {name: identities[path] for name, path in paths.items() if path in identities}


def _not_plain(hosts, account, names) -> list[str]:
    """Those of some names that lead to a mailbox, or to what cannot be judged from outside."""
    if not names:
        return []
    paths = {name: imap.encode_name(_path(account, name)) for name in names}
    heads = dict(heads_of(_ask(hosts, account, HEADS, paths.values()), paths.values()))
    empty = [path for path, head in heads.items() if not head]
    directories = set(_ask(hosts, account, DIRECTORIES, empty).split(b"\0"))
    return [
        name
        for name, path in paths.items()
        if path not in heads or path in directories or begins_like_mail(heads[path])
    ]


def heads_of(output: bytes, paths: Collection[bytes]) -> Iterator[tuple[bytes, bytes]]:
    """(path, its first bytes) from `head -v`, which leaves out what it cannot open."""
    starts, at = [], 0
    output = b"\n" + output
    for path in paths:
        title = b"\n==> %b <==\n" % path
        # the first bytes of the file before are no longer than HEAD
        place = output.find(title, at, at + (HEAD if starts else 0) + len(title))
        if place >= 0:
            starts.append((path, place, place + len(title)))
            at = place + len(title)
    ends = [start for _, start, _ in starts[1:]] + [len(output)]
    for (path, _, begin), end in zip(starts, ends, strict=True):
        yield path, output[begin:end]


def begins_like_mail(head: bytes) -> bool:
    """Whether a file that begins so is a mailbox in one of c-client's formats."""
    return bool(readers.kind(head))


class _Looks:
    """Mailboxes by the dates and sizes of their first messages."""

    def __init__(self, session, names):
        self.session, self.names, self.looks = session, names, None

    def has(self, name):
        """Whether a mailbox is a copy of one already seen; from now on it is."""
        if self.looks is None:
            self.looks = set()
            for known in filter(None, self.names):
                with contextlib.suppress(imap.FolderUnreadable):  # verify reports it
                    self.looks.add(self._look(known))
        look = self._look(name)
        known = look in self.looks
        self.looks.add(look)
        return known

    def _look(self, name):
        exists = self.session.examine(name).exists
        numbers = range(1, min(exists, COMPARED) + 1)
        messages = self.session.read(name, "metadata", numbers).messages if exists else []
        return exists, tuple((message.internaldate, message.size) for message in messages)
