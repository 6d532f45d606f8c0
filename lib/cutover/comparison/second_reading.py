"""Folders that verify carried over (comparison/carried.py), read in full once users are back.

Users flag, move and remove messages meanwhile, and more arrive. Text and date of a UID may never
differ.
"""

import concurrent.futures
import dataclasses

from cutover import model
from cutover.comparison import messages
from cutover.connect import imap
from cutover.facts import dovecot_programs, mailboxes

SHOWN = 20

Folders = dict[str, dict[str, tuple[str, int]]]  # {user: {old name: (new name, messages)}}


@dataclasses.dataclass
class Second:
    """carried: the folders to read. folders: those that were read. removed: by users, on the new
    side.

    messages: read on both sides. gone: only on the old side now. differences: the first, as text.
    unread: the reason, by what could not be read. expired: messages that the old side has lost
    since, such as to a nightly job there.
    """

    carried: int = 0
    folders: int = 0
    removed: int = 0
    messages: int = 0
    gone: int = 0
    differences: list[str] = dataclasses.field(default_factory=list)
    unread: dict[str, str] = dataclasses.field(default_factory=dict)
    expired: int = 0


def read(hosts, folders: Folders) -> Second:
    """Compare both live sides, as many users at a time as verify does."""
    result = Second()
    with (
        dovecot_programs.read_once(hosts, [hosts.site.roles.new]),
        concurrent.futures.ThreadPoolExecutor(hosts.site.verify.parallel) as pool,
    ):
        readings = {
            user: pool.submit(model.read, _of_user, hosts, user, names)
            for user, names in folders.items()
        }
        for user, future in readings.items():
            reading = future.result()
            own = reading.value if reading.ok else Second(unread={user: reading.error})
            result.folders += own.folders
            result.removed += own.removed
            result.messages += own.messages
            result.gone += own.gone
            result.expired += own.expired
            result.differences = [*result.differences, *own.differences][:SHOWN]
            result.unread.update(own.unread)
    return result


def _of_user(hosts, user, names):
    result = Second()
    with mailboxes.old_session(hosts, user) as old, mailboxes.new_session(hosts, user) as new:
        there = {name for name, _, selectable in new.folders("*") if selectable}
        for name, (new_name, count) in names.items():
            if new_name not in there:
                result.removed += 1
                result.gone += count
                continue
            try:
                left = min(count, old.examine(name).exists)
                result.expired += count - left
                before = old.stream(name, "content", range(1, left + 1))
                after = new.stream(new_name, "content")
                _compare(before, after, f"{user}: {name}", result)
            except imap.FolderUnreadable as error:
                result.unread[f"{user}: {name}"] = str(error)
    return result


def _compare(before, after, name, result):
    if before.uidvalidity != after.uidvalidity:
        result.differences.append(
            f"{name}: UIDVALIDITY {before.uidvalidity} became {after.uidvalidity}"
        )
        return
    for old, new in messages.pairs(before.messages, after.messages):
        if old is None:
            continue
        if new is None:
            result.gone += 1
            continue
        result.messages += 1
        if (old.internaldate, old.digest) != (new.internaldate, new.digest):
            result.differences.append(f"{name}: UID {old.uid}: text or date differ")
    result.folders += 1
