"""When the kernels of the notebooks that follow begin."""

import subprocess
import sys

import nbformat
import pytest
from cutover.model import runbook
from cutover.run import kernels, papermill

CELLS = {"parameters": 'site = ""', "probe": "1", "apply": "2", "verify": "3"}


@pytest.fixture
def executed(tmp_path):
    """Executes a step's cells, one replaced. Returns its error, and how many kernels wait then."""

    def execute(step_id, following, **replaced):
        cells = [
            nbformat.v4.new_code_cell(replaced.get(tag, text), metadata={"tags": [tag]})
            for tag, text in CELLS.items()
        ]
        language = {"language_info": {"name": "python"}}
        nbformat.write(
            nbformat.v4.new_notebook(cells=cells, metadata=language), tmp_path / "source.ipynb"
        )
        error = papermill._run_notebook(
            tmp_path / "source.ipynb",
            tmp_path / "copy.ipynb",
            {"site": "there is no such file"},
            60,
            *papermill._ahead(step_id, following),
        )
        return type(error).__name__, len(kernels._waiting)

    with kernels.prepared():
        yield execute


def test_the_next_kernel_begins_once_a_step_is_done(executed):
    assert executed("presync", ["stop-imap", "stop-sendmail"]) == ("NoneType", 1)
    assert executed("restore-imap", []) == ("NoneType", 0)
    assert executed("restore-imap", ["production-test", "backup"]) == ("NoneType", 1)


def test_those_of_the_outage_begin_before_its_first_change(executed):
    assert executed("stop-imap", runbook.OUTAGE[1:], apply="1 / 0") == (
        "PapermillExecutionError",
        len(runbook.OUTAGE) - 1,
    )
    # while one waits, no more begin
    assert executed("stop-sendmail", runbook.OUTAGE[2:]) == ("NoneType", len(runbook.OUTAGE) - 2)


@pytest.mark.parametrize("call", ["probe", "apply"])
def test_none_begins_where_the_step_ends_before(executed, call):
    ended = executed("presync", ["stop-imap"], **{call: "1 / 0"})
    assert ended == ("PapermillExecutionError", 0)


@pytest.fixture
def saved(tmp_path):
    """Executes cells of code with a text before each. → the copies on disk as each cell saw them,
    then the last, as {source of a cell: (its status, the text it showed)}."""

    def execute(*sources):
        look = "import shutil; shutil.copy('copy.ipynb', '{}.seen'); "
        cells = []
        for number, source in enumerate(sources):
            cells.append(nbformat.v4.new_markdown_cell("What comes next"))
            cells.append(nbformat.v4.new_code_cell(look.format(number) + source))
        parameters = nbformat.v4.new_code_cell('site = ""', metadata={"tags": ["parameters"]})
        place = f"import os; os.chdir({str(tmp_path)!r})"
        language = {"language_info": {"name": "python"}}
        nbformat.write(
            nbformat.v4.new_notebook(
                cells=[parameters, nbformat.v4.new_code_cell(place), *cells], metadata=language
            ),
            tmp_path / "source.ipynb",
        )
        with kernels.prepared():
            error = papermill._run_notebook(
                tmp_path / "source.ipynb",
                tmp_path / "copy.ipynb",
                {"site": "none"},
                60,
                0,
                "verify",
            )
        paths = [tmp_path / f"{number}.seen" for number in range(len(sources))]
        return error, [_shown(path) for path in [*paths, tmp_path / "copy.ipynb"] if path.exists()]

    return execute


def _shown(path):
    return {
        cell.source.rpartition("; ")[2]: (
            cell.metadata.papermill.status,
            "".join(output.get("text", output.get("ename", "")) for output in cell.outputs),
        )
        for cell in nbformat.read(path, as_version=4).cells
        if "copy.ipynb" in cell.source
    }


def test_before_a_cell_with_code_begins_the_copy_has_all_that_was_shown(saved):
    error, (first, second, last) = saved("print(1)", "print(2)")
    assert error is None
    assert first == {"print(1)": ("running", ""), "print(2)": ("pending", "")}
    assert second == {"print(1)": ("completed", "1\n"), "print(2)": ("running", "")}
    assert last == {"print(1)": ("completed", "1\n"), "print(2)": ("completed", "2\n")}


@pytest.mark.parametrize("end, shown", [("1 / 0", "ZeroDivisionError"), ("os._exit(1)", "")])
def test_a_notebook_that_fails_leaves_its_copy(saved, end, shown):
    error, (*_, last) = saved("print(1)", end, "print(3)")
    assert error is not None
    assert last["print(1)"] == ("completed", "1\n")
    assert last[end][1] == shown, "whether it ran is corrected by the journal"


def test_texts_are_not_saved_one_by_one(saved, monkeypatch):
    from papermill import engines

    writes = []
    write = engines.write_ipynb
    monkeypatch.setattr(
        engines, "write_ipynb", lambda *arguments: writes.append(1) or write(*arguments)
    )
    saved("1", "2", "3")
    assert len(writes) == 1 + 6 + 1, "at the start, before each cell of code, at the end"


def test_papermill_comes_without_the_file_system_of_a_cluster():
    script = (
        "import sys; from cutover.run import papermill; papermill._library(); "
        "print('papermill' in sys.modules, 'pyarrow' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == ["True", "False"]
