"""One logged-in IMAP session: everything a reader does, and the verbs that write."""

import contextlib
import imaplib
import re
from collections.abc import Sequence
from datetime import datetime

from imapclient.imapclient import _literal

from cutover.connect.imap import fetch, replies
from cutover.connect.imap.errors import CommandRefused
from cutover.connect.imap.messages import (
    Folder,
)
from cutover.connect.imap.reader import Reader


class Session(Reader):
    """One logged-in IMAP session. Close it with logout(), or use it as a context manager."""

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.logout()

    def append(
        self, name: str, message: bytes, flags: Sequence[str] = (), when: datetime | None = None
    ) -> int | None:
        """Add a message.

        Bare LFs are sent as CRLF. → its UID, None where the server does not say it (no UIDPLUS).
        """
        reply = re.match(r"\[APPENDUID \d+ (\d+)\]", self._append(name, [(message, flags, when)]))
        return int(reply[1]) if reply else None

    def append_all(
        self, name: str, messages: Sequence[tuple[bytes, Sequence[str], datetime | None]]
    ) -> None:
        """Add messages, (text, flags, date) each, in this order: all of them or none, by one
        command (MULTIAPPEND, RFC 3502). One after the other where the server does not know it.
        """
        with self.during(f"APPEND to {name}"):
            many = self.client.has_capability("MULTIAPPEND")
        for part in [messages] if many else [[message] for message in messages]:
            self._append(name, part)

    def _append(self, name, messages):
        arguments = [self.argument(name)]
        for text, flags, when in messages:
            arguments.append(f"({' '.join(flags)})".encode())
            if when is not None:
                arguments.append(imaplib.Time2Internaldate(when).encode())
            arguments.append(_literal(re.sub(rb"\r*\n", b"\r\n", text)))
        with self.during(f"APPEND to {name}"):
            typ, data = self.client._raw_command(b"APPEND", arguments, uid=False)
            if typ != "OK":
                raise CommandRefused(
                    server=self.server,
                    command=f"APPEND to {name}",
                    reason=self.refusal(replies.words(data)),
                )
            return replies.words(data)

    def _command(
        self, doing: str, command: str, arguments: Sequence[bytes], uid: bool = False
    ) -> None:
        """A command that answers with OK alone."""
        with self.during(doing):
            self.client._imap.untagged_responses.pop("NO", None)
            typ, data = self.client._raw_command(command.encode(), list(arguments), uid=uid)
            if typ != "OK":
                raise CommandRefused(
                    server=self.server, command=doing, reason=self.refusal(replies.words(data))
                )

    def create(self, name: str) -> None:
        """Make a folder, and the directories above it."""
        self._command(f"CREATE {name}", "CREATE", [self.argument(name)])

    def rename(self, name: str, other: str) -> None:
        """Give a folder another name; its messages keep their UIDs."""
        self._command(
            f"RENAME {name} to {other}", "RENAME", [self.argument(name), self.argument(other)]
        )

    def subscribe(self, name: str, wanted: bool = True) -> None:
        """SUBSCRIBE, or UNSUBSCRIBE."""
        verb = "SUBSCRIBE" if wanted else "UNSUBSCRIBE"
        self._command(f"{verb} {name}", verb, [self.argument(name)])

    def select(self, name: str) -> Folder:
        """Open a folder for writing.

        c-client then gives each message its UID and takes mail from the spool into INBOX.
        """
        return self.examine(name, read_only=False)

    def change(self, name: str) -> None:
        """As select; raises CommandRefused where the folder may only be read: there c-client says
        OK to STORE and EXPUNGE, and does nothing.
        """
        self.examine(name, read_only=False)
        if "READ-ONLY" in self.client._imap.untagged_responses:
            raise CommandRefused(
                server=self.server, command=f"SELECT {name} for writing", reason="READ-ONLY"
            )

    def copy(self, uids: Sequence[int], target: str) -> None:
        """UID COPY from the selected folder: all of them or none."""
        self._command(
            f"COPY to {target}", "COPY", [fetch.number_set(uids), self.argument(target)], uid=True
        )

    def store(self, uids: Sequence[int], flags: Sequence[str], add: bool) -> None:
        """Set or clear flags of messages of the selected folder.

        A keyword the server cannot take is dropped silently.
        """
        self._command(
            "STORE",
            "STORE",
            [
                fetch.number_set(uids),
                b"+FLAGS.SILENT" if add else b"-FLAGS.SILENT",
                f"({' '.join(flags)})".encode(),
            ],
            uid=True,
        )

    def delete(self, name: str, uids: Sequence[int]) -> None:
        """Remove just these messages (UID EXPUNGE, RFC 4315), never others that someone marked
        deleted.
        """
        if not uids:
            return
        with self.during(f"deleting in {name}"):
            if not self.client.has_capability("UIDPLUS"):
                raise CommandRefused(
                    server=self.server, command="UID EXPUNGE", reason="the server has no UIDPLUS"
                )
        self.change(name)
        self.store(uids, ["\\Deleted"], True)
        self._command(f"deleting in {name}", "EXPUNGE", [fetch.number_set(uids)], uid=True)

    def logout(self) -> None:
        """End the session; the connection is closed whatever the server answers."""
        with contextlib.suppress(Exception):
            self.client.logout()
        with contextlib.suppress(Exception):
            self.client.shutdown()
