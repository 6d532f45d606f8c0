"""What verify carried over is read again in production-test, and nothing less passes."""

import dataclasses
import types

import pytest
from cutover import model
from cutover.comparison import second_reading
from cutover.steps.night import carried_again
from example import ROMA1

SAID = {"folders": 2, "messages": 9}
READ = second_reading.Second(carried=2, folders=2, messages=9)


def verified(step, data, check_id, passed=True):
    check = {"id": check_id, "passed": passed, "data": data}
    return {"event": "verified", "step": step, "passed": passed, "checks": [check]}


VERIFIED = verified("verify", SAID, "contents-carried")
KEPT = model.Reading(
    types.SimpleNamespace(
        users={
            "ada": types.SimpleNamespace(
                rows=[
                    types.SimpleNamespace(old_name="mail/w", new_name="w", old=9, proven=1.5),
                    types.SimpleNamespace(old_name="INBOX", new_name="INBOX", old=9, proven=0.0),
                ]
            ),
            "bob": types.SimpleNamespace(rows=[]),
        }
    )
)


@pytest.fixture
def read(monkeypatch):
    """read(history, verify's facts) → (Second, the folders that were read)."""
    asked = []

    def answer(hosts, folders):
        asked.append(folders)
        return second_reading.Second(folders=1, messages=9)

    monkeypatch.setattr(second_reading, "read", answer)

    def call(history, kept=KEPT, now=True):
        ctx = types.SimpleNamespace(history=history, hosts=None, kept={"verify": kept}.get)
        return carried_again.read(ctx, now), asked

    return call


def test_what_was_carried_is_read_and_must_be_all_that_the_journal_says(read):
    second, asked = read([VERIFIED])
    assert asked == [{"ada": {"mail/w": ("w", 9)}}]
    check = carried_again.check(second, ROMA1)
    assert not check.passed and "1 of 2 folders were not compared" in check.actual


@pytest.mark.parametrize(
    "history",
    [
        [],
        [verified("verify", {"folders": 0}, "contents-carried")],
        [verified("verify", {}, "other")],
    ],
)
def test_where_nothing_was_carried_nothing_is_read(read, history):
    assert read(history) == (None, [])


def test_what_was_not_read_does_not_pass(read):
    second, asked = read([VERIFIED], now=False)
    check = carried_again.check(second, ROMA1)
    assert not asked and not check.passed and "2 of 2 folders" in check.actual


def test_without_the_facts_it_fails_and_tells_what_to_do(read):
    second, asked = read([VERIFIED], model.Reading(error="verify.json is gone"))
    check = carried_again.check(second, ROMA1)
    assert not asked and not check.passed
    assert "verify.json is gone" in check.actual and "restore their file" in check.todo


@pytest.mark.parametrize("passed, again", [(True, False), (False, True)])
def test_what_passed_is_not_read_another_time(read, passed, again):
    check = carried_again.check(READ, ROMA1)
    earlier = verified("production-test", check.data, check.id, passed)
    second, asked = read([VERIFIED, earlier])
    assert bool(asked) == again and (again or second == READ)
    _, asked = read([earlier, VERIFIED])
    assert asked, "it was of an earlier verify"


@pytest.mark.parametrize(
    "changed, passes",
    [
        ({}, True),
        ({"gone": 3}, True),
        ({"folders": 1, "removed": 1, "gone": 4}, True),
        ({"folders": 1}, False),
        ({"differences": ["ada: mail/w: UID 1: text or date differ"]}, False),
        ({"folders": 1, "unread": {"bob": "no session"}}, False),
    ],
)
def test_no_difference_and_no_folder_left_passes(changed, passes):
    second = second_reading.Second(**{"carried": 2, "folders": 2, "messages": 9, **changed})
    check = carried_again.check(second, ROMA1)
    assert check.passed == passes and check.warning == bool(second.removed)


def test_what_the_old_server_has_lost_since_is_a_warning():
    check = carried_again.check(dataclasses.replace(READ, expired=3), ROMA1)
    assert check.passed and check.warning and check.data["expired"] == 3
    assert "mailboxold has lost 3 since" in check.actual
