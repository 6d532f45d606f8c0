"""The alias is not switched on old evidence, nor on evidence of other mail."""

import json

import pytest
from cutover import site
from cutover.model import runbook
from cutover.record import run_folder
from cutover.run import gate
from cutover.steps import registry

LAB = site.load("parameters/lab.yaml")
STEP = registry.step("switch-alias")
CONVERTED = {
    "run": "r",
    "users": [],
    "state": {
        "users": {user: {"folders": [{"name": ""}, {"name": "a"}]} for user in ("alice", "bruno")}
    },
}
COMPARED = {
    "run": "r",
    "level": "count",
    "users": {
        user: {"rows": [{"new_name": "INBOX"}, {"new_name": "a"}]} for user in ("alice", "bruno")
    },
}


@pytest.fixture
def run(tmp_path):
    made = run_folder.Run(tmp_path)
    made.journal.append("run-begun", run=made.name)
    return made


def passed(run, name, facts, good=True):
    attempt = run.journal.append("step-begun", step=name)["seq"]
    path, digest = run.keep(f"facts/{name}.{attempt}.json", json.dumps(facts).encode())
    run.journal.append("probed", step=name, attempt=attempt, facts=path, sha256=digest)
    run.journal.append("verified", step=name, attempt=attempt, passed=good, checks=[])
    return run.path / path


def test_fresh_evidence_of_the_same_mail_opens_it(run):
    passed(run, "convert", CONVERTED)
    passed(run, "verify", COMPARED)
    gate.check(run, LAB, STEP)


def test_a_step_that_needs_none_is_not_asked(run):
    gate.check(run, LAB, registry.step("dns-rename"))


def test_the_steps_that_open_the_new_server_need_it():
    assert [name for name in runbook.ORDER if registry.step(name).needs_fresh_verify] == [
        "restore-sendmail",
        "switch-alias",
        "restore-imap",
    ]


def refused(run, message, parameters=LAB):
    with pytest.raises(runbook.NotYet, match=message):
        gate.check(run, parameters, STEP)


def test_no_evidence_or_evidence_that_failed(run):
    refused(run, "verify has not passed")
    passed(run, "convert", CONVERTED)
    passed(run, "verify", COMPARED)
    passed(run, "verify", COMPARED, good=False)
    refused(run, "verify has not passed")


def test_evidence_that_is_old(run, monkeypatch):
    passed(run, "convert", CONVERTED)
    passed(run, "verify", COMPARED)
    monkeypatch.setattr(gate.journal, "now", lambda: "2090-01-01T00:00:00+00:00")
    refused(run, "limits.verify_age allows 120. Run verify again")


def test_evidence_from_before_delivery_resumed_does_not_age(run, monkeypatch):
    """verify would find the mail that came since; restore-imap may be repeated weeks later."""
    passed(run, "convert", CONVERTED)
    passed(run, "verify", COMPARED)
    run.journal.append("intent", step="restore-sendmail")
    monkeypatch.setattr(gate.journal, "now", lambda: "2090-01-01T00:00:00+00:00")
    gate.check(run, LAB, STEP)
    run.journal.append("verified", step="rollback", passed=True)
    refused(run, "limits.verify_age allows 120. Run verify again")


@pytest.mark.parametrize(
    "compared, message",
    [
        (
            {**COMPARED, "users": {"alice": COMPARED["users"]["alice"]}},
            "user bruno was converted and not compared",
        ),
        (
            {**COMPARED, "users": {**COMPARED["users"], "carla": {"rows": []}}},
            "user carla was compared and not converted",
        ),
        (
            {
                **COMPARED,
                "users": {**COMPARED["users"], "bruno": {"rows": [{"new_name": "INBOX"}]}},
            },
            "bruno: a was not compared",
        ),
    ],
)
def test_evidence_of_other_mail(run, compared, message):
    passed(run, "convert", CONVERTED)
    passed(run, "verify", compared)
    refused(run, message)


def test_evidence_that_was_changed(run):
    passed(run, "convert", CONVERTED)
    place = passed(run, "verify", COMPARED)
    place.write_text(json.dumps(COMPARED) + " ")
    refused(run, "the journal has another digest")
    place.unlink()
    refused(run, "cannot be used")
