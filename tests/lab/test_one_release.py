"""A night with every host on one Debian release, there and back: what its Dovecot's settings change.

The other lab tests have the default of `cutover lab up`: the old hosts on one release, the new
server on the next. What concerns Dovecot alone runs here with the version that they do not have.
"""

import contextlib
import imaplib
import time

import pytest
from cutover.connect.hosts import Hosts
from cutover.facts import dovecot_activity, mailboxes
from lab import base_image, keys, store, topology
from night import Night, declare, keep_dots, new_dovecot

pytestmark = pytest.mark.lab
LAST = "/etc/dovecot/local.conf"  # what Dovecot reads last
STATS = ["doveadm", "-f", "tab", "stats", "dump", "-f", "count"]
ELSEWHERE = {
    False: "mail_location = maildir:/var/imap/%u:INBOX=/var/mail/%u",
    True: "mail_inbox_path = /var/mail/%{user | username}",
}

only_before = pytest.mark.parametrize("lab", [base_image.DEFAULT], indirect=True)


@pytest.fixture(scope="module", params=base_image.SUITES)
def lab(_lab_of_the_session, request):
    suites = base_image.suites(request.param, request.param)
    _lab_of_the_session.reset(suites=suites)
    return _lab_of_the_session


@pytest.fixture(scope="module")
def night(lab, tmp_path_factory):
    keep_dots(lab)
    made = Night(tmp_path_factory.mktemp("night"))
    made.values["new_store"]["dots"] = "escape"
    made.write()
    return made


def test_an_inbox_that_is_elsewhere_stops_the_night(lab, night):
    inbox = ELSEWHERE[new_dovecot(lab).split]
    lab.run("mailboxvm", ["sh", "-c", f"echo '{inbox}' >> {LAST}"])
    with night.engine("preflight", "plan") as driver:
        facts = driver.probe()
        failed = [check.id for check in driver.verify() if not check.passed]
    assert facts.dovecot.value.spelling.split == new_dovecot(lab).split
    assert failed == ["inbox-location"]
    lab.run("mailboxvm", ["sed", "-i", "$d", LAST])


def test_the_whole_night(night):
    night.up_to("backup")


def test_dots_in_folder_names_stay(night):
    checks = night.checks("preflight")
    assert checks["dots-escaped", "mailboxvm"]["passed"]
    assert checks["sessions-processes", "mailboxvm"]["data"]["limit"] >= 500
    there = {entry.name for entry in store.imap("bruno").iterdir()}
    assert {".a\\2eb", ".a_b", ".x\\2ey.z"} <= there
    with Hosts(night.site) as hosts, mailboxes.new_session(hosts, "bruno") as session:
        assert len(session.all("a.b")) == 31


@only_before
def test_the_watch_counts_folders_that_do_not_exist_and_refused_logins(lab, night):
    began, address = time.time() - 1, topology.HOSTS["mailboxvm"].address
    password = (keys.SECRETS / "alice").read_text()
    with Hosts(night.site) as hosts:
        dovecot_activity.missing(hosts, "mailboxvm", ["alice"])
        for given in ("wrong", password):
            client = imaplib.IMAP4(address)
            with contextlib.suppress(imaplib.IMAP4.error):
                client.login("alice", given)
                client.select('"#mbx/work"')
            client.logout()
        counted = dovecot_activity.missing(hosts, "mailboxvm", ["alice"])
        assert counted == {("alice", "#mbx/work"): 1}
        dovecot_activity.stop_counting(hosts, "mailboxvm")
        assert b"cutover" not in hosts.run("mailboxvm", STATS, sudo=True).out
        dovecot_activity.stop_counting(hosts, "mailboxvm")  # nothing is left to remove
        seen = dovecot_activity.read(hosts, "mailboxvm", began)
    assert {login.user for login in seen.logins} == {"alice"}
    assert [(item.reason, item.name) for item in seen.refusals] == [("auth-failed", "alice")]


@only_before
def test_a_forgotten_prefix_is_declared_by_hand(lab, night):
    declare(lab, "#mbx/")
    with Hosts(night.site) as hosts, mailboxes.new_session(hosts, "bruno") as session:
        assert len(session.all("#mbx/a.b")) == 31


@only_before
def test_sieve_and_old_spam_come_and_go(lab, night, tmp_path_factory):
    """ManageSieve needs a restart; what is set aside must not land in the live mailbox."""
    vacation, spam = (Night(tmp_path_factory.mktemp(name)) for name in ("vacation", "old-spam"))
    spam.values["maintenance"] = {"old_spam": {"days": 30, "grace": 0}}
    spam.write()
    vacation.step("vacation")
    planned = spam.wanted("old-spam")
    spam.step("old-spam")
    place = f"/var/imap/.spam-aside/{spam.run.name}"
    count = f"find {place} -path '*/.SPAM/*' -name '*,S=*' | wc -l"
    aside = lab.run("mailboxvm", ["sh", "-c", count]).stdout
    assert int(aside) == sum(change.count for change in planned) > 20
    live = lab.run("mailboxvm", ["sh", "-c", "find /var/imap -maxdepth 2 -name '.aside*'"]).stdout
    assert live == ""
    spam.step("rollback")
    vacation.step("rollback")
    assert lab.run("mailboxvm", ["doveconf", "-h", "protocols"]).stdout.split() == ["imap", "pop3"]


def test_the_way_back_carries_what_users_did_in_folders_with_dots(night):
    """A message put into one, one moved into it, one deleted there, and a new folder."""

    def text(subject):
        return f"Subject: {subject}\nMessage-ID: <{subject}@test>\n\n{subject}\n".encode()

    with Hosts(night.site) as hosts:
        with mailboxes.old_session(hosts, "bruno") as old:
            before = {name: len(old.all(f"mail/{name}")) for name in ("a.b", "a_b", "x.y/z")}
        with mailboxes.new_session(hosts, "bruno") as new:
            new.append("a.b", text("dotted-put"))
            new.create("nuova.con.punti")
            new.append("nuova.con.punti", text("dotted-new"))
            new.delete("x.y/z", new.all("x.y/z")[:1])
            moved = new.all("a.b")[:1]
            new.select("a.b")
            new.client.move(moved, "x.y/z")
        night.step("rollback")
        with mailboxes.old_session(hosts, "bruno") as old:
            after = {name: len(old.all(f"mail/{name}")) for name in before}
            assert old.find("mail/a.b", "Subject", "dotted-put")
            assert old.find("mail/nuova.con.punti", "Subject", "dotted-new")
    # one more and one less; one more and one less
    assert after == before
