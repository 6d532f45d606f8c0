"""What preflight checks of NIS."""

import pytest
from cutover import facts, model, site
from cutover.facts import nis_sendmail, users
from cutover.steps.checks import nis

LAB = site.load("parameters/lab.yaml")
WITHOUT = LAB.model_copy(update={"nis": None})
ALICE = users.Account("alice", 2001, 2001, "/home/alice")
BOTH = {"passwd": "files nis", "group": "files nis", "shadow": "files nis"}
PROCMAIL = "/usr/bin/procmail"
TAUGHT = "/usr/local/sbin/procmail-nis"
MAPS = {name: facts.nis.Map(order=1, master="ns1", entries=1) for name in facts.nis.MAPS}


def client(**changed):
    values = {
        "domain": "lab.test",
        "server": "10.77.0.11",
        "said": "",
        "configured": ["10.77.0.11", "10.77.0.12"],
        "switch": BOTH,
        "polls": {"ns1": "", "ns2": ""},
    }
    return facts.nis.Client(**(values | changed))


def checks(on_mailboxold, accounts=(ALICE,), **changed):
    values = {
        "clients": {"mailboxold": on_mailboxold},
        "servers": {name: facts.nis.Server(MAPS) for name in ("ns1", "ns2")},
        "users": [ALICE],
        "differ": [],
        "hidden": {},
    }
    reading = model.Reading(facts.nis.Nis(**(values | changed)))
    sides = {name: model.Reading(list(accounts)) for name in LAB.mail_hosts}
    return list(nis.checks(reading, sides, LAB))


def marks(*arguments, **changed):
    """{check id: mark} of the checks that are not ok."""
    return {check.id: check.mark for check in checks(*arguments, **changed) if check.mark != "ok"}


@pytest.mark.parametrize(
    "changed, expected",
    [
        ({}, {}),
        ({"server": ""}, {"nis-bound": "FAIL"}),
        ({"domain": "other"}, {"nis-bound": "FAIL"}),
        ({"switch": BOTH | {"shadow": "files"}}, {"nis-bound": "FAIL"}),
        ({"switch": dict.fromkeys(BOTH, "compat")}, {}),
        ({"configured": ["10.77.0.11"]}, {"nis-second-server": "warn"}),
        ({"configured": ["broadcast"]}, {}),
        ({"polls": {"ns1": "", "ns2": "refused"}}, {"nis-second-server": "warn"}),
    ],
)
def test_what_a_mail_host_is_bound_to(changed, expected):
    assert marks(client(**changed)) == expected


@pytest.mark.parametrize(
    "recipients, queue, mailer, passwd, waits",
    [
        (False, False, PROCMAIL, "files nis", False),
        (False, False, PROCMAIL, "files nis [NOTFOUND=return] extrausers", True),
        (True, True, TAUGHT, "files nis", True),
        (False, True, TAUGHT, "files nis", False),
        (True, False, TAUGHT, "files nis", False),
        (True, True, PROCMAIL, "files nis", False),
    ],
)
def test_whether_mail_waits_while_nis_is_silent(recipients, queue, mailer, passwd, waits):
    sendmail = nis_sendmail.Sendmail(recipients, queue, mailer)
    host = client(mail=sendmail, switch=BOTH | {"passwd": passwd})
    assert marks(host) == ({} if waits else {"nis-mail-waits": "warn"})


def test_nothing_is_said_of_a_host_without_sendmail():
    assert "nis-mail-waits" not in {check.id for check in checks(client())}


def test_the_maps_of_the_servers():
    differ = {"differ": ["passwd.byname: b only on ns1"]}
    assert marks(client(), **differ) == {"nis-maps-same": "FAIL"}
    servers = {
        "ns1": facts.nis.Server(dict.fromkeys(facts.nis.MAPS)),
        "ns2": facts.nis.Silent("silent"),
    }
    failed = [check for check in checks(client(), servers=servers) if not check.passed]
    assert [(check.id, check.subject) for check in failed] == [
        ("nis-maps", "ns1"),
        ("nis-maps", "ns2"),
        ("nis-maps-same", ""),
    ]
    assert "shadow.byname" not in failed[0].data["missing"] and failed[1].actual == "silent"


def test_users_of_a_mail_host_who_are_others_in_nis():
    other = users.Account("alice", 77, 2001, "/home/alice")
    own = users.Account("zoe", 2024, 2024, "/home/zoe")
    judged = [c for c in checks(client(), [other, own]) if c.id == "nis-users-same"]
    assert [(check.subject, check.mark) for check in judged] == [
        ("mailboxold", "FAIL"),
        ("mailboxvm", "FAIL"),
    ]
    assert judged[0].data == {"wrong": 1, "only in files": ["zoe"]}
    assert marks(client(), [ALICE, own]) == {"nis-users-same": "warn"}
    hidden = {"mailboxvm": ["alice: uid 77 here"]}
    assert marks(client(), hidden=hidden) == {"nis-hidden-users": "FAIL"}


def test_not_declared():
    for parameters in (WITHOUT, LAB):
        (check,) = nis.checks(model.Reading(None), {}, parameters)
        assert check.actual == "not declared" and check.mark == "ok"
    (check,) = nis.checks(model.Reading(error="no mail host"), {}, LAB)
    assert check.mark == "FAIL" and check.actual == "no mail host" and check.todo
