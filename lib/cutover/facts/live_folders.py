"""Folders of a user as Dovecot shows them now."""

import dataclasses

from cutover.connect import imap
from cutover.facts import mailboxes


@dataclasses.dataclass(frozen=True)
class LiveFolder:
    """exists: number of messages."""

    exists: int
    uidvalidity: int
    uids: frozenset[int]


def read(hosts, user: str, names: list[str]) -> dict[str, LiveFolder | None]:
    """The folders of these names; None for one that does not exist. Changes nothing."""
    with mailboxes.new_session(hosts, user) as session:
        return {name: _read(session, name) for name in names}


def _read(session, name):
    try:
        folder = session.read(name, "metadata")
    except imap.FolderUnreadable:
        return None
    uids = frozenset(message.uid for message in folder.messages)
    return LiveFolder(folder.exists, folder.uidvalidity, uids)
