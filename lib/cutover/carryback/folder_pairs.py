"""Which folder of the old server belongs to which folder of the new one."""

import collections
import dataclasses
import re
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from cutover.carryback.old_names import OldNames
from cutover.carryback.published import PublishedFolder, PublishedTree
from cutover.facts import mailboxes


@dataclasses.dataclass(frozen=True)
class FolderPair:
    """One folder on both sides.

    new: Dovecot's name, None when the folder is gone there. old: its name on the old server once
    everything is copied. current: its name there now, None when it does not exist yet.
    published: what the conversion took over, None for a folder made since.
    """

    new: str | None
    old: str
    current: str | None
    published: PublishedFolder | None


class Rename(NamedTuple):
    current: str
    target: str


class Subscription(NamedTuple):
    name: str
    subscribe: bool


@dataclasses.dataclass
class Folders:
    """All folders of one user, and what has to be done to the old ones before their messages.

    renamed_by_need: `{Dovecot's name: old name}` where c-client cannot have the same name.
    """

    pairs: list[FolderPair] = dataclasses.field(default_factory=list)
    renames: list[Rename] = dataclasses.field(default_factory=list)
    creates: list[str] = dataclasses.field(default_factory=list)
    renamed_by_need: dict[str, str] = dataclasses.field(default_factory=dict)


def pair_folders(prefix: str, old, new, published: PublishedTree) -> Folders:
    """Read the folder lists of both sessions and pair them. `prefix`: of old folder names."""
    further = [folder.old for folder in published.folders if folder.old]
    listed_old = mailboxes.old_listing(old, prefix, published.passed_over, further)
    listed_old["INBOX"] = True
    listed_new = {name for name, _, selectable in new.folders("*") if selectable} | {"INBOX"}
    converted = [folder for folder in published.folders if folder.old]
    gone = [folder for folder in converted if folder.new not in listed_new]
    only_new = sorted(listed_new - {folder.new for folder in converted})
    renamed = _renamed(new, only_new, gone)
    folders = Folders(
        [
            FolderPair(
                folder.new, folder.old, folder.old if listed_old.get(folder.old) else None, folder
            )
            for folder in converted
            if folder not in gone
        ]
    )
    names = OldNames(prefix, listed_old, [folder.old for folder in converted])
    for name in only_new:
        _add_only_new(folders, name, names, listed_old, renamed.get(name))
    folders.creates = [
        pair.old for pair in folders.pairs if pair.current is None and pair.old != "INBOX"
    ]
    folders.pairs += [
        FolderPair(None, folder.old, folder.old, folder)
        for folder in gone
        if folder not in renamed.values() and listed_old.get(folder.old)
    ]
    return folders


def _add_only_new(folders, name, names, listed_old, was):
    """Add a folder the user made or renamed on the new server; `was`: the published one, if any."""
    target = names.give(name)
    if target != names.prefix + name:
        folders.renamed_by_need[name] = target
    candidates = [target, was.old] if was else [target]
    current = next((folder for folder in candidates if listed_old.get(folder)), None)
    folders.pairs.append(FolderPair(name, target, current, was))
    if current and current != target:
        folders.renames.append(Rename(current, target))


def _renamed(new, only_new, gone) -> dict[str, PublishedFolder]:
    """`{new name: published folder}` of folders that kept their UIDVALIDITY under another name.

    A UIDVALIDITY counts only when a single folder has it on either side.
    """
    by_validity = collections.defaultdict(list)
    if gone:
        for name in only_new:
            by_validity[new.status(name, ["UIDVALIDITY"])["UIDVALIDITY"]].append(name)
    published = collections.Counter(folder.uidvalidity for folder in gone)
    return {
        by_validity[folder.uidvalidity][0]: folder
        for folder in gone
        if len(by_validity[folder.uidvalidity]) == 1 and published[folder.uidvalidity] == 1
    }


def subscriptions(prefix: str, old, new, pairs: Iterable[FolderPair]) -> list[Subscription]:
    """What to subscribe and unsubscribe on the old server, in the spelling its list uses.

    It follows what the user did on the new server; other lines of the old list stay.
    """
    pairs = list(pairs)
    # of further roots, whose names do not begin with the prefix
    outside = {pair.old for pair in pairs if not pair.old.startswith(prefix)}
    changes, lines = [], _lines_by_name(prefix, old, outside)
    subscribed = set(new.subscribed())
    for pair in pairs:
        if pair.new in subscribed and pair.old not in lines:
            changes.append(Subscription(pair.old, True))
        elif pair.new is not None and pair.new not in subscribed:
            changes += [Subscription(line, False) for line in lines.get(pair.old, ())]
        if pair.published is not None and pair.published.old != pair.old:
            changes += [Subscription(line, False) for line in lines.get(pair.published.old, ())]
    return changes


def _lines_by_name(prefix, old, outside) -> Mapping[str, list[str]]:
    """The lines of the old list by the folder each names.

    A line is relative to the home, perhaps with a host, perhaps without the prefix.
    """
    lines = collections.defaultdict(list)
    for line in old.subscribed():
        name = re.sub(r"^(\{[^}]*\})?(~/)?", "", line)
        in_full = name if name.startswith(prefix) or name in outside else prefix + name
        lines[in_full].append(line)
    return lines
