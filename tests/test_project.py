"""The project's own habits: pins, notebooks, style."""

import importlib.util
import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import nbformat
import pytest
import yaml
from click import testing
from cutover import site
from cutover.commands import main
from cutover.model import runbook

ROOT = site.PROJECT
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))


def pins():
    """{normalised name: version} of pyproject.toml."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    return {
        name.lower().replace("_", "-"): version
        for name, version in (line.split("==") for line in project["dependencies"])
    }


def test_environment_yml_has_the_same_pins():
    listed = yaml.safe_load((ROOT / "environment.yml").read_text())["dependencies"]
    names = [
        line
        for line in listed
        if isinstance(line, str) and line != "pip" and not line.startswith("python=")
    ]
    from_pip = [line for section in listed if isinstance(section, dict) for line in section["pip"]]
    conda = dict(line.split("=") for line in names) | dict(line.split("==") for line in from_pip)
    assert {name.lower(): version for name, version in conda.items()} == pins()


def test_the_lock_holds_every_pin_and_nothing_unpinned():
    lines = [
        line
        for line in (ROOT / "requirements.lock").read_text().splitlines()
        if line and not line.startswith("#")
    ]
    assert all(re.fullmatch(r"[A-Za-z0-9_.-]+==[0-9][0-9a-z.]*", line) for line in lines), lines
    locked = {
        name.lower().replace("_", "-"): version
        for name, version in (line.split("==") for line in lines)
    }
    assert pins().items() <= locked.items()


def test_the_tests_keep_what_they_compile(monkeypatch):
    given = {}

    def run(argv, env, **_):
        given.update(env)
        return subprocess.CompletedProcess(argv, 0)

    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")
    monkeypatch.setattr(subprocess, "run", run)
    assert testing.CliRunner().invoke(main.cutover, ["test", "tests"]).exit_code == 0
    assert given["PATH"] and "PYTHONDONTWRITEBYTECODE" not in given


def test_reading_a_notebook_needs_no_grammar_of_addresses():
    """It takes over a second to build, in every process that imports nbformat."""
    assert importlib.util.find_spec("jsonschema")
    assert not importlib.util.find_spec("rfc3987_syntax"), "delete .venv: it is made anew"


def test_there_is_one_notebook_a_step_and_a_board():
    assert [path.name for path in NOTEBOOKS] == [
        "00_board.ipynb",
        *(runbook.notebook_name(name) for name in runbook.EVERY),
    ]


GATED = ("stop_imap", "decommission")


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_is_a_document_with_one_call_a_cell(path):
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    text = [cell for cell in notebook.cells if cell.cell_type == "markdown"]
    tags = [cell.metadata.tags[0] for cell in code]
    board = path.stem == "00_board"
    assert tags == [
        "parameters",
        "open",
        *(
            ["steps", "outage", "gates", "ahead", "progress", "world"]
            + ["morning", "timeline", "log"]
            if board
            else [
                "probe",
                *(["gate"] if path.stem[3:] in GATED else []),
                "plan",
                "approve",
                "apply",
                "verify",
            ]
        ),
    ]
    for cell in code[2:]:
        assert cell.source == f"{'night' if board else 'step'}.{cell.metadata.tags[0]}()"
    assert sum(len(cell.source) for cell in text) > 2 * sum(len(cell.source) for cell in code)
    headings = [cell.source.splitlines()[0] for cell in text if cell.source.startswith("## ")]
    assert sum(heading.endswith("?") for heading in headings) >= len(headings) - 1
    assert "What it cannot undo" in text[0].source


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_template_is_clean(path):
    """Kept with the outputs of explain mode, and nothing of a run, of papermill or of this machine."""
    notebook = nbformat.read(path, as_version=4)
    assert set(notebook.metadata) == {"kernelspec", "language_info"}
    assert all(set(cell.metadata) <= {"tags"} for cell in notebook.cells)
    assert not any(
        output.output_type == "error"
        for cell in notebook.cells
        for output in cell.get("outputs", [])
    )
    text = path.read_text()
    assert str(ROOT) not in text and "lab.test" not in text and "10.77." not in text


def test_the_style_checker_is_content():
    done = subprocess.run(
        [sys.executable, "-m", "ruff", "check", "lib", "tests", "cutover"],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout


def test_what_is_shipped_to_other_hosts_runs_on_an_old_python():
    done = subprocess.run(
        [
            Path(sys.executable).with_name("vermin"),
            "-t=3.8-",
            "--no-tips",
            "--violations",
            "lib/mbx2maildir",
            "lib/cutover/remote/backup_copier.py",
            "lib/cutover/remote/store_copies.py",
            "lib/cutover/remote/store_mover.py",
            "lib/cutover/remote/store_use.py",
            "lib/cutover/remote/store_program.py",
            "lib/cutover/remote/trees.py",
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout


def test_no_path_or_registry_of_a_machine_is_written_down():
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True)
    if listed.returncode:
        pytest.skip("not a git checkout: there is no list of the project's files")
    words = re.compile(
        "|".join(
            [
                re.escape(str(ROOT)),
                r"deb\.debian\." + "org",
                r"files\.python" + "hosted",
                r"pypi\." + "org",
            ]
        )
    )
    for name in listed.stdout.split("\0"):
        path = ROOT / name
        if name and path.is_file() and path.suffix not in (".png",):
            assert not words.search(path.read_text(errors="replace")), name


COMMANDS = [
    "rehearse",
    "test",
    "jupyter",
    "lab",
    "plan",
    "run",
    "maintain",
    "status",
    "restore",
    "rollback",
    "approve",
    "store",
    "record",
    "lease",
    "bench",
]


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_explains_itself(name):
    done = testing.CliRunner().invoke(main.cutover, [name, "--help"])
    assert done.exit_code == 0
    assert f"cutover {name}" in done.output and "usage" in done.output.lower()


def test_the_command_line_lists_its_commands_and_refuses_others():
    done = subprocess.run(
        [sys.executable, "-m", "cutover", "--help"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert all(f"\n  {name} " in done.stdout for name in COMMANDS)
    done = subprocess.run(
        [sys.executable, "-m", "cutover", "convrt"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 2 and "convrt" in done.stderr


def test_the_schema_for_editors_is_the_models():
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            "import refresh_schema as r; r.PATH.read_text() == r.text() or exit('stale')",
        ],
        cwd=ROOT / "tests",
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, f"{done.stderr}: run tests/refresh_schema.py"


DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_links_of_a_document_lead_somewhere(path):
    for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", path.read_text()):
        if not target.startswith("http"):
            assert (path.parent / target).exists(), target


def test_pictures_are_small_and_used():
    text = "".join(path.read_text() for path in DOCUMENTS)
    for path in (ROOT / "docs" / "pictures").glob("*.png"):
        assert path.stat().st_size < 200_000, path.name
        assert f"pictures/{path.name}" in text, path.name


def test_the_shell_completes_commands():
    done = subprocess.run(
        [sys.executable, "-m", "cutover"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        env={
            **os.environ,
            "_CUTOVER_COMPLETE": "bash_complete",
            "COMP_WORDS": "cutover re",
            "COMP_CWORD": "1",
        },
    )
    assert {"plain,record", "plain,rehearse", "plain,restore"} <= set(done.stdout.split())


def test_the_first_start_without_an_index_says_what_it_fetched_and_ends(tmp_path):
    for name in ("cutover", "requirements.lock", "environment.yml", "pyproject.toml"):
        shutil.copy(ROOT / name, tmp_path)
    nowhere = {"PIP_INDEX_URL": "http://127.0.0.1:9/simple", "PIP_CONFIG_FILE": os.devnull}
    path = f"{Path(sys.executable).resolve().parent}:/usr/bin:/bin"
    done = subprocess.run(
        [sys.executable, tmp_path / "cutover", "--help"],
        env={"PATH": path, "HOME": str(tmp_path), **nowhere},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 3 and "fetching the Python packages" in done.stderr
    assert "Fix what it reports, then run the same command again." in done.stderr
    assert not (tmp_path / ".venv/made-from").exists()
