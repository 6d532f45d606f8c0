"""When the kernel of the notebook that follows begins."""

import nbformat
import pytest
from cutover.run import kernels, papermill

CELLS = {"parameters": 'site = ""', "plan": "1", "approve": "2", "apply": "3"}


@pytest.fixture
def executed(tmp_path):
    """Executes the cells of a step, one replaced. Returns its error, and whether the next waits."""

    def execute(followed, **replaced):
        cells = [
            nbformat.v4.new_code_cell(replaced.get(tag, text), metadata={"tags": [tag]})
            for tag, text in CELLS.items()
        ]
        language = {"language_info": {"name": "python"}}
        nbformat.write(
            nbformat.v4.new_notebook(cells=cells, metadata=language), tmp_path / "source.ipynb"
        )
        with kernels.prepared():
            error = papermill._run_notebook(
                tmp_path / "source.ipynb",
                tmp_path / "copy.ipynb",
                {"site": "there is no such file"},
                60,
                followed,
            )
            return type(error).__name__, bool(kernels._waiting)

    return execute


def test_it_begins_once_the_plan_is_approved_if_a_step_follows(executed):
    assert executed(True) == ("NoneType", True)
    assert executed(False) == ("NoneType", False)


@pytest.mark.parametrize("call", ["plan", "approve"])
def test_it_does_not_begin_where_the_step_ends_before(executed, call):
    assert executed(True, **{call: "1 / 0"}) == ("PapermillExecutionError", False)
