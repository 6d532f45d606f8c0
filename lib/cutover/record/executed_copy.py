"""An executed copy of a notebook claims no more than the journal proves.

Papermill marks every cell of a copy `completed`, even cells that never ran, when a kernel is killed
or a cell calls sys.exit. So a copy is corrected by the journal, and an audit compares both again.
"""

import json
import re

import nbformat

from cutover.record import archive, journal
from cutover.record.archive import Archive, Finding
from cutover.site import secrets

# tag of a notebook's cell: the event its call journals when it ends
EVENTS = {
    "probe": "probed",
    "gate": "gated",
    "plan": "planned",
    "approve": "approved",
    "apply": "applied",
    "verify": "verified",
}
WIDGET = "application/vnd.jupyter.widget-view+json"


def correct(copy, events, passed: bool) -> None:
    """Make each cell of an executed copy claim only what the journal proves.

    A copy of a step that did not pass says so at the top.
    """
    if not copy.exists():
        return
    try:
        notebook = nbformat.read(copy, as_version=4)
    except ValueError:  # the disk was full: the file is cut off; the journal has the truth
        copy.rename(copy.with_name(copy.name + ".torn"))
        return
    happened = {event["event"] for event in events}
    for cell in notebook.cells:
        if cell.cell_type == "code" and "papermill" in cell.metadata:
            _correct_cell(cell, happened)
    notebook.metadata.pop("widgets", None)
    notebook.metadata.setdefault("papermill", {})["exception"] = None if passed else True
    notebook.metadata["cutover"] = {
        "verdict": "passed" if passed else "not passed",
        "source": "journal.jsonl",
    }
    if not passed and "cutover-verdict" not in (notebook.cells[0].metadata.get("tags") or []):
        notebook.cells.insert(0, _verdict(happened))
    text = nbformat.writes(notebook)
    copy.write_bytes(secrets.redact_bytes(text.encode("utf-8", "surrogatepass") + b"\n"))


def _correct_cell(cell, happened):
    call = call_of(cell)
    ran = cell.execution_count is not None and (call is None or EVENTS[call] in happened)
    failed = any(output.output_type == "error" for output in cell.outputs)
    for output in cell.outputs:
        # a widget shows nothing without its kernel; the output has the same as HTML
        output.get("data", {}).pop(WIDGET, None)
    cell.metadata.papermill["status"] = "failed" if failed else "completed" if ran else "pending"
    if not ran and not failed:
        cell.metadata.papermill["exception"] = None


def call_of(cell):
    """The step's call that a cell makes, or None."""
    return next((tag for tag in cell["metadata"].get("tags", []) if tag in EVENTS), None)


def _verdict(happened):
    """The cell on top of a copy whose step did not pass."""
    finished = ", ".join(call for call, event in EVENTS.items() if event in happened) or "none"
    return nbformat.v4.new_markdown_cell(
        f"> **This step did not pass.** According to the journal, these calls finished: {finished}."
        " Cells below without output did not run.",
        metadata={"tags": ["cutover-verdict"]},
    )


def findings(audited: Archive):
    """Yields what executed copies claim and the journal does not prove (Finding)."""
    executed = {event["copy"]: event for event in audited.events if event["event"] == "executed"}
    for name, event in executed.items():
        if name not in audited.contents:
            yield Finding("missing", name, f"{journal.line_of(event)} names it")
    for name, (_, data) in audited.contents.items():
        if name.endswith(".ipynb"):
            yield from _copy_findings(audited, name, data, executed.get(name))


def _copy_findings(audited, name, data, executed):
    """`executed`: the event of the copy; None for a copy made by hand."""
    try:
        notebook = json.loads(data)
        cells = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    except (ValueError, KeyError, TypeError) as error:
        yield Finding("changed", name, f"it is not a notebook ({type(error).__name__})")
        return
    step = executed["of"] if executed else _step(name)
    events = [
        event
        for event in audited.events
        if event.get("step") == step
        and (executed is None or event.get("attempt", event["seq"]) in executed["attempts"])
    ]
    happened = {event["event"] for event in events}
    for cell in cells:
        call = call_of(cell)
        if call and _claims(cell) and EVENTS[call] not in happened:
            what = f"its cell of {call!r} says completed; according to the journal it never was"
            yield Finding("claim", name, what)
    verdict = notebook.get("metadata", {}).get("cutover", {}).get("verdict")
    verified = any(event["event"] == "verified" and event["passed"] for event in events)
    if verdict == "passed" and not (verified and (executed is None or executed["passed"])):
        what = "it says passed; according to the journal verification did not pass"
        yield Finding("claim", name, what)
    if executed is not None and executed["passed"] and not verified:
        yield archive.at(executed, "claim", f"it says {name} passed, but no verification did")


def _claims(cell):
    """Whether a cell claims to have run."""
    status = cell["metadata"].get("papermill", {}).get("status")
    return status == "completed" or (status is None and cell.get("execution_count"))


def _step(name):
    """The step a notebook's file is named after."""
    return re.sub(r"^.*/|^\d+_|(\.\d+)?\.ipynb$", "", name).replace("_", "-")
