"""Working copies: filled in, without outputs, never made twice.

And the templates are refused to whoever would save them.
"""

import asyncio
import concurrent.futures

import nbformat
import pytest
from cutover import site
from cutover.notebook import jupyter_server
from cutover.record import run_folder
from cutover.report import html_page
from cutover.run import workspace


@pytest.fixture
def parameters():
    return site.load("parameters/lab.yaml")


def finished(coroutine):
    """What a coroutine answers, in a thread: a browser test before this one may have left a loop
    running in ours.
    """
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        return pool.submit(asyncio.run, coroutine).result()


@pytest.fixture
def run(parameters, tmp_path):
    return run_folder.begin(parameters, tmp_path / "run")


def test_copies_are_filled_in_and_empty(parameters, run):
    place = workspace.prepare(parameters, run)
    names = sorted(path.name for path in (site.PROJECT / "notebooks").glob("*.ipynb"))
    assert sorted(path.name for path in place.iterdir()) == names
    for path in place.iterdir():
        notebook = nbformat.read(path, as_version=4)
        nbformat.validate(notebook)
        cell = next(
            cell for cell in notebook.cells if "parameters" in cell.metadata.get("tags", [])
        )
        values = {}
        exec(cell.source, values)
        assert path.name != "20_restore.ipynb" or (
            values["user"],
            values["folder"],
            values["message"],
        ) == ("", "", "")
        assert (values["site"], values["run_dir"], values["mode"]) == (
            str(parameters.path),
            str(run.path),
            "execute",
        )
        assert not any(
            cell.get("outputs") or cell.get("execution_count") for cell in notebook.cells
        )


def test_a_copy_that_was_used_is_never_made_anew(parameters, run):
    place = workspace.prepare(parameters, run)
    (place / "02_dns_rename.ipynb").write_text("what the operator did")
    (place / "07_convert.ipynb").unlink()
    workspace.prepare(parameters, run)
    assert (place / "02_dns_rename.ipynb").read_text() == "what the operator did" and (
        place / "07_convert.ipynb"
    ).exists()


def test_the_report_links_the_copies_that_were_used(parameters, run):
    place = workspace.prepare(parameters, run)
    assert html_page.export(run) == []
    notebook = nbformat.read(place / "02_dns_rename.ipynb", as_version=4)
    next(cell for cell in notebook.cells if cell.cell_type == "code").execution_count = 1
    nbformat.write(notebook, place / "02_dns_rename.ipynb")
    assert html_page.export(run) == ["html/02_dns_rename.by-hand.html"]


def test_the_server_listens_here_only_and_opens_what_it_is_told(tmp_path):
    command = jupyter_server.argv(8888, site.PROJECT / "notebooks")
    assert (
        "--ServerApp.ip=127.0.0.1" in command
        and "--ServerApp.default_url=/lab/tree/notebooks" in command
    )
    assert (
        jupyter_server.address(8888, site.PROJECT / "notebooks", "t")
        == "http://127.0.0.1:8888/lab/tree/notebooks?token=t"
    )
    assert jupyter_server.environment("t")["JUPYTER_TOKEN"] == "t"
    assert not any("token" in part or "password" in part for part in command)
    elsewhere = jupyter_server.argv(8888, tmp_path / "run" / "by-hand" / "00_board.ipynb")
    assert f"--ServerApp.root_dir={tmp_path / 'run'}" in elsewhere
    assert "--ServerApp.default_url=/lab/tree/by-hand/00_board.ipynb" in elsewhere


@pytest.mark.parametrize(
    "name, kept",
    [("notebooks/x.ipynb", False), ("notebooks/sub/../x.ipynb", False), ("runs/x.ipynb", True)],
)
def test_templates_are_not_written_to(tmp_path, monkeypatch, name, kept):
    from cutover.notebook import contents
    from tornado import web

    for folder_name in ("notebooks", "notebooks/sub", "runs"):
        (tmp_path / folder_name).mkdir()
    monkeypatch.setattr(contents, "TEMPLATES", tmp_path / "notebooks")
    manager = contents.Contents(root_dir=str(tmp_path))
    model = {"type": "notebook", "format": "json", "content": nbformat.v4.new_notebook()}
    if kept:
        finished(manager.save(dict(model), name))
        assert (tmp_path / name).exists()
    else:
        with pytest.raises(web.HTTPError, match="is a template"):
            finished(manager.save(dict(model), name))
        assert not (tmp_path / name).exists()
        manager.edit_templates = True
        finished(manager.save(dict(model), "notebooks/x.ipynb"))
        assert (tmp_path / "notebooks/x.ipynb").exists()


@pytest.mark.parametrize("alive", [True, False])
def test_a_notebook_opened_without_its_kernel_shows_html_in_place_of_its_widgets(
    tmp_path, monkeypatch, alive
):
    from cutover.notebook import contents, live

    async def has_kernel(self, path):
        return alive

    monkeypatch.setattr(contents.Contents, "_has_kernel", has_kernel)
    both, widget = (
        {live.VIEW: {"model_id": "x"}, "text/html": "<p>"},
        {live.VIEW: {"model_id": "y"}},
    )
    cell = nbformat.v4.new_code_cell(
        outputs=[nbformat.v4.new_output("display_data", data) for data in (both, widget)]
    )
    nbformat.write(nbformat.v4.new_notebook(cells=[cell]), tmp_path / "x.ipynb")
    shown = (
        finished(contents.Contents(root_dir=str(tmp_path)).get("x.ipynb"))["content"]
        .cells[0]
        .outputs
    )
    assert [set(output.data) for output in shown] == [
        set(both) if alive else {"text/html"},
        set(widget),
    ]
