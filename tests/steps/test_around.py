"""Submission, webmail and lists: what is planned and judged from facts, of systems that are as they should be and of others."""

import copy

import pytest
from cutover import site
from cutover.facts import userdb
from cutover.steps.checks import systems
from cutover.steps.maintenance import forwards
from cutover.steps.night import production_test
from lab import config
from lab import systems as lab_systems

LAB = site.load("parameters/lab.yaml")
WITHOUT = LAB.model_copy(update={"submission": None, "webmail": None, "lists": []})
RUN = "r1"
YES, NO = (
    {"code": 250, "text": "ok", "auth": ""},
    {"code": 550, "text": "5.7.1 Relaying denied", "auth": ""},
)


def facts():
    """production-test's, when all is well."""
    wanted = {each.user: {} for each in LAB.production_test.users}
    for token, _, user, spam in production_test.tokens(LAB, RUN):
        wanted[user][token] = "SPAM" if spam else "INBOX"
    for user, tokens in systems.wanted(LAB, RUN).items():
        wanted[user].update({token: "INBOX" for token, _ in tokens})
    users = {
        user: {
            "value": {
                "address": "10.77.0.16",
                "folders": ["INBOX", "SPAM", "sent-mail"],
                "read": 9,
                "found": found,
            }
        }
        for user, found in wanted.items()
    }
    return {
        "run": RUN,
        "users": users,
        "spooled": {},
        "systems": {
            "submission": {
                "address": {"value": "10.77.0.18"},
                "ways": {
                    **{way: {"value": dict(YES)} for way in systems.GRANTED},
                    **{way: {"value": dict(NO)} for way in systems.REFUSED},
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


def judged(change=lambda found: None):
    """The marks that are not ok, with their questions, after a change of the facts."""
    found = copy.deepcopy(facts())
    change(found)
    return [
        (check.mark, check.question)
        for check in production_test.verify(found, LAB)
        if check.mark != "ok"
    ]


def test_all_is_well():
    assert judged() == [] and not production_test.plan(facts(), LAB).changes
    # a level above a folder, which is none itself
    assert (
        judged(
            lambda found: (
                found["users"]["alice"]["value"].update(folders=["INBOX", "lavori/2020"]),
                mail(folders=["INBOX", "lavori", "lavori/2020"])(found),
            )
        )
        == []
    )


def way(name, **values):
    return lambda found: found["systems"]["submission"]["ways"][name]["value"].update(values)


def mail(**values):
    return lambda found: found["systems"]["webmail"]["value"].update(values)


@pytest.mark.parametrize(
    "change, mark, question",
    [
        (way("nothing", code=250), "FAIL", "refuse mail, from outside, with nothing"),
        (way("nothing", code=451), "FAIL", "refuse mail, from outside, with nothing"),
        (way("plain", auth="PLAIN"), "FAIL", "ask for no password"),
        (way("inside", code=550), "FAIL", "take mail, from inside"),
        (way("certificate", code=550), "FAIL", "by TLS with a client certificate"),
        (
            lambda found: found["systems"]["submission"]["ways"].update(password={"error": "535"}),
            "FAIL",
            "by TLS with a password",
        ),
        (
            lambda found: found["systems"]["submission"].update(address={"value": "10.77.0.13"}),
            "FAIL",
            "lead to postinoauth1",
        ),
        (mail(read=False), "FAIL", "log in at https://webmail.lab.test/ and read"),
        (mail(token=False, read=None), "FAIL", "came after the switch"),
        (mail(comers=["10.77.0.1"]), "FAIL", "Does webmail read from mailboxvm"),
        (mail(comers=[]), "warn", "Does webmail read from mailboxvm"),
        (mail(folders=["INBOX"]), "warn", "the folders that are there"),
        (mail(folders=["INBOX", "mail/sent-mail"]), "warn", "the folders that are there"),
        (
            lambda found: found["systems"].update(webmail={"error": "refused"}),
            "FAIL",
            "log in at https://webmail.lab.test/ and read",
        ),
        (
            lambda found: found["systems"]["lists"].update({"staff@lab.test": {"value": []}}),
            "FAIL",
            "know where staff@lab.test goes",
        ),
    ],
)
def test_what_is_wrong_is_told(change, mark, question):
    ((found, said),) = judged(change)
    assert found == mark and question in said


def test_what_has_not_arrived_is_sent_and_a_post_must_reach_each_subscriber():
    found = facts()
    del found["users"]["bruno"]["value"]["found"]["r1-list-staff-lab.test"]
    del found["users"]["alice"]["value"]["found"]["r1-smtp-certificate-alice"]
    submitted, posted = production_test.plan(found, LAB).changes
    assert (submitted.kind, submitted.way, posted.kind, posted.users) == (
        "submit-test-mail",
        "certificate",
        "post-test-mail",
        ["alice", "bruno"],
    )
    failed = [check.question for check in production_test.verify(found, LAB) if not check.passed]
    assert failed == [
        "Did mail submitted from outside, by TLS with a client certificate, arrive at alice?",
        "Did the post to staff@lab.test arrive at bruno?",
    ]


def test_what_is_not_declared_is_said():
    found = {"submission": None, "webmail": None, "lists": None}
    (check,) = systems.checks(found, WITHOUT)
    assert check.passed and check.actual == "none; not declared: submission, webmail, lists"
    assert not systems.tokens(WITHOUT, RUN) and not systems.ways(WITHOUT)


def test_ways_that_this_machine_cannot_try_are_said():
    inside = LAB.model_copy(
        update={"submission": LAB.submission.model_copy(update={"outside": None})}
    )
    assert systems.ways(inside) == ["inside"]
    (warned,) = [check for check in systems.declared(None, inside) if check.warning]
    assert (
        "not from outside, by TLS with a password" in warned.actual
        and "not from inside" not in warned.actual
    )


def test_facts_that_an_earlier_version_recorded_are_judged_as_before():
    found = facts()
    del found["systems"]
    assert (
        all(check.passed for check in production_test.verify(found, LAB))
        and not production_test.plan(found, LAB).changes
    )


# -- lists in the userdb


def test_dual_delivery_leaves_a_list_to_its_host_and_it_is_no_forward():
    text = config.USERDB.format(
        users="alice:maildrop\talice@mailbox.lab.test", lists=lab_systems.routes()
    )
    line = "staff:maildrop\tstaff@lists.lab.test"
    assert line in text.splitlines()
    after, changed = userdb.route_to_both(
        text.encode(), old="mailbox.lab.test", targets=("mailboxold.lab.test", "mailboxvm.lab.test")
    )
    assert (
        line in after.decode().splitlines() and len(changed) == 3
    )  # alice, Alice.Rossi's, secretariat
    assert {each.entry.key for each in forwards._found(text, LAB)} == {"former1", "former2"}
    assert "staff" in {
        each.entry.key for each in forwards._found(text, LAB.model_copy(update={"lists": []}))
    }


def test_an_approval_holds_while_mail_comes_and_not_when_a_test_message_appears():
    found = facts()
    found["systems"]["webmail"]["value"].update(messages=99, comers=[])
    found["users"]["alice"]["value"].update(read=5, folders=["INBOX"])
    assert production_test.stable(found) == production_test.stable(facts())
    del found["users"]["alice"]["value"]["found"]["r1-smtp-inside-alice"]
    assert production_test.stable(found) != production_test.stable(facts())
