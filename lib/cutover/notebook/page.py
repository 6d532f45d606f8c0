"""What the notebooks call, one call per cell: open, probe, plan, approve, apply, verify.

It shows; the engine decides. `mode`: "explain" (the notebooks' default: recorded facts, no host
is contacted), "plan" (live, read-only) or "execute".
"""

import json
from pathlib import Path

from IPython.display import display

from cutover import model, site
from cutover.model import Plan, errors
from cutover.notebook import edge, progress
from cutover.notebook.check_table import Checks
from cutover.record import approval, history, run_folder, vault
from cutover.report import plots, step_tables, tables
from cutover.run import engine, prediction
from cutover.site import secrets
from cutover.steps import registry

MODES = ("explain", "plan", "execute")


class BadCall(errors.CutoverError):
    """A notebook has parameters it cannot work with."""


def check(site_file, run_dir, mode, chosen=()):
    """Raises BadCall for wrong parameters: papermill passes on whatever it gets."""
    for name, value in (
        ("site", site_file),
        ("run_dir", run_dir),
        ("mode", mode),
        *dict(chosen).items(),
    ):
        if not isinstance(value, str):
            raise BadCall(
                f"the parameter {name} must be text, not {value!r}. Fix it and run the cell again."
            )
    if mode not in MODES:
        raise BadCall(f"mode {mode!r} does not exist. Use one of {', '.join(MODES)}.")


def open(step: str, site_file: str, run_dir: str, mode: str, **chosen):
    """Begin a step.

    site_file: the parameters file. run_dir: the run's folder; required to execute, created if
    missing. chosen: the operator's choices, for a step that has choices.
    """
    check(site_file, run_dir, mode, chosen)
    parameters = site.load(site_file)
    if mode == "explain":
        return Explained(parameters, step)
    edge.install()
    vault.register(parameters)
    if mode == "execute" and not run_dir:
        raise BadCall(
            "mode execute needs run_dir, the folder that records the run. Set it and run again."
        )
    run = None
    if run_dir:
        run = (
            run_folder.begin(parameters, Path(run_dir))
            if mode == "execute"
            else run_folder.Run(run_dir)
        )
    # a notebook that is run again releases what its earlier attempt holds: lease, connections
    while _opened:
        _opened.pop().engine.close()
    page = Live(parameters, step, mode, run, chosen)
    _opened.append(page)
    return page


_opened = []  # the step this kernel works on


class Page:
    """What both kinds of page show of a step before it begins."""

    def __init__(self, parameters, step_id):
        self.site, self.step = parameters, registry.step(step_id)

    def _head(self, mode, run):
        rows = [
            ["step", f"{self.step.id}: {self.step.title}"],
            ["site", f"{self.site.name} ({self.site.kind})"],
            ["requires", ", ".join(self.step.requires) or "nothing"],
            [
                "can be undone",
                "yes" if self.step.reversible else "NO: this is the point of no return",
            ],
            ["mode", mode],
            ["run", run],
        ]
        return tables.Table(["", ""], rows)


class Explained(Page):
    """A step shown from recorded facts: plan, checks and tables as in a live run."""

    def __init__(self, parameters, step_id):
        super().__init__(parameters, step_id)
        path = parameters.path.parent / parameters.path.stem / f"{step_id}.json"
        try:
            recorded = json.loads(path.read_bytes())
        except FileNotFoundError:
            raise BadCall(
                f"{path.name} is missing: {step_id} was not recorded for {parameters.name}. "
                "Use mode plan, or the parameters of roma1."
            ) from None
        self.before, self.after = (
            model.from_json(self.step.facts, recorded[when]) for when in ("before", "after")
        )
        self.current = None

    def _repr_html_(self):
        return self._head("explain (recorded facts, nothing is contacted)", "none")._repr_html_()

    def __repr__(self):
        return repr(self._head("explain (recorded facts, nothing is contacted)", "none"))

    def probe(self):
        return step_tables.facts(self.before, f"Recorded at {self.site.name} before the step")

    def gate(self):
        return step_tables.gate(self.step.gate(self.before, self.site))

    def plan(self):
        self.current = self.step.plan(self.before, self.site)
        return step_tables.plan(self.current)

    def approve(self):
        return tables.Text(
            "Explained only: nothing is approved. In a live run you would "
            + confirm_text(self.step, self.site)
        )

    def apply(self):
        return tables.Text("Explained only: nothing is applied.")

    def verify(self):
        shown = step_tables.checks(
            self.step.verify(self.after, self.site), "After the step, from recorded facts"
        )
        if not self.step.predicts:
            return shown
        recorded = run_folder.Run(self.site.path.parent / self.site.path.stem).journal.events()
        return tables.Stack(shown, step_tables.prediction(prediction.predicted(recorded)))


class Live(Page):
    """A step on a real site or the lab."""

    def __init__(self, parameters, step_id, mode, run, chosen):
        super().__init__(parameters, step_id)
        self.run, self.mode = run, mode
        self.progress = progress.Progress(run, step_id)
        self.engine = engine.Engine(parameters, step_id, mode, run, self.progress.event, chosen)

    def _repr_html_(self):
        return self._head(self.mode, self.run.name if self.run else "none")._repr_html_()

    def __repr__(self):
        return repr(self._head(self.mode, self.run.name if self.run else "none"))

    def probe(self):
        return step_tables.facts(self.engine.probe(), "Read from the live site")

    def gate(self):
        """Go or no-go; no-go ends the notebook here."""
        checks = self.engine.gate()
        if not all(check.passed for check in checks):
            display(step_tables.gate(checks))
            self.engine.may_go(checks)
        return step_tables.gate(checks)

    def plan(self) -> tables.Table:
        current: Plan = self.engine.plan()
        return step_tables.plan(current, self.engine.hash(), self.engine.planned)

    def approve(self):
        if self.mode != "execute":
            return tables.Text("Mode plan: nothing is approved and nothing will be applied.")
        try:
            given = self.engine.approve()
        except approval.NotApproved as missing:
            from cutover.notebook import approval_form

            return approval_form.form(self.engine, str(missing))
        if not self.engine.current.changes:
            return tables.Text(
                "Nothing to approve: the plan is empty. "
                + history.before(self.run.journal.events(), self.step.id)
            )
        return tables.Text(
            f"Approved: plan {given.hash[:16]}, by {given.by} ({given.kind}), {given.time}"
        )

    def apply(self):
        if self.mode != "execute":
            return tables.Text("Mode plan: nothing is applied.")
        if self.engine.approved is None:
            self.engine.approve()  # perhaps given in the form; raises NotApproved otherwise
        current = self.engine.current
        if not current.changes:
            self.engine.apply()
            return tables.Text(f"Nothing to do: {current.reason}.")
        with self.progress:
            before = len(self.progress.script.passes)
            done = self.engine.apply()
        drawn = map(plots.latency, self.progress.script.passes[before:])
        return tables.Stack(step_tables.applied(done), *drawn)

    def verify(self):
        try:
            checks = self.engine.verify()
            shown = Checks(
                checks,
                "Verified against fresh facts" if self.mode == "execute" else "Current state",
                self._complete(checks),
            )
            if self.mode == "execute" and not all(check.passed for check in checks):
                display(shown)
                self.engine.require(checks)
        finally:
            self.engine.close()  # so that a failure can be fixed from another terminal
        if self.mode == "execute" and self.step.predicts:
            display(step_tables.prediction(prediction.predicted(self.run.journal.events())))
        return shown

    def _complete(self, checks):
        """The file next to the notebooks that has every check, if they are too many to show."""
        text = step_tables.complete(checks)
        if not text or self.mode != "execute":
            return step_tables.JOURNAL
        name = f"checks/{self.step.id}.{self.engine.attempt}.txt"
        return self.run.keep(name, secrets.redact(text).encode("utf-8", "backslashreplace"))[0]


def confirm_text(step, parameters):
    return f"type {step.confirmation(parameters, {})} to approve the plan, by its hash."
