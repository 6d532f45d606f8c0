"""The archive for mail hosts: the same bytes from the same sources, run by the host's own
Python."""

import json
import subprocess
import sys

import pytest
from cutover.remote import ship
from mbx2maildir.tests import build


@pytest.fixture
def plan_path(site):
    site.user("alice", build.simple(3), {"work": build.simple(2)[:-4]})
    path = site.root / "plan.json"
    path.write_text(json.dumps(site.plan()))
    return path


def test_zipapp_is_deterministic_and_runs_alone(plan_path, tmp_path):
    first, second = ship.build(tmp_path / "one.pyz"), ship.build(tmp_path / "two.pyz")
    assert first.read_bytes() == second.read_bytes()
    done = subprocess.run(
        [sys.executable, "-I", "-S", str(first), "convert-users", "--plan", str(plan_path)],
        capture_output=True,
        cwd="/",
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout.splitlines()[-1])["ok"]


@pytest.mark.lab
def test_zipapp_runs_with_the_mail_hosts_own_python(old_user):
    home = old_user.home
    (home / "INBOX").write_bytes(build.simple(2))
    (home / "INBOX").chmod(0o600)
    ship.build(old_user.host.root / "tmp/store.pyz")
    done = subprocess.run(
        [
            "chroot",
            str(old_user.host.root),
            "/usr/bin/python3",
            "-I",
            "/tmp/store.pyz",
            "convert",
            "--inbox",
            f"/home/{old_user.name}/INBOX",
            "--folders",
            f"/home/{old_user.name}/mail",
            "--maildir",
            f"/var/imap/{old_user.name}",
            "--json",
        ],
        capture_output=True,
    )
    assert done.returncode == 1, "root's INBOX is not the user's to read"
    subprocess.run(["chown", str(old_user.uid), str(home / "INBOX")], check=True)
    done = subprocess.run(done.args, capture_output=True)
    assert done.returncode == 0, (done.stdout, done.stderr)
    assert json.loads(done.stdout)["totals"]["messages"] == 2
    assert {path.stat().st_uid for path in old_user.maildir.rglob("*")} == {old_user.uid}
