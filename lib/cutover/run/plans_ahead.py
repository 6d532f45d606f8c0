"""The plans of the outage's steps, worked out before it begins, to be approved ahead.

Each step reads the hosts as they are now. `Step.ahead` turns that into what the step will find when
its turn comes, and its own plan() does the rest. In the outage the step plans from what it then
reads: only if that gives the same hash does an approval of this plan count.
"""

from cutover.model import errors, runbook
from cutover.record import approval_ahead
from cutover.run import engine
from cutover.steps import registry
from cutover.steps.night import stop_imap

STEPS = runbook.OUTAGE


class TooLate(errors.CutoverError):
    """The outage has begun: its steps find another world than before it."""


def make(site, run, report=lambda text: None) -> dict:
    """Work out the plans and journal the list. Returns the event.

    Its `plans`: `{"step", "hash", "file"}` of each plan that can be approved ahead; `asked`:
    `{"step", "why"}` of the steps that will ask as always. `report`: takes the name of each step.
    Raises runbook.NotYet before the steps that stop-imap requires have passed, and TooLate.
    """
    events = run.journal.events()
    run.require_site(site)
    registry.may_run("stop-imap", events)
    if stop_imap.begun(events):
        raise TooLate(
            f"{run.path}: this run has begun to stop reading, so its plans cannot be worked out "
            "ahead. Approve each step's plan as it is made."
        )
    plans, asked = [], []
    for name in STEPS:
        step = registry.step(name)
        if step.only_reads:
            continue
        report(name)
        try:
            kept, why = _plan(site, run, step), "nothing to do, as things are now"
        except errors.CutoverError as error:
            kept, why = None, str(error)
        if kept:
            plans.append({"step": name, "file": kept[0], "hash": kept[1]})
        else:
            asked.append({"step": name, "why": why})
    digest = approval_ahead.digest(plans)
    return run.journal.append("planned-ahead", hash=digest, plans=plans, asked=asked)


def _plan(site, run, step):
    if step.ahead is None:
        raise errors.CutoverError("its plan depends on what happens before")
    stepper = engine.Engine(site, step.id, "plan", run)
    try:
        return stepper.plan_ahead()
    finally:
        stepper.close()
