"""Execute a step's notebook unattended.

The verdict comes from the journal alone, and the executed copy is corrected by it (see
record/executed_copy.py).
"""

import importlib
import logging
import sys

from cutover import site
from cutover.model import errors, runbook
from cutover.record import executed_copy, record_json, run_folder, vault
from cutover.run import kernels, wording
from cutover.steps import registry


class StepFailed(errors.CutoverError):
    """A step's notebook ended, and according to the journal verification did not pass."""


def execute(
    parameters: site.Site,
    run: run_folder.Run,
    step_id: str,
    timeout: float | None = None,
    template=None,
    chosen=None,
    following=(),
) -> str:
    """Execute a step's notebook. Returns the executed copy's name within the run folder.

    timeout: seconds a cell may take.
    template: the notebook to execute instead of the step's own.
    chosen: the operator's choices, for a step that has choices.
    following: the steps that will follow; their kernels start meanwhile, see _ahead().
    Raises StepFailed.
    """
    vault.register(parameters)  # this process writes the corrected copy
    template = template or site.PROJECT / "notebooks" / runbook.notebook_name(step_id)
    copy = _free_name(run, template.stem)
    values = {
        "site": parameters.reference,
        "run_dir": str(run.path),
        "mode": "execute",
        **dict.fromkeys(registry.step(step_id).choices, ""),
        **(chosen or {}),
    }
    _refuse_unknown(template, values)
    before = len(run.journal.events())
    error = _run_notebook(template, copy, values, timeout, *_ahead(step_id, following))
    events = [event for event in run.journal.events()[before:] if event.get("step") == step_id]
    passed = bool(events) and error is None and _passed(events)
    executed_copy.correct(copy, events, passed)
    begun = [event["seq"] for event in events if event["event"] == "step-begun"]
    run.journal.append("executed", of=step_id, copy=copy.name, passed=passed, attempts=begun)
    record_json.pause(run, parameters, f"after {step_id}")
    if not passed:
        raise StepFailed(
            f"{step_id} did not pass. {_why(events, error)}\nThe executed notebook: {copy}"
        )
    return copy.name


def _ahead(step_id, following):
    """(how many kernels to start for the following steps, the call of this step that does).

    A kernel's start and its connections keep two processors busy for a third of a second. So those
    of the outage start together before its first change. Any other starts once this step is done.
    """
    outage = [name for name in following if {step_id, name} <= set(runbook.OUTAGE)]
    return (len(outage), "probe") if outage else (min(1, len(following)), "verify")


def _run_notebook(template, copy, values, timeout, count, call):
    """The error that ended the notebook, or None. count, call: as _ahead() has them."""
    papermill = _library()
    from traitlets.config import Config

    from cutover.run import notebook_engine

    def begin_next(cell, cell_index):
        if executed_copy.call_of(cell) == call:
            kernels.expect(values["site"], count)
        elif executed_copy.call_of(cell) == "apply":
            kernels.settle()

    logging.getLogger("papermill").setLevel(logging.ERROR)
    with kernels.folder() as sockets:
        kernel = Config({"KernelManager": {"transport": "ipc", "ip": f"{sockets}/kernel"}})
        try:
            papermill.execute_notebook(
                template,
                copy,
                values,
                cwd=str(site.PROJECT),
                progress_bar=False,
                config=kernel,
                execution_timeout=timeout,
                engine_name=notebook_engine.NAME,
                kernel_name="python3",
                kernel_manager_class=kernels.Manager,
                on_cell_execute=begin_next,
                extra_arguments=[kernels.QUIET],
                shutdown_kernel="immediate",  # what counts is in the journal, and synced
            )
        except Exception as raised:
            return raised
    return None


def _library():
    """papermill, without pyarrow: it would import all of it, for the file system of a cluster.

    That takes 46 MB, in the process that lives as long as the run.
    """
    if "papermill" in sys.modules or "pyarrow" in sys.modules:
        return importlib.import_module("papermill")
    sys.modules["pyarrow"] = None  # as if it were not installed
    try:
        return importlib.import_module("papermill")
    finally:
        del sys.modules["pyarrow"]


def _free_name(run, stem):
    for number in range(1, 1000):
        path = run.path / (f"{stem}.ipynb" if number == 1 else f"{stem}.{number}.ipynb")
        if not path.exists():
            return path
    raise StepFailed(f"{run.path} already holds 999 copies of {stem}. Begin a new run.")


def _refuse_unknown(template, values):
    known = _library().inspect_notebook(str(template))
    if set(known) != set(values):
        raise StepFailed(
            f"{template.name}: its parameters cell defines {sorted(known)}, expected "
            f"{sorted(values)}. Restore the template."
        )


def _passed(events):
    """Whether the journal's last word on the step is that verification passed."""
    last = [
        event for event in events if event["event"] in ("step-begun", "verified", "step-failed")
    ][-1:]
    return bool(last) and last[0]["event"] == "verified" and last[0]["passed"]


def _why(events, error):
    """Why the step did not pass."""
    failed = [event for event in events if event["event"] == "step-failed"]
    if failed:
        return failed[-1]["error"]
    checks = [
        check
        for event in events
        if event["event"] == "verified"
        for check in event["checks"]
        if not check["passed"]
    ]
    if checks:
        return wording.failures(checks, bullet="")
    if error is not None:
        name = getattr(error, "ename", type(error).__name__)
        value = getattr(error, "evalue", None)
        return f"{name}: {error if value is None else value}"
    last = events[-1]["event"] if events else "nothing at all"
    return (
        "The notebook ended early without an error of its own: its kernel was killed, or a cell "
        f"called exit. The journal's last event is {last}."
    )
