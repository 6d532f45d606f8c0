"""Messages and folders as a server shows them."""

import functools
import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

BATCH_MESSAGES = 500  # messages asked for at once

BATCH_BYTES = (
    8 * 1024 * 1024
)  # and at most so many bytes of them; a larger message is fetched in pieces of this size


@dataclass(frozen=True)
class Message:
    """One message. `flags`: system flags and keywords without \\Recent; `size`: octets as sent,
    with CRLF line ends (RFC822.SIZE); `internaldate` is aware; `digest`: sha256 in hex with line
    ends as LF, None unless read.
    """

    uid: int
    flags: frozenset[str]
    recent: bool
    internaldate: datetime
    size: int
    digest: str | None = None


@dataclass
class Folder:
    """A folder as one EXAMINE showed it; `messages` in UID order, empty at level "count"; `exists`
    is their number; `keywords` those the folder knows, whether a message has them or not.
    """

    name: str
    uidvalidity: int
    uidnext: int | None
    messages: list[Message]
    exists: int = 0
    keywords: frozenset[str] = frozenset()

    @property
    def wrapped(self) -> bool:
        """Whether its UIDs passed 2^64 in c-client, which then knows no message by its UID."""
        return self.uidnext is not None and self.uidnext <= self.exists


class Digest:
    """sha256 of a message that arrives in pieces, each line end (any CRs, then LF) counted as one
    LF.

    Servers that keep LF send CRLF for it, so a CR before a line end cannot be told apart over IMAP.
    """

    def __init__(self):
        self._hash, self._held = hashlib.sha256(), b""

    def update(self, piece: bytes) -> "Digest":
        piece = self._held + piece
        body = piece.rstrip(b"\r")
        self._held = piece[len(body) :]
        # split and join take half the time of replace
        self._hash.update(
            re.sub(rb"\r+\n", b"\n", body) if b"\r\r" in body else b"\n".join(body.split(b"\r\n"))
        )
        return self

    def hexdigest(self) -> str:
        whole = self._hash.copy()
        whole.update(self._held)
        return whole.hexdigest()


_SYSTEM = {
    flag.lower(): flag
    for flag in ("\\Seen", "\\Answered", "\\Flagged", "\\Deleted", "\\Draft", "\\Recent")
}


def _flag(token: bytes) -> str:
    text = token.decode("utf-8", "surrogateescape")
    return _SYSTEM.get(text.lower(), text)


@functools.lru_cache(4096)
def _flags(listed: bytes) -> tuple[frozenset[str], bool]:
    """(flags without \\Recent, whether it is there) of what stands between the parentheses."""
    flags = frozenset(map(_flag, listed.split()))
    return flags - {"\\Recent"}, "\\Recent" in flags


def batches(messages: list[Message]) -> Iterator[list[Message]]:
    """Runs of messages to be fetched, or added, at once.

    One that is larger than a batch is a run of its own.
    """
    batch, size = [], 0
    for message in messages:
        if batch and (len(batch) >= BATCH_MESSAGES or size + message.size > BATCH_BYTES):
            yield batch
            batch, size = [], 0
        batch.append(message)
        size += message.size
    if batch:
        yield batch
