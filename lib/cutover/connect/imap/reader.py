"""The reading half of a session: folders, messages, bodies. Nothing here leaves a trace."""

import contextlib
import imaplib
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

import imapclient
from imapclient.imapclient import _literal

from cutover.connect.imap import fetch, replies
from cutover.connect.imap.errors import CommandRefused, FolderUnreadable, SessionLost
from cutover.connect.imap.messages import (
    BATCH_BYTES,
    BATCH_MESSAGES,
    Digest,
    Folder,
    Message,
    _flag,
    _flags,
    batches,
)
from cutover.connect.imap.names import _listed, encode_name

METADATA = "UID FLAGS INTERNALDATE RFC822.SIZE"
HEADER = 1 << 14  # bytes


def figures(data: list) -> dict[str, int]:
    """{item: number} by the answer to STATUS."""
    tail = [part for part in data if isinstance(part, bytes) and part.rstrip().endswith(b")")]
    values = tail[-1].rpartition(b"(")[2].rstrip(b") ").split() if tail else []
    return {
        key.decode().upper(): int(value)
        for key, value in zip(values[::2], values[1::2], strict=False)
    }


class Reader:
    """Reads one logged-in session. Folders are EXAMINEd, bodies are PEEKed at.

    besides: prefixes under which the server lists all folders a second time.
    paced: gives the messages that stream() reads, one by one, in its own time.
    """

    besides: tuple[str, ...] = ()
    paced: Callable[[Iterator[Message]], Iterator[Message]] = iter

    def __init__(self, client: imapclient.IMAPClient, server: str):
        self.client, self.server = client, server

    @contextlib.contextmanager
    def during(self, doing: str, folder: str | None = None) -> Iterator[None]:
        try:
            yield
        except imaplib.IMAP4.abort as error:
            stream = getattr(self.client._imap, "_stream", None)
            stderr = getattr(stream, "stderr_text", str)()
            raise SessionLost(
                server=self.server,
                doing=doing,
                reason=f"{replies.plain(error)} {stderr.strip()}".strip(),
            ) from error
        except (imaplib.IMAP4.error, ValueError) as error:
            if folder is not None:
                raise FolderUnreadable(
                    server=self.server, folder=folder, reason=replies.plain(error)
                ) from error
            raise CommandRefused(
                server=self.server, command=doing, reason=replies.plain(error)
            ) from error
        except OSError as error:
            raise SessionLost(server=self.server, doing=doing, reason=error) from error

    @staticmethod
    def argument(name: str) -> bytes:
        raw = encode_name(name)
        if any(byte < 32 or byte > 126 for byte in raw):
            return _literal(raw)
        return b'"' + re.sub(rb'(["\\])', rb"\\\1", raw) + b'"'

    def _untagged(self, command: str, arguments: Sequence[bytes]) -> list:
        with self.during(command):
            self.client._imap.untagged_responses.clear()
            return self.client._raw_command_untagged(command.encode(), list(arguments), uid=False)

    def folders(
        self, pattern: str = "*", reference: str = ""
    ) -> list[tuple[str, str | None, bool]]:
        """(name, delimiter, selectable) of each folder LIST shows. c-client's names are relative to
        the home, and it lists files there that are no folders; a directory is not selectable.
        """
        data = self._untagged("LIST", [self.argument(reference), self.argument(pattern)])
        entries = [entry for item in data if (entry := _listed(item))]
        return [entry for entry in entries if pattern != "*" or self._once(entry[0])]

    def _once(self, name):
        """Whether a name is not one of the second names of folders."""
        return not (self.besides and f"{name}/".startswith(self.besides))

    def subscribed(self, pattern: str = "*", reference: str = "") -> list[str]:
        """The names LSUB shows."""
        data = self._untagged("LSUB", [self.argument(reference), self.argument(pattern)])
        names = [entry[0] for item in data if (entry := _listed(item))]
        return [name for name in names if pattern != "*" or self._once(name)]

    def status(
        self, name: str, items: Sequence[str] = ("MESSAGES", "UIDNEXT", "UIDVALIDITY")
    ) -> dict[str, int]:
        """{item: number} by STATUS. FolderUnreadable if the server cannot open the folder."""
        try:
            data = self._untagged("STATUS", [self.argument(name), f"({' '.join(items)})".encode()])
        except CommandRefused as error:
            raise FolderUnreadable(
                server=self.server, folder=name, reason=self.refusal(error.reason)
            ) from error
        return figures(data)

    def refusal(self, reason) -> str:
        """What the server said: the refusal and, before it, the untagged NOs with the cause
        (c-client does so).
        """
        before = replies.words(self.client._imap.untagged_responses.get("NO"))
        return f"{reason} ({before})" if before and before not in str(reason) else str(reason)

    def examine(self, name: str, read_only: bool = True) -> Folder:
        verb = "EXAMINE" if read_only else "SELECT"
        imap = self.client._imap
        with self.during(f"opening folder {name}", folder=name):
            imap.untagged_responses.clear()
            imap.is_readonly = read_only
            typ, data = self.client._raw_command(verb.encode(), [self.argument(name)], uid=False)
            return self.opened(name, typ, data)

    def opened(self, name: str, typ: str, data: list) -> Folder:
        """The folder that EXAMINE or SELECT has just answered for. Raises FolderUnreadable."""
        imap = self.client._imap
        if typ != "OK":
            imap.state = "AUTH"
            raise FolderUnreadable(
                server=self.server, folder=name, reason=self.refusal(replies.words(data))
            )
        imap.state = "SELECTED"
        shown = {
            key: imap.untagged_responses.get(key, [None])[-1]
            for key in ("EXISTS", "UIDVALIDITY", "UIDNEXT")
        }
        if shown["EXISTS"] is None or shown["UIDVALIDITY"] is None:
            raise FolderUnreadable(
                server=self.server, folder=name, reason=self.refusal("no EXISTS or UIDVALIDITY")
            )
        uidnext = int(shown["UIDNEXT"]) if shown["UIDNEXT"] else None
        flags = (imap.untagged_responses.get("FLAGS") or [b"()"])[-1] or b"()"
        keywords = frozenset(
            _flag(flag) for flag in flags.strip(b"()").split() if not flag.startswith(b"\\")
        )
        return Folder(name, int(shown["UIDVALIDITY"]), uidnext, [], int(shown["EXISTS"]), keywords)

    def read(
        self, name: str, level: str = "count", numbers: range | None = None, wanted=lambda uid: True
    ) -> Folder:
        """Read a folder: "count" opens it only.

        "metadata" adds the messages; "content" their digests.

        `numbers`: of messages, from 1; all without it. `wanted(uid)`: whether a message's digest is
        to be read. Raises FolderUnreadable when it cannot be opened or gives another number of
        messages than it announced.
        """
        if level not in ("count", "metadata", "content"):
            raise ValueError(f"no such level: {level}")
        folder = self.stream(name, level, numbers, wanted)
        folder.messages = list(folder.messages)
        return folder

    def stream(
        self, name: str, level: str = "count", numbers: range | None = None, wanted=lambda uid: True
    ) -> Folder:
        """As read(), but `messages` is an iterator that fetches as it goes, a batch at a time,
        whatever the folder's size.

        Until it has ended this session may be asked about nothing but the same folder.
        """
        folder = self.examine(name)
        if level != "count":
            numbers = range(1, folder.exists + 1) if numbers is None else numbers
            folder.messages = self.paced(self._streamed(folder, level, numbers, wanted))
        return folder

    def _streamed(self, folder, level, numbers, wanted):
        name, given = folder.name, 0
        for start in range(0, len(numbers), BATCH_MESSAGES):
            part = numbers[start : start + BATCH_MESSAGES]
            batch = self._metadata(name, part)
            given += len(batch)
            if len(batch) != len(part):
                reason = f"{len(numbers)} messages announced, {given} given; is it being changed?"
                raise FolderUnreadable(server=self.server, folder=name, reason=self.refusal(reason))
            if level == "content":
                chosen = {
                    number: message
                    for number, message in zip(part, batch, strict=True)
                    if wanted(message.uid)
                }
                digested = (
                    (self._digested_by_number(name, *item) for item in chosen.items())
                    if folder.wrapped
                    else self._digested(name, list(chosen.values()))
                )
                read = {message.uid: message for message in digested}
                batch = [read.get(message.uid, message) for message in batch]
            yield from batch

    def _metadata(self, name: str, numbers: range) -> list[Message]:
        # by number: c-client and Dovecot both then answer in UID order, none twice
        with self.during(f"reading messages {numbers[0]} to {numbers[-1]} of {name}", folder=name):
            data = fetch.fetch(self.client._imap, numbers, METADATA)
            return [
                self.message(name, number, data[number]) for number in numbers if number in data
            ]

    def message(self, name: str, number: int, items: dict) -> Message:
        """A message by what FETCH gave of METADATA. Raises FolderUnreadable."""
        date = fetch.internaldate(items.get("INTERNALDATE"))
        missing = [
            key
            for key in ("UID", "FLAGS", "INTERNALDATE", "RFC822.SIZE")
            if items.get(key) is None or key == "INTERNALDATE" and date is None
        ]
        if missing:
            uid = replies.words([items.get("UID")]) or None
            reason = f"message {number} (UID {uid}) has no usable {missing[0]}"
            raise FolderUnreadable(server=self.server, folder=name, reason=reason)
        flags, recent = _flags(items["FLAGS"])
        return Message(int(items["UID"]), flags, recent, date, int(items["RFC822.SIZE"]))

    def _digested(self, name: str, messages: list[Message]) -> Iterator[Message]:
        for batch in batches(messages):
            digests = (
                {batch[0].uid: self._digest_large(name, batch[0])}
                if batch[0].size > BATCH_BYTES
                else {}
            )
            if not digests:
                bodies = self._bodies(
                    name, [message.uid for message in batch], "BODY.PEEK[]", "BODY[]"
                )
                digests = {uid: Digest().update(body).hexdigest() for uid, body in bodies.items()}
            for message in batch:
                yield replace(message, digest=digests[message.uid])

    def _digested_by_number(self, name: str, number: int, message: Message) -> Message:
        with self.during(f"reading message {number} of {name}", folder=name):
            items = fetch.fetch(self.client._imap, [number], "BODY.PEEK[]").get(number, {})
        if items.get("BODY[]") is None:
            reason = self.refusal(f"no content for message {number}")
            raise FolderUnreadable(server=self.server, folder=name, reason=reason)
        return replace(message, digest=Digest().update(items["BODY[]"]).hexdigest())

    def _digest_large(self, name: str, message: Message) -> str:
        digest, at = Digest(), 0
        while True:
            ask, key = f"BODY.PEEK[]<{at}.{BATCH_BYTES}>", f"BODY[]<{at}>"
            piece = self._bodies(name, [message.uid], ask, key)[message.uid]
            digest.update(piece)
            at += len(piece)
            if len(piece) < BATCH_BYTES or at >= message.size:
                return digest.hexdigest()

    def _bodies(self, name: str, uids: list[int], ask: str, key: str) -> dict[int, bytes]:
        with self.during(f"reading {name} UID {uids[0]} to {uids[-1]}", folder=name):
            data = fetch.fetch(self.client._imap, uids, f"UID {ask}", uid=True)
        bodies = {
            int(items["UID"]): items[key]
            for items in data.values()
            if items.get("UID") and items.get(key) is not None
        }
        if lost := [uid for uid in uids if uid not in bodies]:
            reason = self.refusal(f"no content for UID {lost[0]} ({len(lost)} in all)")
            raise FolderUnreadable(server=self.server, folder=name, reason=reason)
        return bodies

    def find(self, name: str, header: str, value: str) -> list[int]:
        """UIDs of the messages whose header contains the value (ASCII).

        The folder is read as it is now.
        """
        self.examine(name)
        with self.during(f"searching {name}", folder=name):
            return list(self.client.search(["HEADER", header, value]))

    def all(self, name: str) -> list[int]:
        """UIDs of all messages, ascending. The folder is read as it is now."""
        self.examine(name)
        with self.during(f"searching {name}", folder=name):
            return sorted(self.client.search("ALL"))

    def headers(self, name: str, header: str) -> dict[int, str]:
        """{UID: value of a header field, stripped, "" where there is none} of all messages.

        At most HEADER bytes of each are read: senders choose their length.
        """
        uids, values = self.all(name), {}
        for start in range(0, len(uids), 500):
            part = uids[start : start + 500]
            ask, key = (
                f"BODY.PEEK[HEADER.FIELDS ({header.upper()})]<0.{HEADER}>",
                f"BODY[HEADER.FIELDS ({header.upper()})]<0>",
            )
            for uid, raw in self._bodies(name, part, ask, key).items():
                values[uid] = raw.decode("utf-8", "backslashreplace").partition(":")[2].strip()
        return values

    def fetch(self, name: str, uid: int) -> bytes:
        """The bytes of one message as sent, without marking it seen."""
        self.examine(name)
        return self._bodies(name, [uid], "BODY.PEEK[]", "BODY[]")[uid]

    def texts(self, name: str, messages: list[Message]) -> Iterator[tuple[Message, bytes]]:
        """(message, its bytes as sent) for each of some messages of one folder, in batches.

        The folder is read as it is now.
        """
        self.examine(name)
        for batch in batches(messages):
            bodies = self._bodies(name, [message.uid for message in batch], "BODY.PEEK[]", "BODY[]")
            for message in batch:
                yield message, bodies.pop(message.uid)
