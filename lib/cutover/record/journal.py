"""journal.jsonl: what happened in a run, one event a line, each carrying the hash of the line before.

A line is JSON with sorted keys: `seq` (from 0), `prev` (SHA-256 of the previous line, without its line end; zeros for
the first), `time` (UTC, ISO 8601), `monotonic` (seconds, this machine's, since the boot that `boot` names), `who`
(user@host), `event`, and what the event brings. Registered secrets are removed, and of a long text the beginning stands
here and the whole beside it, in `blobs/`, under its digest. Each line is on disk (fsync) before append() returns, so an
intent is recorded before its change begins.
"""

import datetime
import fcntl
import getpass
import hashlib
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
LONG = 4096  # bytes of a text that stand in the journal itself
BEYOND = re.compile(
    r"\n… \d+ bytes, whole in blobs/([0-9a-f]{64})\.txt\Z"
)  # ends a text that goes on beside it
BOUNDED = (
    "output",
    "error",
    "text",
    "undo",
)  # what may be long; all else is needed whole by a rerun or a rollback


class JournalBroken(errors.CutoverError):
    """A journal is not what its own chain of hashes says."""


def now() -> str:
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="milliseconds")


def boot() -> str:
    """Names this machine's boot: monotonic times compare only within one."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text()[:8]
    except OSError:
        return "unknown"


def who() -> str:
    try:
        return f"{getpass.getuser()}@{socket.gethostname()}"
    except (KeyError, OSError):
        return f"uid{os.getuid()}@{socket.gethostname()}"


def line_of(event) -> str:
    """Where an event is in the journal, for messages."""
    return f"{NAME}, line {event['seq'] + 1}"


def parse(data: bytes, name: str = NAME) -> list:
    """All events of a journal, checked against its chain. Raises JournalBroken naming the line.

    A last line without its line end was being written when the power went: it never counted, and is left out.
    """
    events, previous = [], ZEROS
    lines = data.split(b"\n")
    torn = lines.pop()
    for number, line in enumerate(lines, 1):
        try:
            event = json.loads(line)
            found = (event["seq"], event["prev"])
        except (ValueError, KeyError, TypeError) as error:
            raise JournalBroken(f"{name}, line {number}: not an event ({error})") from error
        if found != (number - 1, previous):
            raise JournalBroken(
                f"{name}, line {number}: does not follow the line before it: "
                f"seq {found[0]} (expected {number - 1}), prev {str(found[1])[:12]}… "
                f"(expected {previous[:12]}…)"
            )
        previous = hashlib.sha256(line).hexdigest()
        events.append(event)
    if torn and not events and not torn.startswith(b"{"):
        raise JournalBroken(f"{name}: not a journal")
    return events


def whole(text: str, run_dir: Path) -> str:
    """A text of an event as it was before it was bounded: from the file beside the journal, where that is there."""
    beyond = BEYOND.search(text)
    try:
        return (
            (run_dir / BLOBS / f"{beyond[1]}.txt").read_text("utf-8", "surrogatepass")
            if beyond
            else text
        )
    except OSError:
        return text


class Journal:
    """The journal of one run folder. Several processes may append: each takes a lock and re-reads the end."""

    def __init__(self, run_dir: Path):
        self.path = Path(run_dir) / NAME

    def events(self) -> list:
        """All events so far; an absent file is an empty journal."""
        try:
            return parse(self.path.read_bytes(), str(self.path))
        except FileNotFoundError:
            return []

    def append(self, event: str, **fields) -> dict:
        """Add one event and put it on disk. Returns it as written."""
        fields = self._bounded(secrets.redact_value(fields))
        descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            with os.fdopen(os.dup(descriptor), "rb") as reader:
                data = reader.read()
            end = data.rfind(b"\n") + 1
            if end < len(data):
                os.ftruncate(
                    descriptor, end
                )  # a line torn by a crash: its event was never acted upon
            lines = data[:end].splitlines()
            line = json.dumps(
                {
                    "seq": len(lines),
                    "prev": hashlib.sha256(lines[-1]).hexdigest() if lines else ZEROS,
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
            os.write(descriptor, line + b"\n")
            os.fsync(descriptor)
            return json.loads(line)
        finally:
            os.close(descriptor)

    def _bounded(self, value, name=""):
        """Replace each long text by its beginning and where the whole lies."""
        if isinstance(value, dict):
            return {key: self._bounded(each, key) for key, each in value.items()}
        if isinstance(value, list):
            return [self._bounded(each, name) for each in value]
        if name not in BOUNDED or not isinstance(value, str) or len(value) <= LONG // 4:
            return value
        data = value.encode("utf-8", "surrogatepass")
        if len(data) <= LONG:
            return value
        digest = hashlib.sha256(data).hexdigest()
        place = self.path.parent / BLOBS / f"{digest}.txt"
        if not place.exists():
            place.parent.mkdir(exist_ok=True, mode=0o700)
            beside = place.with_name(f"{place.name}.{os.getpid()}.part")
            with open(beside, "wb") as out:
                out.write(data)
                out.flush()
                os.fsync(out.fileno())
            os.replace(beside, place)
        start = data[: LONG // 2].decode("utf-8", "ignore")
        return f"{start}\n… {len(data)} bytes, whole in {BLOBS}/{digest}.txt"
