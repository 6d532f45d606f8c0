"""An executed copy of a notebook claims no more than the journal proves.

Papermill marks every cell of a copy `completed`, even cells that never ran, when a kernel is killed
or a cell calls sys.exit. So a copy is corrected by the journal, and an audit compares the two again.
"""

import json
import re

import nbformat

from cutover.record import journal
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


def correct(copy, events, passed: bool):
    """Make an executed copy say of each cell only what the journal bears out; a copy that fell short says so on top."""
    if not copy.exists():
        return
    try:
        notebook = nbformat.read(copy, as_version=4)
    except ValueError:  # a full disk left a part of it, or nothing: no notebook, and the journal tells what happened
        copy.rename(copy.with_name(copy.name + ".torn"))
        return
    happened = {event["event"] for event in events}
    for cell in notebook.cells:
        if cell.cell_type != "code" or "papermill" not in cell.metadata:
            continue
        call = next((EVENTS[tag] for tag in cell.metadata.get("tags", []) if tag in EVENTS), None)
        ran = cell.execution_count is not None and (call is None or call in happened)
        failed = any(output.output_type == "error" for output in cell.outputs)
        for output in cell.outputs:
            # a widget shows nothing without its kernel; the same stands beside it as HTML
            output.get("data", {}).pop("application/vnd.jupyter.widget-view+json", None)
        cell.metadata.papermill["status"] = (
            "failed" if failed else "completed" if ran else "pending"
        )
        if not ran and not failed:
            cell.metadata.papermill["exception"] = None
    notebook.metadata.pop("widgets", None)
    notebook.metadata.setdefault("papermill", {})["exception"] = None if passed else True
    notebook.metadata["cutover"] = {
        "verdict": "passed" if passed else "not passed",
        "source": "journal.jsonl",
    }
    if not passed and "cutover-verdict" not in (notebook.cells[0].metadata.get("tags") or []):
        notebook.cells.insert(
            0,
            nbformat.v4.new_markdown_cell(
                "> **This step did not pass.** By the journal, these calls finished: "
                + (", ".join(call for call, event in EVENTS.items() if event in happened) or "none")
                + ". Cells below without output did not run.",
                metadata={"tags": ["cutover-verdict"]},
            ),
        )
    text = nbformat.writes(notebook)
    copy.write_bytes(secrets.redact_bytes(text.encode("utf-8", "surrogatepass") + b"\n"))


def findings(events, contents):
    """Yields `(kind, name, text)` per claim of a copy that the journal does not prove.

    `contents`: the run's files, as record_json.survey returns them.
    """
    executed = {event["copy"]: event for event in events if event["event"] == "executed"}
    for name in executed:
        if name not in contents:
            yield "missing", name, f"{journal.line_of(executed[name])} speaks of it"
    for name, (_, data) in contents.items():
        if not name.endswith(".ipynb"):
            continue
        try:
            notebook = json.loads(data)
            cells = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
        except (ValueError, KeyError, TypeError) as error:
            yield "changed", name, f"it is no notebook ({type(error).__name__})"
            continue
        event = executed.get(name)
        step = (
            event["of"]
            if event
            else re.sub(r"^.*/|^\d+_|(\.\d+)?\.ipynb$", "", name).replace("_", "-")
        )
        mine = [
            each
            for each in events
            if each.get("step") == step
            and (event is None or each.get("attempt", each["seq"]) in event["attempts"])
        ]
        happened = {each["event"] for each in mine}
        for cell in cells:
            call = next((tag for tag in cell["metadata"].get("tags", []) if tag in EVENTS), None)
            status = cell["metadata"].get("papermill", {}).get("status")
            claims = status == "completed" or (status is None and cell.get("execution_count"))
            if call and claims and EVENTS[call] not in happened:
                yield (
                    "claim",
                    name,
                    f"its cell of {call!r} says completed; by the journal it never was",
                )
        verdict = notebook.get("metadata", {}).get("cutover", {}).get("verdict")
        passed = any(each["event"] == "verified" and each["passed"] for each in mine)
        if verdict == "passed" and not (passed and (event is None or event["passed"])):
            yield "claim", name, "it says passed; by the journal its verify did not"
        if event is not None and event["passed"] and not passed:
            yield "claim", journal.line_of(event), f"{name} is said to have passed; no verify did"
