"""Mail comes back from the copy, and from what Bacula saved of it.

A user, a folder, a message; and goes by the rollback.
"""

import json
import re
import time

import pytest
from cutover import model
from cutover.bench import restore
from cutover.changes import bacula_jobs, bacula_restore, bring_beside
from cutover.connect import imap
from cutover.connect.hosts import Hosts
from cutover.connect.imap import messages
from cutover.facts import bacula, bacula_files
from cutover.model import CannotPlan, ChangeFailed
from cutover.record import run_folder
from cutover.run import engine
from lab import keys, topology
from night import Night, eventually, program

pytestmark = pytest.mark.lab

DIRECTOR, SCRATCH = "/etc/bacula/bacula-dir.conf", "/var/lib/mailbackup/restore"


def reading(user):
    password = (keys.SECRETS / user).read_text()
    return imap.login(
        topology.HOSTS["mailboxvm"].address, 993, "mailboxvm.lab.test", keys.CA, user, password, 20
    )


def mailbox(user) -> dict:
    """`{folder: imap.Folder}` with digests, of everything a user has."""
    with reading(user) as session:
        return {
            name: session.read(name, "content")
            for name, _, selectable in session.folders()
            if selectable
        }


def texts(folders) -> dict:
    """What of a mailbox a restore has to bring back, UIDs left out."""
    return {
        name: sorted(
            (message.digest, message.internaldate, tuple(sorted(message.flags)))
            for message in folder.messages
        )
        for name, folder in folders.items()
    }


@pytest.fixture(scope="module")
def night(lab, tmp_path_factory):
    made = Night(tmp_path_factory.mktemp("restore"))
    made.up_to("production-test")
    made.director = lab.run("sanbackup", ["cat", DIRECTOR]).stdout
    made.saved = made.step("backup")
    return made


class Restore:
    """A run that restores; `go` makes one attempt, `back` rolls it back."""

    def __init__(self, night, place):
        self.site, self.path = night.site, place / f"run-{place.name}"

    @property
    def run(self):
        return run_folder.begin(self.site, self.path)

    def refused(self, **chosen):
        driver = engine.Engine(self.site, "restore", "plan", self.run, chosen=chosen)
        try:
            driver.probe()
            with pytest.raises(CannotPlan) as caught:
                driver.plan()
            return re.sub(r"\s+", " ", str(caught.value))
        finally:
            driver.close()

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
        session.store(
            session.all("SPAM")[:1] if session.select("SPAM").exists else [], ["\\Flagged"], True
        )
    between = mailbox("carla")
    asked.go(user="carla")
    after = mailbox("carla")
    for name, now in between.items():
        kept = {message.uid: message for message in after[name].messages}
        assert all(kept[message.uid] == message for message in now.messages), name
        assert after[name].uidvalidity == now.uidvalidity
    added = [
        message for message in after["INBOX"].messages if message.uid >= between["INBOX"].uidnext
    ]
    lost = [message for message in before["INBOX"].messages if message.uid in inbox[1:8]]
    assert [(message.digest, message.flags, message.internaldate) for message in added] == [
        (message.digest, message.flags, message.internaldate) for message in lost
    ]
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
    results, _ = asked.go(user="paolo", folder="lavori", message=lost[uids[2]])
    assert results[-1] == "added: lavori 1"
    other = Restore(night, tmp_path_factory.mktemp("folder"))
    results, _ = other.go(user="paolo", folder="lavori")
    assert results[-1] == "added: lavori 3"
    after = mailbox("paolo")
    assert len(after["INBOX"].messages) == len(before["INBOX"].messages)
    assert len(after["lavori"].messages) == len(before["lavori"].messages) + 4


def test_from_bacula_one_folder_alone_as_it_was_at_the_end_of_a_day(lab, asked):
    with reading("paolo") as session:
        session.delete("lavori", session.all("lavori")[:3])
        session.delete("INBOX", session.all("INBOX")[:2])
    today = lab.run("sanbackup", ["date", "+%Y-%m-%d"]).stdout.strip()
    results, _ = asked.go(user="paolo", folder="lavori", source="bacula", day=today)
    assert results[-1] == "added: lavori 3"


def test_the_command_does_it_and_says_what_it_cannot(night, tmp_path):
    with reading("bruno") as session:
        session.delete("INBOX", session.all("INBOX")[:3])
    done = program(
        "restore",
        "--site",
        night.file,
        "--run",
        tmp_path / "by-command",
        "--user",
        "bruno",
        "--json",
    )
    assert done.returncode == 0, done.stderr
    assert [(row["step"], row["state"]) for row in json.loads(done.stdout)["steps"]] == [
        ("restore", "passed")
    ]
    done = program("rollback", "--run", tmp_path / "by-command", "--site", night.file)
    assert done.returncode == 0, done.stderr
    for options, message in (
        (["--user", "nobody9"], "has no mail user 'nobody9'"),
        (["--user", "bruno", "--folder", "nowhere"], "has no folder nowhere of bruno"),
        (
            ["--user", "bruno", "--message", "<not@there>"],
            "no message of bruno with Message-ID <not@there>",
        ),
    ):
        done = program(
            "restore", "--site", night.file, "--run", tmp_path / f"no-{len(message)}", *options
        )
        assert done.returncode == 1 and message in re.sub(r"\s+", " ", done.stderr), done.stderr


def test_what_broke_off_goes_on_and_adds_nothing_twice(asked, monkeypatch):
    with reading("vera") as session:
        lost = session.all("INBOX")[:6]
        session.delete("INBOX", lost)
    before = len(mailbox("vera")["INBOX"].messages)
    append, made = imap.Session.append_all, []

    def breaking(self, name, messages):
        # the link goes in the middle of the second command: one of its messages is over, and half
        # of the other
        if made:
            text = messages[0][0]
            send = self.client._imap.send
            send(
                b"x APPEND %s {%d+}\r\n%s {%d+}\r\n%s"
                % (name.encode(), len(text), text, len(text), text[: len(text) // 2])
            )
            self.client._imap.shutdown()
            raise imap.SessionLost(server="mailboxvm", doing="APPEND", reason="the test")
        made.append(append(self, name, messages))

    monkeypatch.setattr(messages, "BATCH_MESSAGES", 2)
    monkeypatch.setattr(imap.Session, "append_all", breaking)
    with pytest.raises(imap.SessionLost):
        asked.go(user="vera", folder="INBOX")
    monkeypatch.undo()
    assert len(mailbox("vera")["INBOX"].messages) == before + 2
    results, checks = asked.go(user="vera", folder="INBOX")
    assert results == [f"added: INBOX {len(lost) - 2}"]
    (complete,) = (check for check in checks if check.id == "restore-complete")
    assert complete.data["added"] == len(lost)
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
    driver = engine.Engine(
        asked.site, "restore", "plan", asked.run, chosen={"user": "alice", "folder": "INBOX"}
    )
    try:
        driver.probe()
        wrong = [check.id for check in driver.verify() if not check.passed]
    finally:
        driver.close()
    assert wrong == ["restore-complete", "restore-metadata"]


def test_a_stream_that_ends_badly_leaves_nothing_under_the_trees_name(lab, asked, monkeypatch):
    before = texts(mailbox("davide"))
    whole = bring_beside.folders_packing

    def torn(*arguments):
        packed = whole(*arguments)
        return ["sh", "-c", 'end=$1; shift; "$@"; exit "$end"', "torn", "2", *packed]

    with monkeypatch.context() as patched:
        patched.setattr(bring_beside, "folders_packing", torn)
        with pytest.raises(bring_beside.NotBrought, match="sanbackup: tar ended with 2"):
            asked.go(user="davide")
    place = "/var/imap/.cutover/restore/" + asked.path.name
    assert not lab.run("mailboxvm", ["ls", place]).stdout  # what came of it does not fill the store
    assert texts(mailbox("davide")) == before
    results, _ = asked.go(user="davide")
    assert results[-1] == "added: nothing was missing" and lab.run(
        "mailboxvm", ["ls", place]
    ).stdout.split() == ["davide"]


# -- Bacula


def save(lab, night):
    """Another day: the copy is made, and saved.

    → (what the job said, a moment after it by the Director's clock)
    """
    lab.run("sanbackup", ["systemctl", "start", "mailbackup.service"], timeout=120)
    with Hosts(night.site) as hosts:
        result = (
            bacula_jobs.RunJob("sanbackup", "mailbackup", 60)
            .apply(model.Context(hosts), lambda event: None)
            .text
        )
    moment = lab.run("sanbackup", ["date", "+%Y-%m-%d %H:%M:%S"]).stdout.strip()
    time.sleep(1.1)
    return result, moment


@pytest.fixture(scope="module")
def days(lab, night):
    """Two days of backups for rita.

    On the first day there were a folder and two messages that rita no longer has, and one message
    had another flag. One message was lost before the first day: only the full backup has it.
    """
    with reading("rita") as session:
        session.select("INBOX")
        session.store(session.all("INBOX")[3:4], ["\\Seen"], False)
        session.delete("INBOX", session.all("INBOX")[4:5])
    _, day = save(lab, night)
    state = {"day": day, **mailbox("rita")}
    with reading("rita") as session:
        uids = session.all("INBOX")
        state["lost"] = session.headers("INBOX", "Message-ID")[uids[1]]
        session.delete("INBOX", uids[1:3])
        session.select("INBOX")
        session.store(uids[3:4], ["\\Seen", "\\Flagged"], True)  # a rename: no second message
        session.client.delete_folder("esperimenti/na62")
        session.append("INBOX", b"Subject: since\r\n\r\nsince\r\n")
    state["said"], _ = save(lab, night)
    return state


def test_bacula_saved_each_file_and_what_was_restored_for_a_test_agrees(lab, night):
    checks = {(check.id, check.subject): check for check in night.saved}
    job = checks["bacula-job-succeeded", "sanbackup"].data
    assert (job["level"], job["status"], job["errors"]) == ("F", "T", 0) and job["files"]
    assert checks["bacula-full-complete", "sanbackup"].actual == f"{job['files']} in all"
    trials = [checks["trial-restore", source].data for source in ("current", "bacula")]
    assert [(trial["user"], trial["same"]) for trial in trials] == [("alice", 5)] * 2
    assert night.wanted("backup") == ()
    # the Director's own configuration has one line more; what else it holds came nowhere
    assert (
        lab.run("sanbackup", ["cat", DIRECTOR]).stdout
        == night.director + "@/etc/bacula/mailbackup.conf\n"
    )
    assert (
        re.search(r'Password = "(.+?)"', night.director)[1]
        not in (night.run_dir / "journal.jsonl").read_text()
    )
    assert not lab.run("sanbackup", ["ls", SCRATCH]).stdout


def test_what_the_director_refuses_is_taken_back(lab, night):
    text = lab.run("sanbackup", ["cat", "/etc/bacula/mailbackup.conf"]).stdout
    change = bacula_jobs.DirectorFile(
        "sanbackup",
        "/etc/bacula/mailbackup.conf",
        "0644",
        text,
        text.replace("Pool = mailbackup", "Pool = nowhere", 1),
        DIRECTOR,
    )
    with Hosts(night.site) as hosts:
        with pytest.raises(ChangeFailed, match="the former one is in place again.*nowhere"):
            change.apply(model.Context(hosts), lambda event: None)
        assert lab.run(
            "sanbackup", ["cat", "/etc/bacula/mailbackup.conf"]
        ).stdout == text and not bacula.syntax_errors(hosts, DIRECTOR)


def test_the_earlier_day_comes_back_after_it_is_gone_from_mailbox_and_copy(lab, days, asked):
    assert "Incremental" in days["said"]
    gone = f"{backups_of('rita')}/.esperimenti.na62"
    assert lab.run("sanbackup", ["test", "-e", gone], check=False).returncode
    between = mailbox("rita")
    results, _ = asked.go(user="rita", source="bacula", day=days["day"])
    assert results[-1] == f"added: INBOX 2, esperimenti/na62 {days['esperimenti/na62'].exists}"
    now = mailbox("rita")
    kept = len(between["INBOX"].messages)
    assert now["INBOX"].messages[:kept] == between["INBOX"].messages
    assert texts({"lost": now["INBOX"]})["lost"] == sorted(
        [
            *texts({"lost": between["INBOX"]})["lost"],
            *(
                (message.digest, message.internaldate, tuple(sorted(message.flags)))
                for message in days["INBOX"].messages[1:3]
            ),
        ]
    )
    assert texts(now)["esperimenti/na62"] == texts(days_of(days))["esperimenti/na62"]
    assert not lab.run("sanbackup", ["ls", SCRATCH]).stdout
    asked.go("rollback")
    assert texts(mailbox("rita")) == {**texts(between), "esperimenti/na62": []}


@pytest.mark.parametrize("user, chosen", [("elena", {}), ("fabio", {"source": "bacula"})])
def test_a_user_whose_whole_mail_directory_is_gone(lab, asked, user, chosen):
    before, way = mailbox(user), f"/var/imap/{user}"
    how = lab.run("mailboxvm", ["stat", "--format=%U %G %a", way]).stdout
    lab.run("mailboxvm", ["sh", "-c", 'doveadm kick "$1"; rm -rf "/var/imap/$1"', "gone", user])
    results, _ = asked.go(user=user, **chosen)
    assert (
        results[-2] == "made"
        and lab.run("mailboxvm", ["stat", "--format=%U %G %a", way]).stdout == how
    )
    assert texts(mailbox(user)) == texts(before)
    with reading(user) as session:
        assert set(before) - {"INBOX"} <= set(session.subscribed())
    lab.run(
        "mailboxvm",
        [
            "sh",
            "-c",
            'printf "Subject: since\\n\\nsince\\n" | /usr/sbin/sendmail "$1"',
            "send",
            user,
        ],
    )
    assert eventually(
        lambda: len(mailbox(user)["INBOX"].messages) == len(before["INBOX"].messages) + 1
    )
    # back: what was added goes; what came since stays, and its directory with it
    asked.go("rollback")
    left = [message for folder in mailbox(user).values() for message in folder.messages]
    assert len(left) == 1 and left[0].digest not in {
        message.digest for message in before["INBOX"].messages
    }


def test_without_mail_that_came_since_the_rollback_takes_the_directory_away(lab, asked):
    before = texts(mailbox("hugo"))
    lab.run(
        "sanbackup", ["mkdir", "-p", f"{backups_of('hugo')}/.vuota/cur"]
    )  # a folder without messages comes back too
    lab.run("mailboxvm", ["sh", "-c", "doveadm kick hugo; rm -rf /var/imap/hugo"])
    asked.go(user="hugo")
    assert texts(mailbox("hugo")) == {**before, "vuota": []}
    asked.go("rollback")
    assert lab.run("mailboxvm", ["test", "-e", "/var/imap/hugo"], check=False).returncode
    asked.go(user="hugo")


def test_who_is_not_in_the_copy_is_said(lab, asked):
    kept = backups_of("giulia")
    lab.run("sanbackup", ["mv", kept, f"{kept}.away"])
    try:
        assert f"the copy in {kept.rpartition('/')[0]} on sanbackup has no giulia" in asked.refused(
            user="giulia"
        )
    finally:
        lab.run("sanbackup", ["mv", f"{kept}.away", kept])


def backups_of(user):
    return f"/backup/posta/mailboxvm/current/{user}"


def days_of(days):
    return {name: folder for name, folder in days.items() if isinstance(folder, imap.Folder)}


def test_the_plan_names_the_jobs_and_one_message_comes_by_the_command(night, days, asked, tmp_path):
    wanted = {"user": "rita", "folder": "INBOX", "message": days["lost"], "source": "bacula"}
    driver = engine.Engine(
        night.site, "restore", "plan", asked.run, chosen={**wanted, "day": days["day"]}
    )
    driver.probe()
    read = dict(driver.plan().notes)["Bacula jobs that are read"]
    driver.close()
    assert re.fullmatch(r"JobId 1, Full, [^;]*; JobId \d+, Incremental, [^;]*", read)
    with pytest.raises(ChangeFailed, match="no message of rita with Message-ID"):
        asked.go(**wanted)  # the latest
    before = mailbox("rita")["INBOX"].exists
    done = program(
        "restore",
        "--site",
        night.file,
        "--user",
        "rita",
        "--folder",
        "INBOX",
        "--message",
        days["lost"],
        "--from",
        "bacula",
        "--day",
        days["day"],
        "--run",
        tmp_path / "earlier",
    )
    assert done.returncode == 0, done.stderr
    assert mailbox("rita")["INBOX"].exists == before + 1 and "outage" not in done.stdout


@pytest.mark.parametrize(
    "chosen, message",
    [
        (
            {"source": "bacula", "day": "2001-02-03"},
            "had saved nothing by 2001-02-03: its first good job began on 20",
        ),
        (
            {"source": "bacula", "folder": "esperimenti/na62"},
            "has no folder esperimenti/na62 of rita. Give another day",
        ),
        ({"source": "bacula", "day": "yesterday"}, "'yesterday' is not a day"),
        ({"source": "current", "day": "2026-01-01"}, "no earlier days"),
    ],
)
def test_what_no_job_has_is_said(days, asked, chosen, message):
    assert message in asked.refused(**{"user": "rita", **chosen})


def test_a_job_that_waits_for_a_volume_is_said_and_leaves_nothing(lab, days, asked, monkeypatch):
    monkeypatch.setattr(bacula_jobs, "STUCK", 1)
    before = mailbox("rita")
    (volume,) = lab.run("sanbackup", ["ls", "/srv/bacula"]).stdout.split()
    lab.run("sanbackup", ["mv", f"/srv/bacula/{volume}", "/srv/bacula/away"])
    try:
        with pytest.raises(
            ChangeFailed, match=f"is waiting for a mount request.*{volume}.*was cancelled"
        ):
            asked.go(user="rita", source="bacula")
    finally:
        lab.run("sanbackup", ["mv", "/srv/bacula/away", f"/srv/bacula/{volume}"])
    assert not lab.run("sanbackup", ["ls", SCRATCH]).stdout and mailbox("rita") == before
    asked.go(user="rita", source="bacula")


class Dead(BaseException):
    """The process is killed here."""


def dying(*_):
    raise Dead


def test_cut_off_before_its_removal_the_next_one_removes_what_bacula_restored(
    lab, night, days, asked, tmp_path_factory, monkeypatch
):
    with reading("rita") as session:
        session.delete("INBOX", session.all("INBOX")[:1])
    lab.run(
        "sanbackup", ["mkdir", "-p", f"{SCRATCH}/backup/posta"]
    )  # by hand, in bconsole: none of ours
    with monkeypatch.context() as patched:
        patched.setattr(bacula_restore.RemoveRestored, "apply", dying)
        with pytest.raises(Dead):
            asked.go(user="rita", source="bacula")
    left = lab.run("sanbackup", ["sh", "-c", f"cd {SCRATCH}; ls -d */*"]).stdout.split()
    assert len(left) == 2 and f"{asked.path.name}/rita" in left[1]
    # the same command again is a run of its own
    again = Restore(night, tmp_path_factory.mktemp("again"))
    assert (
        "has no mail user" in (message := again.refused(user="nobody9"))
        and f"{SCRATCH}/{left[1]}" in message
    )
    _, checks = again.go(user="rita", source="bacula")
    assert (checks[-1].id, checks[-1].actual) == ("restore-leftovers", "nothing")
    assert lab.run(
        "sanbackup", ["sh", "-c", f"cd {SCRATCH}; ls -d */*; rm -r backup"]
    ).stdout.split() == ["backup/posta"]
    # and so does one that has nothing else to do
    with Hosts(night.site) as hosts:
        bacula_restore.make_scratch(hosts, f"{SCRATCH}/other/olga")
    results, _ = again.go(user="rita", source="bacula")
    assert results == ["removed"] and not lab.run("sanbackup", ["ls", SCRATCH]).stdout


def test_a_job_whose_process_was_killed_is_cancelled_before_its_directory_goes(
    lab, days, asked, monkeypatch
):
    (volume,) = lab.run("sanbackup", ["ls", "/srv/bacula"]).stdout.split()
    lab.run(
        "sanbackup", ["mv", f"/srv/bacula/{volume}", "/srv/bacula/away"]
    )  # so that it is at work for long
    try:
        with monkeypatch.context() as patched:
            patched.setattr(bacula_jobs, "follow", dying)
            with pytest.raises(Dead):
                asked.go(user="rita", folder="INBOX", source="bacula")
        with Hosts(asked.site) as hosts:
            (where,) = bacula_files.scratches(hosts)
            number = int(lab.run("sanbackup", ["cat", f"{where}/{bacula_files.MARK}"]).stdout)
            bacula_restore.remove_scratch(hosts, where)
            assert bacula.job(hosts, number, "mailbackup-restore").status == "A"
    finally:
        lab.run("sanbackup", ["mv", "/srv/bacula/away", f"/srv/bacula/{volume}"])
    asked.go(user="rita", folder="INBOX", source="bacula")
    assert not lab.run("sanbackup", ["ls", SCRATCH]).stdout


def test_a_test_restore_that_is_spoilt_is_found_and_made_again(lab, night):
    lab.run(
        "mailboxvm",
        [
            "sh",
            "-c",
            "cd /var/imap/.cutover/restore-test/bacula; "
            "find cur new -type f | head -n 1 | xargs sed -i '1s/^./X/'",
        ],
    )
    with night.engine("backup", "plan") as driver:
        driver.probe()
        assert [(change.kind, change.source) for change in driver.plan().changes] == [
            ("restore-test", "bacula")
        ]
        assert [
            (check.id, check.subject, len(check.data["differ"]))
            for check in driver.verify()
            if not check.passed
        ] == [("trial-restore", "bacula", 1)]
    night.step("backup")
    assert night.wanted("backup") == ()


def test_the_measurement_of_restores_measures_them(lab, night):
    began = set(lab.run("sanbackup", ["ls", "-A", backups_of("alice")]).stdout.split())
    seconds = restore.measure(40, 1, parts=("archive", "sessions", "whole"))["seconds"]
    for source in restore.SOURCES:
        parts = {
            what: figures
            for what, figures in seconds.items()
            if what.startswith(f"whole, from {source}: ")
        }
        assert {"compared and added", "verified", "in all"} <= {
            what.rpartition(": ")[2] for what in parts
        }
    assert {"eight folders added, 3 at a time", "archive read, not in memory"} <= set(seconds)
    assert set(lab.run("sanbackup", ["ls", "-A", backups_of("alice")]).stdout.split()) == began
    assert not [name for name in mailbox("alice") if name.startswith(("misura", "ottavi"))]


def test_what_was_never_saved_and_what_the_catalog_forgot_is_said(night, days, asked):
    with Hosts(night.site) as hosts:
        assert bacula_files.listing(hosts, [1], "nobody9") is None
        job = bacula.status(hosts).saved[-1].id
        bacula.ask(hosts, f"purge files jobid={job}")
    assert f"which files JobId {job} saved: it was pruned" in asked.refused(
        user="rita", source="bacula"
    )
