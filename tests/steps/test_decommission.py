"""Decommission, pure: what is refused, what is planned, what is found wrong."""

import copy
import dataclasses
import json

import pytest
from cutover import model, site
from cutover.steps.night import decommission

ROMA1 = site.load("parameters/roma1.yaml")


def recorded(name, when):
    return json.loads((ROMA1.path.parent / "roma1" / f"{name}.json").read_bytes())[when]


def altered(name, when, change):
    found = copy.deepcopy(recorded(name, when))
    change(found)
    return found


def failed(step, found):
    return [check for check in step.verify(found, ROMA1) if not check.passed]


# -- decommission


def test_every_change_says_that_there_is_no_way_back():
    changes = decommission.plan(recorded("decommission", "before"), ROMA1).changes
    assert [change.kind for change in changes] == [
        "userdb-single",
        "userdb-single",
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


def test_the_name_stays_when_the_parameters_say_so():
    keep = ROMA1.model_copy(
        update={"decommission": ROMA1.decommission.model_copy(update={"dns": "keep"})}
    )
    assert "dns-remove" not in [
        change.kind
        for change in decommission.plan(recorded("decommission", "before"), keep).changes
    ]
    after = altered(
        "decommission",
        "after",
        lambda found: [
            server["records"].update(
                {"mailboxold.roma1.example": {"A": {"ttl": 60, "values": ["192.0.2.15"]}}}
            )
            for server in found["servers"].values()
        ],
    )
    assert not decommission.plan(after, keep).changes
    assert all(check.passed for check in decommission.verify(after, keep))
    gone = [
        check
        for check in decommission.verify(recorded("decommission", "after"), keep)
        if not check.passed
    ]
    assert gone and all("kept on" in check.question for check in gone)
    assert [change.kind for change in decommission.plan(after, ROMA1).changes] == ["dns-remove"]


def logged(found):
    return found["logs"]["value"]


def of(found, user):
    return found["left"]["value"]["users"][user]


@pytest.mark.parametrize(
    "spoil, said",
    [
        (
            lambda found: found["production"].update(days=29.5),
            "expected at least 30 days; found 29.5 days",
        ),
        (lambda found: found["production"].update(days=None), "this run does not know"),
        (
            lambda found: found["servers"]["ns2"]["records"]["mailbox.roma1.example"][
                "CNAME"
            ].update(values=["mailboxold.roma1.example."]),
            "an alias of mailboxvm.roma1.example on ns2",
        ),
        (
            lambda found: found["mx"]["postino4"].update(
                source=found["mx"]["postino4"]["source"]
                + "guest:maildrop\tguest@mailboxold.roma1.example\n"
            ),
            "found 1 entries: guest",
        ),
        (lambda found: found.update(backup=None), "the parameters name no backup"),
        (
            lambda found: found["backup"]["last"].update(result=12, error="disk full"),
            "NO: disk full",
        ),
        (
            lambda found: found["backup"].update(at=found["backup"]["at"] + 30 * 3600),
            "today or yesterday",
        ),
        (
            lambda found: logged(found).update(first=found["production"]["since"] + 60),
            "reach back to restore-imap",
        ),
        (
            lambda found: (
                logged(found).update(logins=1),
                logged(found)["shown"].update(logins=["ugo from x"]),
            ),
            "found 1 logins: ugo from x",
        ),
        (lambda found: logged(found).update(direct=2), "found 2 direct deliveries"),
        (lambda found: found.update(logs={"error": "no journal"}), "no journal"),
        (
            lambda found: of(found, "rita").update(only=1, first=["INBOX UID 9"]),
            "rita on mailboxold only.*INBOX UID 9",
        ),
        (
            lambda found: found["left"]["value"]["errors"].update(olga="imapd: no such user"),
            "olga.*no such user",
        ),
        (lambda found: found.update(left={"error": "no record"}), "no record"),
        (lambda found: found.update(off=True), "this run did not switch it off"),
    ],
)
def test_a_gate_that_is_not_met_refuses_the_plan(spoil, said):
    found = altered("decommission", "before", spoil)
    with pytest.raises(model.CannotPlan, match=f"(?s)the point of no return:.*{said}"):
        decommission.plan(found, ROMA1)
    assert not all(check.passed for check in decommission.gate(found, ROMA1))


def test_every_gate_that_is_not_met_says_what_to_do():
    nothing = altered(
        "decommission", "before", lambda found: found.update(logs=None, left=None, backup=None)
    )
    checks = [check for check in decommission.gate(nothing, ROMA1) if not check.passed]
    assert len(checks) == 3 and all(check.todo for check in checks)


def test_once_begun_it_goes_on_with_a_host_that_is_off_already():
    def half(found):
        after = recorded("decommission", "after")
        found.update(begun=True, off=True, services=[], logs=None, left=None)
        found["mx"]["postino3"] = after["mx"]["postino3"]

    changes = decommission.plan(altered("decommission", "before", half), ROMA1).changes
    assert [(change.kind, change.target) for change in changes] == [
        ("userdb-single", "postino4"),
        ("dns-remove", "ns1"),
    ]


def test_what_is_typed_to_approve_it_is_the_hosts_name_and_the_sentence():
    assert (
        decommission.STEP.confirmation(ROMA1, {})
        == "mailboxold.roma1.example: there is no way back"
    )
    assert decommission.STEP.signers == 2


@pytest.mark.parametrize(
    "spoil, question",
    [
        (lambda found: found.update(off=False), "answer no more"),
        (
            lambda found: found["mx"]["postino3"]["routes"].update(
                alice=["alice@mailboxold.roma1.example"]
            ),
            "sendmail -bv",
        ),
        (
            lambda found: found["mx"]["postino3"].update(map=found["mx"]["postino3"]["map"][1:]),
            "made from the source",
        ),
    ],
)
def test_decommission_verify_finds(spoil, question):
    wrong = failed(decommission, altered("decommission", "after", spoil))
    assert [question in check.question for check in wrong] == [True] and wrong[0].todo


def test_the_changes_are_whole_in_a_journal():
    for change in decommission.plan(recorded("decommission", "before"), ROMA1).changes:
        again = model.change_from_json(json.loads(json.dumps(change.to_json())))
        assert (
            again.describe() == change.describe()
            and dataclasses.asdict(again).keys() == dataclasses.asdict(change).keys()
        )
