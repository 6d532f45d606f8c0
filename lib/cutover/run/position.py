"""Where a run is in the runbook: the next step, and what the other steps wait for."""

from collections.abc import Sequence

from cutover.model import runbook
from cutover.steps import registry


def waits_for(step_id: str, events: Sequence[dict]) -> str:
    """What a step waits for; "" if it may run now."""
    try:
        registry.may_run(step_id, events)
    except runbook.NotYet as error:
        return error.reason
    return ""


def next_step(events: Sequence[dict]) -> str | None:
    """The step to run now, or None.

    That is a step that began, failed or became stale; otherwise the first after those that passed.
    Never one that cannot be undone: that must be asked for by name. A rollback that did not pass
    comes first, unless a step began since.
    """
    states, begun = runbook.states(events), runbook.latest(events, "step-begun")
    if begun and begun["step"] == "rollback" and states["rollback"] != "passed":
        return "rollback"
    again = [name for name in runbook.ORDER if states.get(name, "passed") != "passed"]
    passed = [number for number, name in enumerate(runbook.ORDER) if states.get(name) == "passed"]
    later = runbook.ORDER[max(passed, default=-1) + 1 :]
    fresh = [name for name in later if name not in states and name in runbook.NIGHT]
    for name in [*again, *fresh]:
        if not waits_for(name, events):
            return name
    return None
