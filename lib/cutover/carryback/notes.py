"""The note that carrying back leaves on the old server for each user, one JSON file per run.

The JSON is read by later rollbacks, so its keys stay as they are.
"""

import dataclasses
import json
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from cutover import model
from cutover.connect import imap
from cutover.remote import own_directories

SHOWN = 10  # messages of one user listed in full

# $1 the set-aside directory, $2 the run
_READ_RUN = r"""
for file in "$1/$2/.carried/"*.json; do [ -f "$file" ] && cat -- "$file" && echo; done; :
"""
# $1 the set-aside directory, $2 the run
_READ_TREES = r"""
! [ -f "$1/$2/.carried/trees" ] || cat -- "$1/$2/.carried/trees"
"""
# $1 the set-aside directory: what every run left there
_READ_PENDING = r"""
for file in "$1"/*/.carried/*.json; do
  [ -f "$file" ] && grep -q '"behind"' "$file" && cat -- "$file" && echo
done; :
"""


@dataclasses.dataclass(frozen=True)
class LeftMessage:
    """A message that is on the new server only, because the old one refused it.

    folder, uid: on the new server. to: the old folder it belongs in. date: ISO 8601.
    key: its digest in hex (facts/message_text). why: the old server's words.
    """

    folder: str
    to: str
    uid: int
    message_id: str
    why: str
    bytes: int = 0
    date: str = ""
    flags: list[str] = dataclasses.field(default_factory=list)
    key: str = ""

    def text(self) -> str:
        """The message in a line."""
        return f"{self.folder} UID {self.uid} {self.message_id or '(no Message-ID)'}: {self.why}"


class LaterFlags(NamedTuple):
    """Flags still to be set and cleared in an old folder; date and bytes say on which message."""

    folder: str
    uid: int
    date: str
    bytes: int
    add: list[str]
    clear: list[str]

    def is_for(self, message: imap.Message) -> bool:
        return (self.uid, self.date, self.bytes) == _identity(message)


class LaterRemoval(NamedTuple):
    """A message still to be removed from an old folder."""

    folder: str
    uid: int
    date: str
    bytes: int

    def is_for(self, message: imap.Message) -> bool:
        return (self.uid, self.date, self.bytes) == _identity(message)


def _identity(message):
    return message.uid, message.internaldate.isoformat(), message.size


@dataclasses.dataclass(frozen=True)
class Later:
    """What else the old server refused."""

    flags: list[LaterFlags] = dataclasses.field(default_factory=list)
    removed: list[LaterRemoval] = dataclasses.field(default_factory=list)

    def __bool__(self):
        return bool(self.flags or self.removed)


@dataclasses.dataclass(frozen=True)
class Note:
    """What became of one user.

    tree: id of the published tree it was compared with. at: seconds since the epoch.
    done: counts, as UserPlan.counts gives them. left: texts, what could not be copied.
    notes: texts, what stays on purpose. behind, later, entry (the user's in the store's plan):
    only when the rollback continued without something; `entry` is None otherwise.
    """

    user: str
    tree: str
    at: float
    done: dict[str, int]
    left: list[str]
    notes: list[str]
    behind: list[LeftMessage] = dataclasses.field(default_factory=list)
    later: Later = dataclasses.field(default_factory=Later)
    entry: dict | None = None

    @property
    def pending(self) -> bool:
        """Whether something is still to be copied to the old server."""
        return bool(self.behind or self.later)

    def to_json(self) -> dict:
        """The note as it lies on the old server."""
        data = model.to_json(self)
        if self.entry is None:
            del data["behind"], data["later"], data["entry"]
        return data


# --- on the old server


def read(hosts, run: str) -> dict[str, Note]:
    """`{user: Note}` of one run."""
    return {note.user: note for note in _read(hosts, _READ_RUN, run)}


def read_pending(hosts) -> dict[str, Note]:
    """`{user: the latest Note}` of all runs, of users with something still to be copied."""
    listed = sorted(_read(hosts, _READ_PENDING), key=lambda note: note.at)
    return {note.user: note for note in listed if note.pending}


def _read(hosts, script, *arguments):
    site = hosts.site
    argv = ["sh", "-c", script, "notes", site.old_store.aside, *arguments]
    lines = hosts.run(site.roles.old, argv, sudo=True).out.split(b"\n")
    return [model.from_json(Note, json.loads(line)) for line in lines if line]


def write(hosts, aside: str, run: str, note: Note) -> None:
    """Write a user's note below `aside`, a directory of the old server."""
    folder, old = f"{aside}/{run}/.carried", hosts.site.roles.old
    hosts.run(old, own_directories.command("0711", aside, f"{aside}/{run}"), sudo=True)
    hosts.run(old, own_directories.command("0700", folder), sudo=True)
    text = json.dumps(note.to_json(), sort_keys=True).encode()
    hosts.ssh(old).put(text, f"{folder}/{note.user}.json", sudo=True)


def read_trees(hosts, run: str) -> dict[str, dict[str, str]]:
    """What keep_trees() has written last; empty without it."""
    site = hosts.site
    argv = ["sh", "-c", _READ_TREES, "notes", site.old_store.aside, run]
    return json.loads(hosts.run(site.roles.old, argv, sudo=True).out or b"{}")


def keep_trees(hosts, aside: str, run: str, signatures: Mapping[str, dict[str, str]]) -> None:
    """Write down how the trees of users with a note were when it was written; see
    published.signatures(). Only beside notes."""
    text = json.dumps(signatures, sort_keys=True).encode()
    hosts.ssh(hosts.site.roles.old).put(text, f"{aside}/{run}/.carried/trees", sudo=True)


# --- in words


def counts_text(counts: Mapping[str, int]) -> str:
    """`3 messages appended, 12 flags changed`; "nothing" when it is empty."""
    return ", ".join(f"{number} {what}" for what, number in counts.items()) or "nothing"


def total(several: Iterable[Mapping[str, int]]) -> dict[str, int]:
    """The sums of several users' counts."""
    sums = {}
    for counts in several:
        for what, number in counts.items():
            sums[what] = sums.get(what, 0) + number
    return sums


def result_text(note: Note) -> str:
    """What was done for a user, in a line; "" when there was nothing to do."""
    if not (note.done or note.left or note.behind):
        return ""
    parts = [f"{note.user}: {counts_text(note.done)}"]
    parts += [f"not copied: {text}" for text in note.left]
    parts += [f"only on the new server: {message.text()}" for message in note.behind]
    return "; ".join(parts)


def pending_text(note: Note) -> str:
    """What is still to be copied: `1 message: INBOX UID 7 <…>: why; not on the old …`"""
    count = len(note.behind)
    text = f"{count} message{'' if count == 1 else 's'}"
    if count:
        text += f": {messages_text(note.behind)}"
    also = []
    if note.later.flags:
        also.append(f"{len(note.later.flags)} flags changed")
    if note.later.removed:
        also.append(f"{len(note.later.removed)} messages removed")
    return text + (f"; not on the old server yet: {', '.join(also)}" if also else "")


def messages_text(messages: list[LeftMessage]) -> str:
    """The first messages in full."""
    shown = "; ".join(message.text() for message in messages[:SHOWN])
    return shown + (" …" if len(messages) > SHOWN else "")
