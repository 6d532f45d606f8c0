"""Which plan a person approves, by whose list, for how many uses, and by which clock."""

import json
import os
import resource
import subprocess
import sys
import time

import pytest
from click import testing
from cutover import site
from cutover.commands import main
from cutover.model import errors
from cutover.record import approval, journal, run_folder, signing, statement


@pytest.fixture
def stepper(night):
    night.before()
    return night.planned()


def approve(night, who, stepper):
    """`cutover approve` as one person types it."""
    return testing.CliRunner().invoke(
        main.cutover,
        [
            "approve",
            *("--run", str(night.run.path), "--step", "stop-imap"),
            *("--plan", stepper.hash()[:16], "--key", str(night.people[who])),
        ],
        input="mailbox.roma1.example\n",
    )


def replace_event(night, kind, change):
    """Rewrite the last event of a kind in the journal, its chain kept valid."""
    import stub

    def edit(events):
        change([event for event in events if event["event"] == kind][-1])

    stub.rewrite(night.run.path, edit)


def test_a_person_is_shown_the_plan_that_the_hash_binds(night, stepper):
    def soften(event):
        for change in event["changes"]:
            change.update(title="look at the weather", text="nothing happens")

    replace_event(night, "planned", soften)
    shown = approve(night, "anna", stepper)
    assert shown.exit_code == 0, shown.output
    assert "weather" not in shown.output and "nothing happens" not in shown.output
    assert "systemctl stop -- dovecot.service" in shown.output


def test_a_plan_file_that_is_not_the_one_shown_is_not_approved(night, stepper):
    (place,) = (night.run.path / "plans").glob("stop-imap*")
    place.write_bytes(place.read_bytes().replace(b"dovecot", b"rsyslog"))
    refused = approve(night, "anna", stepper)
    assert isinstance(refused.exception, statement.NotApproved)
    assert "SHA-256" in str(refused.exception)
    assert not list((night.run.path / "approvals").glob("stop-imap*"))


def test_only_those_listed_when_the_run_began_may_sign(night, stepper):
    signing.make_key(night.path / "late", "late")
    night.allowed.write_text(
        night.allowed.read_text()
        + f'late@example namespaces="{statement.NAMESPACE}" '
        + signing.public_of(night.path / "late")
        + "\n"
    )
    night.people["late"] = night.path / "late"
    with pytest.raises(signing.BadSignature, match="do not list"):
        night.give("late", stepper)


def test_a_plan_of_a_run_of_the_same_name_is_not_approved_in_this_one(night, stepper, tmp_path):
    mine = night.run
    (tmp_path / "elsewhere").mkdir()
    night.run = run_folder.begin(night.site, tmp_path / "elsewhere" / mine.name)
    night.before()
    other = night.planned()
    (place,) = (night.run.path / "plans").glob("stop-imap*")
    name, _ = mine.keep(f"plans/{place.name}", place.read_bytes())
    night.run = mine
    replace_event(night, "planned", lambda event: event.update(hash=other.hash(), file=name))
    refused = approve(night, "anna", other)
    assert isinstance(refused.exception, statement.NotApproved)
    assert "Do not approve it" in str(refused.exception)


def test_the_runs_own_list_of_signers_is_the_one_it_began_with(night, stepper):
    signing.make_key(night.path / "late", "late")
    night.people["late"] = night.path / "late"
    with open(night.run.path / "allowed_signers", "a") as listed:
        listed.write(f"late@example {signing.public_of(night.path / 'late')}\n")
    with pytest.raises(statement.NotApproved, match="it was changed"):
        night.give("late", stepper)


def test_a_clock_set_back_revives_no_approval(night, stepper, monkeypatch):
    night.give("anna", stepper)
    night.give("bert", stepper)
    monkeypatch.setattr(journal, "now", lambda: "2026-01-01T00:00:00.000+00:00")
    for again in (stepper, night.planned()):  # the second attempt journals the wrong time first
        with pytest.raises(approval.NotApproved, match="less than by the journal's times"):
            again.approve()


def test_nor_one_set_back_to_just_after_the_last_event(night, stepper, monkeypatch):
    """Wall clock and journal agree; the monotonic clock knows that an hour passed."""
    night.give("anna", stepper)
    night.give("bert", stepper)
    hour_later = time.monotonic() + 3600
    monkeypatch.setattr(time, "monotonic", lambda: hour_later)
    with pytest.raises(approval.NotApproved, match="less than by the journal's times"):
        stepper.approve()


def test_a_run_keeps_its_kind(night, stepper):
    """A rehearsal approves its own differences: other signers, for one."""
    night.allowed.write_text(night.allowed.read_text().replace("bert@", "late@"))
    night.file.write_text(night.file.read_text().replace("kind: production ", "kind: rehearsal "))
    night.site = site.load(night.file)
    with pytest.raises(run_folder.NotARun, match="began as a production run"):
        night.planned()
    assert not [event for event in night.run.journal.events() if event["event"] == "drift"]


def test_an_approval_serves_one_attempt(night, stepper):
    night.give("anna", stepper)
    night.give("bert", stepper)
    night.finish(stepper)
    night.running.update({"stunnel4", "xinetd", "dovecot"})
    again = night.planned()
    assert again.hash() == stepper.hash()  # the same plan of the same run
    with pytest.raises(approval.NotApproved, match="0 of 2.*gave it for an earlier attempt"):
        again.approve()
    night.give("anna", again)
    night.give("bert", again)
    night.finish(again)


def test_an_approval_serves_no_run_of_the_same_name_elsewhere(night, stepper, tmp_path):
    night.give("anna", stepper)
    (tmp_path / "elsewhere").mkdir()
    other = run_folder.begin(night.site, tmp_path / "elsewhere" / night.run.name)
    assert other.name == night.run.name and other.id != night.run.id
    first = stepper.hash()
    night.run = other
    night.before()
    assert night.planned().hash() != first


def test_one_key_under_two_names_is_said(night, stepper, monkeypatch):
    night.give("anna", stepper)
    (first,) = (night.run.path / "approvals").glob("*.json")
    for suffix in ("", ".sig"):
        (first.parent / f"copy.json{suffix}").write_bytes(
            first.with_name(first.name + suffix).read_bytes()
        )
    names = iter(["anna@example", "anna2@example"])
    verify = signing.verify
    monkeypatch.setattr(
        signing,
        "verify",
        lambda *given: signing.Signer(next(names), verify(*given).key),
    )
    with pytest.raises(approval.NotApproved, match="one key counts as one person"):
        stepper.approve()


@pytest.mark.parametrize("ends", ["kill -SEGV $$", "exit 127", "exit 126"])
def test_an_ssh_keygen_that_cannot_run_is_not_the_keys_fault(
    night, stepper, monkeypatch, tmp_path, ends
):
    night.give("anna", stepper)
    program = tmp_path / "bin" / "ssh-keygen"
    program.parent.mkdir()
    program.write_text(f"#!/bin/sh\n{ends}\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")
    with pytest.raises(errors.Missing, match="ssh-keygen cannot run"):
        stepper.approve()


FULL = """
import resource, signal, sys
from cutover.record import journal
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
limit = int(sys.argv[2])
resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
journal.Journal(sys.argv[1]).append("intent", text="x" * 200)
"""


@pytest.mark.parametrize("room", [1, 40, 300])
def test_a_line_that_the_disk_took_only_in_part_is_an_error_and_leaves_no_trace(tmp_path, room):
    before = journal.Journal(tmp_path)
    before.append("run-begun", run="r")
    data = (tmp_path / journal.NAME).read_bytes()
    done = subprocess.run(
        [sys.executable, "-c", FULL, str(tmp_path), str(len(data) + room)],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1 and "File too large" in done.stderr
    assert (tmp_path / journal.NAME).read_bytes() == data
    assert before.append("result", outcome="done")["seq"] == 1
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[0] == resource.RLIM_INFINITY
    assert json.loads(os.fsencode((tmp_path / journal.NAME).read_text().splitlines()[1]))
