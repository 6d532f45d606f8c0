"""The runbook at a glance, for notebooks/00_board.ipynb. It shows, measures and takes approvals of
the outage's plans; it changes nothing.

What it shows comes from the run's journal each time it is drawn. So it is right after a restart,
and when papermill or the command line does the work. In explain mode it shows the worked example,
recorded in the middle of its night.
"""

import threading
import time
from pathlib import Path

from cutover import model, site
from cutover.connect import hosts
from cutover.notebook import approval_form, board_tables, edge, live, page, progress
from cutover.record import history, run_folder, transcript, vault
from cutover.report import morning_tables, tables, timeline
from cutover.run import first_morning, live_state, outage, outage_watch, prediction


def open(site_file: str, run_dir: str, mode: str):
    """Begin. Modes plan and execute need the run's folder."""
    page.check(site_file, run_dir, mode)
    parameters = site.load(site_file)
    if mode == "explain":
        example = run_folder.Run(parameters.path.parent / parameters.path.stem)
        return Board(parameters, example, recorded=True)
    edge.install()
    vault.register(parameters)
    if not run_dir:
        raise page.BadCall(
            f"in mode {mode} the board needs run_dir, the folder of the run it shows"
        )
    run = (
        run_folder.begin(parameters, Path(run_dir))
        if mode == "execute"
        else run_folder.Run(run_dir)
    )
    return Board(parameters, run, measure=mode == "execute")


_views = {}  # the view that each cell of this kernel's board shows


def _alone(cell, view):
    """The view, once what the cell showed before is no longer drawn."""
    if cell in _views:
        _views[cell].stop()
    _views[cell] = view
    return view


class Board:
    """One run.

    recorded: it is the worked example, and the clock stands still at its last event.
    measure: measure the outage from outside, too.
    """

    def __init__(self, parameters, run, recorded: bool = False, measure: bool = False):
        self.site, self.run, self.recorded, self.measure = parameters, run, recorded, measure
        self._watch, self._morning = None, threading.Thread()

    def events(self) -> list:
        """The journal, now."""
        return self.run.journal.events()

    def now(self, events) -> float:
        """Seconds since the epoch; for the worked example, its last event."""
        return history.at(events[-1]) if self.recorded and events else time.time()

    def _shown(self, cell, draw, linked=False):
        """A view that follows the run, instead of the one that the cell showed before; for the
        worked example, one drawing.
        """
        return draw() if self.recorded else _alone(cell, live.View(draw, linked))

    # --- the cells

    def _repr_mimebundle_(self, include=None, exclude=None):
        shown = self._shown("open", self._head, linked=True)
        if self.recorded:
            return {"text/plain": repr(shown), "text/html": shown._repr_html_()}
        return shown._repr_mimebundle_()

    def steps(self):
        """Every step: its state, and whether it may run now."""
        return self._shown("steps", lambda: board_tables.steps(self.events()), linked=True)

    def outage(self):
        """The two clocks. In mode execute this call also begins to measure from outside."""
        if self.measure and self._watch is None:
            self._watch = outage_watch.in_background(self.site, self.run)
        return self._shown("outage", self._clocks)

    def gates(self):
        """Go or no-go, and the predicted outage."""
        return self._shown("gates", self._gates)

    def ahead(self):
        """The plans of the outage, to approve before it begins. In mode execute, with a form."""
        if self.recorded:
            return tables.Text(
                "Recorded facts: nothing can be approved. In a live run, this works out the plans "
                "of stop-imap to restore-imap and takes approvals of them; `cutover approve "
                "--ahead` does the same on the command line."
            )
        form = approval_form.Ahead(self.site, self.run)
        return form if self.measure else form.static()

    def progress(self):
        """The conversion, and whatever else is being applied."""
        if self.recorded:
            return progress.shown(transcript.read(self.run, "convert"), "convert", None)
        return _alone("progress", progress.follow(self.run))

    def timeline(self):
        """The steps and outages so far, as a plot."""
        events = self.events()
        drawn = timeline.draw(
            history.attempts(events),
            outage.windows(self.run.path / outage.NAME),
            self.now(events),
            prediction.predicted(events),
        )
        return drawn or tables.Text("Nothing has run yet.")

    def world(self):
        """Ask the hosts themselves, now."""
        if self.recorded:
            return tables.Text(
                "Recorded facts: no host is contacted. In a live run this reads the alias on every "
                "name server, the mail services of both hosts and the queues."
            )
        return board_tables.live_state(live_state.ask(self.site), time.time())

    def morning(self, minutes: float = 60):
        """What users meet once reading is resumed. In mode execute this call watches for some
        minutes, unless a command already does.
        """
        if self.measure and not self._morning.is_alive():
            opened = model.read(first_morning.opened, self.run)
            if not opened.ok:
                return tables.Text(opened.error)
            self._morning = first_morning.in_background(
                hosts.Hosts(self.site), self.run, float(minutes)
            )
        return self._shown("morning", self._first_morning)

    def log(self):
        """The latest events of the journal."""
        return self._shown("log", lambda: board_tables.log(self.events()))

    # --- drawings

    def _head(self):
        return board_tables.head(self.site, self.run, self.events(), self.recorded)

    def _clocks(self):
        events = self.events()
        windows = outage.windows(self.run.path / outage.NAME)
        return board_tables.clocks(events, windows, self.now(events))

    def _first_morning(self):
        morning = first_morning.latest(self.run)
        if morning is None:
            return tables.Text(
                "Nothing has been watched yet. In a live run this cell begins to watch once "
                "restore-imap has passed; `cutover watch` does the same on the command line."
            )
        return morning_tables.shown(morning, self.site)

    def _gates(self):
        return board_tables.gates(self.run, self.events())
