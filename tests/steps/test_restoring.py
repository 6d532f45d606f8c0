"""Restore, pure: what is refused, what is planned, what is found wrong."""

import copy
import json

import pytest
from cutover import changes, site, steps
from cutover.steps import restore

ROMA1 = site.load("parameters/roma1.yaml")


def altered(when, change=lambda found: None):
    found = copy.deepcopy(json.loads((ROMA1.path.parent / "roma1/restore.json").read_bytes())[when])
    change(found)
    return found


def test_first_beside_then_what_is_missing_and_only_the_adding_is_undone():
    beside, add = restore.plan(altered("before"), ROMA1).changes
    assert (beside.kind, add.kind) == ("restore-beside", "restore-add")
    assert beside.inverse() is None and add.inverse().kind == "restore-take-out"
    assert changes.from_json(json.loads(json.dumps(add.to_json()))) == add


def test_what_was_brought_is_not_brought_again():
    found = altered("after", lambda found: found["beside"]["INBOX"].update(missing=2))
    assert [change.kind for change in restore.plan(found, ROMA1).changes] == ["restore-add"]
    assert "has every message" in restore.plan(altered("after"), ROMA1).reason


@pytest.mark.parametrize("spoil, said", [
    (lambda found: [found.pop(key) for key in ("account", "copy", "live", "beside")], "name no backup"),
    (lambda found: found.update(account=None), "knows no mail user 'carla'"),
    (lambda found: found.update(copy=None), "has no carla"),
    (lambda found: found.update(copy={}, chosen={**found["chosen"], "folder": "x"}), "has no folder x of carla"),
])
def test_what_is_not_there_is_refused(spoil, said):
    with pytest.raises(steps.CannotPlan, match=said):
        restore.plan(altered("before", spoil), ROMA1)


@pytest.mark.parametrize("spoil, question", [
    (lambda each: each.update(missing=1, first=["INBOX UID 3"]), "every message"),
    (lambda each: each.update(wrong=["UID 70: its date is another"]), "flags and dates"),
    (lambda each: each.update(uidvalidity=7), "UIDVALIDITY"),
    (lambda each: each.update(kept=each["before"]["exists"] + 1), "still there"),
])
def test_verify_finds(spoil, question):
    found = altered("after", lambda found: spoil(found["beside"]["INBOX"]))
    wrong = [check for check in restore.verify(found, ROMA1) if not check.passed]
    assert len(wrong) == 1 and question in wrong[0].question and wrong[0].todo


def test_without_a_tree_beside_nothing_is_verified():
    assert [check.passed for check in restore.verify(altered("before"), ROMA1)] == [False]


def test_mail_that_comes_meanwhile_does_not_void_the_approval():
    found = altered("before")
    other = altered("before", lambda found: (found["live"].update(INBOX=99), found["copy"]["INBOX"].update(lacking=9)))
    assert restore.stable(found) == restore.stable(other)
    assert restore.plan(found, ROMA1).changes == restore.plan(other, ROMA1).changes
