"""What the outage will cost and whether it may begin, on the lab.

The sample of the staged mail, go or no-go, verify's budget. The tests follow one another, as the
night does.
"""

import contextlib
import os

import pytest
from cutover.comparison import staged_sample
from cutover.connect.hosts import Hosts
from cutover.facts import users
from cutover.notebook import progress
from cutover.run import engine, plans_ahead, prediction
from lab import store
from night import Night

pytestmark = pytest.mark.lab
NEW = "mailboxvm"


class Told(Night):
    """A night whose work leaves its events, as a notebook's does.

    Predictions are made from them.
    """

    @contextlib.contextmanager
    def engine(self, name, mode="execute"):
        with super().engine(name, mode) as driver:
            driver.report = progress.Progress(self.run, name).event
            yield driver


@pytest.fixture(scope="module")
def night(lab, tmp_path_factory):
    return Told(tmp_path_factory.mktemp("outage"))


@pytest.fixture
def reached(night):
    with Hosts(night.site) as reached:
        yield reached


def staging():
    """Where the staged trees lie, as a path of this machine."""
    return store.STORE / "imap/.cutover/staging"


def messages(user):
    """The staged message files of a user's INBOX."""
    return sorted(path for name in ("cur", "new") for path in (staging() / user / name).iterdir())


def look(path):
    """Everything below a directory, with the times of its change."""
    return {entry: (entry.lstat().st_ctime_ns, entry.lstat().st_size) for entry in path.rglob("*")}


def spoil(path):
    """Another text of the same size and date."""
    times = path.stat()
    path.write_bytes(path.read_bytes()[:-3] + b"!\n\n")
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))


def sampled(reached, count, *names):
    accounts = [account for account in users.read(reached, NEW) if account.user in names]
    return staged_sample.read(reached, accounts, count, "a seed")


def test_presync_has_a_sample_read_and_tells_what_the_outage_will_cost(night):
    night.up_to("presync")
    verified = night.events("verified", "presync")[-1]
    (check,) = [check for check in verified["checks"] if check["id"] == "sample-equal"]
    assert (
        check["data"] == {**check["data"], "seed": "night", "differences": 0} and verified["passed"]
    )
    predicted = prediction.predicted(night.run.journal.events())
    assert predicted["step"] == "presync" and predicted["staged"]["messages"] > 5000
    for kind in ("reading", "delivery"):
        assert 0 < predicted[kind]["low"] < predicted[kind]["likely"] < predicted[kind]["high"]


def test_the_plans_of_the_outage_are_worked_out_ahead(night):
    """The last test of this file finds each step's own plan to be the same, to the hash."""
    made = plans_ahead.make(night.site, night.run)
    named = [plan["step"] for plan in made["plans"]]
    assert named == [name for name in plans_ahead.STEPS if name != "verify"]
    assert not made["asked"]


def test_sampling_leaves_no_trace_in_the_staging_area_or_the_live_one(night, reached):
    before = look(staging()), look(store.imap("alice"))
    sample = sampled(reached, 100, "alice", "bruno")
    assert sample.messages >= 90 and not sample.differences and not sample.errors
    assert (look(staging()), look(store.imap("alice"))) == before


@pytest.mark.parametrize(
    "harm, message",
    [
        (lambda path: spoil(path), "content"),
        (lambda path: os.utime(path, (1, 1)), "INTERNALDATE"),
        (lambda path: path.unlink(), "not staged"),
    ],
)
def test_what_was_staged_wrong_is_found(reached, harm, message, monkeypatch):
    """One message in the middle of an INBOX that is read whole; it is put back afterwards."""
    monkeypatch.setattr(staged_sample, "PART", 5000)
    path = messages("vera")[len(messages("vera")) // 2]
    held, times = path.read_bytes(), path.stat()
    try:
        harm(path)
        sample = sampled(reached, 5000, "vera")
        (wrong,) = sample.differences
        assert wrong.startswith("vera: INBOX: UID ") and message in wrong
    finally:
        path.write_bytes(held)
        os.chown(path, times.st_uid, times.st_gid)
        os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))


def test_a_longer_outage_than_announced_does_not_begin(night, lab):
    with (
        night.set("outage.reading_minutes", 0.01),
        pytest.raises(engine.NoGo, match=r"found [\d.]+ to [\d.]+ min"),
    ):
        night.step("stop-imap")
    assert night.states()["stop-imap"] == "failed" and not night.events("intent", "stop-imap")
    assert lab.run("mailboxold", ["systemctl", "is-active", "xinetd"]).stdout.strip() == "active"


def test_once_it_has_begun_the_gate_asks_nothing_more(night):
    assert night.crashing("stop-imap")
    with night.set("outage.reading_minutes", 0.01):
        night.step("stop-imap")
    (check,) = night.checks("stop-imap", "gated").values()
    assert check["id"] == "outage-not-begun" and check["passed"] and check["warning"]


@pytest.mark.parametrize("part", [0, 0.3, 1])
def test_verify_reads_contents_as_far_as_the_time_allows(night, part):
    night.up_to("convert")
    predicted = prediction.predicted(night.run.journal.events())
    # with room for a machine that has become slower: the deadline is the share's as well
    minutes = predicted["contents"] * part / 60 if part < 1 else 10
    with night.set("verify.content_minutes", minutes):
        checks = night.step("verify")
    check = next(check for check in checks if check.id == "contents-compared")
    read, of = check.data["compared"], check.data["messages"]
    assert check.passed and check.warning == (part < 1)
    if part == 1:
        assert read == of
    else:
        assert (
            read <= of * (part + 0.05)
            and check.data["share"] == pytest.approx(part, abs=0.001)
            and check.data["seed"] == "night"
        )
    assert all(check.passed for check in checks)


def test_each_step_made_the_plan_that_was_worked_out_ahead(night):
    night.up_to("restore-imap")
    (ahead,) = night.events("planned-ahead")
    made = {plan["step"]: plan["hash"] for plan in ahead["plans"]}
    assert {name: night.events("planned", name)[0]["hash"] for name in made} == made
