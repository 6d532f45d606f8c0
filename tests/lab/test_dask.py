"""Two hosts of one store convert together, by Dask; one of them dies, freezes or is cut off.

Each time the store is as after one conversion by one host.
"""

import dataclasses
import json
import os
import subprocess
import sys

import distributed
import pytest
import yaml
from cutover import model, site
from cutover.changes import conversion
from cutover.connect.hosts import Hosts
from cutover.facts import convert_workers, users
from cutover.remote import converter, dask_engine
from cutover.steps.checks import worker_checks
from cutover.steps.night import verify
from lab import shared_store, system, topology
from night import eventually
from test_convert import APPLY, DIGEST

pytestmark = pytest.mark.lab
ONE, OTHER = shared_store.NAMES
USERS = sorted(topology.USERS)[8:14]  # with little mail
SERVICES = ["dovecot", "sendmail"]
ROOM = 12 << 20  # bytes left on a store that is full
PLACE = "/var/lib/mail-cutover-worker"


@pytest.fixture(scope="module")
def lab(_lab_of_the_session):
    """Instead of the usual one: with the second server."""
    _lab_of_the_session.reset(shared=True)
    for name in shared_store.NAMES:
        _lab_of_the_session.run(name, ["systemctl", "stop", *SERVICES])
    return _lab_of_the_session


@pytest.fixture(scope="module")
def parameters(lab, tmp_path_factory):
    values = yaml.safe_load((site.PROJECT / "parameters/lab.yaml").read_text())
    values["hosts"][OTHER] = {"address": topology.EVER[OTHER].address}
    values["users"] = {
        "uid_min": topology.USERS[USERS[0]],
        "uid_max": topology.USERS[USERS[-1]],
    }
    values["convert"] = {"engine": "dask", "workers": [ONE, OTHER], "cores": 2}
    path = tmp_path_factory.mktemp("dask") / "lab.yaml"
    path.write_text(yaml.safe_dump(values))
    return path


@pytest.fixture(scope="module")
def hosts(parameters):
    with Hosts(site.load(parameters)) as opened:
        yield opened


class Bench:
    """One conversion under a run's name of its own, by both hosts or by one."""

    def __init__(self, lab, hosts, name):
        self.lab, self.context = lab, model.Context(hosts)
        plan = converter.plan(hosts.site, name, users.read(hosts, ONE), 2)
        self.change = conversion.Convert(ONE, name, plan["work"], 2, plan["users"])
        self.events = []
        self.worker = converter.unit(name, "convert-users-worker")

    def by_both(self):
        names = [user["user"] for user in self.change.users]
        engine = dask_engine.Engine(
            [ONE, OTHER], [names[:2], names[2:4], names[4:5], names[5:]], [8786, 8799], PLACE, 2
        )
        self.change = dataclasses.replace(self.change, engine=dataclasses.asdict(engine))
        return self

    def apply(self, at_work=None):
        """Apply the change; at_work() is called once the second host has begun a user."""
        once = iter([at_work] if at_work else [])

        def report(event):
            self.events.append(event)
            if event.get("worker") == OTHER:
                next(once, lambda: None)()

        return self.change.apply(self.context, report)

    def signal(self, name, host=OTHER):
        self.lab.run(host, ["systemctl", "kill", f"--signal={name}", self.worker], check=False)

    def of(self, kind):
        return [event for event in self.events if event["event"] == kind]

    def epochs(self):
        """The epochs of the claims on users: above 1, if one was taken over."""
        names = self.lab.run(ONE, ["sh", "-c", "ls /var/imap/.cutover/claims/*"]).stdout.split()
        return {int(name.split(".")[0]) for name in names if name.endswith(".idle")}

    def is_over(self):
        """Whether the second host's worker has ended, and all that it began."""
        argv = ["systemctl", "is-active", self.worker]
        return self.lab.run(OTHER, argv, check=False).stdout.strip() in ("inactive", "failed")

    def settles(self, expected):
        """Whether the store is, and stays, as expected when the second host has ended too."""
        assert eventually(self.is_over)
        return self.end() == expected

    def digest(self):
        return self.lab.run(ONE, ["sh", "-c", DIGEST], timeout=120).stdout

    def end(self):
        """The digest of what was published; then the earlier trees come back."""
        assert self.change.settled(self.context).done
        digest = self.digest()
        self.change.inverse().apply(self.context, lambda event: None)
        self.lab.run(ONE, ["rm", "-rf", "/var/imap/.cutover/claims"])
        return digest


@pytest.fixture(scope="module")
def expected(lab, hosts):
    """The end state when one host converts alone, without Dask."""
    bench = Bench(lab, hosts, "alone")
    bench.apply()
    return bench.end()


@pytest.fixture
def bench(lab, hosts, expected, request, monkeypatch):
    monkeypatch.setattr(dask_engine, "SILENCE", 5)
    monkeypatch.setattr(dask_engine, "PATIENCE", 5)
    monkeypatch.setattr(distributed.Client, "map", at_once(lambda: None))
    return Bench(lab, hosts, request.node.name.replace("_", "-")).by_both()


def at_once(before):
    """Client.map() that waits for both workers, then calls before()."""
    submit = distributed.Client.map

    def submit_to_both(client, *arguments, **more):
        client.wait_for_workers(2)
        before()
        return submit(client, *arguments, **more)

    return submit_to_both


@pytest.fixture
def verified(lab, hosts, request):
    """verified() → verify's facts of what one host converted; every check has passed."""
    bench = Bench(lab, hosts, request.node.name.split("[")[0].replace("_", "-"))
    bench.apply()

    def read():
        facts = verify.probe(model.Context(hosts, bench.change.run))
        checks = verify.verify(facts, hosts.site)
        assert [check for check in checks if not check.passed] == []
        return facts.hosts

    yield read
    bench.end()


def has_room(lab, name):
    argv = ["sh", "-c", "head -c 2M /dev/zero > /var/imap/.room && rm /var/imap/.room"]
    return lab.run(name, argv, check=False).returncode == 0


def test_both_convert_and_report_what_one_would(bench, expected):
    figures = bench.apply().figures
    assert (figures["published"], figures["workers"], figures["lost"]) == (len(USERS), 2, 0)
    assert sorted(event["user"] for event in bench.of("published")) == USERS
    assert len(bench.of("start")) == len(bench.of("end")) == 1
    assert bench.of("progress")[-1]["users_done"] == len(USERS)
    assert bench.epochs() == {1}
    assert bench.end() == expected


def test_what_both_staged_ahead_convert_only_publishes(bench, expected):
    change = bench.change
    pace = bench.context.site.presync.model_dump() | {"max_mb_per_second": 1000}
    presync = conversion.Presync(
        ONE, change.run, change.work, 2, change.users, engine=change.engine, pace=pace
    )
    paces = []

    def report(event):
        if event["event"] == "pace":
            paces.append(event["bytes_per_second"])

    assert presync.apply(bench.context, report).figures["staged"] == len(USERS)
    assert paces == [500e6], "both hosts together go as fast as allowed"
    bench.apply()
    assert sum(event["written"] for event in bench.of("folder")) == 0
    assert bench.end() == expected


def test_preflight_takes_both_as_workers_and_no_other_host(lab, hosts):
    def judged(workers):
        site = hosts.site.model_copy(
            update={"convert": hosts.site.convert.model_copy(update=workers)}
        )
        read = {
            name: model.read(convert_workers.read, hosts, name) for name in site.convert.workers
        }
        return {
            (check.id, check.subject): check.passed for check in worker_checks.checks(read, site)
        }

    assert set(judged({}).values()) == {True}
    assert ("worker-reads", OTHER) in judged({})
    assert not judged({"workers": [ONE, "sanbackup"]})["worker-same-stores", "sanbackup"]


def test_a_worker_is_killed_and_started_again(bench, expected):
    assert bench.apply(lambda: bench.signal("KILL")).figures["lost"] == 0
    (again,) = [event["text"] for event in bench.of("log")]
    assert OTHER in again and "is started again" in again
    assert bench.end() == expected


def test_a_frozen_worker_goes_on_when_others_have_its_users(bench, expected, monkeypatch):
    """Nobody ends it: what it does then, it does by itself."""
    monkeypatch.setattr(dask_engine, "FAREWELL", 0.5)
    monkeypatch.setattr(dask_engine, "_KILL", "true")
    bench.apply(lambda: bench.signal("STOP"))
    assert max(bench.epochs()) > 1, "the frozen host had begun nothing"
    live = bench.digest()
    assert live == expected
    bench.signal("CONT")
    assert eventually(bench.is_over)
    assert bench.end() == live


def test_a_worker_is_cut_off_from_the_scheduler(bench, expected):
    """It still reaches the store, and works on until it finds that it is alone."""
    control = topology.CONTROL_ADDRESS

    def cut():
        bench.lab.run(OTHER, ["ip", "route", "add", "blackhole", control])

    try:
        bench.apply(cut)
        assert OTHER in bench.of("log")[-1]["text"]
    finally:
        bench.lab.run(OTHER, ["ip", "route", "del", "blackhole", control])
    assert bench.settles(expected)


def test_this_side_is_killed_and_the_same_command_resumes(bench, parameters, expected):
    child = subprocess.Popen(
        [sys.executable, "-c", APPLY, str(parameters)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    child.stdin.write(json.dumps(bench.change.to_json()).encode())
    child.stdin.close()
    for line in child.stdout:
        if json.loads(line)["event"] == "user":
            break
    child.kill()
    child.wait()
    bench.apply()
    assert bench.end() == expected


def test_the_store_is_full_and_then_has_room(bench, expected):
    disk = os.statvfs(shared_store.BRICKS)
    used = (disk.f_blocks - disk.f_bfree) * disk.f_frsize
    remount = ("mount", "-o", f"remount,size={used + ROOM}", shared_store.BRICKS)
    system.call(*remount)
    try:
        with pytest.raises(model.ChangeFailed, match="No space left"):
            bench.apply()
    finally:
        system.call("mount", "-o", "remount,size=2g", shared_store.BRICKS)
    # GlusterFS looks at its disks every few seconds
    for name in shared_store.NAMES:
        assert eventually(lambda name=name: has_room(bench.lab, name))
    bench.apply()
    assert bench.end() == expected


def test_the_own_disk_of_one_worker_is_full(bench, expected, monkeypatch):
    """It can start no converter, and leaves the work to the other."""
    place = f"{PLACE}/{bench.change.run}"
    bench.lab.run(OTHER, ["mkdir", "-p", "-m", "0700", place])
    bench.lab.run(OTHER, ["mount", "-t", "tmpfs", "-o", "size=64k,mode=0700", "tmpfs", place])

    def fill():
        bench.lab.run(OTHER, ["sh", "-c", f"head -c 1M /dev/zero > {place}/full"], check=False)

    monkeypatch.setattr(distributed.Client, "map", at_once(fill))
    try:
        assert bench.apply().figures["lost"] == 1
    finally:
        bench.lab.run(OTHER, ["umount", "-l", place])
    assert "the converter cannot be started" in bench.of("log")[0]["text"]
    assert bench.end() == expected


def test_both_read_the_new_side_for_verify(verified):
    read = verified()
    assert sum(read.users.values()) == len(USERS) and set(read.users) == {ONE, OTHER}
    assert (read.without, read.again) == ({}, [])


def test_a_host_with_other_users_reads_nothing(lab, verified):
    line = f"altro:x:{topology.USERS[USERS[0]]}:100::/home/altro:/bin/sh"
    lab.run(OTHER, ["sh", "-c", f"echo '{line}' >> /etc/passwd"])
    try:
        read = verified()
    finally:
        lab.run(OTHER, ["sed", "-i", "/^altro:/d", "/etc/passwd"])
    assert read.users == {ONE: len(USERS)} and "other users" in read.without[OTHER]


def test_a_host_whose_dovecot_does_not_work_leaves_its_users_to_the_other(lab, verified):
    programs = ["/usr/bin/doveadm", "/usr/lib/dovecot/imap"]
    for program in programs:
        lab.run(OTHER, ["mount", "--bind", "/bin/false", program])
    try:
        read = verified()
    finally:
        lab.run(OTHER, ["umount", *programs])
    assert read.users == {ONE: len(USERS)} and set(read.without) == {OTHER} and read.again


def test_mail_that_a_worker_shows_otherwise_is_read_by_the_new_host(lab, verified):
    places = [f"/var/imap/{user}" for user in USERS]
    lab.run(
        OTHER,
        [
            "sh",
            "-ec",
            'for p; do mount -t tmpfs -o "uid=$(stat -c %u $p)" t $p; done',
            "hide",
            *places,
        ],
    )
    try:
        read = verified()
    finally:
        lab.run(OTHER, ["umount", *places])
    assert read.users == {ONE: len(USERS)} and not read.without and read.again
