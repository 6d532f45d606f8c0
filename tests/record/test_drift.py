"""A run goes on with what it began with, or with a difference that somebody approved."""

import json

import nbformat
import pytest
import stub
from click import testing
from cutover import site
from cutover.commands import main
from cutover.model import runbook
from cutover.record import audit, code, drift, record_json, run_folder, signing


@pytest.fixture
def changed(night, monkeypatch):
    """The same run, met again with other code."""
    night.before()
    monkeypatch.setattr(code, "files", lambda: {**ORIGINAL, "lib/cutover/site.py": "0" * 64})
    code.parts.cache_clear()
    yield night
    monkeypatch.undo()
    code.parts.cache_clear()


ORIGINAL = code.files()


def unsigned(events):
    for event in events:
        if event["event"] == "drift":
            event["signers"].clear()


def approve(night, who="anna", typed="run", more=()):
    return testing.CliRunner().invoke(
        main.cutover,
        ["approve", "--run", str(night.run.path), "--drift", "--key", str(night.path / who), *more],
        input=typed + "\n",
    )


def test_other_code_is_refused_and_named(changed):
    with pytest.raises(
        drift.Drifted,
        match=r"this has changed: code \(lib/cutover/site\.py\).*cutover approve --run .* --drift",
    ):
        changed.planned()


def test_an_approved_difference_is_journaled_and_the_record_holds(changed):
    done = approve(changed)
    assert (
        done.exit_code == 0
        and "lib/cutover/site.py" in done.output
        and "approved by anna@example" in done.output
    )
    changed.planned()
    event = [entry for entry in changed.run.journal.events() if entry["event"] == "drift"][-1]
    assert event["by"] == "anna@example" and event["code"] and "site.py" in event["what"]
    changed.planned()  # once is enough
    assert len([entry for entry in changed.run.journal.events() if entry["event"] == "drift"]) == 1
    record_json.write(changed.run, changed.site, "end")
    assert audit.verify(changed.run.path).findings == ()
    stub.rewrite(changed.run.path, unsigned, key="operator", site=changed.site)
    assert any(
        "0 of 1 people approved the drift" in finding.what
        for finding in audit.verify(changed.run.path).findings
    )


@pytest.mark.parametrize("who, typed", [("mallory", "run"), ("operator", "run"), ("anna", "yes")])
def test_nobody_else_approves_it(changed, who, typed):
    assert approve(changed, who, typed).exception is not None
    with pytest.raises(drift.Drifted):
        changed.planned()


def test_other_parameters_are_refused_until_approved_and_kept(night):
    night.before()
    night.file.write_text(night.file.read_text().replace("jobs: 2", "jobs: 3"))
    night.site = site.load(night.file)
    with pytest.raises(drift.Drifted, match="the parameters"):
        night.planned()
    assert approve(night, more=["--site", str(night.file)]).exit_code == 0
    night.planned()
    assert (
        night.run.path / f"parameters.{night.site.digest[:8]}.yaml"
    ).read_bytes() == night.file.read_bytes()
    # what is asked of the run later, without a file, is asked with these
    assert night.run.parameters().digest == night.site.digest


def test_new_signers_cannot_let_themselves_in(night):
    night.before()
    night.allowed.write_text(
        f"mallory@example {signing.public_of(night.path / 'mallory')}\n" + night.allowed.read_text()
    )
    with pytest.raises(drift.Drifted, match="the allowed signers"):
        night.planned()
    refused = approve(night, "mallory")
    assert isinstance(refused.exception, signing.BadSignature)
    assert "do not list" in str(refused.exception)
    with pytest.raises(drift.Drifted, match="Nobody approved"):
        night.planned()
    assert approve(night, "anna").exit_code == 0
    night.planned()
    record_json.write(night.run, night.site, "end")
    assert audit.verify(night.run.path).findings == ()


def test_a_rehearsal_approves_its_own_and_journals_it(rehearsal, monkeypatch):
    rehearsal.before()
    rehearsal.file.write_text(rehearsal.file.read_text().replace("jobs: 2", "jobs: 3"))
    rehearsal.site = site.load(rehearsal.file)
    rehearsal.planned()
    event = [entry for entry in rehearsal.run.journal.events() if entry["event"] == "drift"][-1]
    assert event["kind"] == "rehearsal" and event["parameters"] == rehearsal.site.digest


def test_a_template_saved_with_other_outputs_is_the_same_code():
    path = site.PROJECT / "notebooks" / runbook.notebook_name("stop-imap")
    notebook = nbformat.read(path, as_version=4)
    before = code.template(path.read_bytes())
    notebook.metadata["kernelspec"] = {"name": "python3", "display_name": "mine"}
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [nbformat.v4.new_output("stream", text="seen")], 7
            cell.metadata["collapsed"] = True
    assert code.template(nbformat.writes(notebook).encode()) == before
    notebook.cells[-1].source += "\nstep.close()"
    assert code.template(nbformat.writes(notebook).encode()) != before


def test_what_it_does_is_code_and_a_text_beside_it_too():
    path = site.PROJECT / "notebooks" / runbook.notebook_name("stop-imap")
    data = json.loads(path.read_bytes())
    data["cells"][0]["source"] = ["# another story"]
    assert code.template(json.dumps(data).encode()) != code.template(path.read_bytes())
    assert code.template(b"no notebook") != code.template(b"no notebook either")


def test_a_run_of_a_name_that_could_do_harm_is_refused(night):
    for name in ("a b", "$(id)", "x;y", "-rf", "é", "a\nb", "'"):
        with pytest.raises(run_folder.NotARun, match="a run's name"):
            run_folder.begin(night.site, night.path / name)


@pytest.mark.parametrize("command", [["rollback"], ["jupyter"], ["approve", "--drift"]])
def test_a_folder_in_which_no_run_began_is_named(command, tmp_path):
    done = testing.CliRunner().invoke(main.cutover, [*command, "--run", str(tmp_path)])
    assert isinstance(done.exception, run_folder.NotARun) and "holds no parameters.yaml" in str(
        done.exception
    )
    assert not list(tmp_path.iterdir())
