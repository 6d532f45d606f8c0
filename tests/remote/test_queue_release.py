"""A host that flushes its queues by itself, with a stand-in for sendmail in its PATH."""

import os
import subprocess
import time

import pytest
from cutover.remote import queue_release

# As sendmail's, a pass is in the background but for -qf. It counts the passes that run at a time; a
# message leaves the queue with each.
SENDMAIL = """#!/bin/sh
cd "$PLACE"
case $* in
    -bp) ls queue | sed 's/$/ 2 Tue Nov 24 04:19 <a@x.test>/'; exit ;;
    "-Ac -bp") exit ;;
esac
echo "$*" >> passes
case $1 in -q) sendmail -qf & exit 0 ;; -qf) ;; *) exit 0 ;; esac
: > running.$$; ls running.* | wc -l >> together; [ -e stuck ] || sleep 1.5; rm running.$$
[ -e stuck ] || { first=$(ls queue | head -n 1); rm -f "queue/$first"; }
"""
# a clock that is set forward all the time
DATE = """#!/bin/sh
cd "$PLACE"; echo >> dates; echo $(( $(wc -l < dates) * 3600 ))
"""


class Host:
    """This machine, with the stand-ins."""

    def __init__(self, place, messages):
        self.place = place
        (place / "queue").mkdir()
        for number in range(messages):
            (place / "queue" / f"6AO4JuTu0033{number:02}").touch()
        for name, text in (("sendmail", SENDMAIL), ("date", DATE)):
            (place / name).write_text(text)
            (place / name).chmod(0o755)

    def run(self, host, argv, sudo):
        path = f"{self.place}:{os.environ['PATH']}"
        environment = {**os.environ, "PATH": path, "PLACE": str(self.place)}
        subprocess.run(argv, env=environment, check=True, timeout=60)

    def lines(self, name):
        path = self.place / name
        return path.read_text().split("\n")[:-1] if path.exists() else []

    def busy(self):
        """Whether it still flushes."""
        lock = ["flock", "-n", str(self.place / "lock"), "true"]
        return subprocess.run(lock).returncode != 0


@pytest.fixture
def release(tmp_path, monkeypatch):
    monkeypatch.setattr(queue_release, "LOCK", str(tmp_path / "lock"))

    def begin(messages, seconds, stuck=False):
        host = Host(tmp_path, messages)
        if stuck:
            (tmp_path / "stuck").touch()
        queue_release.release(host, "mx", seconds)
        return host

    return begin


def wait(question, seconds):
    until = time.monotonic() + seconds
    while not (answer := question()) and time.monotonic() < until:
        time.sleep(0.05)
    return answer


def test_two_passes_at_a_time_however_often_it_is_asked_and_none_once_the_queue_is_empty(release):
    host = release(4, 60)
    for _ in range(5):
        queue_release.release(host, "mx", 60)
        time.sleep(0.1)
    assert wait(lambda: not host.busy(), 30) and not os.listdir(host.place / "queue")
    assert max(int(count) for count in host.lines("together")) == 2
    assert set(host.lines("passes")) == {"-qf", "-Ac -qf"}


def test_it_ends_once_nobody_asks_any_more_and_somebody_who_asks_ends_a_pause(release):
    host = release(1, 12, stuck=True)

    def passes():
        return host.lines("passes").count("-qf")

    assert wait(lambda: passes() >= 6, 20)  # the pauses are 1, 2, then 4 s
    count = passes()
    queue_release.release(host, "mx", 4)
    assert wait(lambda: passes() > count, 3)
    assert wait(lambda: not host.busy(), 20)
