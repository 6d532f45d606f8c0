"""A run in a few tables: steps with durations, outage windows, what was verified, the ledger."""

import dataclasses
from typing import NamedTuple

from cutover.model import runbook
from cutover.record import history
from cutover.run import outage, prediction

OUTAGES = {outage.READING: "reading refused", outage.DELIVERY: "delivery held"}
NOT_RECORDED = "not recorded"


class StepRow(NamedTuple):
    """A step the journal mentions. checks: "n of m" that passed, or "none".

    seconds: from the step-begun of its last attempt to its last event. changes: those applied.
    """

    number: int
    step: str
    state: str
    seconds: float
    changes: int
    checks: str


class WindowRow(NamedTuple):
    """An outage window, as text."""

    name: str
    measured: str
    predicted: str
    comparison: str


@dataclasses.dataclass(frozen=True)
class Verified:
    """What the last verify found of all mail together; messages unless said otherwise."""

    old: int
    new: int
    added: int
    folders: int
    users: int
    passed: bool

    def __str__(self):
        return (
            f"{self.old} messages, and {self.added} added (spool, dual delivery); found {self.new} "
            f"messages in {self.folders} folders of {self.users} users: "
            f"{'equal' if self.passed else 'NOT equal'}"
        )


def steps(events) -> list[StepRow]:
    """A row for each step the journal mentions, in the runbook's order."""
    states = runbook.states(events)
    rows = []
    for name in runbook.EVERY:
        own_events = [event for event in events if event.get("step") == name]
        if not own_events:
            continue
        begun = [event["seq"] for event in own_events if event["event"] == "step-begun"]
        last = [event for event in own_events if event["seq"] >= (begun[-1] if begun else 0)]
        applied = sum(
            event["event"] == "result" and event["outcome"] == "done" for event in own_events
        )
        passed = checks_passed(events, name)
        rows.append(
            StepRow(
                runbook.number(name),
                name,
                states.get(name, "begun"),
                round(history.at(last[-1]) - history.at(last[0]), 1),
                applied,
                f"{passed.passed} of {passed.checks}" if passed else "none",
            )
        )
    return rows


class ChecksPassed(NamedTuple):
    """How many of a step's checks passed."""

    passed: int
    checks: int


def checks_passed(events, step: str) -> ChecksPassed | None:
    """Of the last time the step was verified; None without checks."""
    last = runbook.latest(events, "verified", step=step)
    checks = history.checks(last) if last else []
    return ChecksPassed(sum(check.passed for check in checks), len(checks)) if checks else None


def windows(run) -> list[WindowRow]:
    """The outage windows, measured and predicted."""
    return [
        WindowRow(
            OUTAGES[kind],
            str(window) if window else "none was seen",
            str(expected) if expected else "not predicted",
            prediction.judged(expected, window),
        )
        for kind, expected, window in prediction.windows(run, run.journal.events())
    ]


def sums(events) -> Verified | None:
    """The sums of the last verify. None without one, and for a journal that kept no figures."""
    last = runbook.latest(events, "verified", step="verify")
    keys = ("old", "new", "added", "folders", "users")
    for check in history.checks(last) if last else ():
        if check.id == "sums-equal" and set(keys) <= set(check.data):
            return Verified(**{key: check.data[key] for key in keys}, passed=last["passed"])
    return None


def verified(events) -> str:
    """The sums of the last verify, in words."""
    last = runbook.latest(events, "verified", step="verify")
    if last is None:
        return "nothing was verified"
    result = "equal" if last["passed"] else "NOT equal"
    return str(sums(events) or f"{NOT_RECORDED} in figures: {result}")


def old_mail(events) -> dict | None:
    """`{"users", "messages", "bytes"}` of the old store when preflight was last verified.

    users: None in journals of earlier versions.
    """
    last = runbook.latest(events, "verified", step="preflight")
    for check in history.checks(last) if last else ():
        if check.id == "old-mail-readable" and check.data:
            return {key: check.data.get(key) for key in ("users", "messages", "bytes")}
    return None


def notes(events) -> list[tuple[str, str]]:
    """(title, text) of what the last plan of the rollback notes for the person who approves it."""
    last = runbook.latest(events, "planned", step="rollback") or {}
    return [(note["title"], note["text"]) for note in last.get("notes", [])]


def ledger(events) -> list[str]:
    """What the last ledger of live traffic says, a line per side; empty without traffic."""
    last = runbook.latest(events, "ledger")
    if last is None:
        return []
    return [
        f"{last['accepted']} messages accepted; users kept {last.get('sent', 0)} copies of sent "
        f"mail and removed {last.get('removed', 0)} of them",
        *_late(last),
    ] + [
        f"{side} server: {len(last[side]['lost'])} lost, {len(last[side]['double'])} double, "
        f"{len(last[side].get('back', []))} removed and back again"
        for side in ("old", "new")
        if last[side]
    ]


def _late(event):
    """A line about the mail that was deferred at first, if any was."""
    late = event.get("put_off") or {"messages": 0, "waiting": []}
    if late["messages"]:
        yield (
            f"{late['messages']} of {event['accepted']} were put off at first, as by greylisting, "
            f"and accepted after {late['least']:.1f} to {late['most']:.1f} s"
        )
    if late["waiting"]:
        yield (
            f"{len(late['waiting'])} were never accepted: they were put off, and the sender retries"
        )
