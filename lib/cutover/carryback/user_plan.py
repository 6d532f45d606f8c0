"""What is missing on the old side of one user: what to rename, create, append, flag and remove."""

import collections
import dataclasses
from collections.abc import Iterable
from typing import NamedTuple

from cutover.carryback import folder_pairs, keyword_room, matching, published
from cutover.carryback.folder_pairs import FolderPair
from cutover.carryback.matching import Origin
from cutover.connect import imap


class Append(NamedTuple):
    """A message for the old folder of `pair`. moved_from: the old folder it is in now, if any."""

    pair: FolderPair
    message: imap.Message
    flags: frozenset[str]
    moved_from: str | None = None


class FlagChange(NamedTuple):
    """Flags to set and to clear. date (ISO 8601) and size say which message it was, for later."""

    folder: str
    uid: int
    add: frozenset[str]
    clear: frozenset[str]
    date: str = ""
    size: int = 0


class Removal(NamedTuple):
    folder: str
    message: imap.Message


@dataclasses.dataclass
class UserPlan:
    """What is missing on the old side of one user, in the order in which it is done.

    moved: their copies are appended elsewhere first, so no other copy is kept.
    removed: a copy is kept in the set-aside directory.
    unreadable: new messages of folders that c-client cannot read.
    problems: texts, what cannot be copied. notes: texts, what stays as it is on purpose.
    """

    renames: list[folder_pairs.Rename] = dataclasses.field(default_factory=list)
    creates: list[str] = dataclasses.field(default_factory=list)
    subscriptions: list[folder_pairs.Subscription] = dataclasses.field(default_factory=list)
    appends: list[Append] = dataclasses.field(default_factory=list)
    flags: list[FlagChange] = dataclasses.field(default_factory=list)
    moved: list[Removal] = dataclasses.field(default_factory=list)
    removed: list[Removal] = dataclasses.field(default_factory=list)
    unreadable: list[matching.UnreadableFolder] = dataclasses.field(default_factory=list)
    problems: list[str] = dataclasses.field(default_factory=list)
    notes: list[str] = dataclasses.field(default_factory=list)

    def counts(self) -> dict[str, int]:
        """`{what: number}` of what is missing; empty when nothing is. Notes on hosts hold it."""
        figures = {
            "folders renamed": len(self.renames),
            "folders created": len(self.creates),
            "subscriptions": len(self.subscriptions),
            "messages appended": len(self.appends),
            "bytes": sum(append.message.size for append in self.appends),
            "flags changed": len(self.flags),
            "messages moved": len(self.moved),
            "messages removed": len(self.removed),
        }
        return {what: number for what, number in figures.items() if number}


def plan_folders(site, tree: published.PublishedTree, old, new) -> tuple[UserPlan, list]:
    """A plan of the folders and subscriptions alone, and the FolderPairs."""
    prefix = site.old_store.imap_prefix
    paired = folder_pairs.pair_folders(prefix, old, new, tree)
    plan = UserPlan(
        renames=paired.renames,
        creates=paired.creates,
        subscriptions=folder_pairs.subscriptions(prefix, old, new, paired.pairs),
        problems=[
            f"{name}: the old server cannot have a folder of that name; its mail goes to {target}"
            for name, target in paired.renamed_by_need.items()
        ],
    )
    return plan, paired.pairs


def work_out(ctx, entry: dict, tree: published.PublishedTree, old, new, spool: bool) -> UserPlan:
    """What is missing on the old side of one user; reads only.

    entry: the user's in the store's plan. old, new: sessions. spool: count mail in the spool as
    present, because c-client has not moved it into INBOX yet.
    """
    plan, pairs = plan_folders(ctx.site, tree, old, new)
    comparison = matching.compare_folders(old, new, pairs)
    if spool:
        path = ctx.site.old_store.spool.format(user=entry["user"], home="")
        inbox = next(pair for pair in pairs if pair.old == "INBOX")
        comparison.unpaired += matching.spooled(old, path, comparison, inbox)
    _describe_folders(plan, comparison)
    matches = matching.match_by_content(old, new, comparison.unpaired)
    _plan_messages(plan, comparison.unpaired, matches)
    unsettled = [unpaired for unpaired in comparison.unpaired if unpaired not in matches.settled]
    gone = [unpaired for unpaired in unsettled if unpaired.origin is Origin.GONE]
    _plan_changes(plan, ctx, entry, comparison.differences + matches.differences, gone)
    _drop_keywords_without_room(plan, comparison.keywords)
    return plan


def _describe_folders(plan, comparison):
    plan.unreadable = comparison.unreadable
    plan.problems += [
        f"{folder.pair.old}: c-client cannot read it ({folder.reason}); "
        f"{len(folder.messages)} new messages of the new server's folder stay there"
        for folder in comparison.unreadable
    ]
    plan.notes += [
        f"{name}: not on the new host any more, with {count} messages"
        for name, count in comparison.kept
    ]


def _plan_messages(plan, unpaired, matches):
    """Append what only the new side has; remove what was moved; say what stays."""
    plan.moved = [
        Removal(partner.pair.current, partner.message) for partner in matches.moved.values()
    ]
    plan.removed = [Removal(copy.pair.current, copy.message) for copy in matches.surplus]
    for message in unpaired:
        if message.origin is Origin.NEW and message not in matches.settled:
            partner = matches.moved.get(message)
            moved_from = partner.pair.current if partner else None
            plan.appends.append(
                Append(message.pair, message.message, message.message.flags, moved_from)
            )
    stay = [message for message in unpaired if message not in matches.settled]
    if counts := _counts_by_folder(stay, Origin.ARRIVED):
        plan.notes.append(
            "arrived since the switch and only on the old server, either removed on the new one "
            f"or never there: {counts}"
        )
    if counts := _counts_by_folder(stay, Origin.UNCERTAIN):
        plan.problems.append(
            "only on the old server, and UIDs cannot tell whether they were removed on the new "
            f"one: {counts}"
        )


def _counts_by_folder(unpaired, origin):
    """`3 in INBOX, 1 in mail/x`; "" when there are none."""
    counts = collections.Counter(
        message.pair.old for message in unpaired if message.origin is origin
    )
    return ", ".join(f"{count} in {name}" for name, count in sorted(counts.items()))


def _plan_changes(plan, ctx, entry, differences, gone):
    """Flags that differ, and messages that are gone, judged by what the conversion took over."""
    record = _Record(ctx, entry, differences, gone)
    unknown = collections.Counter()
    for difference in differences:
        change = _flag_change(difference, record)
        if change is None:
            unknown[difference.pair.old] += 1
        elif change.add or change.clear:
            plan.flags.append(change)
    for unpaired in gone:
        if record.flags_of(unpaired.pair, unpaired.message) is None:
            unknown[unpaired.pair.old] += 1
        else:
            plan.removed.append(Removal(unpaired.pair.current, unpaired.message))
    plan.problems += [
        f"{name}: no record shows that {count} messages were taken over from these UIDs; their "
        "flags stay, and none is removed"
        for name, count in unknown.items()
    ]


def _flag_change(difference, record) -> FlagChange | None:
    """What the user changed since the conversion; None when nothing tells what it was then."""
    pair, old, new = difference
    before, now = matching.folded(old.flags), matching.folded(new.flags)
    if _is_same_by_uid(pair, old) and old.uid == new.uid:
        converted = record.flags_of(pair, old)
        if converted is None:
            return None
    else:
        lost = pair.published.lost_keywords if pair.published else frozenset()
        converted = before - lost
    return FlagChange(
        pair.current,
        old.uid,
        frozenset(flag for flag in new.flags if flag.lower() in now - converted - before),
        frozenset(flag for flag in old.flags if flag.lower() in (converted - now) & before),
        old.internaldate.isoformat(),
        old.size,
    )


def _is_same_by_uid(pair, old):
    return pair.published is not None and old.uid < pair.published.uid_limit


class _Record:
    """The conversion's record of the messages in question."""

    def __init__(self, ctx, entry, differences: Iterable, gone: Iterable):
        uids = collections.defaultdict(set)
        for pair, old, _ in differences:
            if _is_same_by_uid(pair, old):
                uids[pair.published.key].add(old.uid)
        for unpaired in gone:
            uids[unpaired.pair.published.key].add(unpaired.message.uid)
        self._messages = published.source_messages(ctx.hosts, ctx.run_name, entry, uids)

    def flags_of(self, pair, message) -> frozenset[str] | None:
        """The flags it was published with; None when no record shows that it is that message."""
        if pair.published is None:
            return None
        source = self._messages.get((pair.published.key, message.uid))
        if source is None or not source.has_date(message.internaldate):
            return None
        if message.size not in (source.old_size, source.new_size):
            return None
        return source.flags


def _drop_keywords_without_room(plan, keywords):
    """Leave out keywords that a folder of the old server cannot take, and say so."""
    room = keyword_room.KeywordRoom(keywords)
    targets = {rename.current: rename.target for rename in plan.renames}
    plan.flags = [
        change._replace(add=room.fitting(targets.get(change.folder, change.folder), change.add))
        for change in plan.flags
    ]
    plan.flags = [change for change in plan.flags if change.add or change.clear]
    plan.appends = [
        append._replace(flags=room.fitting(append.pair.old, append.flags))
        for append in plan.appends
    ]
    plan.problems += room.problems()
