"""presync, convert and verify: what they plan and how they judge."""

import dataclasses
import re
import types

import example
import pytest
from cutover import model
from cutover.changes import conversion
from cutover.commands import run
from cutover.comparison import carried, carried_users, elsewhere, folders
from cutover.site import night_sections
from cutover.steps.checks import left_out
from cutover.steps.night import convert, verify, verify_contents
from example import ROMA1, altered, recorded

# --- convert


@pytest.mark.parametrize(
    "listed, root",
    [
        ("/home/alice/mail/x", None),
        ("/srv/mailboxold/home/alice/mail/x", None),
        ("/home/alice/Mail/work/x", "{home}/Mail"),
        ("/home/alice/oldmail", "{home}/oldmail"),
        ("/home/alice/oldmail", "{home}"),
    ],
)
def test_a_damaged_file_is_salvaged_wherever_its_users_mail_is(listed, root):
    roots = [night_sections.Root(path=root, name="")] if root else []
    store = ROMA1.old_store.model_copy(update={"salvage": [listed], "roots": roots})
    parameters = ROMA1.model_copy(update={"old_store": store})
    (change,) = example.step("convert").plan(recorded("convert", "before"), parameters).changes
    assert change.salvage == ["alice"]


def test_what_an_error_suggests_to_type_is_a_whole_command():
    change = conversion.Convert("mailboxvm", "r1", "/var/imap", 2, [{"user": "alice"}])
    error = {"user": "alice", "kind": "UnreadableMail", "file": "/x", "what": "closed"}
    with pytest.raises(model.ChangeFailed) as failed:
        change._fail("convert-users", conversion._Outcome(errors=[error]))
    typed = re.search(r"`\./cutover run (.*?)`", str(failed.value)).group(1)
    assert run.run.make_context("run", typed.split()).params["without"] == ("USER",)


# --- verify


@pytest.mark.parametrize(
    "spoil, words",
    [
        (
            lambda row: row.update(differences=["UID 7: missing"], differing=1, new=row["new"] - 1),
            "UID 7: missing",
        ),
        (
            lambda row: row.update(extra=row["extra"] + 1, new=row["new"] + 1),
            "the conversion says it added",
        ),
    ],
)
def test_a_difference_names_user_folder_and_both_figures_and_fails(spoil, words):
    facts = altered(
        recorded("verify", "after"), lambda facts: spoil(facts["users"]["alice"]["rows"][0])
    )
    failed = [check for check in example.step("verify").verify(facts, ROMA1) if not check.passed]
    assert (failed[0].id, failed[0].subject) == ("user-mail-equal", "alice")
    assert "INBOX" in failed[0].actual and words in failed[0].actual
    assert failed[-1].id == "sums-equal" and failed[-1].data["new"] != failed[-1].data["old"]


@pytest.mark.parametrize(
    "besides, mark, unknown",
    [
        ({"names": 9, "mail": []}, "ok", []),
        ({"names": 9, "unseen": 2}, "warn", []),
        ({"mail": [{"name": "oldmail", "messages": 7}]}, "FAIL", ["oldmail"]),
    ],
)
def test_mail_that_only_the_old_server_knows_fails_its_user(besides, mark, unknown):
    def change(facts):
        facts["users"]["alice"]["besides"] = besides

    checks = example.step("verify").verify(altered(recorded("verify", "after"), change), ROMA1)
    (check,) = [check for check in checks if check.subject == "alice"]
    assert check.mark == mark
    assert [item["name"] for item in check.data["unknown"]] == unknown


def test_no_message_is_lost_is_said_only_if_nothing_was_passed_over():
    nothing = {"rows": [], "passed_over": [], "added": {}}
    todos = {
        verify.user_check("alice", model.from_json(verify.UserMail, nothing | more), "count")[
            0
        ].todo
        for more in (
            {"besides": None},
            {"besides": {"accepted": 1}},
            {"besides": {"unseen": 1}},
            {"besides": {}, "passed_over": ["mail/x"]},
            {"besides": {}, "rows": [{"salvaged": True, "new_name": "x"}]},
        )
    }
    whole = model.from_json(verify.UserMail, nothing | {"besides": {}})
    assert len(todos) == 1
    assert verify.user_check("alice", whole, "count")[0].todo not in todos


def test_a_user_who_could_not_be_read_fails():
    facts = altered(
        recorded("verify", "after"),
        lambda facts: facts["errors"].update(bruno="imapd: no such user"),
    )
    failed = [check for check in example.step("verify").verify(facts, ROMA1) if not check.passed]
    (check,) = [check for check in failed if check.id == "user-mail-readable"]
    assert check.subject == "bruno" and "no such user" in check.actual


@pytest.mark.parametrize(
    "contents, compared, warned",
    [
        ({"share": 0.25, "seed": "night"}, 10, True),
        ({"share": 1.0, "late": True}, 10, True),
        ({"share": 1.0}, 40, False),
    ],
)
def test_it_is_told_of_how_many_messages_contents_were_compared(contents, compared, warned):
    check = verify_contents.contents_check(
        verify_contents.ContentsRead(**contents), verify.Sums(old=40, contents=compared)
    )
    assert check.passed and check.warning == warned and check.id == "contents-compared"
    assert (check.data["compared"], check.data["messages"]) == (compared, 40)


# --- convert


def test_what_was_carried_over_is_said_with_when_and_what_was_read_again():
    def change(facts):
        row = facts["users"]["alice"]["rows"][0]
        row.update(proven=1_800_000_000.0, again=3, contents=row["old"])
        facts["contents"]["again"] = "0123abcd"

    facts = altered(recorded("verify", "after"), change)
    (check,) = [
        check
        for check in example.step("verify").verify(facts, ROMA1)
        if check.id == "contents-carried"
    ]
    row = facts["users"]["alice"]["rows"][0]
    assert check.data["messages"] == row["old"] and check.data["folders"] == 1
    assert check.data["sample"] == [f"{row['user']}: {row['old_name']}"] and not check.warning
    assert f"{row['old']} messages in 1 of" in check.actual and "seed 0123abcd" in check.actual
    assert check.actual.count("2027-01-15 08:00:00") == 2 and "3 of the messages" in check.actual


PROOFS = {"ada": {"mail/work": "a proof"}, "gone": {"mail/work": "a proof"}}
KEPT = model.Reading(types.SimpleNamespace(proofs=PROOFS, wholes={}))
FAILED = {"event": "verified", "step": "verify", "passed": False}
UNDONE = {"event": "verified", "step": "rollback", "passed": True}


@pytest.mark.parametrize(
    "presync, events, void",
    [
        (KEPT, [], ""),
        (KEPT, [{**FAILED, "passed": True}], ""),
        (KEPT, [FAILED], "failed"),
        (KEPT, [FAILED, UNDONE], ""),
        (None, [], "not passed"),
        (model.Reading(error="they are gone"), [], "they are gone"),
    ],
)
def test_why_verify_carries_nothing_over(monkeypatch, presync, events, void):
    ctx = types.SimpleNamespace(
        hosts=types.SimpleNamespace(
            site=types.SimpleNamespace(verify=types.SimpleNamespace(parallel=1))
        ),
        run_name="night",
        kept={"presync": presync}.get,
        history=events,
    )
    monkeypatch.setattr(verify_contents.carried, "of_new", lambda *_: {"ada": {}})
    monkeypatch.setattr(
        verify_contents.carried, "unchanged", lambda hosts, user, proofs, new: proofs
    )
    ada = types.SimpleNamespace(user="ada")
    carry = verify_contents.carry(ctx, {"ada": None}, {"ada": ada})
    assert carry.proofs == ({} if void else {"ada": PROOFS["ada"]})
    assert void in carry.void and bool(carry.void) == bool(void)


WORK = folders.Converted("mail/work", "work")
BOTH = [folders.Converted("INBOX", "INBOX"), WORK]


@pytest.mark.parametrize(
    "known, sampled, asked, uidls, covered",
    [
        (BOTH, "bob", 3, True, True),
        (BOTH[::-1], "bob", None, False, True),
        (BOTH, "ada", 3, True, False),
        (BOTH, "bob", None, True, False),
        ([], "bob", 3, True, False),
        (BOTH[:1], "bob", 3, True, False),
        ([*BOTH, folders.Converted("mail/more", "more")], "bob", 3, True, False),
        ([BOTH[0], dataclasses.replace(WORK, added=1)], "bob", 3, True, False),
        ([BOTH[0], dataclasses.replace(WORK, lost_keywords=["a"])], "bob", 3, True, False),
        ([BOTH[0], dataclasses.replace(WORK, new="other")], "bob", 3, True, False),
    ],
)
def test_who_need_not_be_opened(known, sampled, asked, uidls, covered):
    nothing = elsewhere.Elsewhere()
    whole = carried_users.Whole("exact", "loose", [], "new", 3, asked, nothing, 1.5)
    proof = carried.Proof("work", "old", "new", 5, 7, 0, 1.5)
    carry = verify_contents.Carry({"ada": {"mail/work": proof}}, {"ada": whole})
    again = carried.Again("seed", frozenset({(sampled, "mail/work")}))
    assert carry.covers("ada", known, again, uidls) == covered
    assert not carry.covers("eva", known, again, uidls)


@pytest.mark.parametrize("holds", [True, False])
def test_of_a_user_who_holds_no_folder_is_asked_for(monkeypatch, holds):
    kept = types.SimpleNamespace(proofs=PROOFS, wholes={"ada": "whole"})
    ctx = types.SimpleNamespace(
        hosts=types.SimpleNamespace(
            site=types.SimpleNamespace(verify=types.SimpleNamespace(parallel=1))
        ),
        run_name="night",
        kept={"presync": model.Reading(kept)}.get,
        history=[],
    )
    monkeypatch.setattr(verify_contents.carried, "of_new", lambda *_: {"ada": {}})
    monkeypatch.setattr(verify_contents.carried, "unchanged", lambda *_: {})
    monkeypatch.setattr(verify_contents.carried_users, "is_unchanged", lambda *_: holds)
    ada = types.SimpleNamespace(user="ada")
    carry = verify_contents.carry(ctx, {"ada": None}, {"ada": ada})
    assert carry.wholes == ({"ada": "whole"} if holds else {})
    assert carry.proofs == ({"ada": PROOFS["ada"]} if holds else {})


def test_that_nothing_could_be_carried_is_a_warning():
    facts = altered(
        recorded("verify", "after"),
        lambda facts: facts["contents"].update(again="0123abcd", void="the facts are gone"),
    )
    (check,) = [
        check
        for check in example.step("verify").verify(facts, ROMA1)
        if check.id == "contents-carried"
    ]
    assert check.passed and check.warning and "the facts are gone" in check.actual


def verified(*checks):
    return {"event": "verified", "step": "verify", "passed": False, "checks": list(checks)}


def judged(user, passed, id="user-mail-equal"):
    """A check of verify as the journal keeps it; its wording says nothing."""
    return {"question": "", "passed": passed, "id": id, "subject": user}


DIFFERENT = verified(
    judged("alice", False),
    judged("bruno", True),
    judged("carla", False, "user-mail-readable"),
    judged("", False, "sums-equal"),
)


@pytest.mark.parametrize(
    "events, users",
    [
        ([], []),
        ([DIFFERENT], ["alice"]),
        ([DIFFERENT, verified(judged("bruno", False))], ["bruno"]),
        ([DIFFERENT, {"event": "applied", "step": "convert"}], []),
        ([DIFFERENT, {"event": "applied", "step": "verify"}], ["alice"]),
        ([DIFFERENT, {"event": "intent", "step": "restore-imap"}], []),
        # nor once mail has come, whatever verify says later
        ([{"event": "intent", "step": "restore-sendmail"}, DIFFERENT], []),
        ([DIFFERENT, {"event": "intent", "step": "rollback"}, DIFFERENT], []),
        (
            [
                {"event": "intent", "step": "restore-imap"},
                {"event": "verified", "step": "rollback", "passed": True},
                DIFFERENT,
            ],
            ["alice"],
        ),
        ([DIFFERENT, {"event": "intent", "step": "convert"}], ["alice"]),
        # of an earlier version: no ids
        ([verified({"question": "Is alice's mail the same on both sides?", "passed": False})], []),
    ],
)
def test_users_whose_mail_differs_are_converted_again(events, users):
    assert convert.users_to_convert_again(events) == users


def test_only_a_published_user_is_converted_again():
    facts = altered(
        recorded("convert", "after"), lambda facts: facts.update(again=["alice", "nobody"])
    )
    (change,) = example.step("convert").plan(facts, ROMA1).changes
    assert change.kind == "convert-again" and [user["user"] for user in change.users] == ["alice"]


def test_what_the_conversion_reports_is_a_warning_of_its_user():
    def damage(facts):
        folder = facts["state"]["users"]["alice"]["folders"][0]
        folder["damage"] = [{"kind": "BadSize", "file": "/a", "offset": 7, "what": "odd size"}]

    checks = example.step("convert").verify(altered(recorded("convert", "after"), damage), ROMA1)
    (check,) = [check for check in checks if check.id == "damaged-files"]
    assert (check.subject, check.passed, check.warning) == ("alice", True, True)
    assert "/a at byte 7: odd size" in check.actual and "/salvage/alice" in check.todo


# --- without some users


def unpublished(*names, phase="none"):
    def alter(facts):
        for name in names:
            facts["state"]["users"][name].update(published=False, phase=phase)
        facts["without"] = list(names)

    return altered(recorded("convert", "after"), alter)


def test_a_user_left_out_is_in_the_plan_the_approval_and_the_notes():
    step, facts = example.step("convert"), unpublished("alice")
    plan = step.plan(facts, ROMA1)
    (change,) = plan.changes
    assert [user["user"] for user in change.without] == ["alice"] and not change.users
    assert "without alice" in change.title() and "alice: LEFT OUT" in change.describe()
    assert plan.notes[0][0] == "alice"
    assert step.confirmation(ROMA1, {"without": " bruno,alice"}) == "convert without alice, bruno"
    assert step.confirmation(ROMA1, {}) == "convert" and not change.inverse().users


@pytest.mark.parametrize("names", [("nobody",), ("bruno",)])
def test_only_a_known_user_who_is_not_published_can_be_left_out(names):
    facts = altered(recorded("convert", "after"), lambda facts: facts.update(without=list(names)))
    with pytest.raises(model.CannotPlan, match=names[0]):
        example.step("convert").plan(facts, ROMA1)


def test_a_user_left_out_is_named_and_nothing_else_is_said_of_the_mail():
    facts = unpublished("alice", phase="left-out")
    assert not example.step("convert").plan(facts, ROMA1).changes
    checks = {check.id: check for check in example.step("convert").verify(facts, ROMA1)}
    assert checks["mail-published"].passed and checks["mail-published"].data["missing"] == []
    out = checks["user-left-out"]
    assert (out.subject, out.passed, out.warning) == ("alice", True, True)
    assert not [c for c in checks.values() if c.subject == "alice" and "no message" in c.todo]


def test_verify_names_who_was_left_out_and_counts_the_others():
    def leave_out(facts):
        del facts["users"]["alice"]
        facts["left_out"] = ["alice"]

    facts = altered(recorded("verify", "after"), leave_out)
    checks = example.step("verify").verify(facts, ROMA1)
    assert all(check.passed for check in checks)
    assert [check.subject for check in checks if check.id == "user-left-out"] == ["alice"]
    (sums,) = [check for check in checks if check.id == "sums-equal"]
    assert "WITHOUT alice" in sums.actual


def test_a_user_whose_trees_cannot_be_looked_at_fails_by_name():
    fault = {"kind": "OSError", "file": "/m/alice", "offset": None, "what": "odd", "todo": "Fix."}
    facts = altered(
        recorded("convert", "after"),
        lambda facts: facts["state"]["users"]["alice"].update(error=fault),
    )
    (failed,) = [c for c in example.step("convert").verify(facts, ROMA1) if not c.passed]
    assert (failed.id, failed.subject, failed.todo) == ("user-trees-readable", "alice", "Fix.")
    assert "/m/alice: odd" in failed.actual


def test_preflight_names_whom_an_earlier_run_left_out():
    (check,) = left_out.earlier(model.Reading({"alice": "2026-11-27_01"}), ROMA1)
    assert check.warning and check.subject == "alice" and "2026-11-27_01" in check.actual
    (check,) = left_out.earlier(model.Reading(error="no answer"), ROMA1)
    assert not check.passed


# --- presync


def test_a_sample_that_differs_fails_presync():
    facts = altered(
        recorded("presync", "after"),
        lambda facts: facts["sample"].update(differences=["alice: INBOX: UID 7: not staged"]),
    )
    (failed,) = [
        check for check in example.step("presync").verify(facts, ROMA1) if not check.passed
    ]
    assert (failed.id, failed.data["differences"]) == ("sample-equal", 1)
    assert "UID 7: not staged" in failed.actual
