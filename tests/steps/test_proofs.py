"""Bacula and test restores, pure: what is planned for them, what is found wrong, what decommission refuses for them."""

import copy
import json

import pytest
from cutover import model, site
from cutover.changes import trial_restore
from cutover.facts import bacula
from cutover.steps.checks import proofs
from cutover.steps.night import backup, decommission

ROMA1 = site.load("parameters/roma1.yaml")
WITHOUT = ROMA1.model_copy(update={"backup": ROMA1.backup.model_copy(update={"bacula": None})})
DAYS = [["Incremental", f"{day}-Mar", "05:30"] for day in range(14, 22)]


def recorded(name, when):
    return json.loads((ROMA1.path.parent / "roma1" / f"{name}.json").read_bytes())[when]


def found(spoil=lambda found: None, when="after", name="backup"):
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
        "at": facts["at"] - 60,
    }
    text = bacula.text(ROMA1)
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
                "jobs": [bacula.NAME, "Other"],
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
    return [check for check in proofs.checks(facts, ROMA1) if not check.passed]


def saving(facts):
    return facts["bacula"]["status"]["value"]


def test_where_all_is_well_there_is_nothing_to_do_and_nothing_wrong():
    assert not backup.plan(found(), ROMA1).changes and not failed(found())
    assert len(proofs.checks(found(), ROMA1)) == 8


def test_at_first_all_is_installed_and_then_tried():
    def bare(facts):
        facts["bacula"].update(file=None, included=False, read=False, chain=[])
        saving(facts).update(jobs=["Other"], schedule=[], saved=[])
        facts["tests"] = {source: {"value": None} for source in facts["tests"]}

    listed = backup.plan(found(bare, "before"), ROMA1).changes
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
    assert [change.kind for change in backup.plan(found(spoil), ROMA1).changes] == kinds


@pytest.mark.parametrize(
    "spoil, said",
    [
        (
            lambda facts: facts["bacula"].update(status={"error": "the Director does not answer."}),
            "does not answer.*daemons",
        ),
        (
            lambda facts: saving(facts).update(clients=["other-fd"]),
            "knows no client sanbackup-fd; it knows other-fd",
        ),
        (lambda facts: saving(facts).update(storages=[]), "knows no storage File1; it knows none"),
    ],
)
def test_a_bacula_that_is_not_there_or_another_is_refused(spoil, said):
    with pytest.raises(model.CannotPlan, match=said):
        backup.plan(found(spoil), ROMA1)


@pytest.mark.parametrize(
    "spoil, question",
    [
        (lambda facts: facts["bacula"].update(included=False), "know the job"),
        (lambda facts: saving(facts).update(schedule=DAYS[:5]), "each day"),
        (
            lambda facts: saving(facts)["schedule"].__setitem__(3, ["Full", "17-Mar", "02:00"]),
            "each day",
        ),
        (lambda facts: saving(facts)["saved"][0].update(errors=1), "last job end well"),
        (lambda facts: saving(facts)["saved"][0].update(lacking=2), "last job end well"),
        (
            lambda facts: saving(facts)["saved"][0].update(at=facts["at"] - 27 * 3600, files=13),
            "today or yesterday",
        ),
        (
            lambda facts: saving(facts)["saved"][0].update(files=11, at=facts["at"] + 99),
            "each file",
        ),
        (lambda facts: facts["bacula"].update(chain=[2]), "a Full"),
        (lambda facts: saving(facts)["saved"][0].update(pruned=True), "a Full"),
        (lambda facts: saving(facts).update(saved=[]), "last job end well"),
        (lambda facts: facts["tests"][trial_restore.CURRENT].update(value=None), "from the copy"),
        (
            lambda facts: facts["tests"][trial_restore.BACULA]["value"].update(differ=["UID 7"]),
            "from Bacula",
        ),
        (
            lambda facts: facts["tests"][trial_restore.BACULA]["value"].update(same=0, gone=5),
            "from Bacula",
        ),
        (
            lambda facts: facts["tests"][trial_restore.CURRENT]["value"].update(age=8 * 86400),
            "from the copy",
        ),
        (
            lambda facts: facts["tests"].update(
                {trial_restore.BACULA: {"error": "mailboxvm: no answer"}}
            ),
            "from Bacula",
        ),
    ],
)
def test_verify_finds_and_decommission_refuses(spoil, question):
    wrong = failed(found(spoil))
    assert len(wrong) == 1 and question in wrong[0].question and wrong[0].todo
    facts = {
        **copy.deepcopy(recorded("decommission", "before")),
        "backup": found(spoil, "before", "decommission"),
    }
    with pytest.raises(model.CannotPlan, match="no return") as refused:
        decommission.plan(facts, ROMA1)
    assert question in str(refused.value)


def test_a_site_without_bacula_is_told_so_and_facts_from_before_there_was_any_say_nothing():
    def undeclared(facts):
        facts.update(
            bacula=None, tests={trial_restore.CURRENT: facts["tests"][trial_restore.CURRENT]}
        )

    assert trial_restore.sources(WITHOUT) == [trial_restore.CURRENT]
    assert [(check.mark, check.actual) for check in proofs.checks(found(undeclared), WITHOUT)][
        0
    ] == ("warn", "not declared")
    assert proofs.checks({"last": None}, ROMA1) == [] == proofs.plan({}, ROMA1, True)
