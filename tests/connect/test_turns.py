"""Runs of several stores take turns at the userdb of an MX, whichever machine they run on.

The MX is this machine's shell and flock(1); a run is a process of its own.
"""

import os
import subprocess
import sys
import textwrap

import pytest
import store_sites
from cutover import site
from cutover.connect import hosts, ssh

HOLDER = """
    import sys
    import test_turns

    with test_turns.turn(*sys.argv[1:]) as turn:
        print("held", flush=True)
        for line in sys.stdin:
            turn.run(["sh", "-c", line])
"""


class Shell(ssh.Stream):
    """As ssh.Stream, of a process on this machine."""

    def __init__(self, argv):
        self._process = subprocess.Popen(
            argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )

    def readline(self):
        return self._process.stdout.readline()

    def write(self, data):
        try:
            self._process.stdin.write(data)
            self._process.stdin.flush()
        except (BrokenPipeError, ValueError):  # ended, or closed
            raise ssh.LinkLost(host="mx", reason="the command ended", command="") from None

    def finish(self):
        _, err = self._process.communicate()
        return ssh.Result("mx", ("lock",), self._process.returncode, b"", err, 0.0)

    def close(self):
        self._process.communicate()


class Mx(ssh.Connection):
    """As ssh.Connection, to this machine."""

    def __init__(self):
        self.host = "mx"

    def open(self, argv, *, sudo, timeout):
        return Shell(argv)

    def run(self, argv, *, sudo, input, timeout=60):
        subprocess.run(argv, input=input, check=True)


def turn(file, lock):
    """A turn at the userdb of an MX of a site."""
    hosts.LOCK = lock
    at = hosts.Hosts(site.load(file))
    at.ssh = lambda name: Mx()
    return at.alone("mx")


@pytest.fixture
def file(tmp_path):
    return store_sites.write(tmp_path / "site.yaml")


@pytest.fixture
def lock(tmp_path, monkeypatch):
    monkeypatch.setattr(hosts, "LOCK", None)
    return str(tmp_path / "lock of the userdb")


@pytest.fixture
def other(file, lock):
    """A run of another store at work on the userdb."""
    program = [sys.executable, "-c", textwrap.dedent(HOLDER), f"{file}:posta", lock]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    with subprocess.Popen(
        program, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
    ) as process:
        assert process.stdout.readline() == "held\n"
        yield process
        process.stdin.close()


def test_two_stores_are_not_at_the_userdb_at_once(file, lock, other, monkeypatch):
    with monkeypatch.context() as impatient:
        impatient.setattr(hosts, "PATIENCE", 0.2)
        with pytest.raises(hosts.StillBusy, match="mx: another store's run has held the lock"):
            turn(f"{file}:mailbox", lock).__enter__()
    other.stdin.close()
    with turn(f"{file}:mailbox", lock):
        pass
    assert other.wait() == 0


def test_each_mx_has_a_lock_of_its_own(file, lock, other):
    with turn(f"{file}:mailbox", f"{lock} elsewhere"):
        pass


def test_a_run_that_is_killed_keeps_nobody_waiting(file, lock, other):
    other.kill()
    with turn(f"{file}:mailbox", lock):
        pass


def test_what_a_killed_run_had_begun_ends_before_the_next_turn(file, lock, other, tmp_path):
    begun, ended = tmp_path / "begun", tmp_path / "ended"
    other.stdin.write(f"mkfifo {begun}; read line < {begun}; sleep 0.3; echo > {ended}\n")
    other.stdin.flush()
    while not begun.exists():
        pass
    with open(begun, "w"):  # the command is waiting for it
        other.kill()
    with turn(f"{file}:mailbox", lock):
        assert ended.exists()


def test_nothing_is_written_once_the_lock_ended(file, lock, tmp_path, monkeypatch):
    place = tmp_path / "userdb"
    with turn(f"{file}:mailbox", lock) as mine:
        mine.put(b"one\n", str(place))
    monkeypatch.setattr(ssh.locked, "HELD", 1)
    with turn(f"{file}:mailbox", lock) as mine:
        mine._shell._process.wait()
        with pytest.raises(ssh.LinkLost):
            mine.put(b"two\n", str(place))
    assert place.read_bytes() == b"one\n"


def test_a_command_has_the_lock_until_it_ends(file, lock, tmp_path):
    with turn(f"{file}:mailbox", lock) as mine:
        shell = mine._shell._process.pid
        with pytest.raises(ssh.LinkLost):
            mine.run(["sh", "-c", f"kill {shell}; sleep 0.6; echo > {tmp_path}/ended"])
        with turn(f"{file}:mailbox", lock):
            assert (tmp_path / "ended").exists()


def test_a_command_that_is_given_up_ends_the_turn(file, lock, monkeypatch):
    def late():
        raise ssh.TimedOut(host="mx", what="answer", seconds=60, command="", out=b"", err=b"")

    with turn(f"{file}:mailbox", lock) as mine:
        with monkeypatch.context() as patch, pytest.raises(ssh.TimedOut):
            patch.setattr(mine._shell, "readline", late)
            mine.run(["false"])
        with pytest.raises(ssh.LinkLost):
            mine.run(["true"])
        with turn(f"{file}:mailbox", lock):
            pass


def test_a_turn_writes_and_runs_as_the_connection_does(file, lock, tmp_path):
    place, text = tmp_path / "user db", bytes(range(256)) * 1000
    with turn(f"{file}:mailbox", lock) as mine:
        mine.put(text, str(place))
        mine.run(["sh", "-c", 'echo noise; cat > "$0.copy"', str(place)], input=text)
        mine.run(["rm", "-f", "a file!\nof two lines"])
        with pytest.raises(ssh.CommandFailed, match=r"status 3 from: .*: no \*  \\c room$"):
            mine.run(["sh", "-c", r"printf 'no *\n \\c room\n' >&2; exit 3"])
        assert mine.run(["false"], check=False).rc == 1
    assert place.read_bytes() == text == (tmp_path / "user db.copy").read_bytes()
    (left,) = tmp_path.glob("lock*")
    assert left.stat().st_mode & 0o777 == 0o600  # who may read it could lock it


def test_a_lock_that_cannot_be_made_is_an_error(file, tmp_path):
    with pytest.raises(ssh.CommandFailed, match="status .* from: lock"):
        turn(f"{file}:mailbox", str(tmp_path / "nowhere" / "lock")).__enter__()


def test_a_file_of_one_store_locks_nothing(lock, other):
    with turn("parameters/lab.yaml", lock) as mine:
        assert isinstance(mine, Mx)
