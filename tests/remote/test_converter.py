"""The converter on its way to the mail host. Commands run on this machine instead of over ssh."""

import json
import os
import subprocess
import sys
import types

import local
from cutover.remote import converter, ship


class Host(local.Local):
    puts = 0

    def put(self, data, path, **more):
        self.puts += 1
        super().put(data, path, **more)


def run(folder, *arguments):
    return subprocess.run(
        [sys.executable, *converter.FLAGS, folder / converter.PROGRAM, *arguments],
        cwd="/",
        capture_output=True,
        text=True,
    )


def test_it_is_shipped_once_and_runs_there(tmp_path):
    host = Host()
    converter.install(host, str(tmp_path), sys.executable)
    converter.install(host, str(tmp_path), sys.executable)
    assert host.puts == 1 and os.listdir(tmp_path) == ["store"]
    plan = tmp_path / "plan.json"
    plan.write_text(json.dumps({"run": "r", "work": str(tmp_path), "users": []}))
    done = run(tmp_path, "state", "--plan", plan, "--json")
    assert (done.returncode, done.stderr) == (0, "") and json.loads(done.stdout)["users"] == []


def test_another_version_takes_its_place(tmp_path, monkeypatch):
    host = Host()
    converter.install(host, str(tmp_path), sys.executable)
    monkeypatch.setattr(ship, "MAIN", b"print('other')\n")
    converter.install(host, str(tmp_path), sys.executable)
    assert host.puts == 2 and run(tmp_path).stdout == "other\n"


def test_a_shipment_that_was_cut_short_is_made_again(tmp_path):
    for name in ("store", "store.new"):
        (tmp_path / name / "cutover").mkdir(parents=True)
    (tmp_path / "store.pyz").write_bytes(b"PK")
    converter.install(Host(), str(tmp_path), sys.executable)
    assert run(tmp_path, "--help").returncode == 0 and os.listdir(tmp_path) == ["store"]


class Site:
    """A plan of one user, and the hosts to ask about it. runs: the programs run for it."""

    def __init__(self, place):
        maildir = place / "imap" / "alice"
        (maildir / "cur").mkdir(parents=True)
        (maildir / "cur" / "1").write_text("Subject: x\n\n")
        old = {key: str(place / key) for key in ("home", "spool", "folders", "subscriptions")}
        own = {"user": "alice", "uid": os.getuid(), "gid": os.getgid(), "inbox": []}
        user = {**own, "maildir": str(maildir), **old}
        self.work = place / "work"
        self.plan = {"run": "r", "work": str(self.work), "jobs": 1, "host": "h", "users": [user]}
        self.site = types.SimpleNamespace(new_store=types.SimpleNamespace(python=sys.executable))
        self.host, self.runs = Host(), []

    def run(self, name, argv, **options):
        self.runs.append(argv)
        return self.host.run(argv, **options)

    def install(self, mode=0o711):
        (self.work / "r").mkdir(parents=True)
        self.work.chmod(mode)
        converter.install(self.host, str(self.work / "r"), sys.executable)


def test_its_state_is_read_from_memory_into_an_object(tmp_path):
    site = Site(tmp_path)
    state = converter.state(site, "new", site.plan)
    assert state.names(published=False) == ["alice"] and state.names(published=True) == []
    assert state.users["alice"].live == "other"
    assert state.users["alice"].staged == converter.Staged() and state.run == "r"
    assert not site.work.exists() and site.host.puts == 0


def test_where_it_is_installed_that_program_reads(tmp_path):
    site = Site(tmp_path)
    site.install()
    assert converter.state(site, "new", site.plan).names(published=False) == ["alice"]
    assert len(site.runs) == 1


def test_a_program_that_others_could_have_left_is_not_run(tmp_path):
    site = Site(tmp_path)
    site.install(mode=0o777)
    ran = tmp_path / "ran"
    (site.work / "r" / converter.PROGRAM).write_text(f"open({str(ran)!r}, 'w')")
    assert converter.state(site, "new", site.plan).names(published=False) == ["alice"]
    assert len(site.runs) == 2 and not ran.exists()
