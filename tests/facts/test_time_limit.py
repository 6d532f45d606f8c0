"""A time limit with sh alone: status, output, and that nothing is left behind."""

import subprocess
import time

import pytest
from cutover.facts import time_limit


def run(seconds, *argv):
    command = time_limit.limited(seconds, list(argv))
    return subprocess.run(command, capture_output=True, text=True, timeout=30)


@pytest.mark.parametrize("status", [0, 1, 75])
def test_a_command_in_time_is_as_without_a_limit(status):
    began = time.monotonic()
    done = run(20, "sh", "-c", f"echo out; echo err >&2; exit {status}")
    assert (done.returncode, done.stdout, done.stderr) == (status, "out\n", "err\n")
    assert time.monotonic() - began < 10


def test_a_late_command_ends_with_what_it_has_started(tmp_path):
    """Its pipes close: the call returns although a child of the command held them."""
    began = time.monotonic()
    script = f"echo begun; sleep 25 | cat; touch {tmp_path}/late"
    done = run(1, "sh", "-c", script)
    assert (done.returncode, done.stdout) == (time_limit.ENDED, "begun\n")
    assert time.monotonic() - began < 15 and not (tmp_path / "late").exists()


def test_a_missing_command_is_no_late_one():
    assert run(5, "no-such-command").returncode == 127
