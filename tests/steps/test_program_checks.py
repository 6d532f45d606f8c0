"""When a mail program is run before and after the move, and what is said of it."""

import example
import pytest
from example import ROMA1, altered, recorded

GIVEN_UP = ROMA1.model_copy(
    update={"new_store": ROMA1.new_store.model_copy(update={"compatibility": ["~/mail/"]})}
)


def judged(change=None, site=ROMA1):
    """`{id: check}` of production-test about the program; change: of its recorded State."""
    facts = recorded("production-test", "after")
    if change:
        facts = altered(facts, lambda facts: facts["program"].update(change))
    checks = example.step("production-test").verify(facts, site)
    return {check.id: check for check in checks if check.id.startswith("mail-program-")}


def outcome(**figures):
    return {"outcome": {**recorded("production-test", "after")["program"]["outcome"], **figures}}


def kinds(step, state, site=ROMA1):
    facts = altered(recorded(step, "before"), lambda facts: facts["program"].update(state))
    return [change.kind for change in example.step(step).plan(facts, site).changes]


def test_it_runs_before_and_after_the_move():
    assert kinds("presync", {}) == ["mail-program", "presync"]
    assert kinds("production-test", {})[-1] == "mail-program-again"
    assert not any(check.warning or not check.passed for check in judged().values())


@pytest.mark.parametrize(
    "state, site, reason",
    [
        ({"installed": False}, ROMA1, "mbsync is not installed"),
        ({}, GIVEN_UP, "new_store.compatibility leaves out mail/"),
        ({}, ROMA1, "presync made no copy"),
    ],
)
def test_where_it_did_not_run_a_note_says_why(state, site, reason):
    if state or site is GIVEN_UP:
        assert kinds("presync", state, site) == ["presync"]
    assert "mail-program-again" not in kinds("production-test", {**state, "before": None}, site)
    (check,) = judged({**state, "outcome": None}, site).values()
    assert check.id == "mail-program-ran" and check.passed and check.warning
    assert check.actual == f"no: {reason}"


def test_preflight_says_what_is_missing():
    facts = altered(recorded("preflight", "after"), lambda facts: facts.update(mail_program=False))
    checks = {check.id: check for check in example.step("preflight").verify(facts)}
    check = checks["mail-program-installed"]
    assert check.passed and check.warning and "isync" in check.todo


def test_a_lost_folder_is_named():
    checks = judged(outcome(status=1, lost=["posta", "work"]))
    check = checks.pop("mail-program-folders")
    assert not check.passed and check.actual == "cannot open posta; work"
    assert check.data["lost"] == ["posta", "work"]
    assert all(check.passed for check in checks.values())


def test_a_message_that_came_again_fails_and_other_flags_are_worth_a_look():
    checks = judged(outcome(again=3, changed=2))
    assert not checks["mail-program-messages"].passed
    assert checks["mail-program-flags"].passed and checks["mail-program-flags"].warning
