"""A sample of what presync staged: Dovecot's reading next to c-client's, while users work.

Users work meanwhile, so flags, new mail and deletions may differ: they are only counted. Text and
date of one UID may never differ, and an old message between two staged ones must be staged.
"""

import concurrent.futures
import contextlib
import dataclasses
import hashlib
import time
from collections.abc import Iterable

from cutover.comparison import messages
from cutover.connect import imap
from cutover.facts import mailboxes
from cutover.facts.users import Account
from cutover.model import errors

PART = 50  # messages read of one folder at most
USERS = 4  # users in the sample, times those read at the same time
SHOWN = 20  # differences listed


def order(seed: str, names: Iterable[str]) -> list[str]:
    """The names in an order that only the seed decides."""
    return sorted(
        names,
        key=lambda name: hashlib.sha256(
            f"{seed}\0{name}".encode("utf-8", "surrogateescape")
        ).digest(),
    )


@dataclasses.dataclass(frozen=True)
class Group:
    """Users read at the same time. Numbers of what was read, and seconds by the clock.

    Each of the seconds is what one stage adds to the stage before.
    """

    users: int
    folders: int
    messages: int
    bytes: int
    sessions: float
    opening: float
    metadata: float
    content: float


@dataclasses.dataclass
class Sample:
    """What was read of the users named. changed: messages whose flags or presence differ.

    differences: the first of them, as text. errors: by user.
    """

    seed: str = ""
    messages: int = 0
    folders: int = 0
    users: list[str] = dataclasses.field(default_factory=list)
    changed: int = 0
    differences: list[str] = dataclasses.field(default_factory=list)
    errors: dict[str, str] = dataclasses.field(default_factory=dict)
    groups: list[Group] = dataclasses.field(default_factory=list)


def read(hosts, accounts: list[Account], count: int, seed: str) -> Sample:
    """Read about `count` messages of some users, as many users at a time as verify does."""
    parallel = hosts.site.verify.parallel
    by_name = {account.user: account for account in accounts}
    chosen = order(seed, by_name)[: USERS * parallel]
    sample = Sample(seed)
    for start in range(0, len(chosen), parallel):
        pairs = [
            _Pair(hosts, by_name[name], -(-count // len(chosen)), seed)
            for name in chosen[start : start + parallel]
        ]
        group = _read_together(pairs)
        for pair in pairs:
            if pair.error:
                sample.errors[pair.account.user] = pair.error
            else:
                sample.users.append(pair.account.user)
            sample.changed += pair.changed
            sample.differences += pair.differences
        sample.groups.append(group)
        sample.messages += group.messages
        sample.folders += group.folders
    sample.differences = sample.differences[:SHOWN]
    return sample


def _read_together(pairs):
    """Take some users through all stages; all users begin a stage at the same time."""
    seconds = []
    with concurrent.futures.ThreadPoolExecutor(len(pairs)) as pool:
        try:
            for stage in (_Pair.open, _Pair.count, _Pair.metadata, _Pair.content):
                began = time.monotonic()
                list(pool.map(lambda pair, stage=stage: pair.attempt(stage), pairs))
                seconds.append(time.monotonic() - began)
        finally:
            list(pool.map(_Pair.close, pairs))
    sessions, opening, metadata, content = seconds
    read_pairs = [pair for pair in pairs if not pair.error]
    # each stage does again what the stage before it does
    return Group(
        users=len(read_pairs),
        folders=sum(len(pair.parts) for pair in read_pairs),
        messages=sum(pair.messages for pair in read_pairs),
        bytes=sum(pair.bytes for pair in read_pairs),
        sessions=round(sessions, 4),
        opening=round(opening, 4),
        metadata=round(max(0.0, metadata - opening), 4),
        content=round(max(0.0, content - metadata), 4),
    )


@dataclasses.dataclass(frozen=True)
class _Part:
    """A range of messages of one folder, as message numbers on either side."""

    old_name: str
    new_name: str
    old_numbers: range
    new_numbers: range


class _Pair:
    """One user's two sessions. The first error is kept in `error` and ends the reading."""

    def __init__(self, hosts, account, quota, seed):
        self.hosts, self.account, self.quota, self.seed = hosts, account, quota, seed
        self.prefix, self.stack = hosts.site.old_store.imap_prefix, contextlib.ExitStack()
        self.error, self.parts, self.names = "", [], []
        self.messages = self.bytes = self.changed = 0
        self.differences = []

    def attempt(self, stage):
        if self.error:
            return
        try:
            stage(self)
        except (errors.CutoverError, OSError) as error:
            self.error = str(error)

    def open(self):
        self.old = self.stack.enter_context(mailboxes.old_session(self.hosts, self.account.user))
        self.new = self.stack.enter_context(mailboxes.tree_session(self.hosts, self.account))
        staged = {name for name, _, selectable in self.new.folders("*") if selectable} | {"INBOX"}
        old_names = {name if name == "INBOX" else self.prefix + name: name for name in staged}
        self.names = [(name, old_names[name]) for name in order(self.seed, sorted(old_names))]

    def count(self):
        left = self.quota
        for name, new_name in self.names:
            if left <= 0:
                break
            try:
                old, new = self.old.read(name), self.new.read(new_name)
            except imap.FolderUnreadable:
                continue  # c-client refuses it; the conversion reports what it made of it
            size = min(left, PART, old.exists)
            digest = hashlib.sha256(
                f"{self.seed}\0{name}".encode("utf-8", "surrogateescape")
            ).hexdigest()
            start = 1 + int(digest, 16) % (old.exists - size + 1)
            old_numbers, new_numbers = (
                range(start, min(start + size, folder.exists + 1)) for folder in (old, new)
            )
            self.parts.append(_Part(name, new_name, old_numbers, new_numbers))
            left -= size

    def _both(self, level):
        for part in self.parts:
            yield (
                self.old.read(part.old_name, level, part.old_numbers),
                self.new.read(part.new_name, level, part.new_numbers),
            )

    def metadata(self):
        for _ in self._both("metadata"):
            pass

    def content(self):
        for old, new in self._both("content"):
            self.messages += len(old.messages)
            self.bytes += sum(message.size for message in old.messages)
            if old.uidvalidity == new.uidvalidity:
                changed, wrong = compare(old.messages, new.messages, waits=old.name == "INBOX")
                self.changed += changed
            elif _keeps_uidvalidity(self.old, old):
                wrong = [f"UIDVALIDITY {old.uidvalidity} became {new.uidvalidity}"]
            else:
                wrong = []
            self.differences += [f"{self.account.user}: {old.name}: {text}" for text in wrong]

    def close(self):
        try:
            self.stack.close()
        except (errors.CutoverError, OSError) as error:
            self.error = self.error or str(error)


def _keeps_uidvalidity(old, folder):
    """Whether the old server reports the same UIDVALIDITY each time, and one to keep.

    For a file that holds none it takes the time of day.
    """
    if not folder.exists or messages.too_large(folder):
        return False
    time.sleep(1.1)
    return old.read(folder.name).uidvalidity == folder.uidvalidity


def compare(
    old: list[imap.Message], new: list[imap.Message], waits: bool = False
) -> tuple[int, list[str]]:
    """(number changed, differences) of parts of one folder, messages by UID.

    The old part is read after the new one was made. waits: mail may have waited in the spool. It
    was staged under the UIDs it would have got, and what was delivered since got them before it.
    Then every message from some UID on is another one, and all of them count as changed.
    """
    staged = {message.uid: message for message in new}
    changed, wrong, others = 0, [], 0
    first, last = (min(staged), max(staged)) if staged else (1, 0)
    for message in old:
        other = staged.pop(message.uid, None)
        if other is None:
            if first <= message.uid <= last:
                wrong.append(f"UID {message.uid}: not staged")
            else:
                changed += 1
            continue
        dated, same = message.internaldate == other.internaldate, message.digest == other.digest
        others = others + 1 if not dated and not same else 0
        if not dated:
            wrong.append(
                f"UID {message.uid}: INTERNALDATE {message.internaldate} became "
                f"{other.internaldate}"
            )
        elif not same:
            wrong.append(
                f"UID {message.uid}: content {str(message.digest)[:12]}… became "
                f"{str(other.digest)[:12]}…"
            )
        else:
            changed += message.flags != other.flags
    if waits and others and len(wrong) == others:
        changed, wrong = changed + others, []
    return changed + len(staged), wrong
