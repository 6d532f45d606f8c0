"""After the night, on the lab: the copy of the new store, its way back, and the end of the old server.

One night goes as far as backup and back; a second one goes on to decommission, past each gate that is not met.
"""

import os
import re
import time

import pytest
from cutover import errors, runbook
from cutover.hosts import Hosts, backups, bacula, imap, mailboxes, smtp
from cutover.lab import hosts as lab_hosts
from cutover.lab import keys, store
from cutover.run import story
from night import Night, eventually

pytestmark = pytest.mark.lab
COPY = store.STORE / "backup/posta/mailboxvm/current"
OLD_COPY = store.STORE / "backup/posta/mailboxold"
DIRECTOR, TESTED = "/etc/bacula/bacula-dir.conf", "/var/imap/.cutover/restore-test"
SSH = "ssh -i /etc/mailbackup/key -l mailbackup -o BatchMode=yes -o UserKnownHostsFile=/etc/mailbackup/known_hosts"


def messages(top) -> dict:
    """`{path from the top, without flags and new/cur: bytes}` of the message files below a directory of Maildirs."""
    found = {}
    for place, _, files in os.walk(top):
        if os.path.basename(place) in ("cur", "new") and "/.cutover/" not in place:
            for name in files:
                with open(os.path.join(place, name), "rb") as file:
                    found[os.path.relpath(os.path.dirname(place), top), name.partition(":2,")[0]] = file.read()
    return found


def unit(lab, host, name):
    shown = lab.run(host, ["systemctl", "show", "--property=ActiveState,UnitFileState", name]).stdout
    return dict(line.split("=") for line in shown.split())


def copied(lab):
    """Start the timer's unit as the timer does. → what the run said of itself"""
    lab.run("sanbackup", ["systemctl", "start", backups.SERVICE], check=False, timeout=120)
    return backups.parse(lab.run("sanbackup", ["cat", f"{backups.STATE}/last"]).stdout)


def send(host, recipient, key):
    """Mail handed in on a host's port 25."""
    text = f"From: <a@elsewhere.test>\r\nTo: <{recipient}>\r\nSubject: {key}\r\nMessage-ID: <{key}@test>\r\n\r\n{key}\r\n"
    smtp.send(lab_hosts.HOSTS[host].address, 25, "a@elsewhere.test", [recipient], text.encode(), 30)


def reading(user, host="mailboxvm"):
    password = (keys.SECRETS / user).read_text()
    return imap.login(lab_hosts.HOSTS[host].address, 993, f"{host}.lab.test", keys.CA, user, password, 20)


def has(user, key):
    """Whether a message lies in a user's INBOX on the new server."""
    with reading(user) as session:
        return session.find("INBOX", "Subject", key)


@pytest.fixture(scope="module")
def night(lab, tmp_path_factory):
    made = Night(tmp_path_factory.mktemp("after"))
    made.director = lab.run("sanbackup", ["cat", DIRECTOR]).stdout
    made.up_to("backup")
    return made


# -- backup


def test_the_copy_is_the_store(night):
    there = messages(store.STORE / "imap")
    assert len(there) > 5000 and messages(COPY) == there
    assert (COPY / "giulia/dovecot-uidlist").read_bytes() == store.imap("giulia").joinpath("dovecot-uidlist").read_bytes()
    assert COPY.joinpath("alice").stat().st_uid == lab_hosts.USERS["alice"] and not (COPY / ".cutover").exists()
    assert not list(COPY.rglob("dovecot.index*"))


def test_it_is_made_each_day_and_the_old_procedure_is_retired_not_deleted(lab, night):
    assert unit(lab, "sanbackup", backups.TIMER) == {"ActiveState": "active", "UnitFileState": "enabled"}
    assert unit(lab, "mailboxold", "backup-posta.timer") == {"ActiveState": "inactive", "UnitFileState": "disabled"}
    assert lab.run("mailboxold", ["test", "-f", "/etc/systemd/system/backup-posta.timer"], check=False).returncode == 0
    assert night.wanted("backup") == ()


def test_the_next_run_brings_what_came_and_takes_what_was_removed(lab, night):
    with reading("carla") as session:
        gone = session.all("INBOX")[:2]
        session.delete("INBOX", gone)
    send("postino3", "bruno@lab.test", "tonight")
    assert eventually(lambda: has("bruno", "tonight"))
    last = copied(lab)
    assert last["result"] == 0 and last["passes"][0]["deleted"] >= 2
    assert sum(each["copied"] for each in last["passes"]) < 40      # differential: a handful of files, not thousands
    assert messages(COPY) == messages(store.STORE / "imap")


def test_no_message_is_missing_from_a_copy_made_while_messages_are_renamed(lab, night):
    """Flags change all the while: rsync looks for names that are gone, and no message may be lost for it."""
    renaming = ('cd /var/imap/paolo/.lavori/cur; while [ -e /run/renaming ]; do for f in *; do '
                'case $f in *S) mv "$f" "${f%S}";; *) mv "$f" "${f}S";; esac; done; done')
    before = set(messages(store.STORE / "imap"))
    lab.run("mailboxvm", ["sh", "-c", f"touch /run/renaming; setsid sh -c '{renaming}' > /dev/null 2>&1 &"])
    vanished = runs = 0
    try:
        while not vanished and runs < 20:
            last = copied(lab)
            runs += 1
            vanished += sum(each["vanished"] for each in last["passes"])
            assert last["result"] == 0
            assert before <= set(messages(COPY))
    finally:
        lab.run("mailboxvm", ["rm", "/run/renaming"])
    assert vanished > 0


def test_a_store_that_is_not_mounted_spoils_no_copy(lab, night):
    before = messages(COPY)
    lab.run("mailboxvm", ["mount", "--bind", "/mnt", "/var/imap"])
    try:
        last = copied(lab)
    finally:
        lab.run("mailboxvm", ["umount", "/var/imap"])
    assert last["result"] == 3 and "is it mounted?" in last["error"]
    assert messages(COPY) == before
    assert copied(lab)["result"] == 0


def test_the_key_reads_the_store_and_can_do_nothing_else(lab, night):
    def by_key(command):
        return lab.run("sanbackup", ["sh", "-c", command], check=False)

    assert "root" not in by_key(f"{SSH} -n mailboxvm 'id; cat /etc/shadow'").stdout
    assert by_key(f"rsync --rsh='{SSH}' /etc/hostname mailboxvm::{backups.MODULE}/alice/").returncode
    assert not (store.imap("alice") / "hostname").exists()
    assert by_key(f"rsync --rsh='{SSH}' mailboxvm:/etc/shadow /tmp/").returncode
    assert by_key(f"rsync --rsh='{SSH}' mailboxvm::{backups.MODULE}/../../etc/shadow /tmp/").returncode
    assert by_key(f"rsync --rsh='{SSH}' --list-only mailboxvm::{backups.MODULE}/alice/").returncode == 0


def test_the_rollback_puts_the_old_procedure_back_and_keeps_the_copy(lab, night):
    before = len(messages(COPY))
    night.step("rollback")
    assert unit(lab, "mailboxold", "backup-posta.timer") == {"ActiveState": "active", "UnitFileState": "enabled"}
    assert lab.run("sanbackup", ["systemctl", "cat", backups.TIMER], check=False).returncode
    assert lab.run("mailboxvm", ["ls", "/etc/sudoers.d"]).stdout.split() == ["README", "operator"]
    assert len(messages(COPY)) == before
    # Bacula is as it was, and what it saved stays on its volume; what was restored for a test is gone
    assert lab.run("sanbackup", ["cat", DIRECTOR]).stdout == night.director
    known = lab.run("sanbackup", ["sh", "-c", "printf '.jobs\\n' | bconsole -n"]).stdout
    assert "BackupClient1" in known and bacula.NAME not in known
    assert lab.run("sanbackup", ["ls", "/srv/bacula"]).stdout.split() == [f"{bacula.NAME}-0001"]
    assert not lab.run("mailboxvm", ["ls", TESTED]).stdout
    lab.run("mailboxold", ["systemctl", "start", "backup-posta.service"], timeout=120)
    assert (OLD_COPY / "alice/INBOX").read_bytes() == store.home("alice").joinpath("INBOX").read_bytes()


# -- decommission


@pytest.fixture(scope="module")
def production(lab, night, tmp_path_factory):
    """A second night, as far as backup; users have worked on the new server since."""
    made = Night(tmp_path_factory.mktemp("production"))
    made.up_to("backup")
    with reading("alice") as session:
        uids = session.all("INBOX")
        session.delete("INBOX", uids[:3])
        session.client.create_folder("Archivio")
        session.client.select_folder("INBOX")
        session.client.move(uids[3:5], "Archivio")
    send("postino4", "vera@lab.test", "read-and-removed")
    assert eventually(lambda: has("vera", "read-and-removed"))
    with reading("vera") as session:
        session.delete("INBOX", session.find("INBOX", "Subject", "read-and-removed"))
    return made


def refusal(night):
    """What decommission says when it is asked for; nothing was changed."""
    with pytest.raises(errors.CutoverError) as refused:
        night.step("decommission")
    assert not night.events("intent", "decommission")
    return str(refused.value)


def waited(night):
    """As if the days asked for had passed again: the gates look back to the last restore-imap."""
    time.sleep(1.1)
    night.step("restore-imap")


def test_somebody_who_reads_on_the_old_server_keeps_it(lab, production):
    services = ("xinetd", "stunnel4")
    for name in services:
        lab.run("mailboxold", ["sh", "-c", f"systemctl unmask {name}; systemctl start {name}"])
    with reading("davide", "mailboxold") as session:
        session.all("INBOX")
    for name in services:
        lab.run("mailboxold", ["sh", "-c", f"systemctl stop {name}; systemctl mask {name} || systemctl disable {name}"])
    said = refusal(production)
    assert re.search(r"nobody log in on mailboxold since\? expected 0 logins; found 1 logins: davide from ", said)
    waited(production)


def test_mail_that_no_mx_handed_in_keeps_it_and_so_does_a_message_that_only_it_has(lab, production):
    send("mailboxold", "teresa@mailboxold.lab.test", "direct")
    place = store.home("teresa") / "INBOX"
    assert eventually(lambda: b"Subject: direct" in place.read_bytes())
    said = refusal(production)
    assert re.search(r"expected 0 direct deliveries; found 1 direct deliveries: <direct@test> to teresa by 10\.77\.0\.1", said)
    waited(production)
    said = refusal(production)
    assert "direct deliveries" not in said
    assert re.search(r"no message of teresa on mailboxold only\? expected 0 messages; found 1 messages: INBOX UID \d+ "
                     r".*<direct@test>", said)
    # teresa gets it on the new server: the message as the old one has it
    with Hosts(production.site) as reached, mailboxes.old_session(reached, "teresa") as session:
        text = session.fetch("INBOX", session.find("INBOX", "Subject", "direct")[0])
    with reading("teresa") as session:
        session.append("INBOX", text)


def test_a_backup_that_failed_keeps_it(lab, production):
    lab.run("mailboxvm", ["mv", backups.SUDOERS, "/root/rule"])
    assert copied(lab)["result"] == 3
    assert "Did the last run end well? expected yes; found NO: " in refusal(production)
    lab.run("mailboxvm", ["mv", "/root/rule", backups.SUDOERS])
    assert copied(lab)["result"] == 0


def test_a_test_restore_that_is_not_there_keeps_it(lab, production):
    lab.run("mailboxvm", ["mv", f"{TESTED}/current", f"{TESTED}/elsewhere"])
    assert re.search(r"from the copy for a test agree with .*found there was no test restore", refusal(production))
    lab.run("mailboxvm", ["mv", f"{TESTED}/elsewhere", f"{TESTED}/current"])


def test_it_is_switched_off_and_mail_goes_to_the_new_server_alone(lab, production):
    with production.engine("decommission", "plan") as driver:
        left = driver.probe()["left"]["value"]["users"]
        assert (left["alice"]["removed"], left["alice"]["moved"]) == (3, 2) and left["vera"]["delivered"] == 1
        assert left["teresa"]["twice"] >= 1 and not any(each["only"] for each in left.values())
        plan = driver.plan()
        assert [change.kind for change in plan.changes] == [
            "userdb-single", "userdb-single", "drain-queue", "service-retired", "dns-remove", "power-off"]
        assert all(change.inverse() is None for change in plan.changes)
    before = store.home("alice").joinpath("INBOX").stat().st_size
    production.executed("decommission")
    assert lab.status()["hosts"]["mailboxold"]["up"] is False
    for name in ("postino3", "postino4"):
        assert lab.run(name, ["grep", "-c", "mailboxold", "/etc/mail/userdb"], check=False).stdout == "0\n"
        send(name, "alice@lab.test", f"after-{name}")
    assert eventually(lambda: has("alice", "after-postino3") and has("alice", "after-postino4"))
    assert store.home("alice").joinpath("INBOX").stat().st_size == before
    assert lab.run("postino3", ["mailq"]).stdout.count("mailboxold") == 0
    assert production.wanted("decommission") == ()


def test_then_there_is_no_way_back(production):
    with pytest.raises(runbook.NotYet, match="point of no return"):
        production.step("rollback")
    events = production.run.journal.events()
    word, sentence = story.verdict(events, story.attempts(events))
    assert (word, runbook.no_return(events)["step"]) == ("passed", "decommission"), sentence


def test_the_lab_copes_with_a_host_that_switched_itself_off(lab, production):
    lab.up()
    assert lab.status()["hosts"]["mailboxold"]["up"]
    shown = lab.run("mailboxold", ["systemctl", "is-active", "sendmail", "xinetd"], check=False).stdout
    assert shown.split() == ["inactive", "inactive"]
