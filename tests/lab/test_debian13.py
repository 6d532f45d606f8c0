"""A night onto a new server of Debian 13, with Dovecot 2.4: what its other settings change.

Any other lab test runs there too, with CUTOVER_NEW=trixie.
"""

import pytest
from lab import base_image
from night import Night

pytestmark = pytest.mark.lab


@pytest.fixture(scope="module")
def lab(_lab_of_the_session):
    _lab_of_the_session.reset(suites=base_image.suites(new="trixie"))
    return _lab_of_the_session


@pytest.fixture(scope="module")
def night(lab, tmp_path_factory):
    return Night(tmp_path_factory.mktemp("night"))


def test_an_inbox_that_is_elsewhere_stops_the_night(lab, night):
    last = "/etc/dovecot/local.conf"  # what Dovecot reads last
    inbox = "mail_inbox_path = /var/mail/%{user | username}"
    lab.run("mailboxvm", ["sh", "-c", f"echo '{inbox}' >> {last}"])
    with night.engine("preflight", "plan") as driver:
        facts = driver.probe()
        failed = [check.id for check in driver.verify() if not check.passed]
    assert facts.dovecot.value.version.startswith("2.4.") and failed == ["inbox-location"]
    lab.run("mailboxvm", ["sed", "-i", "$d", last])


def test_the_whole_night(night):
    night.up_to("backup")


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


def test_the_way_back(night):
    night.step("rollback")
