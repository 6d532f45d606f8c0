"""What is missing of a user's mail is added to it through Dovecot, and taken out by a rollback.

Nothing live is overwritten, moved or removed. What is added gets the next UIDs, in the order of the
copy, with its flags and date.
"""

import dataclasses
import json
import threading
from typing import ClassVar

from cutover import model
from cutover.comparison import restored
from cutover.connect import imap
from cutover.facts import copies, mailboxes, users


def write_note(hosts, place: str, states: dict[str, copies.FolderState]) -> None:
    """Write down what live folders were before anything is added; copies.note() reads it."""
    data = json.dumps(model.to_json(states), sort_keys=True).encode()
    hosts.ssh(hosts.site.roles.new).put(data, f"{place}.json", sudo=True)


@dataclasses.dataclass(frozen=True)
class _Restored(model.Change):
    host: str
    user: str
    account: dict  # user, uid, gid, home
    place: str
    folders: list  # names as IMAP says them
    message: str  # a Message-ID, or "" for all

    @property
    def resource(self):
        return f"restored mail of {self.user} on {self.host}"

    def _owner(self) -> users.Account:
        return users.Account(**self.account)


@dataclasses.dataclass(frozen=True)
class AddMissing(_Restored):
    """Add to the live folders what they do not have of the tree next to them."""

    kind: ClassVar[str] = "restore-add"

    def title(self):
        return f"add to {self.user}'s mailbox what is missing"

    def describe(self):
        which = f"the messages with Message-ID {self.message}" if self.message else "every message"
        return (
            f"for {which} of {', '.join(self.folders)} in {self.place}, in UID order, by Dovecot:\n"
            "skip it if the live folder has its UID (same UIDVALIDITY, size, date) or its text; "
            "else APPEND with its flags and date. A missing folder is created and subscribed."
        )

    def settled(self, ctx):
        return model.Settled(False, "each attempt compares again")

    def inverse(self):
        return TakeOut(self.host, self.user, self.account, self.place, self.folders, self.message)

    def apply(self, ctx, report):
        noted, lock = copies.note(ctx.hosts, self.place), threading.Lock()

        def write_down(name, folder):
            with lock:
                if name not in noted:
                    noted[name] = copies.FolderState(
                        folder.uidvalidity, folder.uidnext, folder.exists
                    )
                    write_note(ctx.hosts, self.place, noted)

        def add(copy, live, name, stopped):
            match = self._match(copy, live, name)
            if match.missing:
                write_down(name, match.live or live.read(name))
            number = 0
            for batch in imap.batches(match.missing):
                if stopped.is_set():
                    break
                texts = copy.texts(name, batch)
                live.append_all(
                    name,
                    [
                        (text, sorted(message.flags), message.internaldate)
                        for message, text in texts
                    ],
                )
                number += len(batch)
                text = f"{name}: {number} of {len(match.missing)} messages added"
                report({"event": "restore", "text": text})
            return match.there + len(match.missing), number

        counts = restored.each_folder(ctx.hosts, self._owner(), self.place, self.folders, add)
        if self.message and not any(there for there, _ in counts.values()):
            raise model.ChangeFailed(
                f"nothing was added: the copy has no message of {self.user} with Message-ID "
                f"{self.message} in {', '.join(self.folders)}. Check its spelling, <…> included."
            )
        added = {name: number for name, (_, number) in counts.items() if number}
        return model.Result(f"added: {_in_words(added) or 'nothing was missing'}", {"added": added})

    def _match(self, copy, live, name):
        """Compare a folder; one that does not exist is made first, unless nothing goes into it."""
        match = restored.match(copy, live, name, self.message)
        if match.live is not None or (self.message and not match.missing):
            return match
        try:
            live.create(name)
        except imap.CommandRefused:  # Dovecot, a client or a delivery may have made it meanwhile
            match = restored.match(copy, live, name, self.message)
            if match.live is None:
                raise
        live.subscribe(name)
        return match


@dataclasses.dataclass(frozen=True)
class TakeOut(_Restored):
    """Take out what a restore added. Every such message is in the restored tree, which stays."""

    kind: ClassVar[str] = "restore-take-out"
    no_inverse: ClassVar[str] = "restore again"

    def title(self):
        return f"take out of {self.user}'s mailbox what was added"

    def describe(self):
        return (
            f"in {', '.join(self.folders)}: UID EXPUNGE of messages that came since the restore "
            f"began and whose text is in {self.place}, which stays. Folders stay."
        )

    def settled(self, ctx):
        left = sum(self._each(ctx.hosts, lambda live, name, uids: len(uids)).values())
        return model.Settled(not left, f"{left} added messages are in the mailbox")

    def apply(self, ctx, report):
        def expunge(live, name, uids):
            live.delete(name, uids)
            return len(uids)

        removed = self._each(ctx.hosts, expunge)
        write_note(ctx.hosts, self.place, {})
        return model.Result(f"taken out: {_in_words(removed) or 'nothing'}", {"removed": removed})

    def _each(self, hosts, do):
        """{folder: do(live session, folder, UIDs of what was added)}"""
        noted, account = copies.note(hosts, self.place), self._owner()

        def take(copy, live, name, stopped):
            match, before = restored.match(copy, live, name, self.message), noted[name]
            uids = []
            if match.live is not None and match.live.uidvalidity == before.uidvalidity:
                uids = [pair.live.uid for pair in match.added if pair.live.uid >= before.uidnext]
            return do(live, name, uids)

        if not noted or not copies.is_directory(hosts, mailboxes.maildir(hosts.site, account)):
            return {}
        return restored.each_folder(hosts, account, self.place, list(noted), take)


def _in_words(counts):
    return ", ".join(f"{name} {number}" for name, number in counts.items())
