"""The pool of worker processes: answers, progress, faults, and workers that die."""

import os
import signal
import time

import pytest

from mbx2maildir import errors, pool
from mbx2maildir.publish import syscalls


def double(value, report):
    report(1, len(value) if isinstance(value, bytes) else value)
    return 2 * value


def fail(kind, report):
    raise errors.NoSpace("full", "/x") if kind == "ours" else ValueError("odd")


def die(number, report):
    os.kill(os.getpid(), number)


def process(report):
    return os.getpid()


@pytest.fixture
def workers():
    made = pool.Pool(2)
    yield made
    made.close()


def outcomes(workers):
    outcomes_by_tag = []
    while workers.pending():
        outcomes_by_tag += [event for event in workers.wait(5) if event[1] != "progress"]
    return sorted(outcomes_by_tag, key=lambda event: event[0])


def test_answers_of_any_size_and_order(workers):
    values = [b"x" * size for size in (0, 1, 70000, 3 << 20)] * 3
    for number, value in enumerate(values):
        workers.submit(number, double, value)
    assert outcomes(workers) == [(number, "done", 2 * value) for number, value in enumerate(values)]


def test_progress_adds_up(workers):
    for number in range(5):
        workers.submit(number, double, number)
    progress = []
    while workers.pending():
        progress += [value for _tag, kind, value in workers.wait(5) if kind == "progress"]
    assert [sum(pair[place] for pair in progress) for place in (0, 1)] == [5, 10]


def test_faults_are_values(workers):
    workers.submit(1, fail, "ours")
    workers.submit(2, fail, "other")
    ours, other = [value for _tag, _kind, value in outcomes(workers)]
    assert (ours["kind"], ours["file"]) == ("NoSpace", "/x")
    assert other["kind"] == "ValueError" and "test_pool.py" in other["traceback"]


def test_a_killed_worker_fails_its_task_alone(workers):
    for number in range(6):
        workers.submit(number, *((die, signal.SIGKILL) if number == 2 else (double, number)))
    ended = outcomes(workers)
    assert [value for _tag, kind, value in ended if kind == "done"] == [0, 2, 6, 8, 10]
    assert ended[2][2]["kind"] == "WorkerDied" and "signal 9" in ended[2][2]["what"]


def test_a_worker_killed_while_idle(workers):
    workers.submit(1, process)
    ((_tag, _kind, number),) = outcomes(workers)
    os.kill(number, signal.SIGKILL)
    while state(number) != "Z":
        time.sleep(0.01)
    workers.submit(2, double, 4)
    workers.submit(3, double, 5)
    first, second = outcomes(workers)
    assert first[2]["kind"] == "WorkerDied" and second == (3, "done", 10)


def state(number):
    with open(f"/proc/{number}/stat") as stat:
        return stat.read().rpartition(")")[2].split()[0]


def descriptors(claimed, report):
    return [number for number in range(claimed + 1) if is_open(number)]


def is_open(number):
    try:
        os.fstat(number)
    except OSError:
        return False
    return True


@pytest.mark.parametrize("offered", [True, False])
def test_a_worker_has_only_its_own_descriptors(monkeypatch, offered):
    if not offered:
        monkeypatch.setattr(syscalls, "close_range", lambda first, last: False)
    held = [os.open(os.devnull, os.O_RDONLY) for _ in range(20)]
    user = {"user": "u", "uid": os.getuid(), "gid": os.getgid(), "lock": held[9]}
    try:
        numbers = pool.ask(user, descriptors, max(held))
    finally:
        for number in held:
            os.close(number)
    assert {0, 1, 2, held[9]} <= set(numbers) and len(numbers) <= 6  # and two pipes
    assert {*held} & {*numbers} == {held[9]}


def test_close_leaves_no_process():
    workers = pool.Pool(2)
    workers.submit(1, process)
    workers.submit(2, time.sleep)  # wrong call: fails, and leaves the worker idle
    numbers = [value for _tag, kind, value in outcomes(workers) if kind == "done"]
    workers.submit(3, lasting)
    workers.wait(0)
    started = {worker.process for worker in [*workers.idle, *workers.busy.values()]}
    workers.close()
    assert numbers and not any(os.path.exists(f"/proc/{number}") for number in numbers)
    assert len(started) == 2
    for number in started:
        with pytest.raises(ChildProcessError):
            os.waitpid(number, os.WNOHANG)


def lasting(report):
    time.sleep(60)


def wait_for(path, report):
    until = time.monotonic() + 20
    while not os.path.exists(path) and time.monotonic() < until:
        time.sleep(0.01)
    return os.path.exists(path)


def make(path, report):
    os.mkdir(path)


def a_user(name):
    return {"user": name, "uid": os.geteuid(), "gid": os.getegid()}


def test_who_works_for_nobody_takes_no_users_place(tmp_path):
    """It waits for the disk, as a sync does. Users' work continues."""
    workers = pool.Pool(1)
    try:
        workers.submit("sync", wait_for, str(tmp_path / "made"))
        workers.submit("user", make, str(tmp_path / "made"), user=a_user("alice"))
        assert outcomes(workers) == [("sync", "done", True), ("user", "done", None)]
    finally:
        workers.close()


def test_a_few_processes_without_a_task_are_kept(workers):
    names = [f"user{number}" for number in range(pool.KEPT + 10)]
    processes = {}
    for name in [*names, *names[-8:]]:
        workers.submit(name, process, user=a_user(name))
        ((_, _, number),) = outcomes(workers)
        assert processes.setdefault(name, number) == number
        assert len(workers.idle) <= pool.KEPT + 1
    workers.close()
    for number in processes.values():
        with pytest.raises(ProcessLookupError):
            os.kill(number, 0)
