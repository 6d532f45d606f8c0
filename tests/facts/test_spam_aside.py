"""What lies set aside and for how long, by a host's own find and awk, run here."""

import subprocess

import pytest
from cutover.connect import ssh
from cutover.facts import spam_folders


class Here:
    """Commands run on this machine, some days later than now."""

    def __init__(self, days):
        self.later = f'date -d "{days} days" +%s'

    def run(self, name, argv, **_):
        done = subprocess.run(
            [each.replace("date +%s", self.later) for each in argv], capture_output=True, check=True
        )
        assert not done.stderr
        return ssh.Result(name, tuple(argv), 0, done.stdout, b"", 0.0)


@pytest.fixture
def top(tmp_path):
    for run, user, count in (("r 1", "alice", 3), ("r 1", "bruno", 1), ("r2", "alice", 2)):
        folder = tmp_path / run / user / ".SPAM/cur"
        folder.mkdir(parents=True)
        for number in range(count):
            (folder / f"{number},S=1").write_text("x")
    (tmp_path / "r2/alice.deleted").write_text("a note\n")
    return str(tmp_path)


@pytest.mark.parametrize("days", [0, 40])
def test_each_users_messages_and_the_age_of_the_latest(top, days):
    assert spam_folders.kept(Here(days), "h", top) == {
        "r 1": spam_folders.Kept({"alice": 3, "bruno": 1}, days),
        "r2": spam_folders.Kept({"alice": 2}, days),
    }
    assert spam_folders.kept(Here(days), "h", top, "r2/alice") == {
        "r2": spam_folders.Kept({"alice": 2}, days)
    }
    assert (
        spam_folders.kept(Here(days), "h", top, "r2/zoe")
        == {}
        == spam_folders.kept(Here(days), "h", top + "/none")
    )


def test_the_clock_of_a_host_that_was_set_back_makes_no_age(top):
    assert {kept.days for kept in spam_folders.kept(Here(-3), "h", top).values()} == {0}
