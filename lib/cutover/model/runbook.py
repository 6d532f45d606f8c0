"""The steps in their order, and what became of each by the journal."""

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
ORDER = [
    *NIGHT,
    "decommission",
]  # what comes after the night runs only when it is asked for by its name
APART = {
    "restore": 20,
    "vacation": 30,
    "forwards": 31,
    "old-spam": 32,
    "spam-digest": 33,
    "move-store": 34,
}  # runs of their own; their number
MAINTENANCE = [name for name in APART if name != "restore"]
EVERY = [*ORDER, *APART, "rollback"]


class UnknownStep(errors.CutoverError):
    """There is no step of that name."""


class NotYet(errors.CutoverError):
    """A step was asked for before the steps it rests on have passed."""


def number(step_id: str) -> int:
    """The step's place in the runbook, from 1; those apart are numbered from 20; the rollback comes last."""
    return ORDER.index(step_id) + 1 if step_id in ORDER else APART.get(step_id, 90)


def notebook_name(step_id: str) -> str:
    return f"{number(step_id):02d}_{step_id.replace('-', '_')}.ipynb"


def between(first: str | None, last: str | None) -> list:
    """The steps from `first` to `last`, both included. None means the night's first, and its last (or, from a step that comes
    later, the runbook's last)."""
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


def apart(events) -> bool:
    """Whether a run is one apart from the night, of maintenance or a restore: it has done nothing else."""
    return any(event.get("step") in APART for event in events) and not any(
        event.get("step") in ORDER for event in events
    )


def latest(events, *kinds, step: str | None = None) -> dict | None:
    """The last event of these kinds (of a step, if one is given), or None."""
    return next(
        (
            event
            for event in reversed(events)
            if event["event"] in kinds and step in (None, event.get("step"))
        ),
        None,
    )


def states(events) -> dict:
    """`{step: "passed" | "failed" | "begun" | "undone" | "stale"}` for the steps a journal speaks of.

    A step that was run again counts by its last attempt. A step that changed something after a later one had passed makes
    that later one stale: what it saw is no longer so. A rollback that passed undoes all before it.
    """
    found = {}
    for event in events:
        name = event.get("step")
        if name is None:
            continue
        if event["event"] == "step-begun":
            found[name] = "begun"
        elif event["event"] == "step-failed":
            found[name] = "failed"
        elif event["event"] == "intent" and name in ORDER:
            for other in ORDER[ORDER.index(name) + 1 :]:
                if found.get(other) == "passed":
                    found[other] = "stale"
        elif event["event"] == "verified":
            found[name] = "passed" if event["passed"] else "failed"
            if name == "rollback" and event["passed"]:
                for other in found:
                    if other != "rollback":
                        found[other] = "undone"
    return found
