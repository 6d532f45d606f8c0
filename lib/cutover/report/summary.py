"""A run in a few tables: steps with durations, outage windows, what was verified, where the record is."""

import datetime

from cutover.model import runbook
from cutover.run import outage
from cutover.run import prediction as predict


def steps(events) -> list:
    """`[(number, step, state, seconds, changes applied, checks passed "n of m")]` for each step the journal speaks of.

    Seconds run from the step-begun of the step's last attempt to its last word.
    """
    states = runbook.states(events)
    rows = []
    for name in runbook.EVERY:
        mine = [event for event in events if event.get("step") == name]
        if not mine:
            continue
        begun = [event["seq"] for event in mine if event["event"] == "step-begun"][-1:] or [0]
        last = [event for event in mine if event["seq"] >= begun[0]]
        seconds = _at(last[-1]) - _at(last[0])
        applied = sum(event["event"] == "result" and event["outcome"] == "done" for event in mine)
        checks = next(
            (event["checks"] for event in reversed(mine) if event["event"] == "verified"), []
        )
        rows.append(
            (
                runbook.number(name),
                name,
                states.get(name, "begun"),
                round(seconds, 1),
                applied,
                f"{sum(check['passed'] for check in checks)} of {len(checks)}"
                if checks
                else "none",
            )
        )
    return rows


def windows(run) -> list:
    """`[(what, measured, predicted, how they compare)]` of the outage windows, as text."""
    said = {outage.READING: "reading refused", outage.DELIVERY: "delivery held"}
    return [
        (
            said[kind],
            str(window) if window else "none was seen",
            str(expected) if expected else "not predicted",
            predict.judged(expected, window),
        )
        for kind, expected, window in predict.windows(run, run.journal.events())
    ]


def verified(events) -> str:
    """The last line of the last verify: the sums."""
    for event in reversed(events):
        if event["event"] == "verified" and event["step"] == "verify":
            last = event["checks"][-1]
            return f"{last['expected']}; found {last['actual']}: {'equal' if event['passed'] else 'NOT equal'}"
    return "nothing was verified"


def notes(events) -> list:
    """What the last plan of the rollback told whoever approves it: `[(title, text)]`."""
    last = runbook.latest(events, "planned", step="rollback") or {}
    return [(note["title"], note["text"]) for note in last.get("notes", [])]


def ledger(events) -> list:
    """What the last ledger of live traffic says, a line a side; empty where there was no traffic."""
    last = next((event for event in reversed(events) if event["event"] == "ledger"), None)
    if last is None:
        return []
    return [
        f"{last['accepted']} messages accepted; users kept {last.get('sent', 0)} copies of sent mail and removed "
        f"{last.get('removed', 0)} of them",
        *_late(last),
    ] + [
        f"{side} server: {len(last[side]['lost'])} lost, {len(last[side]['double'])} double, "
        f"{len(last[side].get('back', []))} removed and there again"
        for side in ("old", "new")
        if last[side]
    ]


def _late(ledger):
    """A line about the mail that was put off at first, if any was."""
    late = ledger.get("put_off") or {"messages": 0, "waiting": []}
    if late["messages"]:
        yield (
            f"{late['messages']} of {ledger['accepted']} were put off at first, as greylisting does, and accepted after "
            f"{late['least']:.1f} to {late['most']:.1f} s"
        )
    if late["waiting"]:
        yield f"{len(late['waiting'])} were never accepted: put off, and their sender still tries"


def _at(event):
    return datetime.datetime.fromisoformat(event["time"]).timestamp()
