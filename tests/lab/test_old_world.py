"""A night from an old server, and through an MX, with what hosts of 2007 have.

Old ssh algorithms, a sudo without -n, SysV scripts and xinetd, no journal, no Python: see
lab/old_world.py.
"""

import pytest
from cutover.facts import logs
from lab import old_world
from night import Night

pytestmark = pytest.mark.lab
REQUIRETTY = "/etc/sudoers.d/tty"


@pytest.fixture(scope="module")
def lab(_lab_of_the_session):
    _lab_of_the_session.reset(old=True)
    return _lab_of_the_session


@pytest.fixture(scope="module")
def night(lab, tmp_path_factory):
    made = Night(tmp_path_factory.mktemp("night"))
    old_world.parameters(made.values)
    made.write()
    return made


def failing(night):
    """{(id, subject): what it says} of preflight's checks that fail."""
    with night.engine("preflight", "plan") as driver:
        driver.probe()
        checks = [check for check in driver.verify() if not check.passed]
    return {(check.id, check.subject): check.actual for check in checks}


def test_preflight_tells_the_line_to_change(lab, night):
    assert failing(night) == {}
    lab.run("mailboxold", ["sh", "-c", f"echo 'Defaults requiretty' > {REQUIRETTY}"])
    lab.run("postino4", ["mv", "/usr/sbin/makemap", "/usr/sbin/makemap.away"])
    with night.set("hosts.postino4.legacy_sudo", False):
        shown = failing(night)
    assert "hosts.postino4.legacy_sudo: true" in shown["root-access", "postino4"]
    assert "Defaults:operator !requiretty" in shown["root-access", "mailboxold"]
    lab.run("mailboxold", ["rm", REQUIRETTY])
    assert failing(night)["programs-present", "postino4"] == "makemap missing"
    lab.run("postino4", ["mv", "/usr/sbin/makemap.away", "/usr/sbin/makemap"])


def test_the_whole_night_and_back(lab, night):
    night.up_to("production-test")
    with night.engine("decommission", "plan") as driver:
        facts = driver.probe()
    use = facts.logs.value
    assert use.first <= facts.production.since and (use.logins, use.direct) == (0, 0)
    assert use.dual > 0
    night.step("rollback")
    with night.engine("decommission", "plan") as driver:
        log = logs.read(driver.hosts, "mailboxold", facts.production.since)
    assert log.logins  # the rollback's own, to show that reading works again
