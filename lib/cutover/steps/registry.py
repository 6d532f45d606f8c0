"""Every step by its id, and whether it may run now."""

from collections.abc import Sequence

from cutover.model import Step, runbook
from cutover.steps.maintenance import (
    forwards,
    mail_rules,
    move_store,
    old_spam,
    restore,
    spam_digest,
    user_pages,
    vacation,
)
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
        mail_rules,
        user_pages,
        rollback,
    )
}


_STATE = {
    None: "has not run",
    "begun": "was begun and has not passed verification",
    "failed": "did not pass",
    "undone": "was rolled back",
    "stale": "passed, but an earlier step has changed something since",
}


def step(step_id: str) -> Step:
    """The step of that id. Raises runbook.UnknownStep."""
    if step_id not in STEPS:
        names = ", ".join([*runbook.ORDER, *runbook.APART])
        raise runbook.UnknownStep(f"no step {step_id!r}; the steps are {names}")
    return STEPS[step_id]


def may_run(step_id: str, events: Sequence[dict]) -> None:
    """Raises runbook.NotYet, naming what is missing, unless all required steps have passed, and if
    users may have new mail that the step would not know."""
    _in_time(step_id, events)
    in_order(step_id, events)


def in_order(step_id: str, events: Sequence[dict]) -> None:
    """Raises runbook.NotYet, naming what is missing, unless all required steps have passed."""
    if step_id == "rollback":
        _may_roll_back(events)
    else:
        _alone(step_id, events)
    state = runbook.states(events)
    missing = [name for name in step(step_id).requires if state.get(name) != "passed"]
    if missing:
        reason = "; ".join(f"{name} {_STATE[state.get(name)]}" for name in missing)
        text = f"{step_id} may not run yet: {reason}. Run that first."
        raise runbook.NotYet(text, f"{reason}.")


def _alone(step_id, events):
    """Steps of the night and steps apart do not share a run."""
    others = runbook.ORDER if step_id in runbook.APART else runbook.APART
    for event in events:
        if event["event"] == "step-begun" and event["step"] in others:
            raise runbook.NotYet(
                f"{step_id} needs a run of its own: this run contains {event['step']}, and a "
                "rollback undoes a whole run. Use another folder."
            )


def _in_time(step_id, events):
    resumed = runbook.resumed(events)
    if resumed and step_id in runbook.CLOSING:
        reason = (
            f"{resumed['step']} began to change things at {resumed['time'][:19]} UTC, and users "
            "may have mail since that it would not know"
        )
        raise runbook.NotYet(
            f"{step_id} may not run any more: {reason}. Go on with the steps after verify, or roll "
            "back.",
            f"{reason}.",
        )


def _may_roll_back(events):
    if not any(event["event"] == "intent" for event in events):
        raise runbook.NotYet("rollback has nothing to undo: this run has changed nothing yet")
    intent = no_return(events)
    if intent is not None:
        raise runbook.NotYet(
            f"rollback may not run: {intent['step']} began to change things at "
            f"{intent['time'][:19]} UTC. That is the point of no return: mail no longer reaches "
            "the old server."
        )


def no_return(events: Sequence[dict]) -> dict | None:
    """The first intent of a step that cannot be undone: the point of no return. None before it."""
    for event in events:
        changes = event["event"] == "intent" and event["step"] in runbook.ORDER
        if changes and not step(event["step"]).reversible:
            return event
    return None
