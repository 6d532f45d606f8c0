"""The conversion on the mail host outlives its link, this side and its own host.

Each time the same end state.
"""

import dataclasses
import json
import subprocess
import sys
import threading
import time

import pytest
from cutover import model, site
from cutover.changes import conversion
from cutover.connect.hosts import Hosts
from cutover.facts import users
from cutover.remote import converter, detached
from lab import network, system

pytestmark = pytest.mark.lab
NEW, OLD = "mailboxvm", "mailboxold"
LAB = site.PROJECT / "parameters/lab.yaml"

# everything of the published trees but the marker, which holds the run's name; times only of
# messages
DIGEST = r"""cd /var/imap && find . -path ./.cutover -prune -o -type f -path '*/[cn][ue][rw]/*' -printf '%p %m %U %T@\n' |
sort | sha256sum; find . -path ./.cutover -prune -o -type f ! -name cutover.json -print0 | sort -z |
xargs -0 -r sha256sum | sha256sum"""

APPLY = """
import json, sys
from cutover import model, site
from cutover.changes import conversion
from cutover.connect.hosts import Hosts
with Hosts(site.load(sys.argv[1])) as hosts:
    change = model.change_from_json(json.load(sys.stdin))
    change.apply(model.Context(hosts), lambda event: print(json.dumps(event), flush=True))
"""


class Bench:
    """One conversion of the lab's users under a run's name of its own."""

    def __init__(self, lab, hosts, name):
        self.lab, self.hosts, self.site = lab, hosts, hosts.site
        plan = converter.plan(self.site, name, users.read(hosts, NEW), self.site.new_store.jobs)
        self.change = conversion.Convert(
            NEW,
            name,
            plan["work"],
            plan["jobs"],
            plan["users"],
            conversion.salvaged(self.site, plan["users"]),
        )
        self.unit = f"cutover-{name}-convert-users"
        self.events = []

    def apply(self, at_start=None):
        """Apply the change; at_start() is called with the first event of its work."""

        def report(event):
            self.events.append(event)
            if (
                event["event"] == "start"
                and at_start
                and sum(other["event"] == "start" for other in self.events) == 1
            ):
                at_start()

        return self.change.apply(model.Context(self.hosts), report)

    def freeze(self):
        self.lab.run(NEW, ["systemctl", "kill", "--signal=STOP", self.unit], check=False)

    def thaw(self):
        self.lab.run(NEW, ["systemctl", "kill", "--signal=CONT", self.unit], check=False)

    def digest(self):
        return self.lab.run(NEW, ["sh", "-c", DIGEST], timeout=120).stdout

    def end(self):
        """The digest of what was published; then the earlier trees come back."""
        assert self.change.settled(model.Context(self.hosts)).done
        digest = self.digest()
        self.change.inverse().apply(model.Context(self.hosts), lambda event: None)
        return digest


@pytest.fixture(scope="module")
def hosts(lab):
    with Hosts(site.load(LAB)) as opened:
        yield opened


@pytest.fixture(scope="module")
def expected(lab, hosts):
    """The end state when nothing goes wrong."""
    bench = Bench(lab, hosts, "whole")
    bench.apply()
    return bench.end()


@pytest.fixture
def bench(lab, hosts, expected, request, monkeypatch):
    monkeypatch.setattr(detached, "IDLE", 3)
    monkeypatch.setattr(detached, "BEAT", 0.5)
    monkeypatch.setattr(detached, "PAUSE", 0.5)
    return Bench(lab, hosts, request.node.name.replace("_", "-"))


def test_a_link_cut_for_some_seconds(bench, expected):
    def cut():
        bench.freeze()
        system.call("ip", "link", "set", network.link(NEW), "down")
        threading.Timer(6, restore).start()

    def restore():
        system.call("ip", "link", "set", network.link(NEW), "up")
        bench.thaw()

    bench.apply(cut)
    starts = [event for event in bench.events if event["event"] == "start"]
    assert len(starts) == len({event["time"] for event in starts}), "an event was told twice"
    assert bench.end() == expected


def test_this_side_killed_and_run_again(bench, expected):
    child = subprocess.Popen(
        [sys.executable, "-c", APPLY, str(LAB)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    child.stdin.write(json.dumps(bench.change.to_json()).encode())
    child.stdin.close()
    first = json.loads(child.stdout.readline())
    bench.freeze()
    child.kill()
    child.wait()
    threading.Timer(2, bench.thaw).start()
    bench.apply()
    starts = [event["time"] for event in bench.events if event["event"] == "start"]
    assert first["time"] in starts, "a second conversion was started instead of following the first"
    assert bench.end() == expected


def test_a_reboot_of_the_mail_host_in_mid_convert(bench, expected):
    def pull_the_plug():
        bench.freeze()
        threading.Thread(target=bench.lab.reboot, args=(NEW,), kwargs={"hard": True}).start()
        time.sleep(1)

    with pytest.raises(detached.Interrupted):
        bench.apply(pull_the_plug)
    bench.apply()
    assert bench.end() == expected


def test_a_full_disk_in_staging(bench, expected):
    bench.lab.run(NEW, ["mount", "-t", "tmpfs", "-o", "size=3m,mode=0755", "tmpfs", "/var/imap"])
    try:
        with pytest.raises(model.ChangeFailed, match="No space left"):
            bench.apply()
        bench.lab.run(NEW, ["mount", "-o", "remount,size=1g", "/var/imap"])
        bench.apply()
        assert bench.end() == expected
    finally:
        bench.lab.run(NEW, ["umount", "/var/imap"])


PROBED = "find ~sonda /var/mail/sonda -printf '%p %s %T@ %m %u\\n' | sort"


def test_a_presync_that_backs_off_is_killed_and_resumes_at_its_rate(lab, hosts):
    def apply(report, **pace):
        pace = {**hosts.site.presync.model_dump(), "max_mb_per_second": 10, **pace}
        paced = dataclasses.replace(change, pace=pace)
        return paced.apply(model.Context(hosts), report).figures

    plan = converter.plan(hosts.site, "paced", users.read(hosts, NEW), hosts.site.new_store.jobs)
    change = conversion.Presync(NEW, "paced", plan["work"], plan["jobs"], plan["users"])
    before = lab.run(OLD, ["sh", "-c", PROBED]).stdout
    probes = []

    def kill_once_slow(event):
        if event["event"] == "latency":
            probes.append(event)
            if event["speed"] < 0.1:
                unit = converter.unit("paced", "presync")
                lab.run(NEW, ["systemctl", "kill", "--signal=KILL", unit], check=False)

    lab.run(NEW, ["rm", "-rf", plan["work"]])
    with pytest.raises(detached.Interrupted):
        apply(kill_once_slow, back_off_ms=0.001)
    assert [probe["speed"] for probe in probes[:4]] == [0.5, 0.25, 0.125, 0.062]
    assert not any(probe["failed"] for probe in probes) and lab.run(
        NEW, ["stat", "-c", "%a %U", f"{plan['work']}/paced/presync.speed"]
    ).stdout.split() == ["600", "root"]

    events = []
    apply(events.append)
    assert {event["nice"] for event in events if event["event"] == "pace"} == {0}
    written = max(event["bytes"] for event in events if event["event"] == "progress")
    (seconds, *_) = (event["seconds"] for event in events if event["event"] == "end")
    assert written > 20e6 and written / seconds < 10.5e6

    figures = apply(lambda event: None, back_off_ms=60_000)
    assert figures["written"] == 0 and figures["staged"] == len(plan["users"])
    assert figures["latency"]["probes"] and not figures["latency"]["failed"]
    assert figures["latency"]["slowed_seconds"] == 0 < figures["latency"]["median_ms"]
    assert lab.run(OLD, ["sh", "-c", PROBED]).stdout == before
