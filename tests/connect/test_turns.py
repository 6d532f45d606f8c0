"""Runs of several stores take turns at what they share."""

import subprocess
import sys
import textwrap

import pytest
import store_sites
from cutover import site
from cutover.connect import hosts

HOLDER = """
    import sys
    from cutover import site
    from cutover.connect import hosts

    with hosts.Hosts(site.load(sys.argv[1])).alone():
        print("held", flush=True)
        sys.stdin.read()
"""


@pytest.fixture
def file(tmp_path):
    known = tmp_path / "known_hosts"
    known.write_text("")
    path = tmp_path / "site.yaml"
    ssh = {"user": "operator", "key": "/key", "known_hosts": str(known)}
    return store_sites.write(path, ssh=ssh)


@pytest.fixture
def other(file):
    """A run of another store at work on the userdb."""
    program = [sys.executable, "-c", textwrap.dedent(HOLDER), f"{file}:posta"]
    with subprocess.Popen(
        program, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout.readline() == "held\n"
        yield process
        process.stdin.close()


def test_two_stores_are_not_at_the_userdb_at_once(file, other, monkeypatch):
    monkeypatch.setattr(hosts, "PATIENCE", 0.2)
    mine = hosts.Hosts(site.load(file, "mailbox"))
    with pytest.raises(hosts.StillBusy, match="known_hosts"), mine.alone():
        pass
    other.stdin.close()
    other.wait()
    monkeypatch.undo()
    with mine.alone():
        pass


def test_a_run_that_is_killed_keeps_nobody_waiting(file, other):
    other.kill()
    with hosts.Hosts(site.load(file, "mailbox")).alone():
        pass


def test_a_file_of_one_store_locks_nothing(file, other):
    plain = site.load("parameters/lab.yaml")
    known = site.load(file, "posta").ssh
    alone = plain.model_copy(update={"ssh": known})
    with hosts.Hosts(alone).alone():
        pass
