"""A step's notebook executed unattended, and an executed copy that claims no more than the journal.

Papermill marks every cell of a copy `completed`, even cells that never ran, when a kernel is killed or a cell ends early
by sys.exit. So the verdict comes from the journal alone, and the copy is corrected by it.
"""

import logging
import tempfile

from cutover import site
from cutover.connect import vault
from cutover.model import errors, runbook
from cutover.record import executed_copy, folder, record_json
from cutover.steps import registry


class StepFailed(errors.CutoverError):
    """A step's notebook ended without its verify having passed according to the journal."""


def execute(
    parameters: site.Site,
    run: folder.Run,
    step_id: str,
    timeout: float | None = None,
    template=None,
    chosen=None,
) -> str:
    """Execute a step's notebook. → the executed copy's name within the run folder. Raises StepFailed.

    `timeout`: seconds a cell may take; `template`: another notebook than the step's own; `chosen`: what is asked of a step
    that has a CHOICE.
    """
    import papermill
    from traitlets.config import Config

    vault.register(parameters)  # this process writes the corrected copy
    template = template or site.PROJECT / "notebooks" / runbook.notebook_name(step_id)
    copy = _free_name(run, template.stem)
    values = {
        "site": str(parameters.path),
        "run_dir": str(run.path),
        "mode": "execute",
        **dict.fromkeys(registry.step(step_id).choices, ""),
        **(chosen or {}),
    }
    _refuse_unknown(papermill, template, values)
    before = len(run.journal.events())
    error = None
    logging.getLogger("papermill").setLevel(logging.ERROR)
    # sockets in a folder of our own: no TCP port for others on this machine to find
    with tempfile.TemporaryDirectory(prefix="cutover-") as sockets:
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
                kernel_name="python3",
                extra_arguments=["--IPKernelApp.log_level=CRITICAL"],
            )
        except Exception as raised:
            error = raised
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


def _free_name(run, stem):
    for number in range(1, 1000):
        path = run.path / (f"{stem}.ipynb" if number == 1 else f"{stem}.{number}.ipynb")
        if not path.exists():
            return path
    raise StepFailed(f"{run.path} already holds 999 copies of {stem}")


def _refuse_unknown(papermill, template, values):
    known = papermill.inspect_notebook(str(template))
    if set(known) != set(values):
        raise StepFailed(
            f"{template.name}: its parameters cell defines {sorted(known)}, expected {sorted(values)}"
        )


def _passed(events):
    """By the journal: the attempt these events belong to was verified, and passed, as its last word."""
    last = [
        event for event in events if event["event"] in ("step-begun", "verified", "step-failed")
    ][-1:]
    return bool(last) and last[0]["event"] == "verified" and last[0]["passed"]


def _why(events, error):
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
        return "\n".join(
            f"{check['question']} expected {check['expected']}; found {check['actual']}. "
            f"What to do: {check['todo']}"
            for check in checks
        )
    if error is not None:
        value = getattr(error, "evalue", None)
        return f"{getattr(error, 'ename', type(error).__name__)}: {value if value is not None else error}"
    done = [event["event"] for event in events]
    return (
        "The notebook ended early and without an error of its own (a killed kernel, or an exit in a cell); "
        f"the journal's last word is {done[-1] if done else 'nothing at all'}."
    )
