"""Events of units become those of one conversion."""

import json

import pytest
from cutover.remote import merged_events


@pytest.fixture
def merged():
    events = []
    conversion = merged_events.Merged(events.append, "r1", ["a", "b"], 3)
    conversion.events = events
    return conversion


def lines(*events):
    return [json.dumps({"event": kind, **values}) for kind, values in events]


def kinds(merged):
    return [event["event"] for event in merged.events]


def test_an_event_that_comes_twice_is_reported_once(merged):
    attempt = lines(("start", {}), ("user", {"user": "x"}), ("published", {"user": "x"}))
    merged.take(0, "one", "a", 0, attempt[:2])
    merged.take(0, "one", "a", 1, attempt[1:2])
    merged.take(0, "one", "a", 0, attempt)
    assert kinds(merged) == ["start", "user", "published"]
    assert merged.events[0]["host"] == "a, b" and merged.events[0]["users"] == 3


def test_another_attempt_is_reported_from_its_beginning(merged):
    merged.take(0, "one", "a", 0, lines(("start", {}), ("user", {"user": "x"})))
    merged.take(0, "two", "b", 0, lines(("start", {}), ("already", {"user": "x"})))
    assert kinds(merged) == ["start", "user", "already"] and merged.events[1]["worker"] == "a"


def test_progress_and_ends_are_sums(merged):
    for unit, users in enumerate((1, 2)):
        progress = {"users_done": users, "users": users, "messages": 10, "bytes": 5}
        end = {"ok": True, "seconds": 9.0, "published": users, "asleep": 3.0}
        merged.take(unit, "one", "a", 0, lines(("progress", progress), ("end", end)))
    assert merged.events[-1]["users_done"] == 3 == merged.events[-1]["users"]
    assert merged.events[-1]["messages"] == 20
    end = merged.end(workers=2)
    assert end["ok"] and end["published"] == 3 and end["asleep"] == 3.0 and end["workers"] == 2
    assert end["seconds"] < 9


def test_one_unit_that_failed_fails_the_whole(merged):
    merged.take(0, "one", "a", 0, lines(("end", {"ok": True})))
    merged.take(1, "one", "a", 0, lines(("end", {"ok": False, "failed": 1})))
    assert not merged.end()["ok"]
    assert merged.ended(1) and not merged.ended(2)


def test_what_is_no_event_is_logged(merged):
    merged.take(0, "one", "a", 0, ["Traceback", "[]"])
    assert [event.get("text") for event in merged.events[1:]] == ["Traceback", "[]"]
