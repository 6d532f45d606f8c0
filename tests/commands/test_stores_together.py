"""`cutover run` for a file of several stores, without hosts: what is refused, and what is resumed."""

import dataclasses
import json
import os
import subprocess
import sys

import pytest
import store_sites
from click.testing import CliRunner
from cutover import model, site
from cutover.commands import rehearse, run, status, stores
from cutover.model import runbook
from cutover.record import run_folder


@pytest.fixture
def file(tmp_path, monkeypatch):
    written = store_sites.write(tmp_path / "site.yaml")
    monkeypatch.setattr("cutover.site.PROJECT", tmp_path)
    monkeypatch.setattr("lab.state.read", lambda: None)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    return written


@pytest.mark.parametrize("more", [("--run", "runs/x"), ("--without", "alice")])
def test_what_is_for_one_run_is_refused_for_several(file, more):
    done = CliRunner().invoke(run.run, ["--site", str(file), *more])
    assert done.exit_code == 2 and "FILE:STORE" in done.output


def test_a_wrong_step_begins_no_run(file):
    done = CliRunner().invoke(run.run, ["--site", str(file), "--to", "nowhere"])
    assert isinstance(done.exception, runbook.UnknownStep)
    assert not (file.parent / "runs").exists()


@pytest.mark.parametrize("more", [("--traffic", "1"), ("--without-presync",), ("--old-world",)])
def test_a_rehearsal_of_two_stores_takes_no_other_lab(more):
    done = CliRunner().invoke(rehearse.rehearse, ["--stores", "2", *more])
    assert done.exit_code == 2 and "--stores 2 goes with none of" in done.output


def test_each_store_runs_and_what_failed_can_be_resumed(file, monkeypatch):
    calls = []

    def called(store, arguments):
        calls.append((store, arguments))
        return store == "mailbox"

    monkeypatch.setattr(stores, "_called", called)
    done = CliRunner().invoke(run.run, ["--site", str(file), "--to", "verify", "--json"])
    assert {store for store, _ in calls} == {"mailbox", "posta"}
    for store, (command, option, reference, *rest) in calls:
        assert (command, option, reference) == ("run", "--site", f"{file}:{store}")
        assert rest[:3] == ["--to", "verify", "--run"] and f"_lab-{store}_run" in rest[3]
    assert isinstance(done.exception, stores.SomeFailed)
    message = str(done.exception)
    assert f"posta did not pass. To resume it: `./cutover run --site {file}:posta --run" in message
    assert "mailbox did not pass" not in message


def test_a_rolled_back_rehearsal_rolls_back_what_passed(file, monkeypatch):
    calls = []

    def called(store, arguments):
        calls.append((store, arguments[0]))
        return (store, arguments[0]) != ("posta", "run")

    monkeypatch.setattr(stores, "_called", called)
    with pytest.raises(stores.SomeFailed):
        stores.execute(file, "rehearse", [], False, undo=True)
    assert sorted(calls) == [("mailbox", "rollback"), ("mailbox", "run"), ("posta", "run")]


def test_status_has_a_line_for_the_latest_run_of_each_store(file):
    def shown(*more):
        done = CliRunner().invoke(status.status, ["--site", str(file), *more])
        assert done.exit_code == 0, done.output
        return done.output

    empty = json.loads(shown("--json"))
    assert [row["site"] for row in empty] == ["lab-mailbox", "lab-posta"]
    assert all(row["run"] is None and row["outage"]["reading"]["began"] is None for row in empty)
    runs = {
        store: [run_folder.create(site.load(file, store), kind) for kind in ("run", "rehearse")]
        for store in ("mailbox", "posta")
    }
    # days later, and not of the night
    later = run_folder.create(site.load(file, "posta"), "maintenance")
    later.journal.append("step-begun", step="vacation", title="", attempt="1")
    latest = runs["posta"][1].journal
    mail = {"users": 1, "messages": 2, "bytes": 3_400_000, "folders": 1}
    check = model.equal("Is it readable?", "yes", "yes", id="old-mail-readable", data=mail)
    checks = [dataclasses.asdict(check)]
    latest.append("verified", step="preflight", passed=True, checks=checks)
    latest.append("step-begun", step="stop-imap", title="", attempt="1")
    latest.append("planned", step="stop-imap", changes=[], hash="ab" * 32, reason="")
    spans = {kind: {"low": 1.0, "likely": 63.0, "high": 90.0} for kind in ("reading", "delivery")}
    latest.append("predicted", **spans)
    latest.append("approval-missing", step="stop-imap", hash="ab" * 32, error="nobody")
    mailbox, posta = json.loads(shown("--json"))
    assert mailbox["run"] == str(runs["mailbox"][1].path) and mailbox["step"] is None
    assert mailbox["next"] == "preflight" and mailbox["waits"] is None
    assert posta["run"] == str(runs["posta"][1].path) and posta["state"] == "begun"
    assert posta["step"] == "stop-imap" and posta["waits"] == "ab" * 32
    assert posta["mail"]["bytes"] == 3_400_000
    _, row = [line for line in shown().splitlines() if line.startswith("lab-")]
    assert row.split()[:4] == ["lab-posta", "stop-imap", "begun", "ab" * 8]
    assert "1 user, 2 messages, 3.4 MB" in row and row.count("no outage, likely 1 min 03 s") == 2


@pytest.mark.parametrize("more", [[], ["--run", "x", "--site", "y"], ["--site", "y", "--report"]])
def test_status_is_of_a_run_or_of_a_site(more):
    done = CliRunner().invoke(status.status, more)
    assert done.exit_code == 2 and "give --run DIR" in done.output


def test_a_run_goes_on_when_nobody_reads_its_progress():
    program = (
        "import sys; from cutover.commands import options; sys.stdin.read(); "
        "options.say('step'); options.say('step'); print('went on')"
    )
    reader, writer = os.pipe()
    call = [sys.executable, "-c", program]
    pipe = subprocess.PIPE
    with subprocess.Popen(call, stdin=pipe, stdout=pipe, stderr=writer, text=True) as process:
        os.close(writer)
        os.close(reader)  # as when the command that began all stores' runs is killed
        assert process.communicate("")[0] == "went on\n"
    assert process.returncode == 0
