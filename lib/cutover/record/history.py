"""What a journal says, put together for people: attempts of steps, approvals, checks, verdict.

Used by the board and the report, so that both say the same. Reads the run's folder only.
"""

import dataclasses
import datetime

from cutover import model
from cutover.model import runbook
from cutover.record.approval import NOTHING


@dataclasses.dataclass
class Attempt:
    """The last attempt of a step, and how many there were.

    state: as runbook.states has it. ended: None while it runs.
    plan: `{"title", "target", "text", "undo"}` per change; None before it was planned.
    approved: the kind of approval. earlier: who approved what an earlier attempt did.
    applied: changes done, over all attempts. waiting: for an approval.
    """

    step: str
    state: str
    began: float
    ended: float | None
    attempts: int = 1
    plan: list | None = None
    hash: str = ""
    reason: str = ""
    by: str = ""
    approved: str = ""
    earlier: str = ""
    applied: int = 0
    checks: list[model.Check] = dataclasses.field(default_factory=list)
    error: str = ""
    waiting: bool = False

    @property
    def seconds(self) -> float | None:
        return None if self.ended is None else self.ended - self.began

    @property
    def notebook(self) -> str:
        return runbook.notebook_name(self.step)


def at(event: dict) -> float:
    """Seconds since the epoch."""
    return datetime.datetime.fromisoformat(event["time"]).timestamp()


def clock(seconds: float, date: bool = False) -> str:
    """A time of day, UTC."""
    return datetime.datetime.fromtimestamp(seconds, datetime.UTC).strftime(
        "%Y-%m-%d %H:%M:%S" if date else "%H:%M:%S"
    )


def duration(seconds: float | None) -> str:
    """`3.2 s`, `4 min 05 s`, `1 h 02 min`."""
    if seconds is None:
        return ""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes = int(seconds // 60)
    return (
        f"{minutes} min {int(seconds % 60):02d} s"
        if minutes < 60
        else f"{minutes // 60} h {minutes % 60:02d} min"
    )


def size(number: float) -> str:
    """Bytes for people: `812 B`, `3.4 MB`."""
    for unit in ("B", "kB", "MB", "GB"):
        if abs(number) < 1000 or unit == "GB":
            return (
                f"{number:.0f} {unit}" if unit == "B" or number >= 100 else f"{number:.1f} {unit}"
            )
        number /= 1000
    return ""


CHECK_FIELDS = [field.name for field in dataclasses.fields(model.Check)]


def checks(event: dict) -> list[model.Check]:
    """The checks of an event. Those of earlier versions have no id, subject or data."""
    return [
        model.Check(**{"id": ""} | {name: check[name] for name in CHECK_FIELDS if name in check})
        for check in event["checks"]
    ]


def attempts(events) -> dict[str, Attempt]:
    """The last attempt of each step in the journal, in the runbook's order."""
    states, by_step = runbook.states(events), {}
    for name in runbook.EVERY:
        own_events = [event for event in events if event.get("step") == name]
        begun = [event for event in own_events if event["event"] == "step-begun"]
        if begun:
            by_step[name] = _attempt(name, states.get(name, "begun"), own_events, begun)
    return by_step


def _attempt(name, state, own_events, begun):
    first = begun[-1]["seq"]
    last = [event for event in own_events if event["seq"] >= first]
    over = last[-1]["event"] in ("verified", "step-failed", "predicted")
    attempt = Attempt(name, state, at(begun[-1]), at(last[-1]) if over else None, len(begun))
    for event in last:
        _take(attempt, event)
    attempt.earlier = next(
        (
            f"{_by(event)}, plan {str(event.get('hash', ''))[:16]}"
            for event in reversed(own_events)
            if event["event"] == "approved"
            and event["seq"] < first
            and event.get("kind") != NOTHING
        ),
        "",
    )
    attempt.applied = sum(
        event["event"] == "result" and event["outcome"] == "done" for event in own_events
    )
    return attempt


def _take(attempt, event):
    kind = event["event"]
    attempt.waiting = kind == "approval-missing"
    if kind == "planned":
        attempt.plan, attempt.hash = event["changes"], event["hash"]
        attempt.reason = event["reason"]
    elif kind == "approved":
        attempt.by, attempt.approved = _by(event), str(event.get("kind", ""))
    elif kind == "verified":
        attempt.checks = checks(event)
    elif kind == "step-failed":
        attempt.error = event["error"]


def approval(attempt: Attempt) -> str:
    """Who approved a step, in words."""
    if not attempt.approved:
        return ""
    if attempt.approved == NOTHING:
        earlier = f"; before: {attempt.earlier}" if attempt.earlier else ""
        return f"nothing to approve{earlier}"
    return attempt.by


def before(events, step: str) -> str:
    """Who approved what earlier attempts of a step did, as a sentence; "" when nobody had to."""
    earlier = attempts(events)[step].earlier
    return f"Approved before: {earlier}." if earlier else ""


def _by(event):
    by, kind = str(event.get("by", "")), str(event.get("kind", ""))
    return by if kind in ("person", "signed", by) else f"{by} ({kind})"


def stopped(events, kind: str) -> tuple[float | None, float | None]:
    """(began, ended) of an outage by the journal; None means not yet.

    From the first change that stopped something to the verify that saw it back.
    kind: outage.READING or outage.DELIVERY.
    """
    stop, restore = {
        "reading": ("stop-imap", "restore-imap"),
        "delivery": ("stop-sendmail", "restore-sendmail"),
    }[kind]
    began = ended = None
    for event in events:
        if (
            event["event"] == "intent"
            and event["step"] == stop
            and (began is None or ended is not None)
        ):
            began, ended = at(event), None
        elif (
            event["event"] == "verified"
            and event["passed"]
            and event["step"] in (restore, "rollback")
            and began is not None
            and ended is None
        ):
            ended = at(event)
    return began, ended


def lasted(began: float | None, ended: float | None, now: float) -> str:
    """How long an outage lasts, in words; all in seconds since the epoch."""
    if began is None:
        return "no outage"
    return (
        f"RUNNING {duration(now - began)}" if ended is None else f"over: {duration(ended - began)}"
    )


def gate(events) -> tuple[float, list[model.Check]]:
    """(time, checks) of the last go or no-go; (0.0, []) before there was one.

    That of stop-imap, or what preflight found before.
    """
    for kind, step in (("gated", "stop-imap"), ("verified", "preflight")):
        last = runbook.latest(events, kind, step=step)
        if last is not None:
            return at(last), checks(last)
    return 0.0, []


def left_behind(events) -> list[str]:
    """The mail that the last rollback left behind, a text per user.

    Empty once that mail is carried back or converted again. Checks of earlier versions have no
    id: then every warning of the rollback is listed, so that none is lost.
    """
    last = next(
        (
            event
            for event in reversed(events)
            if event["event"] == "verified"
            and event["passed"]
            and event["step"] in ("rollback", "convert")
        ),
        None,
    )
    if last is None or last["step"] == "convert":
        return []
    return [
        f"{check.question} {check.actual}"
        for check in checks(last)
        if check.warning and check.id in ("left-behind", "")
    ]


def left_out(events) -> list[str]:
    """The users whom the last conversion left out, a text per user. Empty after a rollback."""
    last = next(
        (
            event
            for event in reversed(events)
            if event["event"] == "verified" and event["step"] in ("rollback", "convert")
        ),
        None,
    )
    return [
        f"{check.subject}: {check.actual}"
        for check in (checks(last) if last else ())
        if check.id == "user-left-out"
    ]


def verdict(events, by_step: dict[str, Attempt]) -> tuple[str, str]:
    """(word, sentence): what became of the run, by its journal alone.

    The word: "passed", "failed", "undone" or "begun".
    """
    apart = runbook.apart(events)
    order = runbook.APART if apart else runbook.ORDER
    passed = [name for name in order if name in by_step and by_step[name].state == "passed"]
    rollback = by_step.get("rollback")
    if rollback is not None and rollback.state == "passed" and not passed:
        behind = left_behind(events)
        return "undone", (
            "Rolled back: what the run changed was undone"
            + ("." if apart else ", and the old service verified.")
            + "".join(f" But: {text}" for text in behind)
        )
    without = "".join(f" But without {text}" for text in left_out(events))
    for attempt in by_step.values():
        if attempt.state == "failed":
            return "failed", f"Stopped: {attempt.step} did not pass." + without
    if apart and len(passed) == len(by_step):
        return "passed", f"Passed: {', '.join(passed)}."
    if (
        passed
        and runbook.number(passed[-1]) >= len(runbook.NIGHT)
        and len(passed) == len(by_step.keys() - {"rollback"})
    ):
        return "passed", _passed(passed, by_step) + without
    return "begun", _begun(passed, by_step) + without


def _passed(passed, by_step):
    skipped = [name for name in runbook.NIGHT if name not in by_step]
    if not skipped:
        return f"Passed: all {len(passed)} steps passed verification."
    return f"Passed: {len(passed)} steps passed verification; skipped: {', '.join(skipped)}."


def _begun(passed, by_step):
    running = [name for name, attempt in by_step.items() if attempt.state == "begun"]
    if running:
        return (
            f"Not finished: {running[-1]} was begun and has not passed verification; {len(passed)} "
            "steps passed."
        )
    if not by_step:
        return "Nothing has run yet."
    return f"Not finished: {len(passed)} of {len(runbook.NIGHT)} steps passed so far."
