"""When presync goes slower, and what is said of it. The probe is a function here; in
tests/lab/test_convert.py it is a real login."""

import functools
import types

import pytest
from cutover.connect import imap, ssh
from cutover.remote import back_off
from mbx2maildir import pace


def speeds(overs, speed=1.0):
    listed = []
    for over in overs:
        speed = back_off.next_speed(speed, over)
        listed.append(round(speed, 3))
    return listed


def test_it_halves_and_rises_by_tenths_within_bounds():
    assert speeds([True, True, False, False]) == [0.5, 0.25, 0.35, 0.45]
    assert speeds([True] * 20)[-1] == back_off.SLOWEST
    assert speeds([False] * 20, back_off.SLOWEST)[-1] == 1.0


class Watched:
    """A watch with probes and a link that the test controls."""

    def __init__(self, monkeypatch, *answers):
        self.answers, self.written, self.events, self.broken = list(answers), [], [], False
        self.now = 1000.0
        monkeypatch.setattr(back_off, "latency", self.latency)
        monkeypatch.setattr(back_off, "time", self)
        link = types.SimpleNamespace(put=self.put)
        hosts = types.SimpleNamespace(ssh=lambda name: link)
        file = "new", back_off.control("/work", "r1")
        self.watch = back_off.Watch(hosts, 100, self.events.append, file)

    def time(self):
        return self.now

    monotonic = time

    def latency(self, hosts):
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    def put(self, data, path, **options):
        assert path == "/work/r1/presync.speed"
        if self.broken:
            raise ssh.LinkLost(host="new", command="x", reason="gone")
        self.written.append(float(data))

    def run(self):
        while self.answers:
            self.watch._once()
            self.now += 1
        return self.watch.probes


def test_a_slow_answer_and_a_failing_probe_slow_it_down(monkeypatch):
    refused = imap.NoImap(server="old", reason="refused")
    watched = Watched(monkeypatch, 20, 101, refused, OSError("gone"), 100)
    probes = watched.run()
    assert [probe.speed for probe in probes] == [1.0, 0.5, 0.25, 0.125, 0.225]
    assert watched.written == [1.0, 0.5, 0.25, 0.125, 0.225]
    assert probes[2].failed.startswith("NoImap") and probes[3].failed == "OSError: gone"
    assert watched.events == [{"event": "latency", **probe._asdict()} for probe in probes]


def test_the_speed_is_written_again_before_it_counts_as_old(monkeypatch):
    watched = Watched(monkeypatch, *[20] * 12)
    watched.run()
    assert len(watched.written) == 3  # every 5 s of 12


def test_what_could_not_be_written_is_written_next_time(monkeypatch):
    watched = Watched(monkeypatch, 20, 200)
    watched.broken = True
    watched.run()
    watched.broken, watched.answers = False, [200]
    watched.run()
    assert watched.written == [0.25]


def probe(at, ms, speed=1.0, failed=""):
    return back_off.Probe(at, ms, speed, 100, failed)


@pytest.mark.parametrize(
    "probes, figures",
    [
        (
            [probe(0, 10), probe(1, 200, 0.5), probe(3, 20, 0.6), probe(4, 30), probe(5, 40)],
            (5, 0, 30, 40, 200, 3),
        ),
        ([probe(0, 10), probe(1, 5000, 0.5, "lost")], (2, 1, 10, 10, 10, 0)),
        ([probe(0, 5000, 0.5, "lost")], (1, 1, None, None, None, 0)),
        ([], (0, 0, None, None, None, 0)),
    ],
)
def test_the_figures_and_their_words(probes, figures):
    names = ("probes", "failed", "median_ms", "p95_ms", "max_ms", "slowed_seconds")
    summary = back_off.summary(probes)
    assert summary == dict(zip(names, figures, strict=True))
    assert back_off.words(summary)


@pytest.mark.parametrize(
    "speed, rate, asleep", [(1.0, 0, 0), (0.5, 0, 4), (1.0, 500, 16), (0.5, 500, 36)]
)
def test_what_is_read_here_goes_no_faster_than_the_converter(monkeypatch, speed, rate, asleep):
    """Four messages of 2,500 bytes; each takes a second."""
    clock = types.SimpleNamespace(now=0.0, slept=0.0)

    def sleep(seconds):
        clock.now, clock.slept = clock.now + seconds, clock.slept + seconds

    governor = functools.partial(pace.Pace, clock=lambda: clock.now, sleep=sleep)
    monkeypatch.setattr(pace, "Pace", governor)

    def read():
        for number in range(4):
            clock.now += 1
            yield types.SimpleNamespace(uid=number, size=2500)

    watch = types.SimpleNamespace(speed=speed)
    uids = [message.uid for message in back_off.governed(read(), watch, rate)]
    assert uids == [0, 1, 2, 3]
    assert round(clock.slept, 6) == asleep
