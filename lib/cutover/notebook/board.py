"""The runbook at a glance, for notebooks/00_board.ipynb: it shows and measures, decides nothing and changes nothing.

What it shows comes from the run's journal each time it is drawn, so that it is right after a restart, and when papermill
or the command line did the work. In explain mode it is the worked example, recorded in the middle of its night.
"""

import contextlib
import threading
import time
from pathlib import Path

from cutover import model, site
from cutover.connect import hosts, vault
from cutover.model import runbook
from cutover.notebook import edge, live, page, progress
from cutover.record import folder, history
from cutover.report import plots, tables
from cutover.run import outage, prediction
from cutover.steps import registry
from cutover.steps.night import stop_imap, stop_sendmail

WAITING = {
    None: "not yet",
    "undone": "rolled back",
    "stale": "stale: run it again",
    "failed": "failed",
    "begun": "begun",
}
LOG = 14  # journal lines shown


def open(site_file: str, run_dir: str, mode: str):
    """Begin. Takes what every notebook takes; mode plan and execute need the run's folder."""
    page.check(site_file, run_dir, mode)
    parameters = site.load(site_file)
    if mode == "explain":
        return Board(
            parameters, folder.Run(parameters.path.parent / parameters.path.stem), recorded=True
        )
    edge.install()
    vault.register(parameters)
    if not run_dir:
        raise page.BadCall(
            f"the board of mode {mode} needs run_dir, the folder of the run it shows"
        )
    run = folder.begin(parameters, Path(run_dir)) if mode == "execute" else folder.Run(run_dir)
    return Board(parameters, run, measure=mode == "execute")


class Board:
    """One run. `recorded`: the worked example; the clock then stands still at its last event."""

    def __init__(self, parameters, run, recorded=False, measure=False):
        self.site, self.run, self.recorded, self.measure = parameters, run, recorded, measure
        self._watch = None

    def events(self):
        return self.run.journal.events()

    def now(self, events):
        return history.at(events[-1]) if self.recorded and events else time.time()

    def _shown(self, draw, linked=False):
        """A view that follows the run; of the worked example, its drawing."""
        return draw() if self.recorded else live.View(draw, linked)

    # --- the cells

    def _repr_mimebundle_(self, include=None, exclude=None):
        shown = self._shown(self._head, linked=True)
        if self.recorded:
            return {"text/plain": repr(shown), "text/html": shown._repr_html_()}
        return shown._repr_mimebundle_()

    def steps(self):
        return self._shown(lambda: _steps(self.events()), linked=True)

    def outage(self):
        """The two clocks. In mode execute, from this call on the outage is measured from outside as well."""
        if self.measure and self._watch is None:
            self._watch = Measuring(self.site, self.run)
        return self._shown(self._clocks)

    def gates(self):
        return self._shown(self._gates)

    def progress(self):
        """The conversion and whatever else is being applied, from its events file."""
        if self.recorded:
            return progress.shown(history.transcribed(self.run, "convert"), "convert", None)
        return progress.follow(self.run)

    def timeline(self):
        events = self.events()
        drawn = plots.timeline(
            history.attempts(events),
            outage.windows(self.run.path / outage.NAME),
            self.now(events),
            prediction.predicted(events),
        )
        return drawn or tables.Text("Nothing has run yet.")

    def world(self):
        """Ask the hosts themselves, now: who answers to the alias, what runs, what is queued. It only reads."""
        if self.recorded:
            return tables.Text(
                "Recorded facts: no host is asked. In a live run this reads the alias on every name server, the "
                "mail services of both hosts and the queues."
            )
        with hosts.Hosts(self.site) as reached:
            return _world(reached, self.site)

    def log(self):
        return self._shown(lambda: _log(self.events()))

    # --- drawings

    def _head(self):
        events = self.events()
        word, sentence = history.verdict(events, history.attempts(events))
        following = _next(events)
        return tables.Stack(
            _banner(word, sentence, following),
            tables.Table(
                ["", ""],
                [
                    ["site", f"{self.site.name} ({self.site.kind})"],
                    ["run", events[0]["run"] if events else self.run.name],
                    [
                        "last event",
                        f"{history.clock(history.at(events[-1]), date=True)} UTC"
                        + (" (recorded)" if self.recorded else "")
                        if events
                        else "none",
                    ],
                ],
            ),
        )

    def _clocks(self):
        events = self.events()
        now = self.now(events)
        measured = {window.kind: window for window in outage.windows(self.run.path / outage.NAME)}
        rows, told = [], prediction.predicted(events)
        for kind, what in ((outage.READING, "reading refused"), (outage.DELIVERY, "delivery held")):
            began, ended = history.stopped(events, kind)
            said = str(prediction.span(told[kind])) if told else "not yet"
            if began is None:
                rows.append([what, "no outage", "", _measured(measured.get(kind), now), said])
            elif ended is None:
                rows.append(
                    [
                        what,
                        f"RUNNING {history.duration(now - began)}",
                        f"since {history.clock(began)}",
                        _measured(measured.get(kind), now),
                        said,
                    ]
                )
            else:
                rows.append(
                    [
                        what,
                        f"over: {history.duration(ended - began)}",
                        f"{history.clock(began)} to {history.clock(ended)}",
                        _measured(measured.get(kind), now),
                        said,
                    ]
                )
        return tables.Table(
            ["outage", "clock", "by the journal (UTC)", "measured from outside", "predicted"], rows
        )

    def _gates(self):
        events = self.events()
        at, checks = history.gate(events)
        if not checks:
            return tables.Text("No go: preflight has not been verified in this run.")
        shown, told = (
            tables.gate(checks, f" at {history.clock(at)} UTC"),
            prediction.predicted(events),
        )
        return (
            tables.Stack(shown, tables.prediction(told, _costs(self.run, events)))
            if told
            else shown
        )


class Measuring:
    """Probes from outside, in this kernel, unless another process of the run already does."""

    def __init__(self, parameters, run):
        threading.Thread(
            target=self._measure, args=(parameters, run), daemon=True, name="cutover watch"
        ).start()

    @staticmethod
    def _measure(parameters, run):
        with (
            contextlib.suppress(folder.RunBusy, OSError),
            run.alone("watch"),
            hosts.Hosts(parameters) as reached,
            outage.Watch(reached, run),
        ):
            threading.Event().wait()  # as long as the kernel lives


def _costs(run, events):
    """What predict.outage_of() told, as it was so far; None before the outage."""
    return prediction.costs(run, events) if history.stopped(events, outage.READING)[0] else None


def _next(events) -> str | None:
    """What to do now: a step that was begun, failed or went stale; else the first that has not run after those that passed. Never
    one that cannot be undone: that is asked for by its name."""
    states = runbook.states(events)
    last = max(
        (place for place, name in enumerate(runbook.ORDER) if states.get(name) == "passed"),
        default=-1,
    )
    again = [name for name in runbook.ORDER if states.get(name, "passed") != "passed"]
    fresh = [
        name for name in runbook.ORDER[last + 1 :] if name not in states and name in runbook.NIGHT
    ]
    return next((name for name in [*again, *fresh] if may(name, events)[0]), None)


def may(name, events) -> tuple:
    """(whether a step may run now, what it waits for)."""
    try:
        registry.may_run(name, events)
    except runbook.NotYet as error:
        return False, error.reason
    return True, ""


def _banner(word, sentence, following):
    said = f"{sentence} " + (f"Next: {following}." if following else "")
    return tables.Banner(
        word,
        said.strip(),
        tables.Link(f"Open {following}", runbook.notebook_name(following)) if following else None,
    )


def _steps(events):
    found, following = history.attempts(events), _next(events)
    rows = []
    for name in [*runbook.ORDER, "rollback"]:
        one = found.get(name)
        allowed, why = may(name, events)
        state = one.state if one else None
        if state == "passed" and name != "rollback":
            said = "done"
        elif name == following:
            said = "may run now: NEXT"
        else:
            said = "may run now" if allowed else why
        if one is not None and one.waiting:
            said = "waits for its approval"
        elif state == "begun":
            said = "begun; not verified yet"
        took = (
            ""
            if one is None
            else f", {history.duration(one.seconds)}"
            if one.seconds is not None
            else ", not over"
        )
        rows.append(
            [
                runbook.number(name),
                tables.Link(name, runbook.notebook_name(name)),
                WAITING.get(state, state),
                f"{history.clock(one.began)}{took}" if one else "",
                history.approval(one) if one else "",
                said,
            ]
        )
    return tables.Table(["", "step", "state", "when (UTC)", "approved by", "now"], rows, "Steps")


def _measured(window, now):
    if window is None:
        return "nothing refused so far"
    lasts = history.duration((window.ended or now) - window.began)
    return f"{lasts}{'' if window.ended else ' so far'}, {tables.count(window.probes, 'probe')} refused"


def _log(events):
    lines = [
        f"{event['time'][11:19]}  {event.get('step', ''):<16} {event['event']:<16} {_said(event)[:110]}".rstrip()
        for event in events[-LOG:]
    ]
    return tables.Text("\n".join(lines) or "Nothing has happened yet.", preformatted=True)


def _said(event) -> str:
    kind = event["event"]
    if kind == "planned":
        return event["reason"] or tables.count(len(event["changes"]), "change")
    if kind == "approved":
        return f"by {event['by']} ({event['kind']})"
    if kind == "intent":
        return f"{event['target']}: {event['title']}"
    if kind == "result":
        return f"{event['outcome']}: {event['output']}"
    if kind == "verified":
        return "passed" if event["passed"] else "DID NOT PASS"
    return str(
        event.get(
            {"step-begun": "title", "probed": "when", "step-failed": "error"}.get(kind, ""), ""
        )
    )


def _world(reached, parameters):
    from cutover.facts import mail_queue, zone

    alias, rows = parameters.fqdn(parameters.alias), []

    def row(what, found, say):
        rows.append(
            [what, say(found["value"]) if "value" in found else f"cannot be read: {found['error']}"]
        )

    asked = model.attempt(zone.read, reached)
    for name, server in (asked.get("value") or {}).items():
        records = server["records"][alias]
        leads = [
            value for kind in ("CNAME", "A") for value in records.get(kind, {}).get("values", [])
        ]
        rows.append([f"{alias} on {name}", ", ".join(leads) or "no record"])
    if "error" in asked:
        rows.append([alias, f"cannot be read: {asked['error']}"])
    for name in parameters.mail_hosts:
        row(
            f"IMAP on {name}",
            model.attempt(stop_imap.read_host, reached, parameters, name),
            _running,
        )
        row(
            f"sendmail on {name}",
            model.attempt(stop_sendmail.read_host, reached, parameters, name),
            _running,
        )
    for name in parameters.roles.mx:
        row(
            f"queue of {name}",
            model.attempt(mail_queue.read, reached, name),
            lambda found: f"{found['requests']} queued",
        )
    return tables.Table(
        ["asked now", "answer"], rows, f"The world at {history.clock(time.time())} UTC"
    )


def _running(found):
    return ", ".join(
        f"{service['name']} {'runs' if service['running'] else 'is stopped'}"
        for service in found["services"]
    )
