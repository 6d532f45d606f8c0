"""Put what is missing into one user's old folders, through c-client, and look again."""

import collections
import contextlib
import dataclasses
import functools
from collections.abc import Callable, Iterable, Sequence

from cutover.carryback import refused, user_plan
from cutover.carryback.folder_pairs import FolderPair
from cutover.carryback.matching import UnreadableFolder, fresh_messages
from cutover.carryback.notes import Later, LeftMessage
from cutover.carryback.published import PublishedTree, RecordUnreadable
from cutover.carryback.refused import FOLDER, Refusals
from cutover.carryback.set_aside import SetAside
from cutover.carryback.user_plan import Append, FlagChange, Removal, UserPlan
from cutover.connect import imap
from cutover.facts import mailboxes

BATCH = 500  # messages in one command


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What became of one user. missing: what a second look still finds missing."""

    done: UserPlan
    missing: UserPlan
    refusals: Refusals
    behind: list[LeftMessage]
    later: Later

    @property
    def complete(self) -> bool:
        return not (self.missing.counts() or self.behind or self.refusals.general)


def copy_back(
    ctx, entry: dict, tree: PublishedTree, aside: SetAside, report: Callable[[str], None]
) -> Outcome:
    """Do all that is missing for one user.

    entry: the user's in the store's plan. report: called with a text per folder. What c-client
    refuses is skipped, and what depends on it. Raises imap's other errors; calling it again
    continues with what is missing.
    """
    with (
        mailboxes.old_session(ctx.hosts, entry["user"]) as old,
        mailboxes.new_session(ctx.hosts, entry["user"]) as new,
    ):
        with contextlib.suppress(imap.FolderUnreadable):  # there may be no INBOX yet
            old.select("INBOX")  # c-client takes mail from the spool into it
        refusals = Refusals()
        folders = _do_folders(ctx.site, tree, old, new, refusals)
        plan = user_plan.work_out(ctx, entry, tree, old, new, spool=False)
        done = _do_messages(plan, old, new, aside, refusals, report)
        done = dataclasses.replace(
            done,
            renames=folders.renames,
            creates=folders.creates,
            subscriptions=folders.subscriptions,
        )
        missing = done  # nothing was to be done
        if plan.counts() or done.counts() or refusals.general:
            missing = user_plan.work_out(ctx, entry, tree, old, new, spool=False)
        return _outcome(done, missing, refusals, new)


def only_look(ctx, entry: dict, tree: PublishedTree, why: str) -> Outcome:
    """What is missing for a user whose copying failed, `why` says how; reads only.

    Where the old side cannot be read, that is everything that arrived on the new server since the
    conversion. Raises imap's errors when the new side cannot be read either.
    """
    refusals = Refusals({("user", entry["user"]): why})
    try:
        with (
            mailboxes.old_session(ctx.hosts, entry["user"]) as old,
            mailboxes.new_session(ctx.hosts, entry["user"]) as new,
        ):
            missing = user_plan.work_out(ctx, entry, tree, old, new, spool=True)
            return _outcome(UserPlan(), missing, refusals, new)
    except (imap.ImapError, RecordUnreadable):
        pass
    with mailboxes.new_session(ctx.hosts, entry["user"]) as new:
        missing = UserPlan(unreadable=_all_fresh(ctx.site, tree, new))
        return _outcome(UserPlan(), missing, refusals, new)


def _outcome(done, missing, refusals, new):
    behind = refused.left_messages(new, missing, refusals)
    return Outcome(done, missing, refusals, behind, refused.later(missing))


def _all_fresh(site, tree, new):
    published = {folder.new: folder for folder in tree.folders}
    names = {name for name, _, selectable in new.folders("*") if selectable} | {"INBOX"}
    listed = []
    for name in sorted(names):
        folder = published.get(name)
        old_name = (folder and folder.old) or site.old_store.imap_prefix + name
        pair = FolderPair(name, old_name, None, folder)
        messages = fresh_messages(pair, new.stream(name, "metadata"))
        listed.append(UnreadableFolder(pair, "", messages))
    return listed


# --- folders


def _do_folders(site, tree, old, new, refusals) -> UserPlan:
    """Rename, create and subscribe. Returns what was done."""
    plan, _ = user_plan.plan_folders(site, tree, old, new)
    done = UserPlan()
    for rename in plan.renames:
        if refusals.attempt(lambda rename=rename: old.rename(*rename), FOLDER, rename.target):
            done.renames.append(rename)
    for name in plan.creates:
        if refusals.attempt(lambda name=name: old.create(name), FOLDER, name):
            done.creates.append(name)
    for subscription in plan.subscriptions:
        change = functools.partial(old.subscribe, *subscription)
        if refusals.attempt(change, "subscription", subscription.name):
            done.subscriptions.append(subscription)
    return done


# --- messages


def _do_messages(plan, old, new, aside, refusals, report) -> UserPlan:
    """Append, flag and remove. Returns what was done."""
    appends = append_all(old, new, plan.appends, refusals, report)
    flags = _per_folder("flags", plan.flags, refusals, lambda changes: set_flags(old, changes))
    removed = _per_folder("removal", plan.removed, refusals, lambda rows: remove(old, rows, aside))
    moved = []
    if len(appends) == len(plan.appends):  # the old copy goes only once all are in their new place
        moved = _per_folder("move", plan.moved, refusals, lambda rows: remove(old, rows, None))
    return dataclasses.replace(plan, appends=appends, flags=flags, removed=removed, moved=moved)


def append_all(old, new, appends, refusals, report) -> list[Append]:
    """Returns those that were appended."""
    by_pair, done = collections.defaultdict(list), []
    for append in appends:
        by_pair[append.pair].append(append)
    for pair, listed in by_pair.items():
        if (FOLDER, pair.old) in refusals.general:
            continue
        appended = _append_to(old, new, pair, listed, refusals)
        report(f"{pair.old}: {len(appended)} messages appended")
        done += appended
    return done


def _append_to(old, new, pair, appends, refusals) -> list[Append]:
    by_uid = {append.message.uid: append for append in appends}
    done, keywords = [], []
    for message, text in new.texts(pair.new, [append.message for append in appends]):
        append = by_uid[message.uid]
        result = refusals.append(old, pair, message, text, system_flags(append.flags))
        if result is not None:
            done.append(append)
            keywords += keyword_changes(pair.old, result, append.flags)
    _per_folder("keywords", keywords, refusals, lambda changes: set_flags(old, changes))
    return done


def system_flags(flags: Iterable[str]) -> list[str]:
    return sorted(flag for flag in flags if flag.startswith("\\"))


def keyword_changes(
    folder: str, appended: refused.Appended, flags: Iterable[str]
) -> list[FlagChange]:
    """The keywords of an appended message: c-client's APPEND does not make them."""
    words = frozenset(flag for flag in flags if not flag.startswith("\\"))
    if not words or appended.uid is None:
        return []
    return [FlagChange(folder, appended.uid, words, frozenset())]


def _per_folder(what, rows, refusals, do) -> list:
    """Call `do(rows)` for the rows of each folder. Returns those it was not refused for."""
    by_folder, done = collections.defaultdict(list), []
    for row in rows:
        by_folder[row.folder].append(row)
    for folder, listed in by_folder.items():
        if refusals.attempt(functools.partial(do, listed), what, folder):
            done += listed
    return done


def set_flags(old, changes: Iterable[FlagChange]) -> None:
    """Set and clear flags, as many messages per command as possible."""
    by_change = collections.defaultdict(list)
    for change in changes:
        if change.add:
            by_change[change.folder, change.add, True].append(change.uid)
        if change.clear:
            by_change[change.folder, change.clear, False].append(change.uid)
    opened = None
    for (folder, words, add), uids in sorted(by_change.items(), key=lambda item: item[0][0]):
        if folder != opened:
            old.change(folder)
            opened = folder
        for part in _parts(uids):
            old.store(part, sorted(words), add)


def remove(old, removals: Iterable[Removal], aside: SetAside | None) -> None:
    """Expunge these messages and no others; with `aside`, after c-client has copied them there."""
    by_folder = collections.defaultdict(list)
    for removal in removals:
        by_folder[removal.folder].append(removal.message)
    for folder, messages in by_folder.items():
        for part in _parts(sorted(messages, key=lambda message: message.uid)):
            if aside is not None:
                _copy_aside(old, folder, part, aside.folder_for(folder))
            old.delete(folder, [message.uid for message in part])


def _copy_aside(old, folder, messages, target):
    old.change(folder)  # do not copy from a folder that cannot be changed
    try:
        old.status(target)
    except imap.FolderUnreadable:
        old.create(target)
    old.select(folder)
    old.copy([message.uid for message in messages], target)
    copies = old.all(target)[-len(messages) :]
    keywords = []  # c-client's COPY does not make them either
    for uid, message in zip(copies, messages, strict=True):
        keywords += keyword_changes(target, refused.Appended(uid), message.flags)
    set_flags(old, keywords)


def _parts(rows: Sequence) -> list:
    return [rows[start : start + BATCH] for start in range(0, len(rows), BATCH)]
