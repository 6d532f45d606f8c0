"""Mail comes back from the copy: a user, a folder, a message; and goes again by the rollback."""

import json
import re

import pytest
from cutover.hosts import copies, imap
from cutover.lab import hosts as lab_hosts
from cutover.lab import keys
from cutover.run import engine, folder
from night import Night, program

pytestmark = pytest.mark.lab


def reading(user):
    password = (keys.SECRETS / user).read_text()
    return imap.login(lab_hosts.HOSTS["mailboxvm"].address, 993, "mailboxvm.lab.test", keys.CA, user, password, 20)


def mailbox(user) -> dict:
    """`{folder: imap.Folder}` with digests, of everything a user has."""
    with reading(user) as session:
        return {name: session.read(name, "content") for name, _, selectable in session.folders() if selectable}


def texts(found) -> dict:
    """What of a mailbox a restore has to bring back, UIDs left out."""
    return {name: sorted((each.digest, each.internaldate, tuple(sorted(each.flags))) for each in folder.messages)
            for name, folder in found.items()}


@pytest.fixture(scope="module")
def night(lab, tmp_path_factory):
    made = Night(tmp_path_factory.mktemp("restore"))
    made.up_to("backup")
    return made


class Restore:
    """A run that restores; `go` makes one attempt, `back` rolls it back."""

    def __init__(self, night, place):
        self.site, self.path = night.site, place / f"run-{place.name}"

    @property
    def run(self):
        return folder.begin(self.site, self.path)

    def go(self, step="restore", spoil=None, **chosen):
        driver = engine.Engine(self.site, step, "execute", self.run, chosen=chosen)
        try:
            driver.probe()
            driver.plan()
            driver.approve()
            if spoil:
                spoil()
            done = driver.apply()
            checks = driver.verify()
            driver.require(checks)
            return [text for _, text in done], checks
        finally:
            driver.close()


@pytest.fixture
def asked(night, tmp_path):
    return Restore(night, tmp_path)


def test_a_user_who_deleted_much_gets_it_back_and_keeps_what_came_since(lab, asked):
    before = mailbox("carla")
    with reading("carla") as session:
        inbox = session.all("INBOX")
        session.delete("INBOX", inbox[1:8])
        session.append("INBOX", b"Subject: since\r\n\r\nsince\r\n", ["\\Flagged"])
        session.client.delete_folder("etichette")
        # a flag that was changed since is the user's own, and is not put back
        session.select("SPAM")
        session.store(session.all("SPAM")[:1] if session.select("SPAM").exists else [], ["\\Flagged"], True)
    between = mailbox("carla")
    asked.go(user="carla")
    after = mailbox("carla")
    for name, now in between.items():
        kept = {each.uid: each for each in after[name].messages}
        assert all(kept[each.uid] == each for each in now.messages), name
        assert after[name].uidvalidity == now.uidvalidity
    added = [each for each in after["INBOX"].messages if each.uid >= between["INBOX"].uidnext]
    lost = [each for each in before["INBOX"].messages if each.uid in inbox[1:8]]
    assert [(each.digest, each.flags, each.internaldate) for each in added] == [
        (each.digest, each.flags, each.internaldate) for each in lost]
    assert texts(after)["etichette"] == texts(before)["etichette"]
    with reading("carla") as session:
        assert "etichette" in session.subscribed()
    # once more there is nothing to do
    driver = engine.Engine(asked.site, "restore", "plan", asked.run, chosen={"user": "carla"})
    driver.probe()
    assert "has every message" in driver.plan().reason
    driver.close()
    # and back: what was added goes, what the user has stays
    asked.go("rollback")
    undone = texts(mailbox("carla"))
    assert undone["INBOX"] == texts(between)["INBOX"] and undone["etichette"] == []


def test_one_folder_or_one_message_brings_nothing_else(asked, night, tmp_path_factory):
    with reading("paolo") as session:
        lost = session.headers("lavori", "Message-ID")
        uids = sorted(lost)[:4]
        session.delete("lavori", uids)
        session.delete("INBOX", session.all("INBOX")[:2])
    before = mailbox("paolo")
    told, _ = asked.go(user="paolo", folder="lavori", message=lost[uids[2]])
    assert told[-1] == "added: lavori 1"
    other = Restore(night, tmp_path_factory.mktemp("folder"))
    told, _ = other.go(user="paolo", folder="lavori")
    assert told[-1] == "added: lavori 3"
    after = mailbox("paolo")
    assert len(after["INBOX"].messages) == len(before["INBOX"].messages)
    assert len(after["lavori"].messages) == len(before["lavori"].messages) + 4


def test_the_command_does_it_and_says_what_it_cannot(night, tmp_path):
    with reading("bruno") as session:
        session.delete("INBOX", session.all("INBOX")[:3])
    done = program("restore", "--site", night.file, "--run", tmp_path / "by-command", "--user", "bruno", "--json")
    assert done.returncode == 0, done.stderr
    assert [(row["step"], row["state"]) for row in json.loads(done.stdout)["steps"]] == [("restore", "passed")]
    done = program("rollback", "--run", tmp_path / "by-command", "--site", night.file)
    assert done.returncode == 0, done.stderr
    for options, said in ((["--user", "nobody9"], "knows no mail user 'nobody9'"),
                          (["--user", "bruno", "--folder", "nowhere"], "has no folder nowhere of bruno"),
                          (["--user", "bruno", "--message", "<not@there>"], "no message of bruno with Message-ID <not@there>")):
        done = program("restore", "--site", night.file, "--run", tmp_path / f"no-{len(said)}", *options)
        assert done.returncode == 1 and said in re.sub(r"\s+", " ", done.stderr), done.stderr


def test_what_broke_off_goes_on_and_adds_nothing_twice(asked, monkeypatch):
    with reading("vera") as session:
        lost = session.all("INBOX")[:6]
        session.delete("INBOX", lost)
    before = len(mailbox("vera")["INBOX"].messages)
    append, made = imap.Session.append, []

    def breaking(self, *arguments):
        if len(made) == 2:
            raise imap.SessionLost(server="mailboxvm", doing="APPEND", reason="the test")
        made.append(append(self, *arguments))

    monkeypatch.setattr(imap.Session, "append", breaking)
    with pytest.raises(imap.SessionLost):
        asked.go(user="vera", folder="INBOX")
    monkeypatch.undo()
    assert len(mailbox("vera")["INBOX"].messages) == before + 2
    told, checks = asked.go(user="vera", folder="INBOX")
    assert told == [f"added: INBOX {len(lost) - 2}"]
    assert any(f"{len(lost)} were added" in check.actual for check in checks)
    asked.go("rollback")
    assert len(mailbox("vera")["INBOX"].messages) == before


def test_verify_finds_a_message_that_is_not_there_and_a_date_that_is_wrong(asked, night):
    with reading("alice") as session:
        session.delete("INBOX", session.all("INBOX")[:3])
    asked.go(user="alice", folder="INBOX")
    with reading("alice") as session:
        last = session.all("INBOX")[-2:]
        text = session.fetch("INBOX", last[0])
        session.delete("INBOX", last)
        session.append("INBOX", text)
    driver = engine.Engine(asked.site, "restore", "plan", asked.run, chosen={"user": "alice", "folder": "INBOX"})
    try:
        driver.probe()
        wrong = [check.question for check in driver.verify() if not check.passed]
    finally:
        driver.close()
    assert len(wrong) == 2 and "every message" in wrong[0] and "flags and dates" in wrong[1]


def test_a_stream_that_ends_badly_leaves_nothing_under_the_trees_name(lab, asked, monkeypatch):
    before = texts(mailbox("davide"))
    whole = copies.source

    def torn(*arguments):
        packed = whole(*arguments)
        return ["sh", "-c", 'end=$1; shift; "$@"; exit "$end"', "torn", "2", *packed]

    with monkeypatch.context() as patched:
        patched.setattr(copies, "source", torn)
        with pytest.raises(copies.NotBrought, match="sanbackup: tar ended with 2"):
            asked.go(user="davide")
    place = "/var/imap/.cutover/restore/" + asked.path.name
    assert lab.run("mailboxvm", ["ls", place]).stdout.split() == ["davide.part"]
    assert texts(mailbox("davide")) == before
    told, _ = asked.go(user="davide")
    assert told[-1] == "added: nothing, nothing was missing" and lab.run("mailboxvm", ["ls", place]).stdout.split() == ["davide"]
