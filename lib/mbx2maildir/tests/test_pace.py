"""How fast presync goes: the shares of a rate, the speed, and who says so."""

import os
import subprocess
import sys

import pytest

from mbx2maildir import batch, events, pace, plan_file
from mbx2maildir.tests import build

MIB = 1 << 20


class Clock:
    """Time that passes only when somebody works or sleeps."""

    def __init__(self):
        self.now, self.slept = 100.0, []

    def __call__(self):
        return self.now

    def sleep(self, seconds):
        assert seconds <= pace.SLICE
        self.slept.append(seconds)
        self.now += seconds


def worker(clock, speed=1.0, rate=0.0):
    paced = pace.Pace(lambda: (speed, rate), clock, clock.sleep)
    paced.begin()
    return paced


def work(paced, clock, pieces, size=0, seconds=0.0):
    """Seconds that so many pieces take."""
    began = clock.now
    for _ in range(pieces):
        clock.now += seconds
        paced.pay(size, lambda: None)
    return clock.now - began


@pytest.mark.parametrize(
    "speed, rate, size, seconds, taken",
    [
        (1.0, 0.0, MIB, 0.01, 1.0),  # neither: as fast as it can
        (1.0, MIB, MIB, 0.01, 100.0),  # a MiB per second
        (1.0, MIB, 1000, 0.01, 1.0),  # slower than that anyway
        (0.5, 0.0, MIB, 0.01, 2.0),  # half of the time
        (0.5, MIB, MIB, 0.01, 200.0),  # half of the rate
        (1.0, MIB, 1024, 0.0001, 100 / 1024),  # small messages count together
    ],
)
def test_work_takes_as_long_as_its_share_allows(speed, rate, size, seconds, taken):
    clock = Clock()
    paced = worker(clock, speed, rate)
    assert work(paced, clock, 100, size, seconds) == pytest.approx(taken, abs=pace.PIECE / MIB)
    assert paced.asleep == pytest.approx(sum(clock.slept))
    paced.settle(lambda: None)
    assert clock.now - 100 == pytest.approx(taken)


def test_a_sleeper_gives_signs_of_life_and_hears_that_it_may_go_faster():
    clock, alive = Clock(), []
    paced = pace.Pace(lambda: (1.0 if len(alive) >= 3 else 0.01, MIB), clock, clock.sleep)
    paced.pay(5 * MIB, lambda: alive.append(clock.now))
    assert clock.now - 100 == pytest.approx(5.0) and len(alive) == 5


def test_waiting_for_a_task_is_no_work():
    clock = Clock()
    paced = worker(clock, speed=0.5)
    clock.now += 60
    paced.begin()
    assert work(paced, clock, 10, seconds=0.1) == pytest.approx(2.0)


@pytest.fixture
def govern(tmp_path):
    made = []

    def make(clock=None, control=None, rate=None):
        settings = {"control": control and str(control), "bytes_per_second": rate}
        made.append(pace.Governor(settings, clock or Clock()))
        return made[-1]

    yield make
    for governor in made:
        governor.close()


def test_those_who_work_share_the_rate(govern):
    governor = govern(rate=12.0)
    for busy, share in ((0, 12.0), (1, 12.0), (3, 4.0)):
        governor.tell(busy)
        assert governor.share() == (1.0, share)


@pytest.mark.parametrize(
    "text, speed",
    [
        (None, pace.SLOWEST),
        (b"0.700\n", 0.7),
        (b"", pace.SLOWEST),
        (b"nan", pace.SLOWEST),
        (b"-1", pace.SLOWEST),
        (b"7", 1.0),
        (b"fast", pace.SLOWEST),
    ],
)
def test_the_speed_is_what_the_file_says(govern, tmp_path, text, speed):
    control = tmp_path / "speed"
    if text is not None:
        control.write_bytes(text)
    governor = govern(control=control)
    assert governor.share()[0] == speed


def test_without_news_it_goes_slowest(govern, tmp_path):
    clock, control = Clock(), tmp_path / "speed"
    control.write_text("1.000")
    governor = govern(clock, control)
    assert governor.speed() == 1.0
    clock.now += pace.STALE + 1
    assert governor.speed() == pace.SLOWEST
    os.utime(control, ns=(1, 1))
    assert governor.speed() == pace.SLOWEST  # it looks now and then
    clock.now += pace.LOOK_SECONDS
    assert governor.speed() == 1.0


def test_a_worker_cannot_change_its_share(govern):
    governor = govern()
    with pytest.raises(OSError):
        os.pwrite(governor.kept[0], b"\0" * 16, 0)
    if os.geteuid() == 0:
        again = "os.open('/proc/self/fd/{}', os.O_RDWR)".format(governor.kept[0])
        code = "import os; os.setgid(65534); os.setuid(65534); " + again
        done = subprocess.run(
            [sys.executable, "-c", code], pass_fds=governor.kept, capture_output=True, text=True
        )
        assert "PermissionError" in done.stderr


@pytest.mark.parametrize("path, refused", [(os.defpath, {}), ("/nowhere", {"io_class"})])
def test_a_priority_that_cannot_be_set_is_reported(path, refused):
    code = (
        "import os; from mbx2maildir import pace; before = os.nice(0); "
        "print(sorted(pace.lower({'nice': 3, 'io_class': 'idle'})), os.nice(0) - before); "
        "os.execvp('/usr/bin/ionice', ['ionice'])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PATH": path},
        capture_output=True,
        text=True,
    )
    outcome, io_class = done.stdout.splitlines()
    assert outcome == f"{sorted(refused)} 3"
    assert io_class.startswith("idle") != bool(refused)


def converted(plan):
    collected = events.Collected()
    batch.convert(plan_file.check(plan), collected)
    return {event["event"]: event for event in collected.all}


def test_presync_is_paced_and_the_conversion_is_not(site):
    site.user("alice", build.simple(2), {"a": build.mbx(build.message(b"x" * 200_000, 1))})
    plan = site.plan(pace={"nice": 0, "io_class": "none", "bytes_per_second": 4e5})
    first = converted(dict(plan, presync=True))
    assert first["pace"]["refused"] == {} and first["pace"]["bytes_per_second"] == 4e5
    assert first["end"]["ok"] and first["end"]["seconds"] > 0.5
    assert 0 < first["end"]["asleep"] < first["end"]["seconds"]
    again = converted(dict(site.plan("r2"), pace=plan["pace"]))
    assert again["end"]["ok"] and "pace" not in again and "asleep" not in again["end"]
