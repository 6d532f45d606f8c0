"""What the old server did not accept of one user's mail, in its own words."""

import dataclasses
from collections.abc import Callable
from typing import NamedTuple

from cutover.carryback.folder_pairs import FolderPair
from cutover.carryback.notes import Later, LaterFlags, LaterRemoval, LeftMessage, messages_text
from cutover.carryback.user_plan import UserPlan
from cutover.connect import imap
from cutover.facts import message_text

FOLDER = "folder"  # an old folder could not be made or renamed
IN_A_ROW = 20  # after so many refusals in one folder the rest is not tried: a full disk stays full


class Appended(NamedTuple):
    """A message was added; `uid` is None when the server does not give it."""

    uid: int | None


@dataclasses.dataclass
class Refusals:
    """Collects the refusals of one session with the old server.

    general: refusals that do not concern a single message, `{(what, of which folder): why}`.
    messages: `{(new folder, UID): why}`.
    """

    general: dict[tuple[str, str], str] = dataclasses.field(default_factory=dict)
    messages: dict[tuple[str, int], str] = dataclasses.field(default_factory=dict)
    _quoted: set[tuple[str, str]] = dataclasses.field(default_factory=set)
    _in_a_row: dict[str, int] = dataclasses.field(default_factory=dict)

    def attempt(self, do: Callable[[], None], what: str, of: str) -> bool:
        """Call `do()`; whether the server accepted it. what: FOLDER if it makes the folder `of`."""
        try:
            do()
            return True
        except (imap.CommandRefused, imap.FolderUnreadable) as error:
            self.general[what, of] = str(error)
            return False

    def append(
        self, old, pair: FolderPair, message: imap.Message, text: bytes, flags: list[str]
    ) -> Appended | None:
        """Append a message to the old folder; None when it was refused, or not tried any more."""
        refused = self._in_a_row.get(pair.old, 0)
        if refused >= IN_A_ROW:
            why = f"not tried: the {refused} before it were all refused"
            self.messages[pair.new, message.uid] = why
            return None
        try:
            uid = old.append(pair.old, text, flags, message.internaldate)
        except imap.CommandRefused as error:
            self.messages[pair.new, message.uid] = str(error)
            self._in_a_row[pair.old] = refused + 1
            return None
        except imap.SessionLost as error:
            where = f"UID {message.uid} of {pair.new} {message_text.message_id(text)}"
            raise imap.SessionLost(
                server=error.server, reason=error.reason, doing=f"{error.doing} ({where})"
            ) from error
        self._in_a_row[pair.old] = 0
        return Appended(uid)

    def why(self, new_folder: str, uid: int, old_folder: str) -> str:
        """Why a message is not on the old server."""
        if why := self.messages.get((new_folder, uid)):
            return why
        folder = (FOLDER, old_folder)
        reasons = [folder] if folder in self.general else list(self.general)
        self._quoted.update(reasons)
        return "; ".join(self.general[reason] for reason in reasons)

    def unquoted(self) -> list[str]:
        """The general refusals that why() has not given as the reason of a message."""
        return [why for reason, why in self.general.items() if reason not in self._quoted]


def left_messages(new, missing: UserPlan, refusals: Refusals) -> list[LeftMessage]:
    """The messages that are still missing on the old side, read from the session `new`.

    A message that still is in another old folder, from which it was moved, is not among them.
    """
    waiting = {}
    for append in missing.appends:
        if append.moved_from is None:
            waiting.setdefault(append.pair.new, {})[append.message.uid] = (append, "")
    for folder in missing.unreadable:
        for message in folder.messages:
            entry = (_Waiting(folder.pair, message, message.flags), folder.reason)
            waiting.setdefault(folder.pair.new, {})[message.uid] = entry
    left = []
    for name, by_uid in waiting.items():
        for message, text in new.texts(name, [entry.message for entry, _ in by_uid.values()]):
            entry, reason = by_uid[message.uid]
            why = reason or refusals.why(name, message.uid, entry.pair.old)
            left.append(_left_message(entry, name, text, why or "it was not tried"))
    return left


class _Waiting(NamedTuple):
    pair: FolderPair
    message: imap.Message
    flags: frozenset[str]


def _left_message(entry, folder, text, why):
    return LeftMessage(
        folder=folder,
        to=entry.pair.old,
        uid=entry.message.uid,
        message_id=message_text.message_id(text),
        why=why,
        bytes=entry.message.size,
        date=entry.message.internaldate.isoformat(),
        flags=sorted(entry.flags),
        key=message_text.key(text).hex(),
    )


def later(missing: UserPlan) -> Later:
    """The flag changes and removals that are still missing, so that they can be done later."""
    return Later(
        [
            LaterFlags(
                change.folder,
                change.uid,
                change.date,
                change.size,
                sorted(change.add),
                sorted(change.clear),
            )
            for change in missing.flags
        ],
        [
            LaterRemoval(
                removal.folder,
                removal.message.uid,
                removal.message.internaldate.isoformat(),
                removal.message.size,
            )
            for removal in missing.removed
        ],
    )


def refusals_text(refusals: Refusals, behind: list[LeftMessage]) -> str:
    """All refusals in a line; the reason of a message is not repeated."""
    texts = refusals.unquoted()
    if behind:
        verb = "messages are" if len(behind) > 1 else "message is"
        texts.append(f"{len(behind)} {verb} only on the new server: {messages_text(behind)}")
    return "; ".join(texts)
