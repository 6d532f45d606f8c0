"""The whole cutover, unattended: every notebook in order by papermill, against the lab or a site."""

import contextlib
import functools

from cutover import hosts, runbook
from cutover.run import outage, papermill, report, summary
from cutover.ui import tables


def _reported(function):
    """However the steps end, the run's report says what became of them."""
    @functools.wraps(function)
    def call(parameters, run, names, say, **options):
        try:
            return function(parameters, run, names, say, **options)
        finally:
            report.write_if_possible(run, say)

    return call


@_reported
def steps(parameters, run, names, say, watch=True):
    """Execute steps in order; stops at the first that does not pass (papermill.StepFailed). One process a run (RunBusy).

    `say(text)` is told what goes on. With `watch`, the outage is measured from outside meanwhile.
    """
    with run.alone("run"), hosts.Hosts(parameters) as reached, \
            outage.Watch(reached, run) if watch else contextlib.nullcontext():
        for name in names:
            say(f"{runbook.number(name):2d}  {name} …")
            papermill.execute(parameters, run, name)


def told(run) -> tables.Stack:
    """The summary of a run, for people."""
    events = run.journal.events()
    return tables.Stack(
        tables.Table(["", "step", "state", "seconds", "changes", "checks passed"], summary.steps(events), "Steps"),
        tables.Table(["outage", "measured from outside"], summary.windows(run)),
        tables.Text(f"Verified: {summary.verified(events)}"),
        tables.Text(f"Run folder: {run.path}"))


def as_json(run) -> dict:
    """The same for scripts."""
    events = run.journal.events()
    keys = ("number", "step", "state", "seconds", "changes", "checks")
    return {"run": str(run.path), "steps": [dict(zip(keys, row, strict=True)) for row in summary.steps(events)],
            "outage": {window.kind: {"began": window.began, "ended": window.ended, "seconds": window.seconds}
                       for window in outage.windows(run.path / outage.NAME)},
            "verified": summary.verified(events)}
