"""Reading mail as a client sees it: the second reader, which has nothing to do with the converter.

Folders are only ever EXAMINEd and bodies only PEEKed at, so reading leaves no trace. The verbs that write are for test mail
and for a rollback that carries back what users did. One session is for one thread.

Folder names are str, decoded from modified UTF-7 (RFC 3501 §5.1.3), without loss: see `decode_name`.
"""

import contextlib
import functools
import hashlib
import imaplib
import re
import socket
import ssl
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

import imapclient
from imapclient import imap_utf7
from imapclient.imapclient import _literal

from cutover.connect import imap_fetch as fetch
from cutover.model.errors import TemplatedError

BATCH_MESSAGES = 500  # messages asked for at once
BATCH_BYTES = (
    8 * 1024 * 1024
)  # and at most so many bytes of them; a larger message is fetched in pieces of this size


class ImapError(TemplatedError):
    """An IMAP server is not as needed; the data of each kind are attributes."""

    template = "{server}: IMAP failed"


class NoImap(ImapError):
    """No IMAP service answers at the address."""

    template = "{server}: no IMAP answer: {reason}"


class CertificateRefused(ImapError):
    """The server's certificate does not prove the name it was called by."""

    template = (
        "{server}: the certificate does not fit the name {hostname} or is not trusted: {reason}"
    )


class LoginRefused(ImapError):
    """The server did not accept user and password."""

    template = "{server}: {user} may not log in: {reason}"


class NotPreauthenticated(ImapError):
    """The command did not start an IMAP session that is already logged in."""

    template = "{server}: no IMAP session that is logged in: {reason}"


class FolderUnreadable(ImapError):
    """The server will not open the folder, or not give all of it; `reason` is the server's own words."""

    template = "{server}: folder {folder} cannot be read: {reason}"


class CommandRefused(ImapError):
    """The server said NO or BAD to a command that is not about opening a folder."""

    template = "{server}: {command} was refused: {reason}"


class SessionLost(ImapError):
    """The session ended in the middle of a command."""

    template = "{server}: the IMAP session ended while {doing}: {reason}"


@dataclass(frozen=True)
class Message:
    """One message. `flags`: system flags and keywords without \\Recent; `size`: octets as sent, with CRLF line ends
    (RFC822.SIZE); `internaldate` is aware; `digest`: sha256 in hex with line ends as LF, None unless read."""

    uid: int
    flags: frozenset[str]
    recent: bool
    internaldate: datetime
    size: int
    digest: str | None = None


@dataclass
class Folder:
    """A folder as one EXAMINE showed it; `messages` in UID order, empty at level "count"; `exists` is their number; `keywords`
    those the folder knows, whether a message has them or not."""

    name: str
    uidvalidity: int
    uidnext: int | None
    messages: list[Message]
    exists: int = 0
    keywords: frozenset[str] = frozenset()


def decode_name(raw: bytes) -> str:
    """A folder name from the wire. What is no proper modified UTF-7 keeps every byte: those that are no printable
    ASCII, and "&", become U+DC00 plus the byte, as Python's surrogateescape does. Inverse of encode_name."""
    with contextlib.suppress(UnicodeError, ValueError):
        text = imap_utf7.decode(raw)
        if raw.isascii() and imap_utf7.encode(text) == raw:
            return text
    return "".join(
        chr(byte) if 0x20 <= byte <= 0x7E and byte != 0x26 else chr(0xDC00 + byte) for byte in raw
    )


def encode_name(name: str) -> bytes:
    """A folder name for the wire, the very bytes the server listed."""
    if any(0xDC00 <= ord(letter) <= 0xDCFF for letter in name):
        return bytes(ord(letter) & 0xFF for letter in name)
    return imap_utf7.encode(name)


class Digest:
    """sha256 of a message that arrives in pieces, each line end (any CRs, then LF) counted as one LF.

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


def _plain(error: Exception) -> str:
    """The server's words from an exception: imaplib puts bytes into it as b'…'."""
    return re.sub(r"""\bb(['"])(.*)\1""", r"\2", str(error)) or type(error).__name__


def _said(data) -> str:
    parts = [part for part in data or () if isinstance(part, bytes)]
    return "; ".join(part.decode("utf-8", "backslashreplace") for part in parts)


# -- connections


class _Tls(imaplib.IMAP4):
    """TLS to an address, with the certificate checked against a name of its own."""

    def __init__(
        self, address: str, port: int, hostname: str, context: ssl.SSLContext, timeout: float
    ):
        self._context, self._hostname = context, hostname
        super().__init__(address, port, timeout)

    def _create_socket(self, timeout):
        plain = socket.create_connection((self.host, self.port), timeout)
        try:
            return self._context.wrap_socket(plain, server_hostname=self._hostname)
        except BaseException:
            plain.close()
            raise


class _OverStream(imaplib.IMAP4):
    """imaplib over the two directions of a remote command (ssh.Stream)."""

    def __init__(self, stream):
        self._stream = stream
        super().__init__("")

    def open(self, host="", port=0, timeout=None):
        self.host, self.port, self.sock = host, port, self

    def settimeout(self, seconds):
        self._stream.timeout = seconds

    def read(self, size):
        return self._stream.read(size)

    def readline(self):
        return self._stream.readline()

    def send(self, data):
        self._stream.write(data)

    def shutdown(self):
        self._stream.close()


class _Client(imapclient.IMAPClient):
    """IMAPClient around a connection that is made already."""

    def __init__(self, made: imaplib.IMAP4, timeout: float):
        self._made = made
        super().__init__("", ssl=False, timeout=timeout)
        self.normalise_times = False
        made.debug = (
            0  # IMAPClient turns imaplib's trace on, which formats every line of every message
        )

    def _create_IMAP4(self):
        return self._made


def login(
    host_address: str,
    port: int,
    server_hostname: str,
    ca_file,
    user: str,
    password: str,
    timeout: float,
) -> "Session":
    """Log in over TLS. The certificate must carry `server_hostname` and descend from `ca_file` (None: the system's).

    `timeout`: seconds for connecting and for each answer. Raises NoImap, CertificateRefused, LoginRefused.
    """
    server = f"{server_hostname} ({host_address}:{port})"
    try:
        context = ssl.create_default_context(cafile=str(ca_file) if ca_file else None)
    except OSError as error:
        raise CertificateRefused(
            server=server, hostname=server_hostname, reason=f"{ca_file}: {error}"
        ) from error
    try:
        client = _Client(_Tls(host_address, port, server_hostname, context, timeout), timeout)
    except ssl.SSLCertVerificationError as error:
        raise CertificateRefused(
            server=server, hostname=server_hostname, reason=error.verify_message
        ) from error
    except (OSError, imaplib.IMAP4.error) as error:
        raise NoImap(server=server, reason=error) from error
    try:
        client.login(user, password)
    except imaplib.IMAP4.abort as error:
        client.shutdown()
        raise SessionLost(server=server, doing=f"logging in as {user}", reason=error) from error
    except imaplib.IMAP4.error as error:
        client.shutdown()
        raise LoginRefused(server=server, user=user, reason=_plain(error)) from error
    except OSError as error:
        client.shutdown()
        raise SessionLost(server=server, doing=f"logging in as {user}", reason=error) from error
    return Session(client, server)


def preauth(stream, timeout: float, server: str | None = None) -> "Session":
    """A session over a remote command that starts logged in, such as `imapd` run as the user (RFC 3501 §7.1.4).

    `stream`: ssh.Connection.open's result; `timeout`: seconds for each answer. The session closes the stream.
    """
    connection = getattr(stream, "connection", None)
    server = (
        server
        or f"{connection.host if connection else 'stream'}: {' '.join(getattr(stream, 'argv', ['']))}"
    )
    stream.timeout = timeout
    try:
        made = _OverStream(stream)
        if made.state != "AUTH":
            raise imaplib.IMAP4.error(made.welcome)
        return Session(_Client(made, timeout), server)
    except imaplib.IMAP4.error as error:
        said = getattr(stream, "stderr_text", str)()
        stream.close()
        raise NotPreauthenticated(
            server=server, reason=f"{_plain(error)} {said.strip()}".strip()
        ) from error
    except BaseException:
        stream.close()
        raise


# LIST and LSUB: (flags) delimiter name; imaplib gives the head of a name sent as a literal and the literal apart
_LIST = re.compile(rb'\((?P<flags>[^)]*)\) (?:"(?P<delimiter>\\?.)"|NIL) (?P<name>.*)', re.DOTALL)


def _listed(item) -> tuple[str, str | None, bool] | None:
    head, literal = item if isinstance(item, tuple) else (item, None)
    if head is None or not (found := _LIST.fullmatch(head)):
        return None  # None: an empty list; b"": what imaplib leaves after a literal
    name = found["name"] if literal is None else literal
    if literal is None and len(name) >= 2 and name[:1] == name[-1:] == b'"':
        name = re.sub(rb"\\(.)", rb"\1", name[1:-1], flags=re.DOTALL)
    delimiter = found["delimiter"][-1:].decode("latin-1") if found["delimiter"] else None
    return decode_name(name), delimiter, b"\\noselect" not in found["flags"].lower()


class Session:
    """One logged-in IMAP session."""

    def __init__(self, client: imapclient.IMAPClient, server: str):
        self.client, self.server = client, server

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.logout()

    @contextlib.contextmanager
    def _during(self, doing: str, folder: str | None = None) -> Iterator[None]:
        try:
            yield
        except imaplib.IMAP4.abort as error:
            stream = getattr(self.client._imap, "_stream", None)
            said = getattr(stream, "stderr_text", str)()
            raise SessionLost(
                server=self.server, doing=doing, reason=f"{_plain(error)} {said.strip()}".strip()
            ) from error
        except (imaplib.IMAP4.error, ValueError) as error:
            if folder is not None:
                raise FolderUnreadable(
                    server=self.server, folder=folder, reason=_plain(error)
                ) from error
            raise CommandRefused(server=self.server, command=doing, reason=_plain(error)) from error
        except OSError as error:
            raise SessionLost(server=self.server, doing=doing, reason=error) from error

    @staticmethod
    def _argument(name: str) -> bytes:
        raw = encode_name(name)
        if any(byte < 32 or byte > 126 for byte in raw):
            return _literal(raw)
        return b'"' + re.sub(rb'(["\\])', rb"\\\1", raw) + b'"'

    def _untagged(self, command: str, arguments: Sequence[bytes]) -> list:
        with self._during(command):
            self.client._imap.untagged_responses.clear()
            return self.client._raw_command_untagged(command.encode(), list(arguments), uid=False)

    # -- what there is

    def folders(
        self, pattern: str = "*", reference: str = ""
    ) -> list[tuple[str, str | None, bool]]:
        """(name, delimiter, selectable) of each folder LIST shows. c-client's names are relative to the home, and
        it lists files there that are no folders; a directory is not selectable."""
        data = self._untagged("LIST", [self._argument(reference), self._argument(pattern)])
        return [entry for item in data if (entry := _listed(item))]

    def subscribed(self, pattern: str = "*", reference: str = "") -> list[str]:
        """The names LSUB shows."""
        data = self._untagged("LSUB", [self._argument(reference), self._argument(pattern)])
        return [entry[0] for item in data if (entry := _listed(item))]

    def status(
        self, name: str, items: Sequence[str] = ("MESSAGES", "UIDNEXT", "UIDVALIDITY")
    ) -> dict[str, int]:
        """{item: number} by STATUS. FolderUnreadable if the server cannot open the folder."""
        try:
            data = self._untagged("STATUS", [self._argument(name), f"({' '.join(items)})".encode()])
        except CommandRefused as error:
            raise FolderUnreadable(
                server=self.server, folder=name, reason=self._words(error.reason)
            ) from error
        tail = [part for part in data if isinstance(part, bytes) and part.rstrip().endswith(b")")]
        figures = tail[-1].rpartition(b"(")[2].rstrip(b") ").split() if tail else []
        return {
            key.decode().upper(): int(value)
            for key, value in zip(figures[::2], figures[1::2], strict=False)
        }

    # -- reading

    def _words(self, reason) -> str:
        """What the server said: the refusal and, before it, the untagged NOs with the cause (c-client does so)."""
        before = _said(self.client._imap.untagged_responses.get("NO"))
        return f"{reason} ({before})" if before and before not in str(reason) else str(reason)

    def _examine(self, name: str, read_only: bool = True) -> Folder:
        verb = "EXAMINE" if read_only else "SELECT"
        imap = self.client._imap
        with self._during(f"opening folder {name}", folder=name):
            imap.untagged_responses.clear()
            imap.is_readonly = read_only
            typ, data = self.client._raw_command(verb.encode(), [self._argument(name)], uid=False)
            if typ != "OK":
                imap.state = "AUTH"
                raise FolderUnreadable(
                    server=self.server, folder=name, reason=self._words(_said(data))
                )
            imap.state = "SELECTED"
            shown = {
                key: imap.untagged_responses.get(key, [None])[-1]
                for key in ("EXISTS", "UIDVALIDITY", "UIDNEXT")
            }
            if shown["EXISTS"] is None or shown["UIDVALIDITY"] is None:
                raise FolderUnreadable(
                    server=self.server, folder=name, reason=self._words("no EXISTS or UIDVALIDITY")
                )
            uidnext = int(shown["UIDNEXT"]) if shown["UIDNEXT"] else None
            flags = (imap.untagged_responses.get("FLAGS") or [b"()"])[-1] or b"()"
            keywords = frozenset(
                _flag(flag) for flag in flags.strip(b"()").split() if not flag.startswith(b"\\")
            )
            return Folder(
                name, int(shown["UIDVALIDITY"]), uidnext, [], int(shown["EXISTS"]), keywords
            )

    def read(
        self, name: str, level: str = "count", numbers: range | None = None, wanted=lambda uid: True
    ) -> Folder:
        """Read a folder: "count" opens it only; "metadata" adds the messages; "content" their digests.

        `numbers`: of messages, from 1; all without it. `wanted(uid)`: whether a message's digest is to be read.
        Raises FolderUnreadable when it cannot be opened or gives another number of messages than it announced.
        """
        if level not in ("count", "metadata", "content"):
            raise ValueError(f"no such level: {level}")
        folder = self.stream(name, level, numbers, wanted)
        folder.messages = list(folder.messages)
        return folder

    def stream(
        self, name: str, level: str = "count", numbers: range | None = None, wanted=lambda uid: True
    ) -> Folder:
        """As read(), but `messages` is an iterator that fetches as it goes, a batch at a time, whatever the folder's size.

        Until it has ended this session may be asked about nothing but the same folder.
        """
        folder = self._examine(name)
        if level != "count":
            numbers = range(1, folder.exists + 1) if numbers is None else numbers
            folder.messages = self._streamed(name, level, numbers, wanted)
        return folder

    def _streamed(self, name, level, numbers, wanted):
        given = 0
        for start in range(0, len(numbers), BATCH_MESSAGES):
            part = numbers[start : start + BATCH_MESSAGES]
            batch = self._metadata(name, part)
            given += len(batch)
            if len(batch) != len(part):
                reason = f"{len(numbers)} messages announced, {given} given; is it being changed?"
                raise FolderUnreadable(server=self.server, folder=name, reason=self._words(reason))
            if level == "content":
                read = {
                    each.uid: each
                    for each in self._digested(name, [each for each in batch if wanted(each.uid)])
                }
                batch = [read.get(each.uid, each) for each in batch]
            yield from batch

    def _metadata(self, name: str, numbers: range) -> list[Message]:
        # by number: c-client and Dovecot both then answer in UID order, none twice
        with self._during(f"reading messages {numbers[0]} to {numbers[-1]} of {name}", folder=name):
            data = fetch.fetch(self.client._imap, numbers, "UID FLAGS INTERNALDATE RFC822.SIZE")
            return [
                self._message(name, number, data[number]) for number in numbers if number in data
            ]

    def _message(self, name: str, number: int, items: dict) -> Message:
        date = fetch.internaldate(items.get("INTERNALDATE"))
        missing = [
            key
            for key in ("UID", "FLAGS", "INTERNALDATE", "RFC822.SIZE")
            if items.get(key) is None or key == "INTERNALDATE" and date is None
        ]
        if missing:
            reason = f"message {number} (UID {_said([items.get('UID')]) or None}) has no usable {missing[0]}"
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
        with self._during(f"reading {name} UID {uids[0]} to {uids[-1]}", folder=name):
            data = fetch.fetch(self.client._imap, uids, f"UID {ask}", uid=True)
        bodies = {
            int(items["UID"]): items[key]
            for items in data.values()
            if items.get("UID") and items.get(key) is not None
        }
        if lost := [uid for uid in uids if uid not in bodies]:
            reason = self._words(f"no content for UID {lost[0]} ({len(lost)} in all)")
            raise FolderUnreadable(server=self.server, folder=name, reason=reason)
        return bodies

    # -- for test mail

    def find(self, name: str, header: str, value: str) -> list[int]:
        """UIDs of the messages whose header contains the value (ASCII). The folder is read as it is now."""
        self._examine(name)
        with self._during(f"searching {name}", folder=name):
            return list(self.client.search(["HEADER", header, value]))

    def all(self, name: str) -> list[int]:
        """UIDs of all messages, ascending. The folder is read as it is now."""
        self._examine(name)
        with self._during(f"searching {name}", folder=name):
            return sorted(self.client.search("ALL"))

    def headers(self, name: str, header: str) -> dict[int, str]:
        """{UID: value of a header field, stripped, "" where there is none} of all messages."""
        uids, found = self.all(name), {}
        for start in range(0, len(uids), 500):
            part = uids[start : start + 500]
            ask, key = (
                f"BODY.PEEK[HEADER.FIELDS ({header.upper()})]",
                f"BODY[HEADER.FIELDS ({header.upper()})]",
            )
            for uid, raw in self._bodies(name, part, ask, key).items():
                found[uid] = raw.decode("utf-8", "backslashreplace").partition(":")[2].strip()
        return found

    def fetch(self, name: str, uid: int) -> bytes:
        """The bytes of one message as sent, without marking it seen."""
        self._examine(name)
        return self._bodies(name, [uid], "BODY.PEEK[]", "BODY[]")[uid]

    def texts(self, name: str, messages: list[Message]) -> Iterator[tuple[Message, bytes]]:
        """(message, its bytes as sent) for each of some messages of one folder, in batches; the folder is read as it is now."""
        self._examine(name)
        for batch in batches(messages):
            bodies = self._bodies(name, [message.uid for message in batch], "BODY.PEEK[]", "BODY[]")
            for message in batch:
                yield message, bodies.pop(message.uid)

    # -- writing

    def append(
        self, name: str, message: bytes, flags: Sequence[str] = (), when: datetime | None = None
    ) -> int | None:
        """Add a message; bare LFs are sent as CRLF. → its UID, None where the server does not say it (no UIDPLUS)."""
        told = re.match(r"\[APPENDUID \d+ (\d+)\]", self._append(name, [(message, flags, when)]))
        return int(told[1]) if told else None

    def append_all(
        self, name: str, messages: Sequence[tuple[bytes, Sequence[str], datetime | None]]
    ) -> None:
        """Add messages, (text, flags, date) each, in this order: all of them or none, by one command (MULTIAPPEND, RFC 3502).
        One after the other where the server does not know it."""
        with self._during(f"APPEND to {name}"):
            many = self.client.has_capability("MULTIAPPEND")
        for part in [messages] if many else [[each] for each in messages]:
            self._append(name, part)

    def _append(self, name, messages):
        arguments = [self._argument(name)]
        for text, flags, when in messages:
            arguments.append(f"({' '.join(flags)})".encode())
            if when is not None:
                arguments.append(imaplib.Time2Internaldate(when).encode())
            arguments.append(_literal(re.sub(rb"\r*\n", b"\r\n", text)))
        with self._during(f"APPEND to {name}"):
            typ, data = self.client._raw_command(b"APPEND", arguments, uid=False)
            if typ != "OK":
                raise CommandRefused(
                    server=self.server, command=f"APPEND to {name}", reason=self._words(_said(data))
                )
            return _said(data)

    def _command(
        self, doing: str, command: str, arguments: Sequence[bytes], uid: bool = False
    ) -> None:
        """A command that answers with OK alone."""
        with self._during(doing):
            self.client._imap.untagged_responses.pop("NO", None)
            typ, data = self.client._raw_command(command.encode(), list(arguments), uid=uid)
            if typ != "OK":
                raise CommandRefused(
                    server=self.server, command=doing, reason=self._words(_said(data))
                )

    def create(self, name: str) -> None:
        """Make a folder, and the directories above it."""
        self._command(f"CREATE {name}", "CREATE", [self._argument(name)])

    def rename(self, name: str, other: str) -> None:
        """Give a folder another name; its messages keep their UIDs."""
        self._command(
            f"RENAME {name} to {other}", "RENAME", [self._argument(name), self._argument(other)]
        )

    def subscribe(self, name: str, wanted: bool = True) -> None:
        """SUBSCRIBE, or UNSUBSCRIBE."""
        verb = "SUBSCRIBE" if wanted else "UNSUBSCRIBE"
        self._command(f"{verb} {name}", verb, [self._argument(name)])

    def select(self, name: str) -> Folder:
        """Open a folder for writing; c-client then gives each message its UID and takes mail from the spool into INBOX."""
        return self._examine(name, read_only=False)

    def change(self, name: str) -> None:
        """As select; raises CommandRefused where the folder may only be read: there c-client says OK to STORE and EXPUNGE, and
        does nothing."""
        self._examine(name, read_only=False)
        if "READ-ONLY" in self.client._imap.untagged_responses:
            raise CommandRefused(
                server=self.server, command=f"SELECT {name} for writing", reason="READ-ONLY"
            )

    def copy(self, uids: Sequence[int], target: str) -> None:
        """UID COPY from the selected folder: all of them or none."""
        self._command(
            f"COPY to {target}", "COPY", [fetch.number_set(uids), self._argument(target)], uid=True
        )

    def store(self, uids: Sequence[int], flags: Sequence[str], add: bool) -> None:
        """Set or clear flags of messages of the selected folder. A keyword the server cannot take is dropped silently."""
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
        """Remove just these messages (UID EXPUNGE, RFC 4315), never others that someone marked deleted."""
        if not uids:
            return
        with self._during(f"deleting in {name}"):
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


def batches(messages: list[Message]) -> Iterator[list[Message]]:
    """Runs of messages to be fetched, or added, at once; one that is larger than a batch is a run of its own."""
    batch, size = [], 0
    for message in messages:
        if batch and (len(batch) >= BATCH_MESSAGES or size + message.size > BATCH_BYTES):
            yield batch
            batch, size = [], 0
        batch.append(message)
        size += message.size
    if batch:
        yield batch
