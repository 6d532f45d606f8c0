"""What a journal tells, put together for people: attempts of steps, approvals, warnings, figures of each user.

Used by the board and the report, so both say the same. Reads the run's folder alone.
"""

import dataclasses
import datetime
import json

from cutover import model
from cutover.model import runbook
from cutover.record import transcript

NOTHING = "nothing to do"  # the kind of approval of an empty plan


@dataclasses.dataclass
class Attempt:
    """The last attempt of a step, and how many there were."""

    step: str
    state: str  # runbook.states' word
    began: float
    ended: float | None  # None while it goes on
    attempts: int = 1
    plan: list | None = None  # [{"title", "target", "text", "undo"}]; None before it was planned
    hash: str = ""
    reason: str = ""
    by: str = ""
    approved: str = ""  # the kind of approval
    earlier: str = ""  # who approved what an earlier attempt did
    applied: int = 0  # changes done, over all attempts
    checks: list = dataclasses.field(default_factory=list)
    error: str = ""
    waiting: bool = False  # for an approval

    @property
    def seconds(self) -> float | None:
        return None if self.ended is None else self.ended - self.began

    @property
    def notebook(self) -> str:
        return runbook.notebook_name(self.step)


def at(event) -> float:
    """Seconds since the epoch."""
    return datetime.datetime.fromisoformat(event["time"]).timestamp()


def clock(seconds, date=False) -> str:
    """A time of day, UTC."""
    return datetime.datetime.fromtimestamp(seconds, datetime.UTC).strftime(
        "%Y-%m-%d %H:%M:%S" if date else "%H:%M:%S"
    )


def duration(seconds) -> str:
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


def size(number) -> str:
    """Bytes as people say them: `812 B`, `3.4 MB`."""
    for unit in ("B", "kB", "MB", "GB"):
        if abs(number) < 1000 or unit == "GB":
            return (
                f"{number:.0f} {unit}" if unit == "B" or number >= 100 else f"{number:.1f} {unit}"
            )
        number /= 1000
    return ""


def attempts(events) -> dict:
    """`{step: Attempt}` for the steps the journal speaks of, in the runbook's order."""
    states, found = runbook.states(events), {}
    for name in runbook.EVERY:
        mine = [event for event in events if event.get("step") == name]
        begun = [event for event in mine if event["event"] == "step-begun"]
        if not begun:
            continue
        last = [event for event in mine if event["seq"] >= begun[-1]["seq"]]
        over = last[-1]["event"] in ("verified", "step-failed", "predicted")
        one = Attempt(
            name,
            states.get(name, "begun"),
            at(begun[-1]),
            at(last[-1]) if over else None,
            len(begun),
        )
        for event in last:
            _take(one, event)
        one.earlier = next(
            (
                f"{_by(event)}, plan {str(event.get('hash', ''))[:16]}"
                for event in reversed(mine)
                if event["event"] == "approved"
                and event["seq"] < begun[-1]["seq"]
                and event.get("kind") != NOTHING
            ),
            "",
        )
        one.applied = sum(
            event["event"] == "result" and event["outcome"] == "done" for event in mine
        )
        found[name] = one
    return found


def _take(one, event):
    kind = event["event"]
    one.waiting = kind == "approval-missing"
    if kind == "planned":
        one.plan, one.hash, one.reason = event["changes"], event["hash"], event["reason"]
    elif kind == "approved":
        one.by, one.approved = _by(event), str(event.get("kind", ""))
    elif kind == "verified":
        one.checks = event["checks"]
    elif kind == "step-failed":
        one.error = event["error"]


def approval(one: Attempt) -> str:
    """Who approved a step, in words."""
    if not one.approved:
        return ""
    if one.approved == NOTHING:
        return "nothing to approve" + (f"; before: {one.earlier}" if one.earlier else "")
    return one.by


def before(events, step: str) -> str:
    """Who approved what earlier attempts of a step did, as a sentence; "" when nobody had to."""
    earlier = attempts(events)[step].earlier
    return f"Approved before: {earlier}." if earlier else ""


def _by(event):
    by, kind = str(event.get("by", "")), str(event.get("kind", ""))
    return by if kind in ("person", "signed", by) else f"{by} ({kind})"


def stopped(events, kind: str) -> tuple:
    """(began, ended) of an outage by the journal: from the first change that stopped something to the verify that saw it
    back. None: not yet. `kind`: outage.READING or outage.DELIVERY."""
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


def gate(events) -> tuple:
    """(time, [Check]) of the last go or no-go: that of stop-imap, or before there was one what preflight found; none: 0.0, []."""
    for kind, step in (("gated", "stop-imap"), ("verified", "preflight")):
        last = runbook.latest(events, kind, step=step)
        if last is not None:
            return at(last), [model.Check(**check) for check in last["checks"]]
    return 0.0, []


def warnings(found: dict) -> list:
    """`[(step, question, what was found, what to do)]` of checks that passed and are worth a look."""
    return [
        (one.step, check["question"], check["actual"], check["todo"])
        for one in found.values()
        for check in one.checks
        if check["passed"] and check["warning"]
    ]


def failures(found: dict) -> list:
    """`[(step, question, expected, found, what to do)]` of checks that did not pass."""
    return [
        (one.step, check["question"], check["expected"], check["actual"], check["todo"])
        for one in found.values()
        for check in one.checks
        if not check["passed"]
    ]


def left_behind(events) -> list:
    """What the last rollback that passed went on without, a line a user; empty once it is carried back, or converted again."""
    last = next(
        (
            event
            for event in reversed(events)
            if event["event"] == "verified"
            and event["passed"]
            and event["step"] in ("rollback", "convert")
        ),
        {"checks": []},
    )
    return [
        f"{check['question']} {check['actual']}"
        for check in last["checks"]
        if check["warning"] and check.get("id") == "left-behind"
    ]


def verdict(events, found: dict) -> tuple:
    """(word, sentence): what became of the run, by its journal alone. The word: "passed", "failed", "undone", "begun"."""
    apart = runbook.apart(events)
    order = runbook.APART if apart else runbook.ORDER
    passed = [name for name in order if name in found and found[name].state == "passed"]
    back = found.get("rollback")
    if back is not None and back.state == "passed" and not passed:
        behind = left_behind(events)
        return "undone", (
            "Rolled back: what the run changed was undone"
            + ("." if apart else ", and the old service verified.")
            + "".join(f" But: {text}" for text in behind)
        )
    for one in found.values():
        if one.state == "failed":
            return "failed", f"Stopped: {one.step} did not pass."
    if apart and len(passed) == len(found):
        return "passed", f"Passed: {', '.join(passed)}."
    left_out = [name for name in runbook.NIGHT if name not in found]
    if (
        passed
        and runbook.number(passed[-1]) >= len(runbook.NIGHT)
        and len(passed) == len(found.keys() - {"rollback"})
    ):
        if not left_out:
            return "passed", f"Passed: every one of the {len(passed)} steps passed its verify."
        return (
            "passed",
            f"Passed: {len(passed)} steps passed their verify; left out: {', '.join(left_out)}.",
        )
    going = [name for name, one in found.items() if one.state == "begun"]
    if going:
        return (
            "begun",
            f"Not over: {going[-1]} was begun and has not passed its verify; {len(passed)} steps passed.",
        )
    if not found:
        return "begun", "Nothing has run yet."
    return "begun", f"Not over: {len(passed)} of {len(runbook.NIGHT)} steps passed so far."


def facts(run, events, step: str, when: str = "after") -> dict | None:
    """The last facts kept of a step, or None."""
    names = [
        event["facts"]
        for event in events
        if event["event"] == "probed" and event.get("step") == step and event["when"] == when
    ]
    try:
        return json.loads((run.path / names[-1]).read_bytes()) if names else None
    except (OSError, ValueError):
        return None


@dataclasses.dataclass
class Sums:
    """One user's figures: messages counted by both servers, bytes of the files on either side, seconds of conversion."""

    user: str
    old: int = 0
    new: int = 0
    added: int = 0
    folders: int = 0
    old_bytes: int = 0
    new_bytes: int = 0
    seconds: float | None = None
    differences: list = dataclasses.field(default_factory=list)
    notes: list = dataclasses.field(default_factory=list)


def users(run, events) -> list:
    """`[Sums]` by user, from verify's facts and the conversion's events; empty before either."""
    found = {}
    conversion = transcribed(run, "convert").current
    for name, user in (conversion.users if conversion else {}).items():
        if name:
            found[name] = Sums(
                name,
                old_bytes=user.source,
                new_bytes=user.bytes,
                seconds=(user.ended or user.began) - user.began,
            )
    for name, each in ((facts(run, events, "verify") or {}).get("users", {})).items():
        sums = found.setdefault(name, Sums(name))
        for row in each["rows"]:
            if row["unknown"]:
                continue
            folder = row["old_name"] or row["new_name"]
            sums.folders += 1
            sums.old, sums.new, sums.added = (
                sums.old + row["old"],
                sums.new + row["new"],
                sums.added + row["extra"],
            )
            sums.differences += [f"{folder}: {text}" for text in row["differences"]]
            sums.notes += [f"{folder}: {text}" for text in row["notes"]]
    return [found[name] for name in sorted(found)]


def sizes(run, events) -> list:
    """How many messages of the old store are of each class of size, as preflight counted: class n holds those from 2^(n-1)
    bytes to below 2^n. Empty before it was read."""
    return surveyed(run, events).get("sizes", [])


def surveyed(run, events) -> dict:
    """The totals of the old store as preflight counted it; empty before it was read."""
    found = facts(run, events, "preflight") or {}
    return ((found.get("survey") or {}).get("value") or {}).get("totals", {})


def transcribed(run, step: str) -> transcript.Transcript:
    """The events of a step, read to their end."""
    script = transcript.Transcript(run.path / "transcripts" / f"{step}.events.jsonl")
    script.update()
    return script
