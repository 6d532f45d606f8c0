"""Two processes on one store, each of which believes that a user is its own: the first is killed,
or stopped before any of its renames and continued when the second is done."""

import contextlib
import json
import os
import pathlib
import signal
import subprocess
import sys

import pytest

import mbx2maildir
from mbx2maildir import errors, plan_file
from mbx2maildir.publish import claims, publish
from mbx2maildir.tests import build
from mbx2maildir.tests.test_batch import convert, deliver, messages, of, record

LIB = str(pathlib.Path(mbx2maildir.__file__).parents[1])
FOLDERS = {"work": build.simple(6), "sub/deep": build.simple(3)}
NEW = b"Message-ID: <new@x>\r\n\r\ndual\r\n"

# A conversion that sends a signal to all its processes before a rename; argv: plan, command,
# signal, number of the rename ("task": when a message is written; "orphan": then, to the parent
# only, and the others stop; "exchange": behind it), whether trees are exchanged
PROGRAM = """
import json, os, sys
sys.path.insert(0, {!r})
from mbx2maildir import batch, events, plan_file
from mbx2maildir.formats import maildir
from mbx2maildir.publish import syscalls
path, command, which, number, exchanges = sys.argv[1:]
parent, count = os.getpid(), 0
def interrupt(function, wanted):
    def interrupted(*arguments):
        global count
        if (os.getpid() == parent) == wanted:
            count += 1
            if number == "orphan" and count == 5:
                os.kill(parent, int(which))
                os.kill(os.getpid(), 19)
            if str(count) == number or number == "task" and count == 5:
                os.killpg(0, int(which))
        return function(*arguments)
    return interrupted
if number in ("task", "orphan"):
    os.utime = interrupt(os.utime, False)
else:
    os.rename = interrupt(os.rename, True)
    syscalls._renameat2 = interrupt(syscalls._renameat2, True)
if number == "exchange":
    exchange = syscalls.exchange
    def exchanged(first, second):
        exchange(first, second)
        os.killpg(0, int(which))
    syscalls.exchange = exchanged
if exchanges == "no":
    syscalls.exchange = lambda first, second: False
with open(path) as file:
    plan = dict(plan_file.check(json.load(file)), presync=command == "presync")
batch.convert(plan, events.Events("-"))
""".format(LIB)


def fill(site, both=True):
    """A user with mail on both sides, or on the old one."""
    site.user("alice", build.simple(8), FOLDERS)
    if both:
        deliver(site.maildir("alice"), "1.M1P1.mx", NEW)
    return site


class Conversion:
    """A conversion in processes of its own, which get a signal."""

    def __init__(self, site, which, number, command="convert", exchanges="yes"):
        path = site.root / "plan.json"
        path.write_text(json.dumps(site.plan(claims=True)))
        options = (str(path), command, str(int(which)), str(number), exchanges)
        argv = [sys.executable, "-c", PROGRAM, *options]
        self.process = subprocess.Popen(argv, stdout=subprocess.PIPE, start_new_session=True)

    def interrupted(self):
        """Wait for it. → False when it ended by itself."""
        status = os.waitid(os.P_PID, self.process.pid, os.WEXITED | os.WSTOPPED | os.WNOWAIT)
        return status.si_code != os.CLD_EXITED

    def ended(self):
        """Its events, once it has ended; continued, if it was stopped."""
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGCONT)
        output = self.process.communicate(timeout=120)[0]
        return [json.loads(line) for line in output.splitlines()]

    def end(self):
        with contextlib.suppress(ProcessLookupError):  # children may have outlived their parent
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.communicate()


def contents(site):
    """Each folder's messages in the live tree."""
    live = site.maildir("alice")
    return {name: messages(live, name) for name in (b"", b"work", b"sub.deep")}


@pytest.fixture(scope="module")
def oracle():
    """What one conversion from scratch makes of the site."""
    with build.open_site() as site:
        assert convert(fill(site).plan())[-1]["published"] == 1
        return contents(site)


def expect_published(site, oracle, both=True):
    """That everything is as after one conversion: published, and what it replaced set aside."""
    expected = oracle if both else {**oracle, b"": [pair for pair in oracle[b""] if pair[0] != 9]}
    assert contents(site) == expected
    assert record(site, "r1")["phase"] == "published"
    work = site.root / "new" / "work"
    trees = [path for path in (work / "r1" / "aside").iterdir() if path.is_dir()]
    assert [path.name for path in trees] == (["alice"] if both else [])
    assert not both or [path.read_bytes() for path in (trees[0] / "new").iterdir()] == [NEW]


@pytest.mark.parametrize("both", [True, False])
@pytest.mark.parametrize("exchanges", ["yes", "no"])
@pytest.mark.parametrize("which", [signal.SIGKILL, signal.SIGSTOP])
def test_before_any_rename(which, exchanges, both, oracle):
    number, outcomes = 0, []
    while True:
        number += 1
        with build.open_site() as site:
            first = Conversion(fill(site, both), which, number, exchanges=exchanges)
            try:
                if not first.interrupted():
                    break
                second = convert(site.plan(claims=True))
                assert second[-1]["ok"], (number, of(second, "error"))
                expect_published(site, oracle, both)
                live = site.maildir("alice").stat().st_ino
                ends = first.ended()
                assert site.maildir("alice").stat().st_ino == live, number
                expect_published(site, oracle, both)
                outcomes.append(("already" if second[-1]["already"] else "published", bool(ends)))
                assert convert(site.plan())[-1]["already"] == 1, number
                assert not list((site.root / "new" / "work").glob("st*/.*")), number
            finally:
                first.end()
    # both before and after the tree was published
    assert {what for what, _ends in outcomes} == {"already", "published"} and number > 10


@pytest.mark.parametrize("which", [signal.SIGKILL, signal.SIGSTOP])
def test_while_a_users_process_writes(which, oracle):
    with build.open_site() as site:
        first = Conversion(fill(site), which, "task")
        try:
            assert first.interrupted()
            second = convert(site.plan(claims=True))
            assert second[-1]["published"] == 1
            ends = first.ended()
            expect_published(site, oracle)
            if which == signal.SIGSTOP:
                assert [event["kind"] for event in of(ends, "error")] == ["TakenOver"]
        finally:
            first.end()


def test_the_replaced_tree_is_kept_when_two_die_one_after_the_other(oracle):
    number = 0
    while True:
        number += 1
        with build.open_site() as site:
            first = Conversion(fill(site), signal.SIGKILL, "exchange")
            second = None
            try:
                assert first.interrupted()
                second = Conversion(site, signal.SIGSTOP, number)
                if not second.interrupted():
                    break
                assert convert(site.plan(claims=True))[-1]["already"] == 1, number
                second.ended()
                expect_published(site, oracle)
                assert convert(site.plan())[-1]["already"] == 1, number
                expect_published(site, oracle)
            finally:
                first.end()
                if second:
                    second.end()
    assert number > 5


def test_a_process_that_outlives_its_parent_keeps_the_claim(oracle):
    with build.open_site() as site:
        first = Conversion(fill(site), signal.SIGKILL, "orphan")
        try:
            assert first.interrupted()
            place = os.fsencode(site.root / "new" / "work" / "claims" / "alice")
            assert not claims._is_free(place, 1)
            assert convert(site.plan(claims=True))[-1]["published"] == 1
            os.killpg(first.process.pid, signal.SIGCONT)
            first.process.communicate(timeout=120)
            expect_published(site, oracle)
            assert claims._is_free(place, 1)
        finally:
            first.end()


def test_presync_before_any_rename(oracle):
    number = 0
    while True:
        number += 1
        with build.open_site() as site:
            first = Conversion(fill(site), signal.SIGSTOP, number, "presync")
            try:
                if not first.interrupted():
                    break
                plan = plan_file.check(site.plan(claims=True, presync=True))
                assert convert(plan)[-1]["staged"] == 1, number
                first.ended()
                assert convert(site.plan(claims=True))[-1]["published"] == 1, number
                expect_published(site, oracle)
            finally:
                first.end()
    assert number > 5


def test_several_at_once_publish_each_user_once(oracle):
    with build.open_site() as site:
        names = ["alice", *("user{}".format(number) for number in range(8))]
        for name in names:
            site.user(name, build.simple(8), FOLDERS)
        deliver(site.maildir("alice"), "1.M1P1.mx", NEW)
        together = [Conversion(site, 0, 0) for _number in range(3)]
        try:
            ends = [event for conversion in together for event in conversion.ended()]
        finally:
            for conversion in together:
                conversion.end()
        done = [event["user"] for event in of(ends, "published") + of(ends, "already")]
        assert set(done) == set(names)
        expect_published(site, oracle)
        assert convert(site.plan())[-1]["already"] == len(names)


def test_the_whole_store_is_for_one_who_claims_nothing(site, monkeypatch):
    monkeypatch.setattr(publish, "LOCK_SECONDS", 0)
    fill(site)
    plan = plan_file.check(site.plan(claims=True))
    assert convert(plan)[-1]["ok"]
    alone = plan_file.check(site.plan())
    refused = pytest.raises(errors.PublishError, match="another conversion is running")
    with publish.lock(plan), publish.lock(plan), refused:
        publish.lock(alone)
    with publish.lock(alone), refused:
        publish.lock(plan)


def test_a_user_is_taken_by_number(site):
    fill(site)
    plan = plan_file.check(site.plan(claims=True))
    assert convert(plan)[-1]["ok"]
    taken = [claims.take(plan, plan["users"][0]) for _number in range(3)]
    assert [user["epoch"] for user in taken] == [2, 3, 4]
    for user in taken[:2]:
        with pytest.raises(errors.TakenOver):
            claims.release(plan, user)
    claims.release(plan, taken[2])
    for user in taken[:2]:
        os.close(user["lock"])


def test_claims_is_true_or_false(site):
    with pytest.raises(errors.BadPlan, match="claims"):
        plan_file.check(site.plan(claims="yes"))
