"""The facts a run kept of its steps, and the figures of users' mail in them."""

import dataclasses
import gzip
import hashlib
import json
import zlib
from typing import Any

from cutover import model
from cutover.facts import old_mail
from cutover.model import errors, runbook
from cutover.record import transcript
from cutover.steps import registry

LARGE = 100_000  # bytes: what exceeds them is not for people's eyes as it is


class FactsUnusable(errors.TemplatedError):
    """The facts that a verdict rests on are gone, or are not what the journal says."""

    template = "the facts of the last {step} cannot be used ({reason})"


def read(run, events, step: str, when: str = "after") -> Any:
    """The last facts kept of a step, as an object of its facts class.

    None when there are none, and when they are of a version whose facts this one cannot read.
    """
    names = [
        event["facts"]
        for event in events
        if event["event"] == "probed" and event.get("step") == step and event["when"] == when
    ]
    if not names:
        return None
    try:
        return parse(step, (run.path / names[-1]).read_bytes())
    except (OSError, ValueError):
        return None


def judged(run, events, step: str, verified: dict | None) -> Any:
    """The facts that this event of a step's verification judged. Raises FactsUnusable."""
    try:
        probed = [
            event
            for event in events
            if event["event"] == "probed" and event["attempt"] == verified["attempt"]
        ][-1]
        data = (run.path / probed["facts"]).read_bytes()
        if hashlib.sha256(data).hexdigest() != probed["sha256"]:
            raise ValueError("the journal has another digest of them")
        return parse(step, data)
    except (TypeError, IndexError, OSError, ValueError) as error:
        raise FactsUnusable(step=step, reason=error) from error


def passed(run, events, step: str) -> model.Reading | None:
    """The facts with which a step passed last, since any rollback. None if it did not pass."""
    event = runbook.passed(events, step)
    return event and model.read(judged, run, events, step, event)


def keep(run, name: str, facts: Any) -> tuple[str, str]:
    """Write a step's facts, as JSON, into the run's folder; compressed where they are LARGE.

    name: of the file, without its ending. → (the file's name within the folder, SHA-256)
    """
    data = json.dumps(facts, sort_keys=True).encode()
    if len(data) > LARGE:
        return run.keep(f"{name}.json.gz", gzip.compress(data, 6, mtime=0))
    # indented last: that takes Python ten times as long, and much memory
    return run.keep(f"{name}.json", json.dumps(facts, indent=1, sort_keys=True).encode())


def content(data: bytes) -> bytes:
    """The text of the JSON in a file that keep() wrote. Raises ValueError."""
    if not data.startswith(b"\x1f\x8b"):
        return data
    try:
        return gzip.decompress(data)
    except (OSError, EOFError, zlib.error) as error:
        raise ValueError(f"cannot be decompressed: {error}") from error


def parse(step: str, data: bytes) -> Any:
    """A step's facts from the bytes kept in the run's folder. Raises ValueError."""
    return model.from_text(registry.step(step).facts, content(data))


@dataclasses.dataclass
class UserSums:
    """One user's figures.

    old, new, added: messages counted by both servers. old_bytes, new_bytes: of the files on either
    side. seconds: of conversion, None when it did not run.
    """

    user: str
    old: int = 0
    new: int = 0
    added: int = 0
    folders: int = 0
    old_bytes: int = 0
    new_bytes: int = 0
    seconds: float | None = None
    differences: list[str] = dataclasses.field(default_factory=list)
    notes: list[str] = dataclasses.field(default_factory=list)


def users(run, events) -> list[UserSums]:
    """Figures by user, from verify's facts and the conversion's events; empty before either."""
    by_name = {}
    conversion = transcript.read(run, "convert").current
    for name, user in (conversion.users if conversion else {}).items():
        if name:
            by_name[name] = UserSums(
                name,
                old_bytes=user.source,
                new_bytes=user.bytes,
                seconds=(user.ended or user.began) - user.began,
            )
    verified = read(run, events, "verify")
    for name, mail in (verified.users if verified else {}).items():
        sums = by_name.setdefault(name, UserSums(name))
        for row in mail.rows:
            if not row.unknown:
                _add(sums, row)
    return [by_name[name] for name in sorted(by_name)]


def _add(sums, row):
    sums.folders += 1
    sums.old += row.old
    sums.new += row.new
    sums.added += row.extra
    sums.differences += [f"{row.name}: {text}" for text in row.differences]
    sums.notes += [f"{row.name}: {text}" for text in row.notes]


def surveyed(run, events) -> old_mail.Totals | None:
    """The totals of the old store as preflight counted it; None before that."""
    facts = read(run, events, "preflight")
    return facts.survey.value.totals if facts and facts.survey.ok else None


def sizes(run, events) -> list[int]:
    """How many messages of the old store are of which size, as preflight counted them.

    Class n holds those of 2^(n-1) bytes to below 2^n. Empty before preflight.
    """
    totals = surveyed(run, events)
    return totals.sizes if totals else []
