"""The old store as `mbx2maildir survey` counts it on the new host."""

import dataclasses

from cutover import model


@dataclasses.dataclass(frozen=True, slots=True)
class Folder:
    """One folder, with the figures of its file. renumbered: its UIDs are not kept.
    keywords_merged: keywords that differ from another only in case, and that one.
    keywords_lost: those in use for which Maildir has no letter. before_1970: messages of such a
    date, which Dovecot does not keep.

    name: below the folders' root, byte for byte (surrogates stand for what is not UTF-8); for a
    folder of a further root "/" and its path below the home; "" for INBOX and the spool.
    """

    folder: str
    file: str
    format: str
    messages: int
    bytes: int
    recent: int
    expunged: int
    keywords: int
    keywords_used: int
    uidvalidity: int | None
    uidnext: int | None
    renumbered: bool
    name: str = ""
    keywords_merged: list[list[str]] = dataclasses.field(default_factory=list)
    keywords_lost: list[str] = dataclasses.field(default_factory=list)
    before_1970: int = 0


@dataclasses.dataclass(frozen=True)
class Skipped:
    """A file that is passed over. format, size: of mail that is not converted."""

    file: str
    why: str
    format: str = ""
    size: int | None = None


@dataclasses.dataclass(frozen=True)
class Unsearched:
    """A place of a home in which nobody looked for mail."""

    file: str
    why: str


@dataclasses.dataclass(frozen=True)
class Problem:
    """A file that cannot be read: what is wrong, at which byte, and what to do.

    traceback: of a bug in the converter, otherwise "".
    """

    file: str
    what: str
    todo: str = ""
    kind: str = ""
    offset: int | None = None
    traceback: str = ""


@dataclasses.dataclass(frozen=True)
class Damage:
    """A range of a file that cannot be read as messages."""

    file: str
    offset: int
    what: str
    length: int | None = None
    folder: str = ""
    kind: str = ""


@dataclasses.dataclass(frozen=True)
class Outside:
    """A mailbox that is not converted: in the home outside the folders, or in another format.

    file: its path on the new host, or the line of a subscription that leads to no file, which has
    no format. link: a link leads to it.
    """

    file: str
    format: str
    bytes: int
    subscribed: bool
    link: bool


@dataclasses.dataclass(frozen=True)
class Acl:
    """A folder's file, and who can read it by its ACL, such as "uid 2003"."""

    file: str
    readers: list[str]


@dataclasses.dataclass(frozen=True)
class Pointer:
    """A line of a user's file that leads to old mail; see mbx2maildir.pointers.read()."""

    file: str
    line: int
    kind: str
    text: str


@dataclasses.dataclass(frozen=True)
class User:
    """One user's old mail.

    renamed: `{"from", "to", "why"}` of folders whose names Maildir++ cannot hold.
    elsewhere: subscriptions outside the folders. unsearched: places of the home that were not
    looked at. shared: folders that the group or everybody can read. acls: those that an
    ACL lets others read. meant: `{"line", "folder"}` of
    subscriptions that lead nowhere on the old server, and to that folder on the new one.
    prefixes: `{prefix: lines}`, how subscriptions name folders; {home} stands for the home's path.
    """

    messages: int
    bytes: int
    expunged: int
    inodes: int
    folders: list[Folder]
    passed: list[Skipped]
    errors: list[Problem]
    damage: list[Damage]
    user: str = ""
    subscriptions: int = 0
    renamed: list[dict[str, str]] = dataclasses.field(default_factory=list)
    elsewhere: list[str] = dataclasses.field(default_factory=list)
    prefixes: dict[str, int] = dataclasses.field(default_factory=dict)
    sizes: list[int] = dataclasses.field(default_factory=list)
    outside: list[Outside] = dataclasses.field(default_factory=list)
    unsearched: list[Unsearched] = dataclasses.field(default_factory=list)
    shared: list[str] = dataclasses.field(default_factory=list)
    acls: list[Acl] = dataclasses.field(default_factory=list)
    meant: list[dict[str, str]] = dataclasses.field(default_factory=list)
    pointers: list[Pointer] = dataclasses.field(default_factory=list)


@dataclasses.dataclass(frozen=True)
class Totals:
    """Sums over all users. sizes[n]: messages of 2^(n-1) bytes to below 2^n."""

    users: int
    messages: int
    bytes: int
    expunged: int
    inodes: int
    folders: int
    passed: int
    errors: int
    damage: int
    sizes: list[int] = dataclasses.field(default_factory=list)


@dataclasses.dataclass(frozen=True)
class Survey:
    """All of it; users by name."""

    totals: Totals
    users: dict[str, User]


def parse(data: dict) -> Survey:
    """A survey from the converter's JSON."""
    return model.from_json(Survey, data)
