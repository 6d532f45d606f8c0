"""Submission, webmail and lists: plans and checks from facts, with and without a fault."""

import copy

import example
import lab.systems
import pytest
from cutover import site
from cutover.facts import submission, systems, userdb
from cutover.steps.checks import system_checks
from cutover.steps.maintenance import forwards
from cutover.steps.night import production_test
from lab import config

LAB = site.load("parameters/lab.yaml")
WITHOUT = LAB.model_copy(update={"submission": None, "webmail": None, "lists": []})
RUN = "r1"
STEP = example.step("production-test")
YES, NO = (
    {"code": 250, "text": "ok", "auth": ""},
    {"code": 550, "text": "5.7.1 Relaying denied", "auth": ""},
)


def healthy():
    """production-test's, when all is well."""
    expected = {account.user: {} for account in LAB.production_test.users}
    for mail in production_test.test_mails(LAB, RUN):
        expected[mail.user][mail.token] = mail.folder
    for user, tokens in system_checks.tokens_by_user(LAB, RUN).items():
        expected[user].update({token: "INBOX" for token, _ in tokens})
    users = {
        user: {
            "value": {
                "address": "10.77.0.16",
                "folders": ["INBOX", "SPAM", "sent-mail"],
                "read": 9,
                "found": folders,
            }
        }
        for user, folders in expected.items()
    }
    return {
        "run": RUN,
        "users": users,
        "spooled": {},
        "old_alone": {"value": {"deliveries": 9, "alone": 0, "first": []}},
        "systems": {
            "submission": {
                "address": {"value": "10.77.0.18"},
                "ways": {
                    **{way: {"value": dict(YES)} for way in submission.GRANTED},
                    **{way: {"value": dict(NO)} for way in submission.REFUSED},
                },
            },
            "webmail": {
                "value": {
                    "messages": 9,
                    "folders": ["INBOX", "sent-mail"],
                    "read": True,
                    "token": True,
                    "comers": ["10.77.0.1", "10.77.0.19"],
                }
            },
            "lists": {"staff@lab.test": {"value": ["staff@webmail.lab.test"]}},
        },
    }


def judged(change=lambda facts: None):
    """Mark, id and subject of the checks that are not ok, after a change of the facts."""
    facts = copy.deepcopy(healthy())
    change(facts)
    return [
        (check.mark, check.id, check.subject)
        for check in STEP.verify(facts, LAB)
        if check.mark != "ok"
    ]


def test_all_is_well():
    assert judged() == [] and not STEP.plan(healthy(), LAB).changes
    # a level above a folder, which is none itself
    assert (
        judged(
            lambda facts: (
                facts["users"]["alice"]["value"].update(folders=["INBOX", "lavori/2020"]),
                mail(folders=["INBOX", "lavori", "lavori/2020"])(facts),
            )
        )
        == []
    )


def way(name, **values):
    return lambda facts: facts["systems"]["submission"]["ways"][name]["value"].update(values)


def mail(**values):
    return lambda facts: facts["systems"]["webmail"]["value"].update(values)


@pytest.mark.parametrize(
    "change, mark, check_id, subject",
    [
        (way("nothing", code=250), "FAIL", "submission-way", "nothing"),
        (way("nothing", code=451), "FAIL", "submission-way", "nothing"),
        (way("plain", auth="PLAIN"), "FAIL", "submission-way", "plain"),
        (way("inside", code=550), "FAIL", "submission-way", "inside"),
        (way("certificate", code=550), "FAIL", "submission-way", "certificate"),
        (
            lambda facts: facts["systems"]["submission"]["ways"].update(password={"error": "535"}),
            "FAIL",
            "submission-way",
            "password",
        ),
        (
            lambda facts: facts["systems"]["submission"].update(address={"value": "10.77.0.13"}),
            "FAIL",
            "submission-name",
            "postinoauth1",
        ),
        (mail(read=False), "FAIL", "webmail-login", "alice"),
        (mail(token=False, read=None), "FAIL", "webmail-shows-new-mail", "alice"),
        (mail(comers=["10.77.0.1"]), "FAIL", "webmail-reads-from-new", "webmail"),
        (mail(comers=[]), "warn", "webmail-reads-from-new", "webmail"),
        (mail(folders=["INBOX"]), "warn", "webmail-folders", "alice"),
        (mail(folders=["INBOX", "mail/sent-mail"]), "warn", "webmail-folders", "alice"),
        (
            lambda facts: facts["systems"].update(webmail={"error": "refused"}),
            "FAIL",
            "webmail-login",
            "alice",
        ),
        (
            lambda facts: facts["systems"]["lists"].update({"staff@lab.test": {"value": []}}),
            "FAIL",
            "list-route",
            "staff@lab.test",
        ),
    ],
)
def test_each_fault_fails_its_own_check(change, mark, check_id, subject):
    assert judged(change) == [(mark, check_id, subject)]


def test_what_has_not_arrived_is_sent_and_a_post_must_reach_each_subscriber():
    facts = healthy()
    del facts["users"]["bruno"]["value"]["found"]["r1-list-staff-lab.test"]
    del facts["users"]["alice"]["value"]["found"]["r1-smtp-certificate-alice"]
    released, submitted, posted = STEP.plan(facts, LAB).changes
    assert released.kind == "release-queue" and released.whole
    assert (submitted.kind, submitted.way, posted.kind, posted.users) == (
        "submit-test-mail",
        "certificate",
        "post-test-mail",
        ["alice", "bruno"],
    )
    failed = [check for check in STEP.verify(facts, LAB) if not check.passed]
    assert [(check.id, check.subject, check.data["token"]) for check in failed] == [
        ("system-mail-arrived", "alice", "r1-smtp-certificate-alice"),
        ("system-mail-arrived", "bruno", "r1-list-staff-lab.test"),
    ]


def test_systems_that_are_not_declared_are_listed():
    (check,) = system_checks.judge(systems.Systems(None, None, None), WITHOUT)
    assert check.passed
    assert check.data == {"tested": [], "missing": ["submission", "webmail", "lists"]}
    assert not system_checks.test_mails(WITHOUT, RUN) and not submission.ways(WITHOUT)


def test_ways_that_this_machine_cannot_try_are_listed():
    inside = LAB.model_copy(
        update={"submission": LAB.submission.model_copy(update={"outside": None})}
    )
    assert submission.ways(inside) == ["inside"]
    (warned,) = [check for check in system_checks.declared(inside) if check.warning]
    assert warned.id == "submission-ways-tried"
    assert warned.data == {"untried": ["password", "certificate", "nothing", "plain"]}


def test_facts_that_an_earlier_version_recorded_are_judged_as_before():
    facts = healthy()
    del facts["systems"]
    assert (
        all(check.passed for check in STEP.verify(facts, LAB)) and not STEP.plan(facts, LAB).changes
    )


# -- lists in the userdb


def test_dual_delivery_leaves_a_list_to_its_host_and_it_is_no_forward():
    text = config.USERDB.format(
        users="alice:maildrop\talice@mailbox.lab.test", lists=lab.systems.routes()
    )
    line = "staff:maildrop\tstaff@lists.lab.test"
    assert line in text.splitlines()
    after, changed = userdb.route_to_both(
        text.encode(),
        old=["mailbox.lab.test"],
        targets=("mailboxold.lab.test", "mailboxvm.lab.test"),
    )
    assert (
        line in after.decode().splitlines() and len(changed) == 3
    )  # alice, Alice.Rossi's, secretariat
    records = forwards.of_users(text.encode(), LAB)
    assert {forward.entry.key for forward in records} == {"former1", "former2"}
    records = forwards.of_users(text.encode(), LAB.model_copy(update={"lists": []}))
    assert "staff" in {forward.entry.key for forward in records}


def test_an_approval_holds_while_mail_comes_and_not_when_a_test_message_appears():
    facts = healthy()
    facts["systems"]["webmail"]["value"].update(messages=99, comers=[])
    facts["users"]["alice"]["value"].update(read=5, folders=["INBOX"])
    assert STEP.stable(facts) == STEP.stable(healthy())
    del facts["users"]["alice"]["value"]["found"]["r1-smtp-inside-alice"]
    assert STEP.stable(facts) != STEP.stable(healthy())


@pytest.mark.parametrize(
    "alone",
    [
        {"value": {"deliveries": 9, "alone": 7, "first": [f"<{n}@x> to ada" for n in range(7)]}},
        {"error": "postino3: the link was lost"},
    ],
)
def test_mail_that_only_the_old_server_has_warns_and_fails_nothing(alone):
    assert judged(lambda facts: facts.update(old_alone=alone)) == [
        ("warn", "reached-both", "mailboxold")
    ]
