"""Work that outlives its link: lost links, a second comer, kills.

The commands run on this machine instead of over ssh.
"""

import fcntl
import json
import os
import signal
import subprocess
import sys
import threading
import time
import types

import local
import pytest
from cutover.connect import ssh
from cutover.remote import detached

WORK = """
import json, os, sys, time
plan = json.load(open(sys.argv[1]))
with open(sys.argv[2], "a", buffering=1) as events:
    for number in range(plan["events"]):
        event = {"event": "step", "number": number, "pid": os.getpid()}
        if number == plan.get("wide"):
            event["names"] = "x" * (5 << 20)
        events.write(json.dumps(event) + "\\n")
        time.sleep(plan.get("pause", 0))
sys.stderr.write(plan.get("says", ""))
sys.exit(plan.get("rc", 0))
"""


@pytest.fixture
def host(tmp_path, monkeypatch):
    """host(plan, connection) runs WORK with a plan and returns (Ended, events)."""
    monkeypatch.setattr(detached, "PAUSE", 0.05)
    monkeypatch.setattr(
        detached, "_START", detached._START.replace("/run/systemd/system", "/nowhere")
    )
    (tmp_path / "work.py").write_text(WORK)

    def run(plan, connection=None, name="work"):
        connection = connection or local.Local()
        hosts = types.SimpleNamespace(
            ssh=lambda host: connection,
            site=types.SimpleNamespace(new_store=types.SimpleNamespace(python="python3")),
        )
        events = []
        argv = [
            sys.executable,
            str(tmp_path / "work.py"),
            str(tmp_path / f"{name}.plan.json"),
            str(tmp_path / f"{name}.events"),
        ]
        return detached.run(
            hosts, "new", str(tmp_path), name, "cutover-test", plan, argv, events.append
        ), events

    return run


def test_an_event_of_megabytes_hides_none_after_it(host):
    ended, events = host({"events": 5, "wide": 2, "rc": 1})
    assert ended.rc == 1 and [event["number"] for event in events] == [0, 1, 2, 3, 4]


def test_a_clock_that_is_set_back_silences_no_follower(tmp_path):
    back = "import itertools, time; hours = itertools.count(10**9, -3600)\n"
    back += "time.time = lambda: next(hours)\n"
    base = tmp_path / "work"
    argv = [sys.executable, "-I", "-c", back + detached._FOLLOW, str(base), "0", "0.2"]
    with open(f"{base}.lock", "a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with subprocess.Popen(argv, stdout=subprocess.PIPE) as follower:
            watchdog = threading.Timer(30, follower.kill)
            watchdog.start()
            beat = follower.stdout.read(1)
            watchdog.cancel()
            follower.kill()
    assert beat == b"\n"


@pytest.mark.parametrize("arrived", [b"", b'{"events": 1'])
def test_a_plan_that_arrived_in_part_starts_nothing(tmp_path, arrived):
    argv = ["sh", "-c", detached._START, "start", str(tmp_path / "work"), "unit", "touch"]
    ran = tmp_path / "ran"
    done = subprocess.run([*argv, str(ran)], input=arrived, capture_output=True)
    assert done.returncode == 75 and b"only part of the plan arrived" in done.stderr
    assert not ran.exists()


def numbers(events):
    return [event["number"] for event in events]


def test_to_its_end(host):
    ended, events = host({"events": 3, "rc": 4, "says": "why\n"})
    assert (ended.rc, ended.err, ended.attached, numbers(events)) == (4, "why\n", False, [0, 1, 2])


def test_a_link_lost_again_and_again(host):
    connection = local.Local(breaks=[0, 3, 1, 0, 5])
    ended, events = host({"events": 40, "pause": 0.01}, connection)
    assert ended.rc == 0 and numbers(events) == list(range(40)) and connection.started == 1


def test_a_host_that_stays_away(host, monkeypatch):
    monkeypatch.setattr(detached, "PATIENCE", 0.3)
    with pytest.raises(ssh.LinkLost):
        host({"events": 2}, local.Local(breaks=[0] * 1000))
    assert numbers(host({"events": 2})[1]) == [0, 1]


def test_whoever_comes_later_follows_what_runs(host, tmp_path):
    plan = {"events": 30, "pause": 0.05}
    first = threading.Thread(target=host, args=(plan,))
    first.start()
    while not (tmp_path / "work.events").exists() or not (tmp_path / "work.events").stat().st_size:
        time.sleep(0.02)
    connection = local.Local()
    ended, events = host(plan, connection)
    first.join()
    assert ended.attached and connection.started == 0
    assert numbers(events) == list(range(30)) and len({event["pid"] for event in events}) == 1


def test_what_runs_with_another_plan_is_let_run_out(host, tmp_path):
    first = threading.Thread(target=host, args=({"events": 10, "pause": 0.05},))
    first.start()
    while not (tmp_path / "work.events").exists() or not (tmp_path / "work.events").stat().st_size:
        time.sleep(0.02)
    ended, events = host({"events": 2, "rc": 3})
    first.join()
    assert ended.rc == 3 and not ended.attached and len({event["pid"] for event in events}) == 2


# alone: the shell around it is left to report how it ended
@pytest.mark.parametrize("alone", [False, True])
def test_killed_in_between(host, tmp_path, alone):
    def kill():
        while (
            not (tmp_path / "work.events").exists() or not (tmp_path / "work.events").stat().st_size
        ):
            time.sleep(0.02)
        first = json.loads((tmp_path / "work.events").read_text().splitlines()[0])
        os.kill(first["pid"], signal.SIGKILL) if alone else os.killpg(
            os.getpgid(first["pid"]), signal.SIGKILL
        )

    killer = threading.Thread(target=kill)
    killer.start()
    with pytest.raises(detached.Interrupted, match="without a result"):
        host({"events": 100, "pause": 0.05})
    killer.join()
    assert numbers(host({"events": 2})[1]) == [0, 1]
