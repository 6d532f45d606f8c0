"""Every step by its id, and which of them may run now."""

from cutover.model import Step, runbook
from cutover.steps.maintenance import forwards, move_store, old_spam, restore, spam_digest, vacation
from cutover.steps.night import (
    backup,
    convert,
    decommission,
    dns_rename,
    dual_delivery,
    preflight,
    presync,
    production_test,
    restore_imap,
    restore_sendmail,
    rollback,
    stop_imap,
    stop_sendmail,
    switch_alias,
    verify,
)

STEPS = {
    module.STEP.id: module.STEP
    for module in (
        preflight,
        dns_rename,
        dual_delivery,
        presync,
        stop_imap,
        stop_sendmail,
        convert,
        verify,
        restore_sendmail,
        switch_alias,
        restore_imap,
        production_test,
        backup,
        decommission,
        restore,
        vacation,
        forwards,
        old_spam,
        spam_digest,
        move_store,
        rollback,
    )
}


def step(step_id: str) -> Step:
    """The step of that id. Raises runbook.UnknownStep."""
    if step_id not in STEPS:
        raise runbook.UnknownStep(
            f"no step {step_id!r}; the steps are {', '.join([*runbook.ORDER, *runbook.APART])}"
        )
    return STEPS[step_id]


def may_run(step_id: str, events) -> None:
    """Raises runbook.NotYet, naming what is missing, unless every step this one rests on has passed."""
    other = runbook.ORDER if step_id in runbook.APART else runbook.APART
    strange = [
        event for event in events if event["event"] == "step-begun" and event["step"] in other
    ]
    if step_id != "rollback" and strange:
        raise runbook.NotYet(
            f"{step_id} needs a run of its own: this one holds {strange[0]['step']}, and a rollback undoes a whole run. "
            "Give another folder."
        )
    current = runbook.states(events)
    missing = [name for name in step(step_id).requires if current.get(name) != "passed"]
    if missing:
        raise runbook.NotYet(
            f"{step_id} may not run yet: "
            + "; ".join(f"{name} {_SAID[current.get(name)]}" for name in missing)
            + ". Run that first."
        )
    if step_id == "rollback" and not any(event["event"] == "intent" for event in events):
        raise runbook.NotYet("rollback has nothing to undo: this run has changed nothing yet")
    passed_at = no_return(events) if step_id == "rollback" else None
    if passed_at is not None:
        raise runbook.NotYet(
            f"rollback may not run: {passed_at['step']} has begun to change things at {passed_at['time'][:19]} UTC, and "
            "that is the point of no return: mail no longer reaches the old server"
        )


def no_return(events) -> dict | None:
    """The first change of a step that cannot be undone (its intent), or None: the point of no return was not reached."""
    return next(
        (
            event
            for event in events
            if event["event"] == "intent"
            and event["step"] in runbook.ORDER
            and not step(event["step"]).reversible
        ),
        None,
    )


_SAID = {
    None: "has not run",
    "begun": "was begun and has not passed its verify",
    "failed": "did not pass",
    "undone": "was rolled back",
    "stale": "passed, but an earlier step has changed something since",
}
