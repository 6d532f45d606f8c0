"""How far a run got and what came of it, as `cutover status` prints it, for people or scripts."""

import dataclasses

from cutover.model import runbook
from cutover.record import history
from cutover.report import step_tables, summary, tables
from cutover.run import position, prediction
from cutover.steps import registry

STEP_KEYS = ("number", "step", "state", "seconds", "changes", "checks")


def tables_of(run) -> tables.Stack:
    """For people."""
    events = run.journal.events()
    steps = tables.Table(
        ["", "step", "state", "seconds", "changes", "checks passed"], summary.steps(events), "Steps"
    )
    folder = tables.Text(f"Run folder: {run.path}")
    if runbook.apart(events):
        return tables.Stack(steps, folder)
    windows = tables.Table(
        ["outage", "measured from outside", "predicted", ""], summary.windows(run)
    )
    return tables.Stack(
        steps,
        windows,
        step_tables.notes(summary.notes(events)) if summary.notes(events) else None,
        tables.Text(f"Verified: {summary.verified(events)}"),
        *(tables.Text(f"LEFT OUT: {text}") for text in history.left_out(events)),
        *(tables.Text(f"LEFT BEHIND: {text}") for text in history.left_behind(events)),
        *(tables.Text(f"Ledger: {text}") for text in summary.ledger(events)),
        _point_of_no_return(events),
        folder,
    )


@dataclasses.dataclass(frozen=True)
class SiteRow:
    """How far the latest run of a site is.

    step: the last one that began. waits: the hash of its plan, if that waits for approval. mail:
    `{"users", "messages", "bytes"}` of the old store, as preflight read it. outage: `{kind:
    {"began", "ended", "predicted"}}`, by the journal, in seconds since the epoch or None.
    """

    site: str
    run: str | None
    step: str | None
    state: str | None
    waits: str | None
    next: str | None
    mail: dict | None
    outage: dict


def of_site(name: str, run) -> SiteRow:
    """run: its latest, or None."""
    events = run.journal.events() if run else []
    attempts = history.attempts(events).values()
    last = max(attempts, key=lambda attempt: attempt.began, default=None)
    predicted = prediction.predicted(events) or {}
    return SiteRow(
        name,
        run and str(run.path),
        last and last.step,
        last and last.state,
        last.hash if last and last.waiting else None,
        position.next_step(events) if run else None,
        summary.old_mail(events),
        {kind: _outage(events, kind, predicted.get(kind)) for kind in summary.OUTAGES},
    )


def _outage(events, kind, predicted):
    began, ended = history.stopped(events, kind)
    return {"began": began, "ended": ended, "predicted": predicted}


def table_of_sites(rows, now: float) -> tables.Table:
    """A line for each site. rows: SiteRow. now: seconds since the epoch."""
    columns = ["", "step", "state", "waits for approval", "next", "old mail"]
    return tables.Table(
        [*columns, *summary.OUTAGES.values(), "run"],
        [
            [
                row.site,
                row.step or "",
                row.state or "no run yet",
                (row.waits or "")[:16],
                row.next or "",
                _size(**row.mail) if row.mail else "",
                *(_lasted(**row.outage[kind], now=now) for kind in summary.OUTAGES),
                row.run or "",
            ]
            for row in rows
        ],
    )


def _size(users, messages, bytes):
    of_users = f"{tables.count(users, 'user')}, " if users else ""
    return f"{of_users}{tables.count(messages, 'message')}, {history.size(bytes)}"


def _lasted(began, ended, predicted, now):
    likely = f", likely {history.duration(predicted['likely'])}" if predicted else ""
    return history.lasted(began, ended, now) + likely


def _point_of_no_return(events):
    event = registry.no_return(events)
    if event is None:
        return None
    return tables.Text(
        f"Point of no return: {event['step']}, {event['time'][:19]} UTC. "
        "This run cannot be rolled back."
    )


def as_json(run) -> dict:
    """The same for scripts."""
    events = run.journal.events()
    return {
        "run": str(run.path),
        "steps": [dict(zip(STEP_KEYS, row, strict=True)) for row in summary.steps(events)],
        "outage": {
            kind: {
                "began": window.began,
                "ended": window.ended,
                "seconds": window.seconds,
                "predicted": expected and expected.as_json(),
            }
            for kind, expected, window in prediction.windows(run, events)
            if window
        },
        "verified": summary.verified(events),
        "ledger": summary.ledger(events),
        "left_behind": history.left_behind(events),
        "left_out": history.left_out(events),
    }
