"""Working copies of the notebooks, in a run's folder, for a run by hand.

A copy is made once and then belongs to the operator: it is evidence and is never overwritten. The
templates stay unchanged.
"""

from pathlib import Path

from cutover import model, site
from cutover.model import errors
from cutover.record import run_folder

NAME = "by-hand"
BOARD = "00_board.ipynb"


class NoParametersCell(errors.CutoverError):
    """A notebook has no cell tagged `parameters`, so nothing can be filled in."""


def prepare(parameters: site.Site, run: run_folder.Run, mode: str = "execute") -> Path:
    """Make the copies that are missing. Returns their folder."""
    import nbformat
    from nbformat import sign

    notary = sign.NotebookNotary()
    place = run.path / NAME
    place.mkdir(exist_ok=True, mode=0o700)
    for template in sorted((site.PROJECT / "notebooks").glob("*.ipynb")):
        if not (place / template.name).exists():
            notebook = filled(
                nbformat.read(template, as_version=4),
                template.name,
                {"site": parameters.reference, "run_dir": str(run.path), "mode": mode},
            )
            run.keep(f"{NAME}/{template.name}", nbformat.writes(notebook).encode() + b"\n")
            # JupyterLab shows widgets only in a notebook it trusts, and these are ours
            notary.sign(nbformat.read(place / template.name, as_version=4))
    return place


def filled(notebook, name, values):
    """The notebook without outputs, with `values` in its parameters cell."""
    tagged = [cell for cell in notebook.cells if "parameters" in cell.metadata.get("tags", [])]
    if not tagged:
        raise NoParametersCell(f"{name}: no cell is tagged parameters. Restore the template.")
    lines = model.lines(tagged[0].source)
    others = [line for line in lines if line.partition(":")[0] not in values]
    tagged[0].source = "\n".join(
        [*(f"{key}: str = {value!r}" for key, value in values.items()), *others]
    )
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
    return notebook
