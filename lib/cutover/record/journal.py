"""journal.jsonl: what happened in a run, one event per line, each with the hash of the line before.

A line is JSON with sorted keys: `seq` (from 0), `prev` (SHA-256 of the previous line without its
line end; zeros for the first), `time` (UTC, ISO 8601), `monotonic` (seconds on this machine since
the boot that `boot` names), `who` (user@host), `event`, and the event's own fields. Registered
secrets are removed. Of a long text only the beginning is here; the whole is in `blobs/`, under its
digest. Each line is on disk (fsync) before append() returns, so an intent is recorded before its
change begins.
"""

import datetime
import errno
import fcntl
import getpass
import hashlib
import io
import json
import os
import re
import socket
import time
from pathlib import Path

from cutover.model import errors
from cutover.site import secrets

NAME = "journal.jsonl"
BLOBS = "blobs"
ZEROS = "0" * 64
TAIL = 1 << 16  # bytes read first to find the last line
LONG = 4096  # bytes of a text kept in the journal itself
# ends a text that continues in a file
BEYOND = re.compile(r"\n… \d+ bytes, whole in blobs/([0-9a-f]{64})\.txt\Z")
# fields that may be cut; a rerun or a rollback needs all others whole
BOUNDED = ("output", "error", "text", "undo")
ADVICE = "Find out who changed it; `cutover record verify` names every change."


class JournalBroken(errors.CutoverError):
    """A journal does not match its own chain of hashes."""


def now() -> str:
    """The time, UTC, ISO 8601 with milliseconds."""
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="milliseconds")


def boot() -> str:
    """Names this machine's boot. Monotonic times compare only within one boot."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text()[:8]
    except OSError:
        return "unknown"


def who() -> str:
    """The operator: user@host."""
    try:
        return f"{getpass.getuser()}@{socket.gethostname()}"
    except (KeyError, OSError):
        return f"uid{os.getuid()}@{socket.gethostname()}"


def line_of(event) -> str:
    """Where an event is in the journal, for messages."""
    return f"{NAME}, line {event['seq'] + 1}"


def parse(data: bytes, name: str = NAME) -> list:
    """All events of a journal, checked against its chain. Raises JournalBroken naming the line.

    A last line without a line end was being written in a crash: it never counted and is skipped.
    """
    events, previous, torn = [], ZEROS, b""
    # line by line: no second copy of what is there of thousands of users
    for number, line in enumerate(io.BytesIO(data), 1):
        if not line.endswith(b"\n"):
            torn = line
            break
        line = line[:-1]
        try:
            event = json.loads(line)
            place = (event["seq"], event["prev"])
            datetime.datetime.fromisoformat(event["time"])
            if not isinstance(event["event"], str):
                raise TypeError("it names no kind")
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise JournalBroken(
                f"{name}, line {number}: not an event ({error}). {ADVICE}"
            ) from error
        if place != (number - 1, previous):
            raise JournalBroken(
                f"{name}, line {number}: does not follow the line before it: "
                f"seq {place[0]} (expected {number - 1}), prev {str(place[1])[:12]}… "
                f"(expected {previous[:12]}…). {ADVICE}"
            )
        previous = hashlib.sha256(line).hexdigest()
        events.append(event)
    if torn and not events and not torn.startswith(b"{"):
        raise JournalBroken(f"{name}: not a journal. {ADVICE}")
    return events


def file_of(text: str) -> str | None:
    """The file in the run's folder with the whole of an event's text; None if it was not cut."""
    beyond = BEYOND.search(text)
    return f"{BLOBS}/{beyond[1]}.txt" if beyond else None


def whole(text: str, run_dir: Path) -> str:
    """A text of an event as it was before it was cut, if `blobs/` still has it unchanged."""
    beyond = BEYOND.search(text)
    if not beyond:
        return text
    try:
        data = (run_dir / file_of(text)).read_bytes()
    except OSError:
        return text
    if hashlib.sha256(data).hexdigest() != beyond[1]:
        return text
    return data.decode("utf-8", "surrogatepass")


def _write_all(descriptor: int, data: bytes):
    """Write all of it. os.write may write less and report no error. Raises OSError."""
    left = memoryview(data)
    while left:
        left = left[os.write(descriptor, left) :]


def _last_line(descriptor: int) -> tuple[bytes, int]:
    """(the last whole line, where it ends); read from the end, since a journal grows large."""
    start, data = os.fstat(descriptor).st_size, b""
    while start and data.count(b"\n") < 2:
        piece = min(max(TAIL, len(data)), start)
        start -= piece
        data = os.pread(descriptor, piece, start) + data
    end = data.rfind(b"\n") + 1
    return data[:end].rstrip(b"\n").rpartition(b"\n")[2], start + end


def _seq(line: bytes) -> int:
    """Raises JournalBroken where the line is no event."""
    try:
        return int(json.loads(line)["seq"])
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise JournalBroken(f"{NAME}, last line: not an event ({error}). {ADVICE}") from error


def _sync_name(path: Path):
    """Put the name of a new file on disk, not only its content."""
    descriptor = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


class Journal:
    """The journal of one run folder. Several processes may append to it."""

    def __init__(self, run_dir: Path):
        self.path = Path(run_dir) / NAME

    def events(self) -> list:
        """All events so far; none if the file is missing."""
        if self.path.exists() and not self.path.is_file():
            raise JournalBroken(f"{self.path}: cannot be read: not a regular file")
        try:
            return parse(self.path.read_bytes(), str(self.path))
        except FileNotFoundError:
            return []
        except OSError as error:
            raise JournalBroken(f"{self.path}: cannot be read: {error.strerror}") from error

    def append(self, event: str, **fields) -> dict:
        """Add one event and put it on disk. Returns it as written."""
        fields = self._bounded(secrets.redact_value(fields))
        descriptor = self._opened()
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            last, end = _last_line(descriptor)
            if end < os.fstat(descriptor).st_size:
                # a line cut by a crash: nothing acted on its event
                os.ftruncate(descriptor, end)
            line = json.dumps(
                {
                    "seq": _seq(last) + 1 if last else 0,
                    "prev": hashlib.sha256(last).hexdigest() if last else ZEROS,
                    "time": now(),
                    "monotonic": round(time.monotonic(), 3),
                    "boot": boot(),
                    "who": who(),
                    "event": event,
                    **fields,
                },
                sort_keys=True,
                ensure_ascii=True,
            ).encode()
            os.lseek(descriptor, 0, os.SEEK_END)
            try:
                _write_all(descriptor, line + b"\n")
                os.fsync(descriptor)
                if not last:
                    _sync_name(self.path)
            except OSError:
                # a full disk may take half a line: what is not whole was never said
                os.ftruncate(descriptor, end)
                raise
            return json.loads(line)
        finally:
            os.close(descriptor)

    def _opened(self) -> int:
        """A descriptor of the file. Raises JournalBroken; OSError if the disk is full."""
        try:
            return os.open(self.path, os.O_RDWR | os.O_CREAT, 0o600)
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                raise
            raise JournalBroken(
                f"{self.path}: cannot be written: {error.strerror}. Make it writable for you."
            ) from error

    def _bounded(self, value, name=""):
        """Replace each long text by its beginning and the name of the file with the whole."""
        if isinstance(value, dict):
            return {key: self._bounded(item, key) for key, item in value.items()}
        if isinstance(value, list):
            return [self._bounded(item, name) for item in value]
        if name not in BOUNDED or not isinstance(value, str) or len(value) <= LONG // 4:
            return value
        data = value.encode("utf-8", "surrogatepass")
        if len(data) <= LONG:
            return value
        digest = hashlib.sha256(data).hexdigest()
        place = self.path.parent / BLOBS / f"{digest}.txt"
        if not place.exists():
            place.parent.mkdir(exist_ok=True, mode=0o700)
            part = place.with_name(f"{place.name}.{os.getpid()}.part")
            with open(part, "wb") as out:
                out.write(data)
                out.flush()
                os.fsync(out.fileno())
            os.replace(part, place)
        start = data[: LONG // 2].decode("utf-8", "ignore")
        return f"{start}\n… {len(data)} bytes, whole in {BLOBS}/{digest}.txt"
