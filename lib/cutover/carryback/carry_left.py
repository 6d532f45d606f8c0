"""The change "carry-left": copy back later what an earlier rollback continued without."""

import collections
import dataclasses
import functools
from typing import ClassVar, NamedTuple

from cutover import model
from cutover.carryback import execute, left_behind, notes
from cutover.carryback.folder_pairs import FolderPair
from cutover.carryback.notes import Later, LeftMessage, Note
from cutover.carryback.refused import FOLDER, Appended, Refusals
from cutover.carryback.set_aside import SetAside
from cutover.carryback.user_plan import FlagChange, Removal
from cutover.connect import imap
from cutover.facts import mailboxes, message_text
from cutover.model import errors


@dataclasses.dataclass(frozen=True)
class CarryLeft(model.Change):
    """Copy back what an earlier rollback continued without.

    Users may be at work on the old server: c-client appends each message unless the folder has
    it. Then the message is removed from the Maildir on the new server; the tree that was set aside
    still has it. Flags and removals that were refused are done to messages that are still there.
    """

    kind: ClassVar[str] = "carry-left"
    no_inverse: ClassVar[str] = "it is the users' own mail, and stays on the old host"
    host: str  # the old one
    run: str
    aside: str
    users: list  # names

    def title(self):
        return f"carry back what was left behind of {', '.join(self.users)}"

    def describe(self):
        return "\n".join(
            [
                "for each message named in the user's note, by `imapd` and `doveadm exec imap` "
                "(PREAUTH):",
                "APPEND to the old folder (flags, INTERNALDATE), unless it is there by its digest; "
                "CREATE the folder if it is missing",
                "UID EXPUNGE in the Maildir on the new host; the tree that was set aside keeps it",
                ", ".join(self.users),
            ]
        )

    def settled(self, ctx):
        left = sorted(set(self.users) & set(left_behind.read(ctx.hosts, self.run)))
        detail = f"left behind: {', '.join(left)}" if left else "nothing is left behind"
        return model.Settled(not left, detail)

    def apply(self, ctx, report):
        pending = left_behind.read(ctx.hosts, self.run)
        failures, counts = [], {}
        for user in self.users:
            if user not in pending:
                continue
            try:
                copied, refused = self._copy_user(ctx.hosts, pending[user])
            except errors.CutoverError as error:
                if error.outcome_unknown:
                    raise
                failures.append(f"{user}: {error}")
                continue
            counts[user] = copied
            report({"event": "log", "user": user, "text": _result_text(user, copied)})
            failures += [f"{user}: {text}" for text in refused]
        texts = [_result_text(user, copied) for user, copied in counts.items()]
        if failures:
            done = "".join(f"Done: {text}. " for text in texts)
            raise model.ChangeFailed(
                f"{self.host}: some of the mail left behind could not be carried back: "
                f"{'; '.join(failures[: notes.SHOWN])}. {done}Fix the cause, then run the rollback "
                "again. Until then the mail stays where it is."
            )
        return model.Result("\n".join(texts) or "nothing was left behind", {"messages": counts})

    def _copy_user(self, hosts, note: Note) -> tuple[int, list[str]]:
        """(number of messages copied, what was refused again). Writes the note anew."""
        aside = SetAside(hosts, self.aside, self.run, note.entry)
        with (
            mailboxes.old_session(hosts, note.user) as old,
            mailboxes.new_session(hosts, note.user) as new,
        ):
            user = _User(old, new, note)
            for (folder, target), messages in _parts(note.behind):
                user.copy(folder, target, messages)
            user.change_flags_and_remove(note.later, aside)
        problems = user.problems()
        done = notes.total([note.done, {"messages appended later": len(user.copied)}])
        note = dataclasses.replace(
            note,
            behind=[message for message in note.behind if message not in user.copied],
            later=note.later if problems else Later(),
            done=done,
        )
        notes.write(hosts, self.aside, self.run, note)
        return len(user.copied), problems


def _result_text(user, copied):
    return f"{user}: {copied} messages carried back later"


def _parts(behind: list[LeftMessage]):
    """`((new folder, old folder), messages)`, so many messages at a time as one command takes."""
    by_folders = collections.defaultdict(list)
    for message in behind:
        by_folders[message.folder, message.to].append(message)
    for folders, messages in by_folders.items():
        for start in range(0, len(messages), execute.BATCH):
            yield folders, messages[start : start + execute.BATCH]


class _Copy(NamedTuple):
    """A message of the note, as the new server has it now."""

    left: LeftMessage
    message: imap.Message
    text: bytes


class _User:
    """One user's two sessions. copied: messages of the note that are in the old folder now."""

    def __init__(self, old, new, note: Note):
        self.old, self.new, self.note = old, new, note
        self.refusals = Refusals()
        self.copied: list[LeftMessage] = []
        self._problems: list[str] = []

    def copy(self, folder: str, target: str, messages: list[LeftMessage]) -> None:
        """Append messages of a new folder to the old folder `target`, then remove them there."""
        copies = _on_new(self.new, folder, messages)
        present = [copy.left for copy in copies]
        for message in messages:
            if message not in present:
                maildir = self.note.entry["maildir"]
                self._problems.append(
                    f"{message.text()}; it is no longer in {maildir}: look there, and in the tree "
                    "set aside under the run's name"
                )
        appended = self._append(target, copies) if copies else []
        self.copied += appended
        self.new.delete(folder, [copy.message.uid for copy in copies if copy.left in appended])
        for message in present:
            if message not in appended:
                why = self.refusals.why(folder, message.uid, target)
                self._problems.append(dataclasses.replace(message, why=why).text())

    def _append(self, target, copies) -> list[LeftMessage]:
        """Those that are in the old folder afterwards."""
        alike = collections.defaultdict(list)
        try:
            for message in self.old.stream(target, "metadata").messages:
                alike[message.size, message.internaldate].append(message)
        except imap.FolderUnreadable:
            if not self._exists_or_created(target):
                return []
        done, keywords = [], []
        for copy in copies:
            candidates = alike.get((copy.message.size, copy.message.internaldate))
            if candidates and self._take(target, candidates, copy.left.key):
                done.append(copy.left)  # appended before, and then the process was killed
                continue
            appended = self._append_one(target, copy)
            if appended is not None:
                done.append(copy.left)
                keywords += execute.keyword_changes(target, appended, copy.left.flags)
        self._attempt_flags("keywords", target, keywords)
        return done

    def _exists_or_created(self, target):
        if target in {name for name, _, _ in self.old.folders(target)}:
            return True
        return self.refusals.attempt(lambda: self.old.create(target), FOLDER, target)

    def _take(self, target, candidates, key):
        """Whether one of the candidates has the text. That one is removed from the list."""
        for message, text in self.old.texts(target, list(candidates)):
            if message_text.key(text).hex() == key:
                candidates.remove(message)
                return True
        return False

    def _append_one(self, target, copy) -> Appended | None:
        pair = FolderPair(copy.left.folder, target, target, None)
        message = dataclasses.replace(copy.message, uid=copy.left.uid)
        flags = execute.system_flags(copy.left.flags)
        return self.refusals.append(self.old, pair, message, copy.text, flags)

    def change_flags_and_remove(self, later: Later, aside: SetAside) -> None:
        """Flags and removals that were refused, of messages that are still what they were."""
        for folder in sorted({row.folder for row in [*later.flags, *later.removed]}):
            try:
                listed = self.old.stream(folder, "metadata").messages
                messages = {message.uid: message for message in listed}
            except imap.FolderUnreadable as error:
                self.refusals.general["reading", folder] = str(error)
                continue
            changes = [
                FlagChange(folder, row.uid, frozenset(row.add), frozenset(row.clear))
                for row in _still_there(later.flags, folder, messages)
            ]
            removals = [
                Removal(folder, messages[row.uid])
                for row in _still_there(later.removed, folder, messages)
            ]
            self._attempt_flags("flags", folder, changes)
            remove = functools.partial(execute.remove, self.old, removals, aside)
            self.refusals.attempt(remove, "removal", folder)

    def _attempt_flags(self, what, folder, changes):
        self.refusals.attempt(lambda: execute.set_flags(self.old, changes), what, folder)

    def problems(self) -> list[str]:
        """What was refused again; a folder that cannot be changed is tried again next time."""
        return self._problems + self.refusals.unquoted()


def _still_there(rows, folder, messages):
    return [
        row
        for row in rows
        if row.folder == folder and row.uid in messages and row.is_for(messages[row.uid])
    ]


def _on_new(new, folder: str, left: list[LeftMessage]) -> list[_Copy]:
    """The messages of the note that are still in a folder of the Maildir, each copy used once."""
    looks = {(message.bytes, message.date) for message in left}
    keys, copies = {message.key for message in left}, collections.defaultdict(list)
    try:
        candidates = [
            message
            for message in new.stream(folder, "metadata").messages
            if (message.size, message.internaldate.isoformat()) in looks
        ]
        for message, text in new.texts(folder, candidates):
            key = message_text.key(text).hex()
            if key in keys:
                copies[key].append((message, text))
    except imap.FolderUnreadable:
        pass  # the folder is gone
    return [_Copy(message, *copies[message.key].pop(0)) for message in left if copies[message.key]]
