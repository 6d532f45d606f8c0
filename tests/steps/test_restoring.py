"""Restore, pure: what is refused, what is planned, what is found wrong."""

import copy
import json

import pytest
from cutover import model, site
from cutover.steps.maintenance import restore

ROMA1 = site.load("parameters/roma1.yaml")
WITHOUT = ROMA1.model_copy(update={"backup": ROMA1.backup.model_copy(update={"bacula": None})})


def altered(when, change=lambda found: None):
    found = copy.deepcopy(json.loads((ROMA1.path.parent / "roma1/restore.json").read_bytes())[when])
    change(found)
    return found


def test_first_beside_then_what_is_missing_and_only_the_adding_is_undone():
    beside, add = restore.plan(altered("before"), ROMA1).changes
    assert (beside.kind, add.kind) == ("restore-beside", "restore-add")
    assert beside.inverse() is None and add.inverse().kind == "restore-take-out"
    assert model.change_from_json(json.loads(json.dumps(add.to_json()))) == add


def test_what_was_brought_is_not_brought_again():
    found = altered("after", lambda found: found["beside"]["INBOX"].update(missing=2))
    assert [change.kind for change in restore.plan(found, ROMA1).changes] == ["restore-add"]
    assert "has every message" in restore.plan(altered("after"), ROMA1).reason


@pytest.mark.parametrize(
    "spoil, said",
    [
        (
            lambda found: [found.pop(key) for key in ("account", "copy", "live", "beside")],
            "name no backup",
        ),
        (lambda found: found.update(account=None), "knows no mail user 'carla'"),
        (lambda found: found.update(copy=None), "has no carla"),
        (
            lambda found: found.update(copy={}, chosen={**found["chosen"], "folder": "x"}),
            "has no folder x of carla",
        ),
        (
            lambda found: [each.update(messages=0) for each in found["copy"].values()],
            "no message in what is there of carla: INBOX",
        ),
    ],
)
def test_what_is_not_there_is_refused(spoil, said):
    with pytest.raises(model.CannotPlan, match=said):
        restore.plan(altered("before", spoil), ROMA1)


@pytest.mark.parametrize(
    "spoil, question",
    [
        (lambda each: each.update(missing=1, first=["INBOX UID 3"]), "every message"),
        (lambda each: each.update(wrong=["UID 70: its date is another"]), "flags and dates"),
        (lambda each: each.update(uidvalidity=7), "UIDVALIDITY"),
        (lambda each: each.update(kept=each["before"]["exists"] + 1), "still there"),
    ],
)
def test_verify_finds(spoil, question):
    found = altered("after", lambda found: spoil(found["beside"]["INBOX"]))
    wrong = [check for check in restore.verify(found, ROMA1) if not check.passed]
    assert len(wrong) == 1 and question in wrong[0].question and wrong[0].todo


@pytest.mark.parametrize(
    "last, said",
    [
        (
            {"result": 24, "error": "3 messages were renamed"},
            "result 24: 3 messages were renamed. ",
        ),
        (None, "there is no report of one. "),
    ],
)
def test_a_copy_whose_last_run_did_not_end_well_is_told_in_the_plan(last, said):
    def spoil(found):
        found["last"] = last and {**found["last"], **last}

    before, told = (
        restore.plan(found, ROMA1).notes for found in (altered("before"), altered("before", spoil))
    )
    assert (
        told[0][0].endswith("did NOT end well")
        and told[0][1].startswith(said)
        and told[1:] == before
    )


def test_without_a_tree_beside_nothing_is_verified():
    assert [check.passed for check in restore.verify(altered("before"), ROMA1)] == [False]


def test_mail_that_comes_meanwhile_does_not_void_the_approval():
    found = altered("before")
    other = altered(
        "before",
        lambda found: (found["live"].update(INBOX=99), found["copy"]["INBOX"].update(lacking=9)),
    )
    assert restore.stable(found) == restore.stable(other)
    assert restore.plan(found, ROMA1).changes == restore.plan(other, ROMA1).changes


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
        lambda found: found.update(maildir={**GONE, **other}, live=dict.fromkeys(found["live"])),
    )


@pytest.mark.parametrize("group, owner", [(None, "2003:2003"), (8, "2003:8")])
def test_a_mail_directory_that_is_gone_is_made_as_others_are_and_goes_with_the_rollback(
    group, owner
):
    beside, made, add = restore.plan(without(group=group), ROMA1).changes
    assert (beside.kind, made.kind, add.kind) == (
        "restore-beside",
        "restore-directory",
        "restore-add",
    )
    assert (made.path, made.owner, made.mode) == ("/var/imap/carla", owner, "700")
    assert made.inverse().path == made.path and made.inverse().aside.startswith(
        ROMA1.new_store.work
    )
    assert restore.plan(without(there=True), ROMA1).changes == (beside, add)


def test_it_is_made_for_a_user_without_any_message_too():
    found = without()
    for each in found["copy"].values():
        each["messages"] = 0
    assert "restore-directory" in [change.kind for change in restore.plan(found, ROMA1).changes]
    found["maildir"]["there"] = True
    with pytest.raises(model.CannotPlan, match="no message"):
        restore.plan(found, ROMA1)


@pytest.mark.parametrize(
    "spoil, said",
    [
        ({"parent": False}, "nor is the directory it would be in"),
        ({"found": 0}, "nor is that of any of 9 other users. Is the store's .* mounted"),
    ],
)
def test_a_store_that_is_not_mounted_is_not_written_to(spoil, said):
    with pytest.raises(model.CannotPlan, match=said):
        restore.plan(without(**spoil), ROMA1)
    assert restore.plan(without(asked=0, found=0), ROMA1).changes  # the site's only user


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


def from_bacula(change=lambda found: None):
    def spoil(found):
        found["chosen"].update(source="bacula", day="2026-03-15")
        found["bacula"] = {
            "jobs": [job(1, "F", "2026-03-14 05:30:00"), job(3, "I", "2026-03-15 05:30:00")],
            "first": "2026-03-14 05:30:00",
        }
        for number, each in enumerate(found["copy"].values()):
            each.update(lacking=None, dirids=[number], fileids=[])
        change(found)

    return altered("before", spoil)


def test_bacula_restores_into_a_directory_of_its_own_which_goes_when_all_was_brought():
    found = from_bacula()
    plan = restore.plan(found, ROMA1)
    first, beside, tidy, add = plan.changes
    assert [change.kind for change in plan.changes] == [
        "bacula-restore",
        "restore-beside",
        "bacula-tidy",
        "restore-add",
    ]
    assert (
        first.jobs == [1, 3]
        and first.dirids == list(range(len(found["copy"])))
        and first.inverse() == tidy
    )
    assert (
        first.where
        == tidy.where
        == "/var/lib/mailbackup/restore/" + "/".join(found["place"].split("/")[-2:])
    )
    assert (
        beside.source[4] == f"{first.where}{ROMA1.backup.target}/carla" and tidy.inverse() is None
    )
    assert (
        plan.notes[0][1].startswith("JobId 1, Full, 2026-03-14 05:30:00")
        and "JobId 3, Incremental" in plan.notes[0][1]
    )


@pytest.mark.parametrize(
    "spoil, said",
    [
        (
            lambda found: found["bacula"].update(jobs=[]),
            "had saved nothing by 2026-03-15: its first job .* 2026-03-14",
        ),
        (
            lambda found: found["bacula"].update(jobs=[], first=""),
            "no job has ended well. Run the step backup",
        ),
        (
            lambda found: found["bacula"]["jobs"][1].update(pruned=True),
            "which files JobId 3 saved: it was pruned.*bscan",
        ),
        (lambda found: found["bacula"]["jobs"].pop(0), "the Full that the job rests on"),
        (lambda found: found.update(copy=None), "saved on 2026-03-15 05:30:00 has no carla"),
        (
            lambda found: found.update(copy={}, chosen={**found["chosen"], "folder": "x"}),
            "has no folder x of carla",
        ),
    ],
)
def test_what_bacula_has_not_is_refused(spoil, said):
    with pytest.raises(model.CannotPlan, match=said):
        restore.plan(from_bacula(spoil), ROMA1)


@pytest.mark.parametrize(
    "chosen, at, said",
    [
        ({"source": "tape"}, ROMA1, "no source 'tape'"),
        ({"source": "bacula"}, WITHOUT, "declare no Bacula"),
        ({"day": "2026-03-15"}, ROMA1, "no earlier days"),
        ({"source": "bacula", "day": "15.3.2026"}, ROMA1, "'15.3.2026' is no day"),
        ({"source": "bacula", "day": "2026-02-30"}, ROMA1, "'2026-02-30' is no day"),
        ({"source": "bacula", "day": "2026-03-15 25:00"}, ROMA1, "is no day"),
        ({"source": "bacula", "day": "٢٠٢٦-٠٣-١٥"}, ROMA1, "is no day"),
        ({"source": "bacula", "day": "2026-03-15\n"}, ROMA1, "is no day"),
    ],
)
def test_what_makes_no_sense_is_refused(chosen, at, said):
    with pytest.raises(model.CannotPlan, match=said):
        restore.plan({"chosen": {"user": "carla", "folder": "", "message": "", **chosen}}, at)


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
    assert restore._moment(day) == moment


# -- what a restore that was broken off left on the backup host

LEFT = [
    f"/var/lib/mailbackup/restore/{run}/carla"
    for run in ("2026-03-01_01_roma1_restore", "2026-03-02_01_roma1_restore")
]


@pytest.mark.parametrize(
    "found, kinds",
    [
        (lambda: altered("before"), ["restore-beside", "restore-add"]),
        (
            lambda: altered("after", lambda found: found["beside"]["INBOX"].update(missing=2)),
            ["restore-add"],
        ),
        (lambda: altered("after"), []),
        (from_bacula, ["bacula-restore", "restore-beside", "bacula-tidy", "restore-add"]),
    ],
)
def test_what_was_left_is_removed_first_whatever_else_is_to_be_done(found, kinds):
    found = {**found(), "scratch": LEFT}
    listed = restore.plan(found, ROMA1).changes
    assert [change.kind for change in listed] == ["bacula-tidy"] * 2 + kinds
    assert [change.where for change in listed[:2]] == LEFT
    plan = restore.plan({**found, "scratch": []}, ROMA1)
    assert [change.kind for change in plan.changes] == kinds and bool(plan.reason) != bool(kinds)


def test_what_was_left_is_named_by_verify_and_where_nothing_can_be_planned():
    for when in ("before", "after"):
        assert (
            LEFT[1]
            in [
                check.actual
                for check in restore.verify({**altered(when), "scratch": LEFT}, ROMA1)
                if not check.passed
            ][-1]
        )
    assert all(check.passed for check in restore.verify({**altered("after"), "scratch": []}, ROMA1))
    with pytest.raises(model.CannotPlan, match=f"knows no mail user.*Besides.*{LEFT[0]}"):
        restore.plan(
            altered("before", lambda found: found.update(account=None, scratch=LEFT)), ROMA1
        )


def test_inbox_is_inbox_in_any_case_and_no_other_folder_is():
    assert (
        restore._asked("inbox", "INBOX")
        and not restore._asked("inbox", "Inbox2")
        and not restore._asked("spam", "SPAM")
    )
