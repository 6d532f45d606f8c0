"""Go or no-go before reading stops: every reason for a no, and nothing once it has begun."""

import copy

import example
import pytest
from cutover import site
from cutover.steps.night import stop_imap

ROMA1 = site.load("parameters/roma1.yaml")
STEP = example.step("stop-imap")
ALIAS, OLD, NEW = (ROMA1.fqdn(name) for name in ("mailbox", "mailboxold", "mailboxvm"))
SERVER = {
    "serial": 7,
    "records": {
        ALIAS: {"CNAME": {"ttl": 60, "values": [OLD + "."]}},
        OLD: {},
        NEW: {"A": {"ttl": 60, "values": ["192.0.2.16"]}},
    },
}
GO = {
    "prediction": {
        "time": "2026-03-14T21:00:00.000+00:00",
        "staged": {"messages": 1000, "bytes": 10_000},
        **{kind: {"low": 60, "likely": 120, "high": 600} for kind in ("reading", "delivery")},
    },
    "presync": {
        "time": "2026-03-14T21:00:00.000+00:00",
        "passed": True,
        "checks": [
            {
                "question": "Is it staged?",
                "expected": "yes",
                "actual": "yes",
                "passed": True,
                "warning": False,
                "todo": "",
            }
        ],
    },
    "space": {"value": {"bytes": 2000, "inodes": 200}},
    "clock": {name: {"value": 0.1} for name in ("mailboxold", "mailboxvm")},
    "servers": {"value": {"ns1": SERVER, "ns2": copy.deepcopy(SERVER)}},
    "queue": {"postino3": {"value": {"requests": 0, "items": []}}},
    "routing": {"postino3": {"value": {"entries": [], "map_is_current": True}}},
    "accounts": {
        name: {"value": [{"user": "anna", "uid": 2000, "gid": 2000, "home": "/home/anna"}]}
        for name in ("mailboxold", "mailboxvm")
    },
}


def judged(change=lambda go: None):
    go = copy.deepcopy(GO)
    change(go)
    return STEP.gate({"run": "R", "hosts": {}, "go": go})


def test_go():
    checks = judged()
    assert len(checks) == 12 and all(check.passed and not check.warning for check in checks), checks


@pytest.mark.parametrize(
    "change, failing, words",
    [
        (
            lambda go: go["prediction"]["reading"].update(high=241 * 60),
            ("predicted-outage", "reading"),
            "1.0 to 241.0 min",
        ),
        (
            lambda go: go["prediction"]["delivery"].update(high=181 * 60),
            ("predicted-outage", "delivery"),
            "1.0 to 181.0 min",
        ),
        (
            lambda go: go["presync"].update(passed=False),
            ("presync-passed", ""),
            "no, at 21:00:00 UTC: it failed",
        ),
        (
            lambda go: go["presync"].update(
                passed=False,
                checks=[{**go["presync"]["checks"][0], "passed": False, "actual": "UID 7"}],
            ),
            ("presync-passed", ""),
            "Is it staged?: UID 7",
        ),
        (
            lambda go: go["space"]["value"].update(bytes=1999),
            ("free-bytes-for-the-rest", "mailboxvm"),
            "1999",
        ),
        (
            lambda go: go["space"]["value"].update(inodes=199),
            ("free-inodes-for-the-rest", "mailboxvm"),
            "199",
        ),
        (
            lambda go: go.update(space={"error": "no such host"}),
            ("room-for-the-rest", "mailboxvm"),
            "no such host",
        ),
        (
            lambda go: go["clock"].update(mailboxvm={"value": 5}),
            ("clocks-agree", ""),
            "4.9 s apart",
        ),
        (lambda go: go.update(clock={}), ("clocks-agree", ""), "unknown"),
        (lambda go: go.update(preflight=False), ("preflight-passed", ""), "no"),
        (
            lambda go: go["servers"]["value"]["ns2"].update(serial=6),
            ("zone-serial-same", ""),
            "ns2 6",
        ),
        (
            lambda go: go["servers"]["value"]["ns2"]["records"][ALIAS]["CNAME"].update(
                values=[NEW + "."]
            ),
            ("alias-leads-to", "ns2"),
            NEW,
        ),
        (
            lambda go: go["servers"]["value"]["ns2"]["records"].update({NEW: {}}),
            ("new-server-address", "ns2"),
            "no address",
        ),
        (
            lambda go: go.update(servers={"error": "ns1 is silent"}),
            ("zone-serial-same", ""),
            "ns1 is silent",
        ),
        (
            lambda go: go["queue"]["postino3"]["value"].update(requests=1, items=["x deferred"]),
            ("queue-clear", "postino3"),
            "x deferred",
        ),
        (
            lambda go: go["queue"].update(postino3={"error": "mailq is gone"}),
            ("queue-clear", "postino3"),
            "mailq is gone",
        ),
        (
            lambda go: go["routing"]["postino3"]["value"].update(entries=["zoe"]),
            ("still-routed-to-both", "postino3"),
            "not zoe",
        ),
        (
            lambda go: go["routing"]["postino3"]["value"].update(map_is_current=False),
            ("still-routed-to-both", "postino3"),
            "/etc/mail/userdb.db has other entries",
        ),
        (
            lambda go: go["routing"].update(postino3={"error": "no sudo"}),
            ("still-routed-to-both", "postino3"),
            "no sudo",
        ),
        (
            lambda go: go["accounts"]["mailboxvm"]["value"][0].update(uid=2001),
            ("users-same", ""),
            "anna: uid 2000",
        ),
        (
            lambda go: go["accounts"].update(mailboxold={"error": "no NIS server answers"}),
            ("users-same", "mailboxold"),
            "no NIS server answers",
        ),
    ],
)
def test_each_reason_for_a_no(change, failing, words):
    failed = [check for check in judged(change) if not check.passed]
    assert [(check.id, check.subject) for check in failed] == [failing]
    assert words in failed[0].actual and failed[0].todo


NAMES = {
    "names": {"version": "2.3.19", "namespaces": [{"section": "inbox", "inbox": True}]},
    "file": None,
}
UIDL = {"mail_location": "maildir:/var/imap/%u", "version": "2.3.19", "pop3_uidl": "%v.%u"}


def test_dovecots_names_and_uidls_are_judged_again():
    """They were in order when preflight passed; Dovecot's configuration has changed since."""
    changed = {"names": {"value": NAMES}, "store": {"value": UIDL}, "pop3": {"value": True}}
    checks = judged(lambda go: go.update(changed))
    assert {check.id for check in checks if not check.passed} == {
        "old-names-answered",
        "special-folders-declared",
        "pop3-uidl-format",
    }


def test_without_presync_it_warns_that_nothing_is_known():
    checks = judged(lambda go: go.update(prediction=None, presync=None))
    assert all(check.passed for check in checks)
    assert [check.id for check in checks if check.warning] == [
        "predicted-outage",
        "predicted-outage",
        "presync-passed",
    ]


def test_once_it_has_begun_nothing_is_asked():
    stop = {"event": "intent", "step": "stop-imap"}
    back = {"event": "verified", "step": "rollback", "passed": True}
    assert [
        stop_imap.begun(events) for events in ([], [stop], [stop, back], [stop, back, stop])
    ] == [False, True, False, True]
    (check,) = STEP.gate({"run": "R", "hosts": {}, "go": None})
    assert check.passed and check.warning
