"""The rollback, pure: in which order it undoes, what it says of copied mail, and how it judges."""

import example
import pytest
from cutover import model
from cutover.steps.night import rollback_facts
from example import LEFT, ROMA1, altered, recorded

ALIAS = ROMA1.fqdn("mailbox")

NO_ROOM = "mail/x: no room for the keyword k of 1 messages"


@pytest.fixture
def rollback():
    return example.step("rollback")


def kinds(plan):
    return [change.kind for change in plan.changes]


def checks_of(checks, name):
    return [check for check in checks if check.id == name]


def left_behind(when, **more):
    return altered(
        recorded("rollback", when), lambda facts: facts.update(behind={"carla": LEFT}, **more)
    )


# --- the order


def test_it_undoes_in_reverse_and_drains_before_names_disappear(rollback):
    changes = rollback.plan(recorded("rollback", "before")).changes
    order = [change.kind for change in changes]
    # what copied the old store runs again
    assert (changes[0].kind, changes[0].name, changes[0].action) == (
        "service",
        "backup-posta.timer",
        "start",
    )
    mail = [
        change
        for change in changes
        if change.kind == "service" and not change.name.endswith(".timer")
    ]
    # of the mail services, restore-imap was last
    assert (mail[0].name, mail[0].action) == ("dovecot", "stop")
    assert order[-1] == "rename-back" and "3600 A" in changes[-1].describe()
    assert order.index("drain-queue") < order.index("userdb-edit")
    assert order.count("dns-update") == 1 and "unpublish" in order


def test_mail_is_copied_when_both_are_closed_and_nothing_waits_for_the_old_server_alone(rollback):
    rows = [
        (
            change.kind,
            getattr(change, "host", None),
            getattr(change, "action", None),
            getattr(change, "name", None),
        )
        for change in rollback.plan(recorded("rollback", "before")).changes
    ]
    new_stops, old_stops = (
        rows.index(("service", name, "stop", "sendmail")) for name in ("mailboxvm", "mailboxold")
    )
    order = [kind for kind, *_ in rows]
    carries = order.index("carry-back")
    assert order[new_stops:old_stops].count("drain-queue") == 1
    assert order.count("carry-back") == 1
    assert rows.index(("service", "mailboxvm", "stop", "dovecot")) < new_stops < old_stops < carries
    assert (
        carries
        < order.index("unpublish")
        < rows.index(("service", "mailboxold", "start", "sendmail"))
    )


def test_before_delivery_was_resumed_nothing_is_carried_back_and_that_is_said(rollback):
    late = ("restore-sendmail", "restore-imap", "production-test", "backup")

    def earlier(facts):
        facts["intents"] = [row for row in facts["intents"] if row["step"] not in late]
        intents = [rollback_facts.Intent(**row) for row in facts["intents"]]
        why = rollback_facts.reason(intents)
        facts["carry"] = {"why": why, "users": {}, "told": {}, "trees": {}}

    facts = altered(recorded("rollback", "before"), earlier)
    plan = rollback.plan(facts)
    assert "carry-back" not in kinds(plan) and "unpublish" in kinds(plan)
    assert "neither delivery nor reading was resumed" in dict(plan.notes)["Users' new state"]
    (check,) = checks_of(rollback.verify(facts), "carried-back")
    assert check.passed and "neither delivery nor reading" in check.actual


# --- what is copied back


def test_what_is_copied_and_what_cannot_be_is_said_for_each_user_before(rollback):
    busy = {"counts": {"messages appended": 2}, "left": [NO_ROOM], "notes": []}

    def work(facts):
        facts["carry"]["users"].update(alice=busy, bruno={"error": "imapd: no such user"})

    plan = rollback.plan(altered(recorded("rollback", "before"), work))
    notes = dict(plan.notes)
    assert "2 messages appended" in notes["alice"]
    assert f"CANNOT be carried back: {NO_ROOM}" in notes["alice"]
    assert notes["bruno"].endswith(": imapd: no such user")
    # what is approved stays the same
    assert plan.changes == rollback.plan(recorded("rollback", "before")).changes


def test_of_thousands_of_users_what_cannot_be_copied_is_said_first_and_the_others_are_summed(
    rollback,
):
    busy = {f"u{number:04d}": {"counts": {"messages appended": 2}} for number in range(5000)}
    busy |= {"u4321": {"counts": {}, "left": [NO_ROOM]}, "u1234": {"error": "imapd: no such user"}}
    before = altered(
        recorded("rollback", "before"), lambda facts: facts["carry"].update(users=busy)
    )
    notes = [title for title, _ in rollback.plan(before).notes]
    assert len(notes) < 80 and notes.index("u1234") < notes.index("u4321") < notes.index("u0000")
    others = dict(rollback.plan(before).notes)["4940 more users"]
    assert "9880 messages appended" in others and "CANNOT" not in others
    busy = {user: {"counts": {}, "left": [NO_ROOM]} for user in busy}
    before = altered(
        recorded("rollback", "before"), lambda facts: facts["carry"].update(users=busy)
    )
    others = dict(rollback.plan(before).notes)["4940 more users"]
    assert "of 4940 users CANNOT be carried back" in others


def test_what_was_copied_and_what_could_not_be_is_said_afterwards(rollback):
    def carried(facts):
        facts["carry"]["told"]["alice"].update(left=[NO_ROOM], done={"messages appended": 2})

    checks = rollback.verify(altered(recorded("rollback", "after"), carried))
    assert all(check.passed for check in checks)
    (check,) = checks_of(checks, "not-carried-back")
    assert (check.subject, check.warning, check.data["left"]) == ("alice", True, [NO_ROOM])
    (check,) = checks_of(checks, "carried-back")
    assert check.data["done"]["messages appended"] == 2 and check.data["missing"] == []


def test_a_user_without_a_note_fails(rollback):
    facts = altered(
        recorded("rollback", "after"), lambda facts: facts["carry"]["told"].pop("carla")
    )
    failed = [check for check in rollback.verify(facts) if not check.passed]
    assert [(check.id, check.data["missing"]) for check in failed] == [("carried-back", ["carla"])]


def test_a_note_on_another_tree_does_not_count(rollback):
    facts = altered(
        recorded("rollback", "after"),
        lambda facts: facts["carry"]["told"]["carla"].update(tree="x"),
    )
    failed = [check for check in rollback.verify(facts) if not check.passed]
    assert [(check.id, check.data["missing"]) for check in failed] == [("carried-back", ["carla"])]


# --- what it continues without


def test_it_continues_without_those_who_are_named_and_no_others(rollback):
    plain = rollback.plan(recorded("rollback", "before"))
    facts = altered(recorded("rollback", "before"), lambda facts: facts.update(without=["carla"]))
    plan = rollback.plan(facts)
    order = kinds(plan)
    assert order.index("carry-back") + 1 == order.index("leave-behind") < order.index("unpublish")
    carry, leave = (
        next(change for change in plan.changes if change.kind == kind)
        for kind in ("carry-back", "leave-behind")
    )
    assert carry.without == ["carla"] == [entry["user"] for entry in leave.users]
    assert "CONTINUES WITHOUT" in dict(plan.notes)["carla"]
    assert "leave-behind" not in kinds(plain) and plain.changes != plan.changes
    with pytest.raises(model.CannotPlan, match="nothing to carry back for carlo"):
        rollback.plan(altered(facts, lambda facts: facts.update(without=["carlo"])))


def test_who_is_continued_without_is_typed_to_approve_it(rollback):
    chosen = {"without": "carla, bruno,"}
    assert rollback.confirmation(ROMA1, chosen) == f"{ALIAS} without bruno, carla"
    assert rollback.confirmation(ROMA1, {}) == ALIAS


def test_what_it_continued_without_is_reported_and_copied_by_the_next_one(rollback):
    (check,) = checks_of(rollback.verify(left_behind("after")), "left-behind")
    assert (check.subject, check.passed, check.warning) == ("carla", True, True)
    assert check.data == {"messages": 1}
    assert check.actual == "1 message: Bozze UID 12 <a@b>: imapd said no"
    plan = rollback.plan(left_behind("after"))
    assert [(change.kind, change.users) for change in plan.changes] == [("carry-left", ["carla"])]
    again = rollback.plan(left_behind("after", without=["carla"]))
    assert not again.changes and "carla is left behind" in again.reason


def test_before_a_tree_is_taken_back_the_whole_comparison_is_made_again(rollback):
    order = kinds(rollback.plan(left_behind("before")))
    assert "carry-back" in order and "carry-left" not in order


# --- once more


def test_after_a_rollback_nothing_is_left(rollback):
    plan = rollback.plan(recorded("rollback", "after"))
    assert not plan.changes and "as it was" in plan.reason


def test_a_resource_that_is_not_as_it_was_fails_and_is_undone_again(rollback):
    def spoil(facts):
        intent = next(
            row for row in facts["intents"] if row.get("settled") and row["step"] == "stop-sendmail"
        )
        intent.update(settled=False, seen="inactive (dead)")

    facts = altered(recorded("rollback", "after"), spoil)
    assert kinds(rollback.plan(facts)) == ["service"]
    failed = [check for check in rollback.verify(facts) if not check.passed]
    assert [(check.id, check.data["step"]) for check in failed] == [("undone", "stop-sendmail")]
    assert "inactive" in failed[0].actual


def test_the_plan_rests_on_what_is_undone_and_not_on_what_hosts_show(rollback):
    facts = recorded("rollback", "before")
    place = next(i for i, row in enumerate(facts["intents"]) if row.get("settled") is False)
    seen = altered(facts, lambda facts: facts["intents"][place].update(seen="something else"))
    undone = altered(facts, lambda facts: facts["intents"][place].update(settled=True))
    assert rollback.stable(seen) == rollback.stable(facts) != rollback.stable(undone)
