"""What a step's events file tells: `transcripts/<step>.events.jsonl` of a run, read whole or followed while it grows.

Whoever looks, and whenever, sees the same: the file is written by the process that works, so that a notebook which was
closed, or another one, shows where the work stands.
"""

import collections
import dataclasses
import json
from pathlib import Path

RECENT = 12  # events kept as the last ones
RATE_SECONDS = 10  # the rate is that of the last seconds


@dataclasses.dataclass
class User:
    """One user of a conversion. `state`: "read", "staged", "published", "already" or "failed"."""

    name: str
    state: str
    began: float
    ended: float | None = None
    source: int = 0  # bytes of the old folders' files
    messages: int = 0
    bytes: int = 0  # written on the new side
    written: int = 0
    folders: int = 0
    folders_done: int = 0
    warnings: int = 0


@dataclasses.dataclass
class Pass:
    """One conversion: from its "start" to its "end". `points`: `[(at, messages, bytes, users done)]`, growing."""

    began: float
    total: int  # users
    host: str = ""
    ended: float | None = None
    ok: bool | None = None
    totals: dict = dataclasses.field(default_factory=dict)
    users: dict = dataclasses.field(default_factory=dict)
    folders: list = dataclasses.field(
        default_factory=list
    )  # (user, folder, messages, bytes, seconds)
    points: list = dataclasses.field(default_factory=list)
    last: float = 0.0
    summed: tuple = (0, 0)  # messages and bytes of the folders finished

    @property
    def done(self) -> int:
        return sum(user.ended is not None for user in self.users.values())

    @property
    def messages(self) -> int:
        return self.points[-1][1] if self.points else 0

    @property
    def bytes(self) -> int:
        return self.points[-1][2] if self.points else 0

    def rate(self) -> tuple:
        """(messages a second, bytes a second) of the last seconds, or, once it has ended, of the whole."""
        if not self.points:
            return 0.0, 0.0
        end = self.points[-1]
        if self.ended is not None:
            begin = (self.began, 0, 0)
            end = (max(self.ended, self.began), *end[1:])
        else:
            begin = next(
                (point for point in self.points if point[0] >= end[0] - RATE_SECONDS),
                self.points[0],
            )
            if begin[0] == end[0]:
                begin = (self.began, 0, 0)
        seconds = max(end[0] - begin[0], 0.001)
        return (end[1] - begin[1]) / seconds, (end[2] - begin[2]) / seconds

    def left(self) -> float | None:
        """Seconds it will yet take, judged by bytes; None while there is nothing to judge by."""
        if self.ended is not None:
            return 0.0
        known = [user for user in self.users.values() if user.source or user.ended is not None]
        _, rate = self.rate()
        if not known or not rate or not self.bytes:
            return None
        source = sum(user.source for user in known)
        whole = (
            source * self.total / len(known)
        )  # users not yet looked at are taken for average ones
        return max(0.0, whole - self.bytes) / rate


class Transcript:
    """Follows one events file. `update()` reads what was added; a file that is not there yet is an empty one."""

    def __init__(self, path):
        self.path = Path(path)
        self._offset = 0
        self.changes, self.passes, self.errors = [], [], []
        self.recent = collections.deque(maxlen=RECENT)
        self.last = None  # time of the last event
        self.queue = ""
        self._progress = False  # whether the last event only said how far the work is

    def update(self) -> bool:
        """Read the complete lines added since. → whether there were any."""
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
        for line in whole.splitlines():
            try:
                event = json.loads(line)
                at = float(event.get("at", event.get("time", 0)))
            except (ValueError, TypeError, AttributeError):
                continue  # a line torn by a crash counts for nothing
            self.last = at
            progress = event.get("event") == "progress"
            if progress and self._progress and self.recent:
                self.recent.pop()  # one figure that grows, not a line for each second
            self._progress = progress
            self.recent.append((at, told(event)))
            self._take(event, at)
        return bool(whole)

    @property
    def current(self) -> Pass | None:
        """The conversion going on, or the last one."""
        return self.passes[-1] if self.passes else None

    def _take(self, event, at):
        kind = event.get("event", "")
        if kind == "change":
            self.changes.append(
                (
                    event.get("number", 0),
                    event.get("of", 0),
                    str(event.get("target", "")),
                    str(event.get("title", "")),
                    at,
                )
            )
        elif kind == "start":
            self.passes.append(Pass(at, event.get("users", 0), str(event.get("host", "")), last=at))
        elif kind == "error":
            self.errors.append(event)
        elif kind == "queue":
            self.queue = str(event.get("text", ""))
        if self.passes and kind != "start":
            _take(self.passes[-1], kind, event, at)


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
        user.folders_done += 1
        user.messages += event.get("messages", 0)
        user.bytes += event.get("bytes", 0)
        user.written += event.get("written", 0)
        conversion.folders.append(
            (
                name,
                event.get("folder", ""),
                event.get("messages", 0),
                event.get("bytes", 0),
                event.get("seconds", 0.0),
            )
        )
        conversion.summed = (
            conversion.summed[0] + event.get("messages", 0),
            conversion.summed[1] + event.get("bytes", 0),
        )
        _point(conversion, at, *conversion.summed)
    elif kind in ("published", "already", "staged", "unpublished", "error") and user is not None:
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


def _point(conversion, at, messages, size):
    messages, size = max(messages, conversion.messages), max(size, conversion.bytes)
    conversion.points.append((at, messages, size, conversion.done))


def told(event: dict) -> str:
    """One event as a line for people."""
    kind = event.get("event", "")
    if kind == "change":
        return f"{event.get('number', 0) + 1} of {event.get('of')}: {event.get('target')}: {event.get('title')}"
    if kind == "queue":
        return f"queue: {event.get('text')}"
    if kind == "log":
        return str(event.get("text", ""))
    if kind == "error":
        return "ERROR " + " ".join(
            str(event[key]) for key in ("user", "file", "what", "todo") if event.get(key)
        )
    if kind == "progress":
        return f"{event.get('users_done')} of {event.get('users')} users, {event.get('messages')} messages"
    if kind == "start":
        return f"began: {event.get('users')} users on {event.get('host', '')}"
    if kind == "end":
        return "ended " + ("well" if event.get("ok") else "with failures")
    parts = [str(event[key]) for key in ("user", "folder") if event.get(key)]
    parts += [f"{event[key]} {key}" for key in ("messages",) if key in event]
    return f"{kind}: " + ", ".join(parts)
