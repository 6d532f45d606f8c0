"""The events of a step: `transcripts/<step>.events.jsonl` of a run, read whole or while it grows.

The process that works writes the file. Whoever looks, and whenever, sees the same: a notebook that
was closed and reopened, or another one, shows where the work is.
"""

import collections
import dataclasses
import json
from pathlib import Path
from typing import NamedTuple

from cutover.remote import back_off

RECENT = 12  # events kept as the last ones
RATE_SECONDS = 10  # the rate is that of the last seconds


@dataclasses.dataclass
class User:
    """One user of a conversion. Times in seconds since the epoch.

    state: "read", "staged", "published", "already", "unpublished" or "failed".
    source: bytes of the old folders' files. bytes: written on the new side.
    """

    name: str
    state: str
    began: float
    ended: float | None = None
    source: int = 0
    messages: int = 0
    bytes: int = 0
    written: int = 0
    folders: int = 0
    folders_done: int = 0
    warnings: int = 0


class Folder(NamedTuple):
    """A folder that was converted, and the seconds of work on it."""

    user: str
    name: str
    messages: int
    bytes: int
    seconds: float


class Point(NamedTuple):
    """How far a conversion was at a time."""

    at: float
    messages: int
    bytes: int
    users: int


class Rate(NamedTuple):
    """Messages and bytes per second."""

    messages: float
    bytes: float


class Change(NamedTuple):
    """A change that was begun; `number` counts from 0."""

    number: int
    of: int
    target: str
    title: str
    at: float


@dataclasses.dataclass
class Pass:
    """One conversion, from its "start" to its "end".

    total: users; done: how many of them are done. points: in order of time. folder_messages,
    folder_bytes: of finished folders. probes: of the old server, meanwhile.
    """

    began: float
    total: int
    host: str = ""
    ended: float | None = None
    ok: bool | None = None
    totals: dict = dataclasses.field(default_factory=dict)
    users: dict[str, User] = dataclasses.field(default_factory=dict)
    folders: list[Folder] = dataclasses.field(default_factory=list)
    points: list[Point] = dataclasses.field(default_factory=list)
    probes: list[back_off.Probe] = dataclasses.field(default_factory=list)
    last: float = 0.0
    folder_messages: int = 0
    folder_bytes: int = 0
    done: int = 0

    @property
    def messages(self) -> int:
        return self.points[-1].messages if self.points else 0

    @property
    def bytes(self) -> int:
        return self.points[-1].bytes if self.points else 0

    @property
    def written(self) -> int:
        """Messages written by this conversion; the others were staged before."""
        return sum(user.written for user in self.users.values())

    @property
    def seconds(self) -> float:
        """What it took; 0.0 while it runs."""
        return self.ended - self.began if self.ended is not None else 0.0

    @property
    def worked(self) -> float:
        """Seconds without those in which the workers slept so as not to be in the users' way."""
        return max(0.0, self.seconds - self.totals.get("asleep", 0.0))

    def rate(self) -> Rate:
        """That of the last seconds or, once it has ended, of the whole."""
        if not self.points:
            return Rate(0.0, 0.0)
        end, start = self.points[-1], Point(self.began, 0, 0, 0)
        if self.ended is not None:
            end = end._replace(at=max(self.ended, self.began))
        else:
            recent = next(
                (point for point in self.points if point.at >= end.at - RATE_SECONDS),
                self.points[0],
            )
            start = start if recent.at == end.at else recent
        seconds = max(end.at - start.at, 0.001)
        return Rate((end.messages - start.messages) / seconds, (end.bytes - start.bytes) / seconds)

    def left(self) -> float | None:
        """Seconds it will still take, judged by bytes; None while there is nothing to judge by."""
        if self.ended is not None:
            return 0.0
        known = [user for user in self.users.values() if user.source or user.ended is not None]
        rate = self.rate()
        if not known or not rate.bytes or not self.bytes:
            return None
        # users not seen yet count as average ones
        whole = sum(user.source for user in known) * self.total / len(known)
        return max(0.0, whole - self.bytes) / rate.bytes


class Transcript:
    """Follows one events file. `update()` reads what was added; a missing file counts as empty."""

    def __init__(self, path):
        self.path = Path(path)
        self._offset = 0
        self.changes, self.passes, self.errors = [], [], []
        self.recent = collections.deque(maxlen=RECENT)
        self.last = None  # time of the last event
        self.queue = ""
        self._progress = False  # whether the last event was one of progress

    def update(self) -> bool:
        """Read the complete lines added since. Returns whether there were any."""
        try:
            with self.path.open("rb") as file:
                if file.seek(0, 2) < self._offset:
                    self.__init__(self.path)
                file.seek(self._offset)
                data = file.read()
        except FileNotFoundError:
            return False
        whole = data[: data.rfind(b"\n") + 1]
        self._offset += len(whole)
        for text in whole.splitlines():
            try:
                event = json.loads(text)
                at = float(event.get("at", event.get("time", 0)))
            except (ValueError, TypeError, AttributeError):
                continue  # a line that a crash cut off
            self.last = at
            if event.get("event") == "latency":
                if self.passes:
                    fields = (event.get(name) for name in back_off.Probe._fields)
                    self.passes[-1].probes.append(back_off.Probe(*fields))
                continue
            progress = event.get("event") == "progress"
            if progress and self._progress and self.recent:
                self.recent.pop()  # one figure that grows, not a line per second
            self._progress = progress
            self.recent.append((at, line(event)))
            self._take(event, at)
        return bool(whole)

    @property
    def current(self) -> Pass | None:
        """The conversion that runs, or the last one."""
        return self.passes[-1] if self.passes else None

    def _take(self, event, at):
        kind = event.get("event", "")
        if kind == "change":
            target, title = str(event.get("target", "")), str(event.get("title", ""))
            self.changes.append(
                Change(event.get("number", 0), event.get("of", 0), target, title, at)
            )
        elif kind == "start":
            self.passes.append(Pass(at, event.get("users", 0), str(event.get("host", "")), last=at))
        elif kind == "error":
            self.errors.append(event)
        elif kind == "queue":
            self.queue = str(event.get("text", ""))
        if self.passes and kind != "start":
            _take(self.passes[-1], kind, event, at)


def read(run, step: str) -> Transcript:
    """The transcript of a run's step, read to its end."""
    transcript = Transcript(run.path / "transcripts" / f"{step}.events.jsonl")
    transcript.update()
    return transcript


def _take(conversion, kind, event, at):
    """One event of a conversion."""
    conversion.last = at
    name = event.get("user")
    user = conversion.users.get(name)
    if user is None and name is not None:
        user = conversion.users[name] = User(name, "read", at)
    if kind == "user":
        user.source, user.folders = event.get("bytes", 0), event.get("folders", 0)
    elif kind == "folder":
        _take_folder(conversion, user, event)
        _point(conversion, at, conversion.folder_messages, conversion.folder_bytes)
    elif kind in ("published", "already", "staged", "unpublished", "error") and user is not None:
        conversion.done += user.ended is None
        user.state, user.ended = "failed" if kind == "error" else kind, at
        if "messages" in event:
            user.messages, user.bytes = event["messages"], event["bytes"]
        user.warnings = len(event.get("warnings", []))
        _point(conversion, at, conversion.messages, conversion.bytes)
    elif kind == "progress":
        _point(conversion, at, event.get("messages", 0), event.get("bytes", 0))
    elif kind == "end":
        conversion.ended, conversion.ok = at, bool(event.get("ok"))
        conversion.totals = {
            key: value for key, value in event.items() if key not in ("event", "at", "time")
        }


def _take_folder(conversion, user, event):
    messages, size = event.get("messages", 0), event.get("bytes", 0)
    user.folders_done += 1
    user.messages += messages
    user.bytes += size
    user.written += event.get("written", 0)
    conversion.folder_messages += messages
    conversion.folder_bytes += size
    conversion.folders.append(
        Folder(user.name, event.get("folder", ""), messages, size, event.get("seconds", 0.0))
    )


def _point(conversion, at, messages, size):
    messages, size = max(messages, conversion.messages), max(size, conversion.bytes)
    conversion.points.append(Point(at, messages, size, conversion.done))


def line(event: dict) -> str:
    """One event as a line for people."""
    kind = event.get("event", "")
    if kind == "change":
        number = event.get("number", 0) + 1
        return f"{number} of {event.get('of')}: {event.get('target')}: {event.get('title')}"
    if kind == "queue":
        return f"queue: {event.get('text')}"
    if kind == "log":
        return str(event.get("text", ""))
    if kind == "error":
        return "ERROR " + " ".join(
            str(event[key]) for key in ("user", "file", "what", "todo") if event.get(key)
        )
    if kind == "pace":
        refused = (f"; not set: {key}: {why}" for key, why in event.get("refused", {}).items())
        return f"nice {event.get('nice')}, disk priority {event.get('io_class')}{''.join(refused)}"
    if kind == "progress":
        done, users = event.get("users_done"), event.get("users")
        return f"{done} of {users} users, {event.get('messages')} messages"
    if kind == "start":
        return f"began: {event.get('users')} users on {event.get('host', '')}"
    if kind == "end":
        return "ended: success" if event.get("ok") else "ended: with failures"
    parts = [str(event[key]) for key in ("user", "folder") if event.get(key)]
    parts += [f"{event[key]} {key}" for key in ("messages",) if key in event]
    return f"{kind}: " + ", ".join(parts)
