"""What an audit reads: the events and files of a run's folder, as found. And what it reports."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from cutover.record import journal


@dataclasses.dataclass(frozen=True)
class Finding:
    """One thing that is wrong with a record.

    kind: "changed", "missing", "added", "truncated", "signature", "order", …
    where: file, or file and line.
    what: the rest of the sentence.
    """

    kind: str
    where: str
    what: str

    def __str__(self):
        return f"{self.kind}: {self.where}: {self.what}"


@dataclasses.dataclass(frozen=True)
class Archive:
    """A run's folder. Anybody may have written it: do not rely on its fields.

    events: the journal's events that could be read.
    contents: the files, as record_json.survey returns them.
    allowed: content of the allowed_signers file that counts.
    record: record.json, or None if it is missing or damaged.
    """

    events: Sequence[dict]
    contents: Mapping[str, tuple]
    allowed: bytes
    record: Mapping[str, Any] | None

    @property
    def begun(self) -> dict:
        """The run's first event."""
        return self.events[0]

    def data(self, name: str) -> bytes | None:
        """The content of a file; None if it does not exist."""
        return self.contents.get(name, (None, None))[1]


def of_attempt(events, attempt) -> list:
    """The events of one attempt of a step."""
    return [event for event in events if event.get("attempt") == attempt]


def last(events, kind: str) -> dict | None:
    """The last event of a kind, or None."""
    return next((event for event in reversed(events) if event["event"] == kind), None)


def at(event, kind: str, what: str) -> Finding:
    """A finding about an event."""
    return Finding(kind, journal.line_of(event), what)
