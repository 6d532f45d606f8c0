"""Bacula and test restores, pure: what is planned for them, what is found wrong, what decommission
refuses for them.
"""

import copy
import json

import example
import pytest
from cutover import model
from cutover.facts import trial_restore
from cutover.steps.checks import bacula_config, proofs
from example import ROMA1, recorded

BACKUP, DECOMMISSION = example.step("backup"), example.step("decommission")
WITHOUT = ROMA1.model_copy(update={"backup": ROMA1.backup.model_copy(update={"bacula": None})})
DAYS = [["Incremental", f"{day}-Mar", "05:30"] for day in range(14, 22)]


def backup_facts(spoil=lambda facts: None, when="after", name="backup"):
    """The facts of backup with Bacula, all well."""
    facts = copy.deepcopy(recorded(name, when))
    facts = facts if name == "backup" else facts["backup"]
    job = {
        "id": 1,
        "level": "F",
        "status": "T",
        "began": "2026-03-14 05:30:00",
        "ended": "2026-03-14 05:31:00",
        "files": 12,
        "bytes": 99,
        "errors": 0,
        "lacking": 0,
        "pruned": False,
        "at": int(facts["at"]) - 60,
    }
    text = bacula_config.text(ROMA1)
    facts["bacula"] = {
        "wanted": text,
        "file": text,
        "included": True,
        "read": True,
        "there": {"regular": 10, "others": 2},
        "status": {
            "value": {
                "clients": ["sanbackup-fd"],
                "storages": ["File1"],
                "jobs": ["mailbackup", "Other"],
                "schedule": list(DAYS),
                "saved": [job],
            }
        },
        "chain": [1],
    }
    facts["tests"] = {
        source: {
            "value": {"user": "alice", "job": None, "age": 60.0, "same": 5, "gone": 0, "differ": []}
        }
        for source in (trial_restore.CURRENT, trial_restore.BACULA)
    }
    spoil(facts)
    return facts


def failed(facts):
    return [check for check in judged(facts) if not check.passed]


def judged(facts, parameters=ROMA1):
    return proofs.checks(model.from_json(proofs.Backup, facts), parameters)


def saving(facts):
    return facts["bacula"]["status"]["value"]


def test_where_all_is_well_there_is_nothing_to_do_and_nothing_wrong():
    assert not BACKUP.plan(backup_facts()).changes and not failed(backup_facts())
    assert len(judged(backup_facts())) == 8


def test_at_first_all_is_installed_and_then_tried():
    def bare(facts):
        facts["bacula"].update(file=None, included=False, read=False, chain=[])
        saving(facts).update(jobs=["Other"], schedule=[], saved=[])
        facts["tests"] = {source: {"value": None} for source in facts["tests"]}

    listed = BACKUP.plan(backup_facts(bare, "before")).changes
    assert [change.kind for change in listed][-6:] == [
        "backup-run",
        "bacula-config",
        "bacula-run",
        "restore-test",
        "restore-test",
        "service",
    ]
    config = listed[-5]
    assert (
        "add the line @/etc/bacula/mailbackup.conf to /etc/bacula/bacula-dir.conf"
        in config.describe()
    )
    assert config.inverse().after is None and config.inverse().describe().startswith(
        "remove the line @"
    )
    assert [change.inverse() and change.inverse().kind for change in listed[-4:-1]] == [
        None,
        "restore-test-remove",
        "restore-test-remove",
    ]
    for change in listed:
        assert model.change_from_json(json.loads(json.dumps(change.to_json()))) == change


@pytest.mark.parametrize(
    "spoil, kinds",
    [
        (
            lambda facts: facts["bacula"].update(read=False),
            ["bacula-config", "bacula-run", "restore-test", "restore-test"],
        ),
        (
            lambda facts: saving(facts)["saved"][0].update(status="E"),
            ["bacula-run", "restore-test", "restore-test"],
        ),
        (
            lambda facts: facts["tests"][trial_restore.BACULA]["value"].update(age=8 * 86400),
            ["restore-test"],
        ),
    ],
)
def test_only_what_is_not_so_is_done_again(spoil, kinds):
    assert [change.kind for change in BACKUP.plan(backup_facts(spoil)).changes] == kinds


@pytest.mark.parametrize(
    "spoil, message",
    [
        (
            lambda facts: facts["bacula"].update(status={"error": "the Director does not answer."}),
            "does not answer.*daemons",
        ),
        (
            lambda facts: saving(facts).update(clients=["other-fd"]),
            "has no client sanbackup-fd; it has other-fd",
        ),
        (lambda facts: saving(facts).update(storages=[]), "has no storage File1; it has none"),
    ],
)
def test_a_bacula_that_is_not_there_or_another_is_refused(spoil, message):
    with pytest.raises(model.CannotPlan, match=message):
        BACKUP.plan(backup_facts(spoil))


@pytest.mark.parametrize(
    "spoil, check",
    [
        (lambda facts: facts["bacula"].update(included=False), "bacula-job-configured"),
        (lambda facts: saving(facts).update(schedule=DAYS[:5]), "bacula-daily"),
        (
            lambda facts: saving(facts)["schedule"].__setitem__(3, ["Full", "17-Mar", "02:00"]),
            "bacula-daily",
        ),
        (lambda facts: saving(facts)["saved"][0].update(errors=1), "bacula-job-succeeded"),
        (lambda facts: saving(facts)["saved"][0].update(lacking=2), "bacula-job-succeeded"),
        (
            lambda facts: saving(facts)["saved"][0].update(
                at=int(facts["at"]) - 27 * 3600, files=13
            ),
            "bacula-job-recent",
        ),
        (
            lambda facts: saving(facts)["saved"][0].update(files=11, at=int(facts["at"]) + 99),
            "bacula-full-complete",
        ),
        (lambda facts: facts["bacula"].update(chain=[2]), "bacula-chain"),
        (lambda facts: saving(facts)["saved"][0].update(pruned=True), "bacula-chain"),
        (lambda facts: saving(facts).update(saved=[]), "bacula-job-succeeded"),
        (lambda facts: facts["tests"][trial_restore.CURRENT].update(value=None), "trial-restore"),
        (
            lambda facts: facts["tests"][trial_restore.BACULA]["value"].update(differ=["UID 7"]),
            "trial-restore",
        ),
        (
            lambda facts: facts["tests"][trial_restore.BACULA]["value"].update(same=0, gone=5),
            "trial-restore",
        ),
        (
            lambda facts: facts["tests"][trial_restore.CURRENT]["value"].update(age=8 * 86400),
            "trial-restore",
        ),
        (
            lambda facts: facts["tests"].update(
                {trial_restore.BACULA: {"error": "mailboxvm: no answer"}}
            ),
            "trial-restore",
        ),
    ],
)
def test_verify_finds_and_decommission_refuses(spoil, check):
    (wrong,) = failed(backup_facts(spoil))
    assert wrong.id == check and wrong.todo
    facts = {
        **copy.deepcopy(recorded("decommission", "before")),
        "backup": backup_facts(spoil, "before", "decommission"),
    }
    with pytest.raises(model.CannotPlan, match="no return") as refused:
        DECOMMISSION.plan(facts)
    assert wrong.question in str(refused.value)


def test_a_test_restore_that_fails_names_its_source():
    (wrong,) = failed(
        backup_facts(
            lambda facts: facts["tests"][trial_restore.BACULA]["value"].update(differ=["UID 7"])
        )
    )
    assert wrong.subject == "bacula" and wrong.data["differ"] == ["UID 7"]


def test_a_site_without_bacula_is_warned():
    def undeclared(facts):
        facts.update(bacula=None)
        facts["tests"].pop(trial_restore.BACULA)

    assert trial_restore.sources(WITHOUT) == [trial_restore.CURRENT]
    first, *_ = judged(backup_facts(undeclared), WITHOUT)
    assert (first.id, first.mark) == ("bacula-declared", "warn")


def test_facts_recorded_before_there_was_a_proof_say_nothing():
    assert judged({}) == [] == proofs.plan(proofs.Backup(), ROMA1, True)
