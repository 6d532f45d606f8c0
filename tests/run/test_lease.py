"""One operator at a time: the real program, run here instead of on a host."""

import json
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest
import stub
from click import testing
from cutover.commands import main
from cutover.model import errors
from cutover.record import approval, run_folder
from cutover.remote import lease_file
from cutover.run import lease
from cutover.steps import registry


@pytest.fixture
def two(night):
    """Leases of two runs. → `(one, other, what was journaled)`"""
    journaled = []
    other = run_folder.begin(night.site, night.path / "other")
    leases = [
        lease.Lease(
            stub.Hosts(night.site), run, lambda event, **fields: journaled.append((event, fields))
        )
        for run in (night.run, other)
    ]
    yield *leases, journaled
    for item in leases:
        item.release()


def test_the_second_is_refused_and_told_who_holds_it(two, night):
    first, second, _ = two
    first.take()
    refusal = rf"another operator is at work: .*@.* \(process {os.getpid()} on .*run {night.run.name}; renewed \d+ s ago.*break"
    with pytest.raises(lease.LeaseHeld, match=refusal):
        second.take()
    first.release()
    second.take()


def test_of_many_at_once_one_gets_it(night):
    leases = [
        lease.Lease(
            stub.Hosts(night.site),
            run_folder.begin(night.site, night.path / f"run{number}"),
            lambda event, **_: None,
        )
        for number in range(6)
    ]
    won = []

    def go(wanted):
        try:
            wanted.take()
            won.append(wanted)
        except lease.LeaseHeld:
            pass

    threads = [threading.Thread(target=go, args=(item,)) for item in leases]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(won) == 1
    won[0].release()


def test_a_stale_one_is_refused_all_the_same(two, night):
    first, second, _ = two
    first.take()
    os.utime(lease.place(night.site), (0, 0))
    with pytest.raises(lease.LeaseHeld, match=r"stale: not renewed for \d+ s"):
        second.take()


def test_it_is_renewed_in_the_background(two, night, monkeypatch):
    monkeypatch.setattr(lease, "EVERY", 0.05)
    mine = two[0]
    mine.take()
    os.utime(lease.place(night.site), (0, 0))
    done = threading.Event()
    for _ in range(100):
        if os.stat(lease.place(night.site)).st_mtime > 1:
            break
        done.wait(0.05)
    else:
        pytest.fail("not renewed")


def test_who_lost_it_changes_nothing_more(two, night, monkeypatch):
    monkeypatch.setattr(lease, "EVERY", 0.05)
    first, second, _ = two
    first.take()
    holder = lease_file.ask(first.hosts, first.host, first.path, "read")["holder"]
    assert lease_file.ask(first.hosts, first.host, first.path, "break", token=holder["token"])[
        "done"
    ]
    second.take()
    first._thread.join(10)
    with pytest.raises(
        lease.LeaseLost, match="lost while this run held it: (.* holds it now|it was broken)"
    ):
        first.check()


def test_a_run_takes_back_what_its_own_dead_process_held(two, night):
    first, second, events = two
    gone = subprocess.Popen([sys.executable, "-c", ""])
    first.pid = gone.pid
    first.take()
    gone.wait()
    again = lease.Lease(first.hosts, night.run, first.record)
    again.take()
    assert [event for event, _ in events] == ["lease-taken", "lease-taken-back", "lease-taken"]
    assert "token" not in events[1][1]["before"]
    with pytest.raises(lease.LeaseHeld):
        second.take()  # another run does not
    again.release()


def test_a_run_does_not_take_it_from_its_own_living_process(night):
    with subprocess.Popen(["sleep", "60"]) as living:
        mine = lease.Lease(stub.Hosts(night.site), night.run, lambda event, **_: None)
        mine.pid = living.pid
        mine.take()
        with pytest.raises(lease.LeaseHeld):
            lease.Lease(mine.hosts, night.run, mine.record).take()
        mine.release()
        living.kill()


def test_a_runs_processes_share_it_until_the_first_ends(two):
    first, second, _ = two
    with lease.passed_on() as give_back:
        cells = [lease.Lease(first.hosts, first.run, first.record) for _ in range(2)]
        for item in cells:
            item.take()
            item.release()
            with pytest.raises(lease.LeaseHeld):
                second.take()
        give_back(first.hosts)
    second.take()


def test_what_is_no_lease_is_held_by_an_unknown(two, night):
    mine = two[0]
    Path(lease.place(night.site)).write_text("{half")
    with pytest.raises(lease.LeaseHeld, match="unreadable"):
        mine.take()


def test_a_host_that_cannot_keep_it_is_told(two, night):
    night.path.joinpath("store").rmdir()
    night.path.joinpath("store").write_text("no directory")
    with pytest.raises(lease_file.LeaseUnusable, match="mailboxvm: the lease .* cannot be used"):
        two[0].take()


def test_it_is_given_back_on_a_full_disk(night):
    """Its blocks are its own from the first time it is taken."""
    mine = lease.Lease(stub.Hosts(night.site), night.run, lambda event, **_: None)
    mine.take()
    assert os.stat(mine.path).st_size == lease_file.SIZE
    mine.release()
    assert os.stat(mine.path).st_size == lease_file.SIZE


def break_it(night, monkeypatch, typed, key="anna"):
    monkeypatch.setattr("cutover.connect.hosts.Hosts", stub.Hosts)
    argv = ["lease", "break", "--run", str(night.run.path), "--key", str(night.path / key)]
    return testing.CliRunner().invoke(main.cutover, argv, input=typed + "\n")


def test_breaking_it_is_typed_signed_and_journaled(two, night, monkeypatch):
    _, other, _ = two
    other.take()
    owner = json.loads(Path(other.path).read_text())["owner"]
    assert isinstance(break_it(night, monkeypatch, "yes").exception, approval.NotConfirmed)
    assert isinstance(break_it(night, monkeypatch, owner, "mallory").exception, errors.CutoverError)
    assert json.loads(Path(other.path).read_text())
    done = break_it(night, monkeypatch, owner)
    assert done.exit_code == 0 and "broken" in done.output
    event = [event for event in night.run.journal.events() if event["event"] == "lease-broken"][-1]
    assert event["by"] == "anna@example" and event["done"] and event["before"]["run"] == "other"
    assert isinstance(
        break_it(night, monkeypatch, owner).exception, errors.CutoverError
    )  # nobody holds it


def test_going_back_needs_no_host_that_is_gone(night, monkeypatch):
    night.before()
    stepper = night.planned()

    def ill(*_, **__):
        raise lease_file.LeaseUnusable("mailboxvm: gone")

    monkeypatch.setattr(lease_file, "ask", ill)
    with pytest.raises(lease_file.LeaseUnusable):
        stepper._take_lease()
    stepper.step = registry.step("rollback")
    stepper._take_lease()
    assert night.run.journal.events()[-1]["event"] == "lease-unavailable"
