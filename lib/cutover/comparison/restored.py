"""Mail brought next to the live mailbox against the live folders, both read by Dovecot.

A message is missing from a folder when the live folder has neither its UID (same UIDVALIDITY, size
and date) nor another message of the same text that stands for it.
"""

import collections
import concurrent.futures
import dataclasses
import threading
from collections.abc import Callable
from typing import Any

from cutover.connect import imap
from cutover.facts import copies, mailboxes, users

SESSIONS = 2  # pairs of sessions, each on a folder of its own; one link to a host holds three
SHOWN = 10  # messages listed per folder


@dataclasses.dataclass(frozen=True)
class Pair:
    """A message of the copy, and the live one with the same text."""

    copy: imap.Message
    live: imap.Message


@dataclasses.dataclass(frozen=True)
class Match:
    """One folder of both sides.

    missing: messages of the copy that the live folder does not have, in UID order. there: how many
    others it has. added: those it has under another UID. live: the live folder, or None.
    """

    missing: list[imap.Message]
    there: int
    added: list[Pair]
    live: imap.Folder | None


@dataclasses.dataclass(frozen=True)
class Beside:
    """One folder brought next to the live mailbox.

    copy, missing: messages. first: the missing ones, at most SHOWN. live: messages of the live
    folder, None without one. added: messages that came with a restore. wrong: what differs in
    those. before: the live folder before the restore. kept: messages of before that are there.
    """

    copy: int
    missing: int
    first: list[str] = dataclasses.field(default_factory=list)
    live: int | None = None
    uidvalidity: int | None = None
    uidnext: int | None = None
    added: int = 0
    wrong: list[str] = dataclasses.field(default_factory=list)
    before: copies.FolderState | None = None
    kept: int | None = None


def match(copy, live, name: str, message_id: str = "") -> Match:
    """Compare a folder of two sessions.

    message_id: if given, only messages of the copy with this Message-ID count.
    """
    folder = copy.read(name, "metadata")
    messages = folder.messages
    if message_id:
        headers = copy.headers(name, "Message-ID")
        messages = [message for message in messages if headers.get(message.uid) == message_id]
    try:
        there = live.read(name, "metadata")
    except imap.FolderUnreadable:
        return Match(messages, 0, [], None)
    comparable = there.uidvalidity == folder.uidvalidity
    same = {message.uid: message for message in there.messages} if comparable else {}
    kept = {message.uid for message in folder.messages if _alike(message, same.get(message.uid))}
    # Dovecot takes no message of 0 bytes
    unmatched = [message for message in messages if message.uid not in kept and message.size]
    missing, added = _by_text(copy, live, name, unmatched, kept, there.messages)
    return Match(missing, len(messages) - len(missing), added, there)


def _alike(message, other):
    return other is not None and (
        (other.size, other.internaldate) == (message.size, message.internaldate)
    )


def _by_text(copy, live, name, unmatched, kept, there):
    """(missing messages, pairs): each live message stands for one message of the copy."""
    sizes = {message.size for message in unmatched}
    others = [message for message in there if message.uid not in kept and message.size in sizes]
    waiting = collections.defaultdict(collections.deque)
    for message in _digests(live, name, others):
        waiting[message.digest].append(message)
    missing, added = [], []
    for message in _digests(copy, name, unmatched):
        if waiting[message.digest]:
            added.append(Pair(message, waiting[message.digest].popleft()))
        else:
            missing.append(message)
    return missing, added


def _digests(session, name, messages):
    """The same messages, read with their digests."""
    if not messages:
        return []
    uids = {message.uid for message in messages}
    folder = session.read(name, "content", wanted=lambda uid: uid in uids)
    return [message for message in folder.messages if message.uid in uids]


def look(
    hosts, account: users.Account, place: str, names: list, message_id: str
) -> dict[str, Beside]:
    """Compare the tree that was brought with the live mailbox, folder by folder; reads only."""
    noted = copies.note(hosts, place)

    def compare(copy, live, name, stopped):
        return _beside(match(copy, live, name, message_id), name, noted.get(name))

    return each_folder(hosts, account, place, names, compare)


def _beside(seen, name, before):
    ours = [pair for pair in seen.added if before and pair.live.uid >= before.uidnext]
    live = seen.live
    return Beside(
        copy=seen.there + len(seen.missing),
        missing=len(seen.missing),
        first=[
            f"{name} UID {message.uid} of {message.internaldate:%Y-%m-%d %H:%M}"
            for message in seen.missing[:SHOWN]
        ],
        live=live and live.exists,
        uidvalidity=live and live.uidvalidity,
        uidnext=live and live.uidnext,
        added=len(ours),
        wrong=_wrong(ours)[:SHOWN],
        before=before,
        kept=before
        and sum(message.uid < before.uidnext for message in (live.messages if live else ())),
    )


def _wrong(pairs):
    wrong = [
        f"UID {pair.live.uid}: {' and '.join(differences)}"
        for pair in pairs
        if (differences := [*_differences(pair)])
    ]
    uids = [pair.live.uid for pair in pairs]
    if uids != sorted(uids):
        wrong.append("the UIDs do not ascend as in the copy")
    return wrong


def _differences(pair):
    copy, live = pair.copy, pair.live
    if copy.internaldate != live.internaldate:
        yield f"its date is {live.internaldate.isoformat()}, not {copy.internaldate.isoformat()}"
    if not copy.flags <= live.flags:
        yield f"these flags are missing: {', '.join(sorted(copy.flags - live.flags))}"


def each_folder(
    hosts, account: users.Account, place: str, names: list, do: Callable[..., Any]
) -> dict[str, Any]:
    """{folder: do(session of the restored tree, live session, folder, stopped)}

    SESSIONS pairs of sessions take one folder after the other, each folder whole. When one fails,
    `stopped`, a threading.Event, is set: no other folder begins, and the first error is raised once
    all have ended.
    """
    waiting, lock, results, stopped = iter(names), threading.Lock(), {}, threading.Event()

    def following():
        with lock:
            return None if stopped.is_set() else next(waiting, None)

    def work():
        try:
            with (
                mailboxes.tree_session(hosts, account, place) as copy,
                mailboxes.new_session(hosts, account.user) as live,
            ):
                while (name := following()) is not None:
                    results[name] = do(copy, live, name, stopped)
        except BaseException:
            stopped.set()
            raise

    number = max(1, min(SESSIONS, len(names)))
    with concurrent.futures.ThreadPoolExecutor(number) as pool:
        try:
            futures = [pool.submit(work) for _ in range(number)]
            for future in concurrent.futures.as_completed(futures):
                future.result()
        except BaseException:
            stopped.set()
            raise
    return {name: results[name] for name in names}
