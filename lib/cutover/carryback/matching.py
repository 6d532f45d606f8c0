"""Which messages of the two sides are the same: first by UID, then by content."""

import collections
import dataclasses
import enum
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

from cutover.carryback.folder_pairs import FolderPair
from cutover.connect import imap
from cutover.facts import message_text


class Origin(enum.Enum):
    """Where a message without a partner by UID is, and what its UID says about it."""

    NEW = "on the new side"
    GONE = "on the old side, below the conversion's UIDNEXT, and no longer on the new side"
    ARRIVED = "on the old side, arrived since the switch"
    UNCERTAIN = "on the old side, in a folder whose UIDs cannot be compared"
    FOLDER_GONE = "on the old side, in a folder that is gone on the new side"
    SPOOLED = "on the old side, still in the spool"


@dataclasses.dataclass(frozen=True, eq=False)
class Unpaired:
    """A message without a partner by UID. Two are equal only if they are the same object."""

    origin: Origin
    pair: FolderPair
    message: imap.Message


class FlagDifference(NamedTuple):
    """The same message with other flags on the two sides."""

    pair: FolderPair
    old: imap.Message
    new: imap.Message


class UnreadableFolder(NamedTuple):
    """A folder c-client cannot read. `messages`: those of the new side that it should get."""

    pair: FolderPair
    reason: str
    messages: list[imap.Message]


@dataclasses.dataclass
class Comparison:
    """What the folders of one user look like side by side.

    keywords: `{old folder: keywords in lower case}` that c-client has there already.
    kept: `(old folder, number of messages)` of folders that are gone on the new side.
    """

    unpaired: list[Unpaired] = dataclasses.field(default_factory=list)
    differences: list[FlagDifference] = dataclasses.field(default_factory=list)
    keywords: dict[str, set[str]] = dataclasses.field(default_factory=dict)
    kept: list[tuple[str, int]] = dataclasses.field(default_factory=list)
    unreadable: list[UnreadableFolder] = dataclasses.field(default_factory=list)


def folded(flags: Iterable[str]) -> set[str]:
    """Flags in lower case: neither c-client nor Dovecot distinguishes the case of keywords."""
    return {flag.lower() for flag in flags}


# --- by UID


def compare_folders(old, new, pairs: Iterable[FolderPair]) -> Comparison:
    """Read all folders of two sessions and pair their messages by UID."""
    comparison = Comparison()
    for pair in pairs:
        _compare_folder(pair, old, new, comparison)
    return comparison


def _compare_folder(pair, old, new, comparison):
    try:
        old_folder = _open_old(pair, old)
    except imap.FolderUnreadable as error:
        if pair.new is not None:
            fresh = fresh_messages(pair, new.stream(pair.new, "metadata"))
            comparison.unreadable.append(UnreadableFolder(pair, error.reason, fresh))
        return
    comparison.keywords[pair.old] = folded(old_folder.keywords)
    if pair.new is None:
        comparison.kept.append((pair.old, old_folder.exists))
        comparison.unpaired += [
            Unpaired(Origin.FOLDER_GONE, pair, message) for message in old_folder.messages
        ]
        return
    new_folder = new.stream(pair.new, "metadata")
    comparable = (
        pair.published is None
        or pair.published.uidvalidity == new_folder.uidvalidity == old_folder.uidvalidity
    )
    limit = pair.published.uid_limit if pair.published is not None and comparable else 0
    for message, other in side_by_side(old_folder.messages, new_folder.messages, limit):
        if message is None:
            comparison.unpaired.append(Unpaired(Origin.NEW, pair, other))
        elif other is None:
            origin = _origin(message.uid < limit, comparable)
            comparison.unpaired.append(Unpaired(origin, pair, message))
        elif folded(message.flags) != folded(other.flags):
            comparison.differences.append(FlagDifference(pair, message, other))


def _open_old(pair, old):
    """The old folder; an empty one where there is none yet. Raises imap.FolderUnreadable."""
    if not pair.current:
        return imap.Folder(pair.old, 0, 1, [])
    try:
        return old.stream(pair.current, "metadata")
    except imap.FolderUnreadable:
        if pair.old != "INBOX" or pair.published is not None and pair.published.uid_limit > 1:
            raise
        return imap.Folder("INBOX", 0, 1, [])  # this user never had an INBOX


def _origin(is_below_limit, comparable):
    if is_below_limit:
        return Origin.GONE
    return Origin.ARRIVED if comparable else Origin.UNCERTAIN


def fresh_messages(pair: FolderPair, new_folder: imap.Folder) -> list[imap.Message]:
    """What came to a folder of the new server since the conversion."""
    published = pair.published
    same = published is not None and published.uidvalidity == new_folder.uidvalidity
    limit = published.uid_limit if same else 0
    return [message for message in new_folder.messages if message.uid >= limit]


def side_by_side(
    old: Iterable[imap.Message], new: Iterable[imap.Message], limit: int
) -> Iterator[tuple[imap.Message | None, imap.Message | None]]:
    """(old, new) messages of the same UID below the limit; else one of them, and None.

    Both sides come in UID order and are read as they are needed.
    """
    old, new = iter(old), iter(new)
    message, other = next(old, None), next(new, None)
    while message is not None or other is not None:
        if message is not None and other is not None and message.uid == other.uid < limit:
            yield message, other
            message, other = next(old, None), next(new, None)
        elif other is None or message is not None and message.uid <= other.uid:
            yield message, None
            message = next(old, None)
        else:
            yield None, other
            other = next(new, None)


def spooled(old, path: str, comparison: Comparison, inbox: FolderPair) -> list[Unpaired]:
    """Mail in the user's spool file `path`, unless c-client shows the spool as INBOX."""
    try:
        messages = old.read(path, "metadata").messages
    except imap.FolderUnreadable:
        return []  # no spool file, or an empty one
    shown_as_inbox = sorted(
        (unpaired.message.size, unpaired.message.internaldate)
        for unpaired in comparison.unpaired
        if unpaired.pair is inbox
        and unpaired.origin in (Origin.ARRIVED, Origin.GONE, Origin.UNCERTAIN)
    )
    if shown_as_inbox == sorted((message.size, message.internaldate) for message in messages):
        return []
    pair = dataclasses.replace(inbox, current=path)
    return [Unpaired(Origin.SPOOLED, pair, message) for message in messages]


# --- by content


@dataclasses.dataclass
class ContentMatches:
    """Partners found by the digest of the text, each copy used once.

    settled: messages that need nothing beyond what `moved`, `surplus` and `differences` say.
    moved: `{new message: old message}` of those whose old copy is in another folder; the new one
    is appended, then the old one removed. surplus: old messages of which the new side has fewer
    copies: moved there, and the process was killed before the old place was cleared.
    differences: flags of messages whose copy is in the same folder.
    """

    settled: set[Unpaired] = dataclasses.field(default_factory=set)
    moved: dict[Unpaired, Unpaired] = dataclasses.field(default_factory=dict)
    surplus: list[Unpaired] = dataclasses.field(default_factory=list)
    differences: list[FlagDifference] = dataclasses.field(default_factory=list)


def match_by_content(old, new, unpaired: list[Unpaired]) -> ContentMatches:
    """Find partners by digest among messages without a partner by UID."""
    matches, elsewhere, keys = ContentMatches(), [], []
    new_messages, old_messages = _candidates(unpaired)
    if not (new_messages and old_messages):
        return matches
    copies = collections.defaultdict(list)
    for key, message in _keys(old, old_messages, lambda message: message.pair.current):
        copies[key].append(message)
    for key, message in _keys(new, new_messages, lambda message: message.pair.new):
        keys.append(key)
        partner = _partner_in_place(copies.get(key, ()), message, matches.settled)
        if partner is None:
            elsewhere.append((key, message))
        else:
            _settle_in_place(matches, message, partner)
    for key, message in elsewhere:
        unused = (copy for copy in copies.get(key, ()) if copy not in matches.settled)
        partner = next(unused, None)
        if partner is not None:
            matches.settled.add(partner)
            matches.moved[message] = partner
    matches.surplus = [
        copy
        for key in dict.fromkeys(keys)
        for copy in copies.get(key, ())
        if copy.origin in (Origin.ARRIVED, Origin.UNCERTAIN) and copy not in matches.settled
    ]
    matches.settled.update(matches.surplus)
    return matches


def _partner_in_place(copies, message, settled):
    return next(
        (
            copy
            for copy in copies
            if copy.pair.old == message.pair.old
            and copy not in settled
            and copy.origin is not Origin.FOLDER_GONE
        ),
        None,
    )


def _settle_in_place(matches, message, partner):
    matches.settled |= {partner, message}
    if partner.origin is Origin.SPOOLED:
        return
    if folded(partner.message.flags) != folded(message.message.flags):
        matches.differences.append(FlagDifference(partner.pair, partner.message, message.message))


def _candidates(unpaired):
    """(new, old) messages worth reading: where sizes must be equal, only those of equal sizes.

    A message that Dovecot moved has the size it had; of mail delivered twice the two copies may
    differ in size.
    """
    new = [message for message in unpaired if message.origin is Origin.NEW]
    sizes = {message.message.size for message in new}
    old = [
        message
        for message in unpaired
        if message.origin is not Origin.NEW
        and (not _must_have_same_size(message) or message.message.size in sizes)
    ]
    if all(_must_have_same_size(message) for message in old):
        sizes = {message.message.size for message in old}
        new = [message for message in new if message.message.size in sizes]
    return new, old


def _must_have_same_size(unpaired):
    return unpaired.origin in (Origin.GONE, Origin.FOLDER_GONE)


def _keys(
    session, messages: list[Unpaired], folder_of: Callable[[Unpaired], str]
) -> Iterator[tuple[bytes, Unpaired]]:
    """(digest key, message), folder by folder; only one batch of texts is in memory at a time."""
    by_folder = collections.defaultdict(dict)
    for unpaired in messages:
        by_folder[folder_of(unpaired)][unpaired.message.uid] = unpaired
    for folder, by_uid in by_folder.items():
        listed = [unpaired.message for unpaired in by_uid.values()]
        for message, text in session.texts(folder, listed):
            yield message_text.key(text), by_uid[message.uid]
