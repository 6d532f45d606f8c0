"""The whole cutover, unattended: every notebook in order by papermill, against the lab or a site."""

import contextlib
import json

from cutover.connect import hosts
from cutover.model import errors, runbook
from cutover.record import history as story
from cutover.record import record_json as record
from cutover.report import page as report
from cutover.report import summary, tables
from cutover.run import lease, outage, papermill
from cutover.run import prediction as predict
from cutover.steps import registry


class LedgerFailed(errors.CutoverError):
    """A message that an MX accepted is not there exactly once at the end of a rehearsal."""


def steps(parameters, run, names, say, watch=True, rate=0.0, least=0, chosen=None):
    """Execute steps in order; stops at the first that does not pass (papermill.StepFailed). One process a run (RunBusy).

    `say(text)` is told what goes on. With `watch`, the outage is measured from outside meanwhile; with a `rate`, that many
    messages a second are sent meanwhile, `least` in all, users read and move mail, and a ledger is drawn up at the end. `chosen`:
    what is asked of a step that has a CHOICE.
    """
    if rate:
        from cutover.rehearsal import traffic
    with (
        run.alone("run"),
        hosts.Hosts(parameters) as reached,
        lease.passed_on() as give_back,
        contextlib.ExitStack() as last,
    ):
        run.check(parameters, run.journal.append)
        # last of all, when the watch has written its last line and the report stands there
        last.callback(lambda: say(record.told(record.pause(run, parameters, "end of this call"))))
        last.callback(report.write_if_possible, run, say)
        last.callback(give_back, reached)
        with (
            outage.Watch(reached, run) if watch else contextlib.nullcontext(),
            traffic.Traffic(reached, run, rate, least)
            if rate
            else contextlib.nullcontext() as live,
        ):
            for name in names:
                if registry.step(name).reversible:
                    say(f"{runbook.number(name):2d}  {name} …")
                    papermill.execute(parameters, run, name, chosen=chosen)
        if rate:
            say(
                f"    traffic: {live.accepted} messages accepted, {live.acts} acts of reading users; drawing up the ledger …"
            )
            ledger = traffic.count(
                reached, run, both=runbook.states(run.journal.events()).get("rollback") != "passed"
            )
            run.keep("ledger.json", json.dumps(ledger, indent=1, sort_keys=True).encode())
            run.journal.append("ledger", **ledger)
            if not ledger["passed"]:
                raise LedgerFailed(
                    "the ledger of live traffic is not even: "
                    + "; ".join(summary.ledger(run.journal.events()))
                    + f". Which ones: {run.path / 'ledger.json'}"
                )
        # the ledger asks both servers, and a host that is switched off is no outage
        for name in names:
            if not registry.step(name).reversible:
                say(f"{runbook.number(name):2d}  {name}: the point of no return …")
                papermill.execute(parameters, run, name)


def told(run) -> tables.Stack:
    """The summary of a run, for people."""
    events = run.journal.events()
    steps_told = tables.Table(
        ["", "step", "state", "seconds", "changes", "checks passed"], summary.steps(events), "Steps"
    )
    if runbook.apart(events):
        return tables.Stack(steps_told, tables.Text(f"Run folder: {run.path}"))
    return tables.Stack(
        steps_told,
        tables.Table(["outage", "measured from outside", "predicted", ""], summary.windows(run)),
        tables.notes(summary.notes(events)) if summary.notes(events) else None,
        tables.Text(f"Verified: {summary.verified(events)}"),
        *(tables.Text(f"LEFT BEHIND: {text}") for text in story.left_behind(events)),
        *(tables.Text(f"Ledger: {text}") for text in summary.ledger(events)),
        *(
            tables.Text(
                f"Point of no return: {event['step']}, {event['time'][:19]} UTC. This run cannot be rolled back."
            )
            for event in [registry.no_return(events)]
            if event
        ),
        tables.Text(f"Run folder: {run.path}"),
    )


def as_json(run) -> dict:
    """The same for scripts."""
    events = run.journal.events()
    keys = ("number", "step", "state", "seconds", "changes", "checks")
    return {
        "run": str(run.path),
        "steps": [dict(zip(keys, row, strict=True)) for row in summary.steps(events)],
        "outage": {
            kind: {
                "began": window.began,
                "ended": window.ended,
                "seconds": window.seconds,
                "predicted": expected and expected.as_json(),
            }
            for kind, expected, window in predict.windows(run, events)
            if window
        },
        "verified": summary.verified(events),
        "ledger": summary.ledger(events),
        "left_behind": story.left_behind(events),
    }
