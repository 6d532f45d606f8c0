"""Decommission, pure: what is refused, what is planned, what verification reports."""

import dataclasses
import json

import example
import pytest
from cutover import model
from cutover.model import runbook
from example import ROMA1, altered, recorded

KEEP_NAME = ROMA1.model_copy(
    update={"decommission": ROMA1.decommission.model_copy(update={"dns": "keep"})}
)


@pytest.fixture
def decommission():
    return example.step("decommission")


def spoiled(when, change):
    return altered(recorded("decommission", when), change)


def failed(checks):
    return [(check.id, check.subject) for check in checks if not check.passed]


def kinds(plan):
    return [change.kind for change in plan.changes]


def test_every_change_says_that_there_is_no_way_back(decommission):
    changes = decommission.plan(recorded("decommission", "before")).changes
    assert [change.kind for change in changes] == [
        "userdb-single",
        "userdb-single",
        "drain-queue",
        "drain-queue",
        "service-retired",
        "dns-remove",
        "power-off",
    ]
    assert all(
        change.inverse() is None and change.undo_text().startswith("none: ") for change in changes
    )
    assert sum("point of no return" in change.no_inverse for change in changes) == 5
    assert "alice:maildrop\talice@mailbox.roma1.example" in changes[0].describe()


def test_the_name_stays_when_the_parameters_say_so(decommission):
    def add_name(facts):
        for server in facts["servers"].values():
            server["records"]["mailboxold.roma1.example"] = {
                "A": {"ttl": 60, "values": ["192.0.2.15"]}
            }

    before, after = recorded("decommission", "before"), spoiled("after", add_name)
    assert "dns-remove" not in kinds(decommission.plan(before, KEEP_NAME))
    assert not decommission.plan(after, KEEP_NAME).changes
    assert failed(decommission.verify(after, KEEP_NAME)) == []
    assert failed(decommission.verify(recorded("decommission", "after"), KEEP_NAME)) == [
        ("old-name-kept", "ns1"),
        ("old-name-kept", "ns2"),
    ]
    assert kinds(decommission.plan(after)) == ["dns-remove"]


def use(facts):
    return facts["logs"]["value"]


def tally(facts, user):
    return facts["left"]["value"]["users"][user]


def alias_elsewhere(facts):
    records = facts["servers"]["ns2"]["records"]["mailbox.roma1.example"]
    records["CNAME"].update(values=["mailboxold.roma1.example."])


def routed_to_old_alone(facts):
    mx = facts["mx"]["postino4"]
    mx["source"] += "guest:maildrop\tguest@mailboxold.roma1.example\n"


def test_an_entry_of_the_old_server_is_corrected_without_a_step_of_the_night(decommission):
    """A change by dual-delivery makes production-test and backup stale, which decommission needs."""
    night = [{"event": "verified", "step": name, "passed": True} for name in runbook.NIGHT]
    again = [*night, {"event": "intent", "step": "dual-delivery"}]
    assert runbook.states(again)["production-test"] == "stale"
    (check,) = [
        check
        for check in decommission.gate(spoiled("before", routed_to_old_alone))
        if (check.id, check.subject) == ("routed-to-old-alone", "postino4")
    ]
    assert "makemap btree /etc/mail/userdb.db < /etc/mail/userdb" in check.todo


def somebody_logged_in(facts):
    use(facts).update(logins=1)
    use(facts)["shown"].update(logins=["ugo from x"])


@pytest.mark.parametrize(
    "spoil, check, detail",
    [
        (
            lambda facts: facts["production"].update(days=29.5),
            ("days-in-production", ""),
            "expected at least 30 days; found 29.5 days",
        ),
        (
            lambda facts: facts["production"].update(days=None),
            ("days-in-production", ""),
            "unknown",
        ),
        (alias_elsewhere, ("alias-leads-to", "ns2"), "mailboxold.roma1.example"),
        (routed_to_old_alone, ("routed-to-old-alone", "postino4"), "found 1 entries: guest"),
        (lambda facts: facts.update(backup=None), ("backup-declared", ""), "no backup"),
        (
            lambda facts: facts["backup"]["last"].update(result=12, error="disk full"),
            ("copy-run-succeeded", "sanbackup"),
            "disk full",
        ),
        (
            lambda facts: facts["backup"].update(at=facts["backup"]["at"] + 30 * 3600),
            ("copy-recent", "sanbackup"),
            "hours old",
        ),
        (
            lambda facts: use(facts).update(first=facts["production"]["since"] + 60),
            ("old-host-log-covers", "mailboxold"),
            "UTC",
        ),
        (
            somebody_logged_in,
            ("old-host-logins", "mailboxold"),
            "found 1 logins: ugo from x",
        ),
        (
            lambda facts: use(facts).update(direct=2),
            ("old-host-deliveries", "mailboxold"),
            "found 2 direct deliveries",
        ),
        (
            lambda facts: facts.update(logs={"error": "no journal"}),
            ("old-host-log-read", "mailboxold"),
            "no journal",
        ),
        (
            lambda facts: tally(facts, "rita").update(only=1, first=["INBOX UID 9"]),
            ("user-only-on-old", "rita"),
            "INBOX UID 9",
        ),
        (
            lambda facts: facts["left"]["value"]["errors"].update(olga="imapd: no such user"),
            ("mail-readable", "olga"),
            "no such user",
        ),
        (
            lambda facts: facts.update(left={"error": "no record"}),
            ("old-mail-read", "mailboxold"),
            "no record",
        ),
        (
            lambda facts: facts.update(off=True),
            ("old-host-answers", "mailboxold"),
            "this run did not switch it off",
        ),
    ],
)
def test_a_gate_that_is_not_met_refuses_the_plan(decommission, spoil, check, detail):
    facts = spoiled("before", spoil)
    with pytest.raises(model.CannotPlan, match=f"(?s)the point of no return:.*{detail}"):
        decommission.plan(facts)
    assert check in failed(decommission.gate(facts))


def test_the_gate_is_met_before_and_counts_what_it_judged(decommission):
    checks = decommission.gate(recorded("decommission", "before"))
    assert failed(checks) == []
    data = {check.id: check.data for check in checks}
    assert data["only-on-old"]["only"] == 0 < data["only-on-old"]["messages"]
    assert data["removed-by-users"]["same"] > 0


def test_a_user_whose_message_is_only_there_fails_the_sum_too(decommission):
    facts = spoiled("before", lambda facts: tally(facts, "rita").update(only=1))
    assert failed(decommission.gate(facts)) == [
        ("user-only-on-old", "rita"),
        ("only-on-old", "mailboxold"),
    ]


def test_every_gate_that_is_not_met_says_what_to_do(decommission):
    nothing = spoiled("before", lambda facts: facts.update(logs=None, left=None, backup=None))
    checks = [check for check in decommission.gate(nothing) if not check.passed]
    assert len(checks) == 3 and all(check.todo for check in checks)


def test_once_begun_it_continues_with_a_host_that_is_off_already(decommission):
    def half(facts):
        facts.update(begun=True, off=True, services=[], logs=None, left=None)
        facts["mx"]["postino3"] = recorded("decommission", "after")["mx"]["postino3"]

    changes = decommission.plan(spoiled("before", half)).changes
    assert [(change.kind, change.target) for change in changes] == [
        ("userdb-single", "postino4"),
        ("dns-remove", "ns1"),
    ]


def test_what_is_typed_to_approve_it_is_the_hosts_name_and_the_sentence(decommission):
    assert decommission.confirmation(ROMA1, {}) == "mailboxold.roma1.example: there is no way back"
    assert decommission.signers == 2


@pytest.mark.parametrize(
    "spoil, check",
    [
        (lambda facts: facts.update(off=False), ("old-host-off", "mailboxold")),
        (
            lambda facts: facts["mx"]["postino3"]["routes"].update(
                alice=["alice@mailboxold.roma1.example"]
            ),
            ("sendmail-routes-to-old", "postino3"),
        ),
        (
            lambda facts: facts["mx"]["postino3"].update(map=facts["mx"]["postino3"]["map"][1:]),
            ("userdb-map-current", "postino3"),
        ),
    ],
)
def test_verification_reports(decommission, spoil, check):
    checks = decommission.verify(spoiled("after", spoil))
    assert failed(checks) == [check]
    assert all(check.todo for check in checks if not check.passed)


def test_the_plan_rests_on_routing_services_and_the_zone(decommission):
    before = recorded("decommission", "before")
    quiet = spoiled("before", lambda facts: facts["production"].update(days=99.0))
    moved = spoiled("before", lambda facts: facts["services"][0].update(running=True))
    stable = decommission.stable(before)
    assert stable == json.loads(json.dumps(stable))
    assert decommission.stable(quiet) == stable != decommission.stable(moved)


def test_the_changes_are_whole_in_a_journal(decommission):
    for change in decommission.plan(recorded("decommission", "before")).changes:
        again = model.change_from_json(json.loads(json.dumps(change.to_json())))
        assert again.describe() == change.describe()
        assert dataclasses.asdict(again).keys() == dataclasses.asdict(change).keys()
