"""The steps in their order, and the state of each according to the journal."""

import datetime
from collections.abc import Sequence

from cutover.model import errors

NIGHT = [
    "preflight",
    "dns-rename",
    "dual-delivery",
    "presync",
    "stop-imap",
    "stop-sendmail",
    "convert",
    "verify",
    "restore-sendmail",
    "switch-alias",
    "restore-imap",
    "production-test",
    "backup",
]
OUTAGE = NIGHT[NIGHT.index("stop-imap") : NIGHT.index("restore-imap") + 1]
# once one of the first has changed something, users have mail that none of the others knows
RESUMING = ("restore-sendmail", "restore-imap")
CLOSING = ("presync", "stop-imap", "stop-sendmail", "convert", "verify")
ORDER = [*NIGHT, "decommission"]  # steps after the night run only when asked for by name
APART = {  # steps with a run of their own, and their numbers
    "restore": 20,
    "vacation": 30,
    "forwards": 31,
    "old-spam": 32,
    "spam-digest": 33,
    "move-store": 34,
    "mail-rules": 35,
    "user-pages": 36,
}
MAINTENANCE = [name for name in APART if name != "restore"]
EVERY = [*ORDER, *APART, "rollback"]


class UnknownStep(errors.CutoverError):
    """There is no step of that name."""


class NotYet(errors.CutoverError):
    """A step was asked for before the steps it requires have passed.

    reason: what it waits for, without the step's own name.
    """

    def __init__(self, text: str, reason: str = ""):
        super().__init__(text)
        self.reason = reason or text


def number(step_id: str) -> int:
    """The step's place in the runbook, from 1. Steps apart start at 20; rollback is last."""
    return ORDER.index(step_id) + 1 if step_id in ORDER else APART.get(step_id, 90)


def notebook_name(step_id: str) -> str:
    return f"{number(step_id):02d}_{step_id.replace('-', '_')}.ipynb"


def between(first: str | None, last: str | None) -> list[str]:
    """The steps from `first` to `last`, both included. Raises UnknownStep.

    None means the night's first and the night's last step; after a later `first`, the runbook's
    last step.
    """
    for name in (first, last):
        if name is not None and name not in ORDER:
            raise UnknownStep(f"no step {name!r}; the steps are {', '.join(ORDER)}")
    start = ORDER.index(first) if first else 0
    stop = ORDER.index(last or NIGHT[-1]) + 1
    if last is None and start >= stop:
        stop = len(ORDER)
    if start >= stop:
        raise UnknownStep(f"--from {first} comes after --to {last}")
    return ORDER[start:stop]


def apart(events: Sequence[dict]) -> bool:
    """Whether a run is a restore or maintenance run: it has done nothing of the night."""
    names = {event.get("step") for event in events}
    return bool(names.intersection(APART)) and not names.intersection(ORDER)


def latest(events: Sequence[dict], *kinds: str, step: str | None = None) -> dict | None:
    """The last event of these kinds (of a step, if one is given), or None."""
    for event in reversed(events):
        if event["event"] in kinds and step in (None, event.get("step")):
            return event
    return None


def time_of(events: Sequence[dict], kind: str, step: str) -> float | None:
    """When a step last passed or began (`kind`), in seconds since the epoch; None if never."""
    times = [
        event["time"]
        for event in events
        if event["event"] == kind and event.get("step") == step and event.get("passed", True)
    ]
    return datetime.datetime.fromisoformat(times[-1]).timestamp() if times else None


def since_rollback(events: Sequence[dict]) -> Sequence[dict]:
    """The events after the last one of a rollback: no evidence from before it counts."""
    numbers = [number for number, event in enumerate(events) if event.get("step") == "rollback"]
    return events[numbers[-1] + 1 :] if numbers else events


def resumed(events: Sequence[dict]) -> dict | None:
    """The first change by which delivery or reading came back; None before it, and once a rollback
    takes the converted mail away again, or has passed."""
    first, steps = None, {}
    for event in events:
        if event["event"] == "intent":
            steps[event.get("seq")] = event["step"]
            if event["step"] in RESUMING:
                first = first or event
            elif _undone(event, steps) == "convert":
                first = None
        elif event["event"] == "verified" and event["step"] == "rollback" and event["passed"]:
            first = None
    return first


def _undone(intent, steps):
    """The step of which a rollback's intent undoes a change; None of any other. steps: by seq."""
    return steps.get(intent["undoes"]) if intent.get("undoes") is not None else None


def passed(events: Sequence[dict], step: str) -> dict | None:
    """The last event of a step's verification that passed, since any rollback."""
    passes = [event for event in since_rollback(events) if event.get("passed")]
    return latest(passes, "verified", step=step)


def states(events: Sequence[dict]) -> dict[str, str]:
    """`{step: "passed" | "failed" | "begun" | "undone" | "stale"}` for the steps of a journal.

    The last attempt of a step counts. When a step changes something after a later step has passed,
    the later one is stale: what it saw may no longer be true. Once delivery or reading was resumed,
    the steps of CLOSING stay as they are: they are over, and nothing rests on them any more. A
    rollback undoes each step with the first of its changes that it undoes, and those after it; one
    that passed, all.
    """
    state, over, steps = {}, (), {}
    for event in events:
        name = event.get("step")
        if name is None or name in over:
            continue
        if event["event"] == "intent":
            steps[event.get("seq")] = name
            if undone := _undone(event, steps):
                over = () if undone == "convert" else over
                later = ORDER[ORDER.index(undone) :] if undone in ORDER else [undone]
                state.update({step: "undone" for step in later if step in state})
        if event["event"] == "step-begun":
            state[name] = "begun"
        elif event["event"] == "step-failed":
            state[name] = "failed"
        elif event["event"] == "intent" and name in ORDER:
            over = CLOSING if name in RESUMING else over
            later = [step for step in ORDER[ORDER.index(name) + 1 :] if step not in over]
            state.update({step: "stale" for step in later if state.get(step) == "passed"})
        elif event["event"] == "verified":
            if name == "rollback" and event["passed"]:
                state, over = dict.fromkeys(state, "undone"), ()
            state[name] = "passed" if event["passed"] else "failed"
    return state
