"""Restore, pure: what is refused, what is planned, what is wrong."""

import json

import example
import pytest
from cutover import model
from cutover.steps.maintenance.restore_request import Request
from example import ROMA1

RESTORE = example.step("restore")
WITHOUT = ROMA1.model_copy(update={"backup": ROMA1.backup.model_copy(update={"bacula": None})})


def altered(when, change=lambda facts: None):
    return example.altered(example.recorded("restore", when), change)


def test_first_beside_then_what_is_missing_and_only_the_adding_is_undone():
    beside, add = RESTORE.plan(altered("before")).changes
    assert (beside.kind, add.kind) == ("restore-beside", "restore-add")
    assert beside.inverse() is None and add.inverse().kind == "restore-take-out"
    assert model.change_from_json(json.loads(json.dumps(add.to_json()))) == add


def test_without_a_declared_backup_nothing_is_restored():
    bare = ROMA1.model_copy(update={"backup": None})
    with pytest.raises(model.CannotPlan, match="declare no backup"):
        RESTORE.plan({"run": "r", "chosen": {"user": "carla"}}, bare)


def test_what_was_brought_is_not_brought_again():
    facts = altered("after", lambda facts: facts["beside"]["INBOX"].update(missing=2))
    assert [change.kind for change in RESTORE.plan(facts).changes] == ["restore-add"]
    assert "has every message" in RESTORE.plan(altered("after")).reason


@pytest.mark.parametrize(
    "spoil, message",
    [
        (lambda facts: facts.update(account=None), "has no mail user 'carla'"),
        (lambda facts: facts.update(copy=None), "has no carla"),
        (
            lambda facts: facts.update(copy={}, chosen={**facts["chosen"], "folder": "x"}),
            "has no folder x of carla",
        ),
        (
            lambda facts: [folder.update(messages=0) for folder in facts["copy"].values()],
            "no message in INBOX, .* of carla",
        ),
    ],
)
def test_what_is_not_there_is_refused(spoil, message):
    with pytest.raises(model.CannotPlan, match=message):
        RESTORE.plan(altered("before", spoil))


@pytest.mark.parametrize(
    "spoil, check",
    [
        (lambda folder: folder.update(missing=1, first=["INBOX UID 3"]), "restore-complete"),
        (lambda folder: folder.update(wrong=["UID 70: its date is another"]), "restore-metadata"),
        (lambda folder: folder.update(uidvalidity=7), "restore-uidvalidity"),
        (lambda folder: folder.update(kept=folder["before"]["exists"] + 1), "restore-kept"),
    ],
)
def test_verify_finds(spoil, check):
    facts = altered("after", lambda facts: spoil(facts["beside"]["INBOX"]))
    (wrong,) = (check for check in RESTORE.verify(facts) if not check.passed)
    assert (wrong.id, wrong.subject) == (check, "INBOX") and wrong.todo


@pytest.mark.parametrize(
    "last, message",
    [
        (
            {"result": 24, "error": "3 messages were renamed"},
            "result 24: 3 messages were renamed. ",
        ),
        (None, "there is no report of one. "),
    ],
)
def test_a_copy_whose_last_run_did_not_succeed_is_noted_in_the_plan(last, message):
    def spoil(facts):
        facts["last"] = last and {**facts["last"], **last}

    before, notes = (
        RESTORE.plan(facts).notes for facts in (altered("before"), altered("before", spoil))
    )
    assert (
        notes[0][0].endswith("did NOT succeed")
        and notes[0][1].startswith(message)
        and notes[1:] == before
    )


def test_without_a_tree_beside_nothing_is_verified():
    assert [check.passed for check in RESTORE.verify(altered("before"))] == [False]


def test_mail_that_comes_meanwhile_does_not_void_the_approval():
    facts = altered("before")
    other = altered(
        "before",
        lambda facts: (facts["live"].update(INBOX=99), facts["copy"]["INBOX"].update(lacking=9)),
    )
    assert RESTORE.stable(facts) == RESTORE.stable(other)
    assert RESTORE.plan(facts).changes == RESTORE.plan(other).changes


# -- the whole mail directory is gone

GONE = {
    "path": "/var/imap/carla",
    "there": False,
    "parent": True,
    "asked": 9,
    "found": 8,
    "group": None,
    "mode": "700",
}


def without(**other):
    return altered(
        "before",
        lambda facts: facts.update(maildir={**GONE, **other}, live=dict.fromkeys(facts["live"])),
    )


@pytest.mark.parametrize("group, owner", [(None, "2003:2003"), (8, "2003:8")])
def test_a_mail_directory_that_is_gone_is_made_as_others_are_and_goes_with_the_rollback(
    group, owner
):
    beside, made, add = RESTORE.plan(without(group=group)).changes
    assert (beside.kind, made.kind, add.kind) == (
        "restore-beside",
        "restore-directory",
        "restore-add",
    )
    assert (made.path, made.owner, made.mode) == ("/var/imap/carla", owner, "700")
    assert made.inverse().path == made.path and made.inverse().aside.startswith(
        ROMA1.new_store.work
    )
    assert RESTORE.plan(without(there=True)).changes == (beside, add)


def test_it_is_made_for_a_user_without_any_message_too():
    facts = without()
    for folder in facts["copy"].values():
        folder["messages"] = 0
    assert "restore-directory" in [change.kind for change in RESTORE.plan(facts).changes]
    facts["maildir"]["there"] = True
    with pytest.raises(model.CannotPlan, match="no message"):
        RESTORE.plan(facts)


@pytest.mark.parametrize(
    "spoil, message",
    [
        ({"parent": False}, "so are the directory above it"),
        ({"found": 0}, "so are those of 9 other users. .*mounted"),
    ],
)
def test_a_store_that_is_not_mounted_is_not_written_to(spoil, message):
    with pytest.raises(model.CannotPlan, match=message):
        RESTORE.plan(without(**spoil))
    assert RESTORE.plan(without(asked=0, found=0)).changes  # the site's only user


# -- from Bacula


def job(number, level, began, **other):
    return {
        "id": number,
        "level": level,
        "status": "T",
        "began": began,
        "ended": began,
        "files": 9,
        "bytes": 99,
        "errors": 0,
        "lacking": 0,
        "pruned": False,
        "at": 5,
        **other,
    }


def from_bacula(change=lambda facts: None):
    def spoil(facts):
        facts["chosen"].update(source="bacula", day="2026-03-15")
        facts["bacula"] = {
            "jobs": [job(1, "F", "2026-03-14 05:30:00"), job(3, "I", "2026-03-15 05:30:00")],
            "first": "2026-03-14 05:30:00",
        }
        for number, folder in enumerate(facts["copy"].values()):
            folder.update(lacking=None, dirids=[number], fileids=[])
        change(facts)

    return altered("before", spoil)


def test_bacula_restores_into_a_directory_of_its_own_which_goes_when_all_was_brought():
    facts = from_bacula()
    plan = RESTORE.plan(facts)
    first, beside, tidy, add = plan.changes
    assert [change.kind for change in plan.changes] == [
        "bacula-restore",
        "restore-beside",
        "bacula-tidy",
        "restore-add",
    ]
    assert (
        first.jobs == [1, 3]
        and first.dirids == list(range(len(facts["copy"])))
        and first.inverse() == tidy
    )
    assert (
        first.where
        == tidy.where
        == "/var/lib/mailbackup/restore/" + "/".join(facts["place"].split("/")[-2:])
    )
    assert (
        beside.source[4] == f"{first.where}{ROMA1.backup.target}/carla" and tidy.inverse() is None
    )
    assert (
        plan.notes[0][1].startswith("JobId 1, Full, 2026-03-14 05:30:00")
        and "JobId 3, Incremental" in plan.notes[0][1]
    )


@pytest.mark.parametrize(
    "spoil, message",
    [
        (
            lambda facts: facts["bacula"].update(jobs=[]),
            "had saved nothing by 2026-03-15: its first good job .* 2026-03-14",
        ),
        (
            lambda facts: facts["bacula"].update(jobs=[], first=""),
            "no job has succeeded. Run the step backup",
        ),
        (
            lambda facts: facts["bacula"]["jobs"][1].update(pruned=True),
            "no longer knows which files JobId 3 saved: it was pruned.*bscan",
        ),
        (lambda facts: facts["bacula"]["jobs"].pop(0), "the Full that the job builds on"),
        (lambda facts: facts.update(copy=None), "saved on 2026-03-15 05:30:00 has no carla"),
        (
            lambda facts: facts.update(copy={}, chosen={**facts["chosen"], "folder": "x"}),
            "has no folder x of carla",
        ),
    ],
)
def test_what_bacula_has_not_is_refused(spoil, message):
    with pytest.raises(model.CannotPlan, match=message):
        RESTORE.plan(from_bacula(spoil))


@pytest.mark.parametrize(
    "chosen, at, message",
    [
        ({"source": "tape"}, ROMA1, "source 'tape' does not exist"),
        ({"source": "bacula"}, WITHOUT, "not declare Bacula"),
        ({"day": "2026-03-15"}, ROMA1, "no earlier days"),
        ({"source": "bacula", "day": "15.3.2026"}, ROMA1, "'15.3.2026' is not a day"),
        ({"source": "bacula", "day": "2026-02-30"}, ROMA1, "'2026-02-30' is not a day"),
        ({"source": "bacula", "day": "2026-03-15 25:00"}, ROMA1, "is not a day"),
        ({"source": "bacula", "day": "٢٠٢٦-٠٣-١٥"}, ROMA1, "is not a day"),
        ({"source": "bacula", "day": "2026-03-15\n"}, ROMA1, "is not a day"),
    ],
)
def test_what_makes_no_sense_is_refused(chosen, at, message):
    with pytest.raises(model.CannotPlan, match=message):
        RESTORE.plan(
            {"run": "r", "chosen": {"user": "carla", "folder": "", "message": "", **chosen}}, at
        )


@pytest.mark.parametrize(
    "day, moment",
    [
        ("", ""),
        ("2026-03-15", "2026-03-15 23:59:59"),
        ("2026-03-15 05:30", "2026-03-15 05:30:59"),
        ("2026-03-15T05:30:01", "2026-03-15 05:30:01"),
    ],
)
def test_a_day_lasts_to_its_end(day, moment):
    assert Request(day=day).moment == moment


# -- what a restore that was broken off left on the backup host

LEFT = [
    f"/var/lib/mailbackup/restore/{run}/carla"
    for run in ("2026-03-01_01_roma1_restore", "2026-03-02_01_roma1_restore")
]


@pytest.mark.parametrize(
    "facts, kinds",
    [
        (lambda: altered("before"), ["restore-beside", "restore-add"]),
        (
            lambda: altered("after", lambda facts: facts["beside"]["INBOX"].update(missing=2)),
            ["restore-add"],
        ),
        (lambda: altered("after"), []),
        (from_bacula, ["bacula-restore", "restore-beside", "bacula-tidy", "restore-add"]),
    ],
)
def test_what_was_left_is_removed_first_whatever_else_is_to_be_done(facts, kinds):
    facts = {**facts(), "scratch": LEFT}
    listed = RESTORE.plan(facts).changes
    assert [change.kind for change in listed] == ["bacula-tidy"] * 2 + kinds
    assert [change.where for change in listed[:2]] == LEFT
    plan = RESTORE.plan({**facts, "scratch": []})
    assert [change.kind for change in plan.changes] == kinds and bool(plan.reason) != bool(kinds)


def test_what_was_left_is_named_by_verify_and_where_nothing_can_be_planned():
    for when in ("before", "after"):
        assert (
            LEFT[1]
            in [
                check.actual
                for check in RESTORE.verify({**altered(when), "scratch": LEFT})
                if not check.passed
            ][-1]
        )
    assert all(check.passed for check in RESTORE.verify({**altered("after"), "scratch": []}))
    with pytest.raises(model.CannotPlan, match=f"has no mail user.*Also.*{LEFT[0]}"):
        RESTORE.plan(altered("before", lambda facts: facts.update(account=None, scratch=LEFT)))


def test_inbox_is_inbox_in_any_case_and_no_other_folder_is():
    assert (
        Request(folder="inbox").covers("INBOX")
        and not Request(folder="inbox").covers("Inbox2")
        and not Request(folder="spam").covers("SPAM")
    )
