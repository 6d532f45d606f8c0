"""Workers on this machine convert a small store together; one is killed, or has other versions.

tests/lab/test_dask.py has the same on two hosts, and what only hosts can show.
"""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import types
import zipfile

import local
import pytest
from cutover import model
from cutover.remote import dask_cluster, dask_engine, dask_worker, detached
from mbx2maildir.tests import build

HOSTS = ["one", "other"]
PORTS = [18100, 18160]


class Host(local.Local):
    """This machine under a host's name, with a directory of its own for Dask."""

    def __init__(self, name, place):
        super().__init__()
        self.own = str(place), f"{place}/{name}"

    def run(self, argv, **more):
        more.pop("timeout", None)
        return super().run([word.replace(*self.own) for word in argv], **more)

    def put(self, data, path, **_more):
        if path.endswith(".json"):
            data = data.decode().replace(*self.own).encode()
        super().put(data, path.replace(*self.own))

    def stream(self, argv, **more):
        return super().stream([word.replace(*self.own) for word in argv], **more)


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """Where Dask is unpacked, once for all tests."""
    return tmp_path_factory.mktemp("place")


@pytest.fixture
def work(place, monkeypatch):
    """work(site, report) converts the users of a site on both hosts."""
    monkeypatch.setattr(
        detached, "_START", detached._START.replace("/run/systemd/system", "/nowhere")
    )
    monkeypatch.setattr(detached, "PAUSE", 0.05)
    # without systemd nothing ends a worker that has not joined yet; it ends by itself
    monkeypatch.setattr(dask_engine, "FAREWELL", 0.5)
    connections = {name: Host(name, place) for name in HOSTS}

    def for_all(names, function):
        return {name: function(name) for name in names}

    site = types.SimpleNamespace(
        new_store=types.SimpleNamespace(python=sys.executable), address=lambda name: "127.0.0.1"
    )
    hosts = types.SimpleNamespace(ssh=connections.get, site=site, each=for_all)

    def run(store, report, units, **more):
        engine = dask_engine.Engine(HOSTS, units, PORTS, str(place), 2, "127.0.0.1")
        plan = {"host": "mail", **store.plan(), **more}
        return dask_engine.run(hosts, "one", plan, "convert-users", report, "convert", engine)

    yield run
    for name in HOSTS:  # without systemd nobody else ends one that has not joined yet
        signal_to(place, name, signal.SIGKILL)


def signal_to(place, name, number):
    """Send a signal to a host's worker → whether there is one."""
    sent = False
    for pid in filter(str.isdigit, os.listdir("/proc")):
        with contextlib.suppress(OSError):
            with open(f"/proc/{pid}/cmdline", "rb") as line:
                words = line.read().decode().split("\0")
            if words[0] == sys.executable and any(
                word.startswith(f"{place}/{name}/dask-") for word in words
            ):
                os.kill(int(pid), number)
                sent = True
    return sent


def fill(store, number):
    names = [f"user{index}" for index in range(number)]
    for name in names:
        store.user(name, build.simple(5), {"work": build.simple(6)})
    return names


def test_two_workers_convert_and_report_as_one_pool(work):
    events = []
    with build.open_site() as store:
        names = fill(store, 5)
        ended = work(store, events.append, [names[:2], names[2:4]])  # and one in no unit
        assert ended.rc == 0
        assert all(len(list((store.maildir(name) / "cur").iterdir())) for name in names)
    done = [event["user"] for event in events if event["event"] == "published"]
    assert sorted(done) == names
    assert [event["event"] for event in events if event["event"] in ("start", "end")] == [
        "start",
        "end",
    ]
    assert (events[-1]["published"], events[-1]["lost"]) == (5, 0)


def test_the_units_of_a_worker_that_is_killed_are_done_by_the_other(work, place):
    events = []

    def kill_the_other():
        """As often as it is started, and have this process know of it, before the work is done."""
        (following,) = [
            thread for thread in threading.enumerate() if thread.name == "worker on other"
        ]
        signal_to(place, "one", signal.SIGSTOP)
        while following.is_alive():
            signal_to(place, "other", signal.SIGKILL)
            time.sleep(0.05)
        signal_to(place, "one", signal.SIGCONT)

    once = iter([kill_the_other])

    def report(event):
        events.append(event)
        if event["event"] == "published":
            next(once, lambda: None)()

    with build.open_site() as store:
        names = fill(store, 6)
        assert work(store, report, [[name] for name in names]).rc == 0
        assert all(store.maildir(name).is_dir() for name in names)
    again, gone = [event["text"] for event in events if event["event"] == "log"]
    assert again.startswith("the worker on other is gone, and is started again: ")
    assert gone.startswith("the worker on other is gone: ") and events[-1]["lost"] == 1


def test_a_worker_that_is_killed_is_started_again_and_converts(work, place):
    events, signals = [], iter([("one", signal.SIGSTOP), ("other", signal.SIGKILL)])

    def report(event):
        """Only the other can do what is left, once it is back.

        So many units that some are left for it, however late the first event comes: what it had
        when it was killed may go to the one that is frozen.
        """
        events.append(event)
        if event["event"] == "published":
            for name, number in signals:
                while not signal_to(place, name, number):
                    time.sleep(0.05)
        logged = any("is started again" in event.get("text", "") for event in events)
        if logged and event.get("worker") == "other":
            signal_to(place, "one", signal.SIGCONT)

    with build.open_site() as store:
        names = fill(store, 40)
        assert work(store, report, [[name] for name in names]).rc == 0
    at = [event.get("text", "").partition(": ")[0] for event in events].index(
        "the worker on other is gone, and is started again"
    )
    assert "other" in {event.get("worker") for event in events[at:]}
    assert events[-1]["lost"] == 0


def test_a_task_sends_all_and_leaves_nothing_to_be_fetched(monkeypatch, tmp_path):
    """A worker that is frozen after its unit would keep the answer, and the conversion waited."""
    sent = []
    worker = types.SimpleNamespace(
        name="one", local_directory=tmp_path, log_event=lambda _topic, batch: sent.append(batch)
    )
    monkeypatch.setattr("distributed.get_worker", lambda: worker)
    monkeypatch.setattr(dask_worker, "EVERY", 0)
    program = "print(1, flush=True); print(2); raise SystemExit('x')"
    assert dask_worker.convert([sys.executable, "-c", program], 7, {}) is None
    lines = []
    for batch in sent:
        assert batch["unit"] == 7 and batch["first"] == len(lines)
        lines += batch["lines"]
    assert lines == ["1", "2"] and sent[-1]["rc"] == 1 and sent[-1]["err"] == "x\n"
    assert not any("rc" in batch for batch in sent[:-1])


def test_a_unit_whose_converter_does_not_work_is_an_error(work):
    with build.open_site() as store:
        names = fill(store, 2)
        with pytest.raises(model.ChangeFailed, match=r"unit 0: exit status 1, .*\"run\" must be"):
            work(store, lambda event: None, [names], run=".")


def test_two_stores_convert_at_the_same_time_on_one_worker(tmp_path):
    """Each by a control process of its own, and the first time: both put Dask there."""
    with build.open_site() as first, build.open_site() as second:
        processes = []
        for run, store, ports in (("a", first, [18180, 18189]), ("b", second, [18190, 18199])):
            names = fill(store, 2)
            plan = {"host": "mail", **store.plan(), "run": run}
            given = {"plan": plan, "units": [names], "place": str(tmp_path / "dask")}
            given |= {"ports": ports, "workers": 1, "cores": 1}
            (tmp_path / run).write_text(json.dumps(given))
            argv = [sys.executable, "-m", "cutover.bench.dask_here", tmp_path / run]
            processes.append(subprocess.Popen(argv))
        assert [process.wait() for process in processes] == [0, 0]
        assert all(store.maildir(name).is_dir() for store in (first, second) for name in names)
    (dask,) = (tmp_path / "dask").glob("dask-*")
    assert {path.name for path in dask.parent.iterdir()} == {dask.name, "a-here0", "b-here0"}


def test_dask_that_another_store_has_put_there_meanwhile_stays(tmp_path):
    for run in "ab":
        own = tmp_path / run
        own.mkdir()
        with zipfile.ZipFile(own / "dask.zip", "w") as archive:
            archive.writestr(run, "")
        argv = ["sh", "-c", dask_engine._UNPACK, "unpack", own, "dask-1", sys.executable]
        subprocess.run(argv, check=True, capture_output=True)
        assert not list(own.iterdir())
    assert [path.name for path in (tmp_path / "dask-1").iterdir()] == ["a"]


def test_another_version_is_refused_by_name(work, monkeypatch):
    monkeypatch.setattr(dask_engine, "_versions", lambda: {"dask": "1.0"})
    wanted = r"no worker is left: one: .*dask [0-9.]+ instead of 1\.0.*other: "
    with build.open_site() as store, pytest.raises(model.ChangeFailed, match=wanted):
        work(store, lambda event: None, [fill(store, 1)])


def test_ports_that_are_all_in_use_are_named():
    taken = socket.create_server(("127.0.0.1", 18170))
    wanted = pytest.raises(model.ChangeFailed, match="no port from 18170 to 18170 is free")
    with taken, wanted, dask_cluster.started("127.0.0.1", [18170, 18170], 60):
        pass


def test_a_port_that_another_takes_meanwhile_is_passed_over(monkeypatch):
    taken = socket.create_server(("127.0.0.1", 18171))
    answers = iter([True, False, True])
    monkeypatch.setattr(dask_cluster, "is_free", lambda address, port: next(answers))
    with taken, dask_cluster.started("127.0.0.1", [18171, 18172], 60) as (cluster, _, security):
        assert cluster.scheduler_address == "tls://127.0.0.1:18172"
        assert security.require_encryption and not cluster.scheduler.services


def test_the_address_is_the_one_towards_the_workers():
    assert dask_cluster.address_towards("127.0.0.1") == "127.0.0.1"
