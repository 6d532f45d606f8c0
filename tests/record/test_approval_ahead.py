"""Plans of the outage approved before it begins: what such an approval covers, and what voids it."""

import json
import re

import pytest
import stub
from click import testing
from cutover.commands import main
from cutover.notebook import board_tables
from cutover.record import approval, approval_ahead, audit, record_json, signing, statement
from cutover.run import bound_plan, plans_ahead

REST = ("stop-sendmail", "convert", "restore-sendmail", "switch-alias")
LAST = "restore-imap"


@pytest.fixture
def night(night):
    """A site of which stop-imap and restore-imap are real and the steps between ask as always."""
    for name in REST:
        night.alter(name, ahead=None)
    night.alter(LAST, requires=(), needs_fresh_verify=False, verify=quiet)
    night.before()
    return night


def quiet(facts, site):
    return [stub.model.equal("Is it quiet?", "yes", "yes", id="quiet")]


def approve(night, who, *more, typed="mailbox.roma1.example ahead"):
    """`cutover approve --ahead` as one person types it."""
    argv = ["approve", "--run", str(night.run.path), "--ahead", *more]
    argv += ["--site", str(night.file), "--key", str(night.people.get(who, night.path / who))]
    return testing.CliRunner().invoke(main.cutover, argv, input=f"{typed}\n")


def both(night):
    first = approve(night, "anna")
    assert first.exit_code == 0, (first.output, first.exception)
    listed = approval_ahead.latest(night.run.journal.events())
    second = approve(night, "bert", "--plan", listed["hash"][:16])
    assert second.exit_code == 0, (second.output, second.exception)
    return first


def kinds(night, step):
    events = night.run.journal.events()
    return [item["event"] for item in events if item.get("step") == step]


def test_the_outage_is_stepped_through_without_asking(night):
    shown = both(night).output
    assert "systemctl stop -- dovecot.service" in shown and "stop-sendmail will ask" in shown
    assert "stop-imap need two people" in shown
    given = [item for item in night.run.journal.events() if item["event"] == "approved-ahead"]
    assert [item["of"] for item in given] == ["stop-imap", LAST] * 2
    board = board_tables.steps(night.run.journal.events())._repr_html_()
    assert board.count("anna@example (ahead, at ") == board.count("bert@example (ahead, at ") == 2
    for step in ("stop-imap", LAST):
        night.finish(night.planned(step))
        assert "approval-missing" not in kinds(night, step)
        approved = next(
            item
            for item in night.run.journal.events()
            if item["event"] == "approved" and item["step"] == step
        )
        assert [signer["ahead"] for signer in approved["signers"]] == [True, True]
        assert approved["by"].startswith("anna@example (ahead, at ")
    assert night.running == {"dovecot"}
    record_json.write(night.run, night.site, "end")
    assert audit.verify(night.run.path).findings == ()


def test_one_person_is_not_two(night):
    approve(night, "anna")
    approve(night, "anna")
    stepper = night.planned()
    with pytest.raises(approval.NotApproved, match=r"1 of 2 signatures \(anna@example\)"):
        stepper.approve()
    night.give("bert", stepper)  # the other person may approve when the plan is made
    by = stepper.approve().by
    assert by.startswith("anna@example (ahead, at ") and by.endswith(", bert@example")


def test_another_world_voids_it_and_asks(night):
    both(night)
    night.running.discard("xinetd")
    stepper = night.planned()
    with pytest.raises(approval.NotApproved, match="is void: No longer planned: stop xinetd"):
        stepper.approve()
    assert kinds(night, "stop-imap")[-2:] == ["ahead-void", "approval-missing"]
    stepper.close()
    night.running.add("xinetd")  # and it stays void
    with pytest.raises(approval.NotApproved, match="0 of 2.*made another plan since"):
        night.planned().approve()


def test_other_facts_under_the_same_changes_void_it(night):
    both(night)
    night.extra = {"somebody": "moved the mail"}
    with pytest.raises(approval.NotApproved, match="these differ: facts › extra › somebody"):
        night.planned().approve()


def test_what_moves_by_itself_does_not(night):
    both(night)
    night.noise = {"sessions": [{"pid": 7}], "serial": 9}
    night.finish(night.planned())


def test_it_serves_the_first_attempt_that_makes_a_plan(night):
    both(night)
    night.planned().close()
    with pytest.raises(approval.NotApproved, match="it was for an earlier attempt"):
        night.planned().approve()


def test_a_rollback_voids_it(night):
    both(night)
    night.run.journal.append("step-begun", step="rollback", title="")
    with pytest.raises(approval.NotApproved, match="a rollback was begun since"):
        night.planned().approve()


def test_other_code_voids_it(night, monkeypatch):
    both(night)
    monkeypatch.setattr(bound_plan.code, "digest", lambda: "other")
    with pytest.raises(approval.NotApproved, match="these differ: code"):
        night.planned().approve()


def test_an_approved_difference_voids_it(night):
    both(night)
    night.run.journal.append("drift", notebooks="0" * 64, signers=[])
    events = night.run.journal.events()
    assert approval_ahead.standing(events, "stop-imap") == []


def test_somebody_who_is_not_listed_cannot(night):
    refused = approve(night, "mallory")
    assert isinstance(refused.exception, signing.BadSignature)
    assert isinstance(approve(night, "operator").exception, signing.BadSignature)
    assert not [item for item in night.run.journal.events() if item["event"] == "approved-ahead"]


def test_a_signature_that_the_journal_does_not_have_does_not_count(night):
    planned = plans_ahead.make(night.site, night.run)["plans"][0]
    for who in ("anna", "bert"):
        request = statement.request(
            night.run, night.site, approval_ahead.APPROVES, "stop-imap", planned["hash"]
        )
        allowed = night.allowed.read_bytes()
        statement.give(night.run, night.site, allowed, request, night.people[who])
    with pytest.raises(approval.NotApproved, match="0 of 2.*the journal does not have it"):
        night.planned().approve()


@pytest.mark.parametrize("typed", ["yes", "mailbox.roma1.example"])
def test_what_was_typed_must_be_right(night, typed):
    refused = approve(night, "anna", typed=typed)
    assert refused.exit_code and not list(night.run.path.glob("approvals/*"))


def test_another_list_than_the_one_shown_is_refused(night):
    approve(night, "anna")
    before = approval_ahead.latest(night.run.journal.events())
    night.extra = {"more": "mail"}
    plans_ahead.make(night.site, night.run)
    refused = approve(night, "bert", "--plan", before["hash"][:16])
    assert "is not the hash of the plans made last" in str(refused.exception)


def test_nothing_is_approved_ahead_once_the_outage_has_begun(night):
    stepper = night.planned()
    night.give("anna", stepper)
    night.give("bert", stepper)
    night.finish(stepper)
    assert isinstance(approve(night, "anna").exception, plans_ahead.TooLate)


def test_a_rehearsal_approves_itself(rehearsal):
    for name in REST:
        rehearsal.alter(name, ahead=None)
    rehearsal.before()
    refused = approve(rehearsal, "anna")
    assert isinstance(refused.exception, approval.NotConfirmed)


def test_a_record_in_which_a_void_one_was_used_is_found(night):
    """Also one whose list has another plan, or whose signature is of another kind."""
    both(night)
    night.finish(night.planned())

    def rolled_back(events):
        place = max(n for n, item in enumerate(events) if item["event"] == "approved-ahead")
        events.insert(place + 1, {**events[place], "event": "step-begun", "step": "rollback"})

    def plain(events):
        for event in events:
            for signer in event.get("signers", ()) if event["event"] == "approved" else ():
                signer.pop("ahead")

    def renamed(events):
        for event in events:
            if event["event"] == "planned-ahead":
                event["plans"][0]["hash"] = "0" * 64

    kept = (night.run.path / "journal.jsonl").read_bytes()
    for forge, message in (
        (rolled_back, "was void: .* a rollback was begun since"),
        (plain, "it is about approves plan-ahead, not plan"),
        (renamed, "no list made ahead has the plan"),
    ):
        stub.rewrite(night.run.path, forge, True, night.site)
        listed = "\n".join(str(finding) for finding in audit.verify(night.run.path).findings)
        assert re.search(message, listed), listed
        (night.run.path / "journal.jsonl").write_bytes(kept)


def test_its_files_are_part_of_the_record(night):
    both(night)
    record_json.write(night.run, night.site, "ahead")
    assert audit.verify(night.run.path).findings == ()
    for name in ("plans/restore-imap.*.json", "approvals/restore-imap.*.json"):
        place = next(night.run.path.glob(name))
        kept = place.read_bytes()
        place.write_bytes(json.dumps(json.loads(kept) | {"more": 1}).encode())
        findings = [str(finding) for finding in audit.verify(night.run.path).findings]
        assert [text for text in findings if "is not the file that journal.jsonl" in text], findings
        place.write_bytes(kept)
