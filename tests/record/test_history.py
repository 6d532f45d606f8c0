"""What a journal says, also one of a version whose checks had no ids."""

import json

import pytest
import recorded
from cutover import site
from cutover.record import history, run_folder, step_facts
from cutover.report import summary

LAB = site.load("parameters/lab.yaml")
BEHIND = {
    **recorded.CHECK,
    "question": "any words about alice",
    "actual": "3 messages",
    "warning": True,
    "id": "left-behind",
    "subject": "alice",
}
VERIFIED = {"run": "night", "level": "content", "users": {}}
SUMS = {"folders": 2, "old": 5, "new": 6, "added": 1, "contents": 5, "users": 1}


def verified(step, *checks, passed=True):
    return {"event": "verified", "step": step, "passed": passed, "checks": list(checks)}


def test_mail_that_was_left_behind_is_known_by_its_id():
    other = {**BEHIND, "id": "stays"}
    assert history.left_behind([verified("rollback", BEHIND, other)]) == [
        "any words about alice 3 messages"
    ]
    assert history.left_behind([verified("rollback", other)]) == []
    assert history.left_behind([verified("rollback", BEHIND), verified("convert")]) == []
    assert history.left_behind([verified("rollback", BEHIND, passed=False)]) == []


def test_a_rollback_of_an_earlier_version_loses_no_warning():
    old = {key: value for key, value in BEHIND.items() if key not in ("id", "subject")}
    assert len(history.left_behind([verified("rollback", old, recorded.CHECK)])) == 1


def test_the_sums_are_those_of_their_check_wherever_it_is():
    check = {**recorded.CHECK, "id": "sums-equal", "data": SUMS}
    event = verified("verify", check, recorded.CHECK)
    sums = summary.sums([event])
    assert (sums.old, sums.new, sums.added, sums.passed) == (5, 6, 1, True)
    assert summary.verified([event]).endswith("2 folders of 1 users: equal")


def test_sums_of_an_earlier_version_are_not_recorded():
    event = verified("verify", recorded.CHECK, passed=False)
    assert summary.sums([event]) is None
    assert "not recorded" in summary.verified([event])
    assert summary.verified([event]).endswith("NOT equal")
    assert summary.verified([]) == "nothing was verified"


def test_kept_facts_are_objects_of_the_steps_class(tmp_path):
    run = recorded.whole(LAB, tmp_path / "run")
    facts = step_facts.read(run, run.journal.events(), "verify")
    assert facts.users["alice"].rows[0].old == 3
    assert [user.user for user in step_facts.users(run, run.journal.events())][0] == "alice"


def test_a_step_passed_with_the_facts_that_the_journal_proves(tmp_path):
    run = run_folder.begin(LAB, tmp_path / "run")
    assert step_facts.passed(run, run.journal.events(), "verify") is None
    recorded.step(run, "verify", facts={**VERIFIED, "level": "count"})
    recorded.step(run, "verify", passed=False, facts=VERIFIED)
    events = run.journal.events()
    place = run.path / next(event["facts"] for event in events if event["event"] == "probed")
    assert step_facts.passed(run, events, "verify").value.level == "count"
    data = place.read_bytes()
    place.write_bytes(data + b" ")
    assert "another digest" in step_facts.passed(run, events, "verify").error
    place.unlink()
    assert "cannot be used" in step_facts.passed(run, events, "verify").error
    place.write_bytes(data)
    assert step_facts.passed(run, events, "verify").ok


@pytest.mark.parametrize("passes", [True, False])
def test_nothing_from_before_a_rollback_counts(tmp_path, passes):
    run = run_folder.begin(LAB, tmp_path / "run")
    recorded.step(run, "verify", facts=VERIFIED)
    recorded.step(run, "rollback", passed=passes)
    assert step_facts.passed(run, run.journal.events(), "verify") is None
    recorded.step(run, "verify", facts=VERIFIED)
    assert step_facts.passed(run, run.journal.events(), "verify").ok


def test_large_facts_are_kept_compressed_and_the_same_bytes_each_time(tmp_path):
    run = run_folder.begin(LAB, tmp_path / "run")
    large = {**VERIFIED, "errors": {f"u{number:05}": "gone" for number in range(9000)}}
    (small, _), (name, digest) = (
        step_facts.keep(run, f"facts/{name}", facts)
        for name, facts in (("small", VERIFIED), ("large", large))
    )
    assert (small, name) == ("facts/small.json", "facts/large.json.gz")
    assert json.loads((run.path / small).read_bytes()) == VERIFIED
    data = (run.path / name).read_bytes()
    assert len(data) < step_facts.LARGE and json.loads(step_facts.content(data)) == large
    assert len(step_facts.parse("verify", data).errors) == 9000
    assert step_facts.keep(run, "facts/again", large)[1] == digest
    for broken in (data[:-9], data[:40] + b"x" + data[41:], data[:3]):
        with pytest.raises(ValueError, match="decompressed"):
            step_facts.content(broken)


def test_facts_with_a_name_that_is_not_utf8_are_read():
    errors = {"ugo\udce8": "gone"}
    data = json.dumps({**VERIFIED, "errors": errors}).encode()
    assert step_facts.parse("verify", data).errors == errors


def test_facts_that_this_version_cannot_read_are_none(tmp_path):
    run = run_folder.begin(LAB, tmp_path / "run")
    recorded.step(run, "verify", facts={"users": 7})
    events = run.journal.events()
    assert step_facts.read(run, events, "verify") is None
    assert step_facts.users(run, events) == [] and step_facts.sizes(run, events) == []
