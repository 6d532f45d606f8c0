"""Programs on a host run isolated, from directories that only their account can write."""

import contextlib
import os
import subprocess
import types

import pytest
from cutover import model
from cutover.connect import ssh
from cutover.facts import backup_copy, programs
from cutover.remote import converter, detached, lease_file, own_directories

PYTHON = "/usr/bin/python3"


class Recorded:
    """Hosts on which every command fails; `argvs` are those that were given."""

    def __init__(self):
        self.argvs = []
        store = types.SimpleNamespace(python=PYTHON, work="/work", maildir="", imapd="")
        self.site = types.SimpleNamespace(
            new_store=store, roles=types.SimpleNamespace(new="new", backup="backup")
        )

    def ssh(self, host):
        return self

    def run(self, *arguments, **options):
        self.argvs.append(arguments[-1])
        return ssh.Result("new", arguments[-1], 1, b"", b"", 0.0)

    def stream(self, argv, **options):
        self.argvs.append(argv)

    def put(self, *arguments, **options):
        pass


@pytest.mark.parametrize(
    "action",
    [
        lambda hosts: programs.python_version(hosts, "new"),
        lambda hosts: backup_copy.python(hosts),
        lambda hosts: converter.read(hosts, "new", {"run": "r", "work": "/work"}, "state"),
        lambda hosts: converter.run(
            hosts, "new", {"run": "r", "work": "/work"}, "state", lambda event: None
        ),
        lambda hosts: lease_file.ask(hosts, "new", "/lease", "read"),
        lambda hosts: detached._follow(hosts, "new", "/base", lambda event: None),
    ],
)
def test_python_on_a_host_is_isolated(action):
    hosts = Recorded()
    with contextlib.suppress(model.ChangeFailed, lease_file.LeaseUnusable):
        action(hosts)
    started = [
        argv[place + 1]
        for argv in hosts.argvs
        for place, word in enumerate(argv)
        if word == PYTHON and argv[place + 1 :]
    ]
    assert started and set(started) == {"-I"}


def directories(*paths):
    argv = own_directories.command("0711", *map(str, paths))
    return subprocess.run(argv, capture_output=True, text=True)


def test_the_program_lies_where_only_its_account_can_write(tmp_path):
    work, run = tmp_path / "work", tmp_path / "work" / "r1"
    work.mkdir(mode=0o777)
    work.chmod(0o777)
    for _ in range(2):
        assert directories(work, run).returncode == 0
        assert [path.stat().st_mode & 0o7777 for path in (work, run)] == [0o711, 0o711]


def test_a_link_for_a_work_directory_is_refused(tmp_path):
    elsewhere, work = tmp_path / "elsewhere", tmp_path / "work"
    elsewhere.mkdir(mode=0o755)
    work.symlink_to(elsewhere)
    done = directories(work, work / "r1")
    assert done.returncode == 77 and str(work) in done.stderr
    assert os.listdir(elsewhere) == [] and elsewhere.stat().st_mode & 0o777 == 0o755


@pytest.mark.skipif(os.getuid() != 0, reason="needs root to give a directory away")
@pytest.mark.parametrize("how", ["owner", "mode", "link"])
def test_a_work_directory_below_one_that_a_user_can_change_is_refused(tmp_path, how):
    above, place = tmp_path / "above", tmp_path / "above" / "work"
    above.mkdir()
    if how == "owner":
        os.chown(above, 12345, 12345)
    elif how == "mode":
        above.chmod(0o777)
    else:
        (tmp_path / "theirs").mkdir()
        os.chown(tmp_path / "theirs", 12345, 12345)
        above.rmdir()
        above.symlink_to(tmp_path / "theirs")
    done = directories(place, place / "r1")
    assert done.returncode == 77 and os.listdir(above) == []


@pytest.mark.skipif(os.getuid() != 0, reason="needs root to give a directory away")
def test_a_work_directory_of_another_account_is_refused(tmp_path):
    work = tmp_path / "work"
    work.mkdir(mode=0o700)
    os.chown(work, 12345, 12345)
    done = directories(work, work / "r1")
    assert done.returncode == 77 and os.listdir(work) == []
