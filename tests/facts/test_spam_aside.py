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
            [word.replace("date +%s", self.later) for word in argv], capture_output=True, check=True
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


class Doveadm:
    """A host whose doveadm ends with a status; `settings` are the words of its last call."""

    def __init__(self, rc, version="2.3.19.1", out=b""):
        self.rc, self.version, self.out, self.argv = rc, version, out, None

    def run(self, name, argv, **_):
        self.argv = argv
        if argv[0] == "dovecot":
            return ssh.Result(name, argv, 0, self.version.encode(), b"", 0)
        return ssh.Result(name, argv, self.rc, self.out, b"refused", 0)


def test_a_folder_that_does_not_exist_is_not_a_refusal():
    assert spam_folders.uidvalidity(Doveadm(68), "h", "alice", "SPAM") is None
    assert spam_folders.uidvalidity(Doveadm(0, out=b"uidvalidity\n7\n"), "h", "a", "SPAM") == 7
    for ask in (spam_folders.uidvalidity, lambda *about: spam_folders.among(*about, "1:2")):
        with pytest.raises(ssh.CommandFailed, match="refused"):
            ask(Doveadm(75), "h", "alice", "SPAM")


@pytest.mark.parametrize(
    "version, option",
    [
        ("2.3.19.1 (9b53102964)", "namespace/aside/location=maildir:/aside"),
        ("2.4.1-4 (7d8c0e5759)", "namespace/aside/mail_path=/aside"),
    ],
)
def test_the_namespace_is_one_more_whatever_the_version(version, option):
    words = spam_folders.doveadm(Doveadm(0, version), "h", "/aside")
    assert option in words and "namespace/aside/prefix=aside/" in words
    assert ("namespace+=aside" in words) == version.startswith("2.4")
