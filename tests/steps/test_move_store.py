"""move-store, pure: a store that has moved moves again, and what cannot work is refused while
nothing is stopped.
"""

import json

import example
import pytest
from cutover import model
from cutover.steps.maintenance import move_store, store_facts, store_unit
from example import ROMA1 as FIRST

MOVE = example.step("move-store")
BEFORE, AFTER = (example.recorded("move-store", when) for when in ("before", "after"))
TO, THIRD, STORE = FIRST.maintenance.move_store.to, "/srv/third/mail", "/var/imap"


def to(place, **other):
    moving = FIRST.maintenance.move_store.model_copy(update={"to": place, **other})
    return FIRST.model_copy(
        update={"maintenance": FIRST.maintenance.model_copy(update={"move_store": moving})}
    )


NEXT = to(THIRD)


def moved(change=lambda facts: None):
    """The facts of a store that was moved to TO, and is to move to an empty THIRD."""
    facts = example.altered(AFTER, lambda facts: None)
    mark = {"store": STORE, "place": TO}
    facts["current"] = {"mark": mark, "real": STORE, "bound": True, "alone": TO}
    facts["new"].update(names=[], ours=False, mark=None, real=THIRD, inside=False)
    facts.update(
        served=False, state={}, folders=None, begun=False, frozen=None, test={"error": "none"}
    )
    change(facts)
    return facts


def kinds(plan):
    return [change.kind for change in plan.changes]


def test_it_moves_in_place_of_the_former_storage_and_goes_back_there():
    plan = MOVE.plan(moved(), NEXT)
    first = MOVE.plan(BEFORE, FIRST)
    assert kinds(plan) == kinds(first)
    file, switch = (change for change in plan.changes if change.kind in ("file", "store-switch"))
    assert file.before == store_unit.unit_text(FIRST) and THIRD in file.after
    back = switch.inverse()
    assert (switch.was, switch.text) == (back.was, back.text) == (TO, file.before)
    assert (
        f"umount {STORE} (which is {TO})" in switch.describe()
        and f"{THIRD}/ {TO}/" in back.describe()
    )
    assert model.change_from_json(json.loads(json.dumps(back.to_json()))) == back


@pytest.mark.parametrize(
    "change, former",
    [
        (
            lambda facts: facts.update(
                {
                    "current": {**facts["current"], "mark": None, "bound": False, "alone": None},
                    "unit": {"text": None, "enabled": False},
                }
            ),
            ("", ""),
        ),  # the first time
        (
            lambda facts: (
                facts["current"].update(bound=False),
                facts["unit"].update(enabled=False),
            ),
            (TO, ""),
        ),  # by /etc/fstab
        (
            lambda facts: facts["unit"].update(text=store_unit.unit_text(NEXT)),
            (TO, store_unit.unit_text(FIRST)),
        ),  # broken off
        (
            lambda facts: facts.update(served=True, state={"former": [TO, "unit\n"]}),
            (TO, "unit\n"),
        ),  # after that
        (lambda facts: facts.update(served=True), ("", "")),
    ],
)
def test_what_the_store_was_before_is_known_wherever_it_was_broken_off(change, former):
    assert move_store.former(model.from_json(store_facts.Facts, moved(change)), NEXT) == former


def test_to_where_it_is_already_there_is_nothing_to_do():
    facts = moved(
        lambda facts: (
            facts.update(served=True),
            facts["new"].update(
                names=["alice"], ours=True, inside=True, real=TO, mark=facts["current"]["mark"]
            ),
        )
    )
    assert f"already served from {TO}" in MOVE.plan(facts, FIRST).reason


@pytest.mark.parametrize(
    "change, at, message",
    [
        (lambda facts: facts["new"].update(names=["somebody"]), NEXT, "did not put there"),
        (
            lambda facts: facts["new"].update(ours=True, mark={"store": "/mail", "place": THIRD}),
            NEXT,
            "of another store, of /mail",
        ),
        (lambda facts: facts["new"].update(inside=True), NEXT, "overlap: one is inside the other"),
        (lambda facts: None, to(f"{STORE}/new"), "overlap: one is inside the other"),
        (
            lambda facts: facts["new"].update(real="/srv/else"),
            NEXT,
            "/srv/third/mail is /srv/else by another name",
        ),
        (
            lambda facts: facts["current"].update(real="/data/imap"),
            NEXT,
            "new_store.maildir: /var/imap is /data/imap by another name",
        ),
        (lambda facts: facts["new"].update(there=False), NEXT, "does not exist"),
        (lambda facts: facts["new"]["filesystem"].update(options=["ro"]), NEXT, "read-only"),
        (lambda facts: None, to(THIRD, work=f"{STORE}/.notes"), "be on neither storage"),
        (lambda facts: None, to(THIRD, work=f"{THIRD}/notes"), "be on neither storage"),
        (
            lambda facts: facts["current"].update(mark=None, bound=False),
            NEXT,
            f"served from {TO} last.*systemctl restart cutover-store",
        ),
        (
            lambda facts: facts["current"].update(mark=None, bound=False),
            FIRST,
            f"served from {TO} last.*state.json",
        ),
        (
            lambda facts: facts["current"].update(mark=None, bound=False, alone=None),
            NEXT,
            f"puts {TO} in the place of {STORE} at",
        ),
    ],
)
def test_what_cannot_work_is_refused_in_the_plan(change, at, message):
    facts = moved(change)
    if at is FIRST:
        facts["new"].update(real=TO)
    elif at.maintenance.move_store.to != THIRD:
        facts["new"].update(real=at.maintenance.move_store.to)
    with pytest.raises(model.CannotPlan, match=message):
        MOVE.plan(facts, at)


# -- verify


def failed(change, facts=AFTER):
    return [check for check in MOVE.verify(example.altered(facts, change)) if not check.passed]


def test_after_the_move_all_is_well_and_the_freeze_was_short():
    checks = {check.id: check for check in MOVE.verify(AFTER)}
    assert all(check.passed for check in checks.values())
    assert checks["store-freeze"].data["seconds"] == pytest.approx(8.368)
    assert checks["store-copy-same"].data["entries"] == 7306


@pytest.mark.parametrize(
    "change, check",
    [
        (lambda facts: facts.update(served=False), "store-served"),
        (lambda facts: facts["unit"].update(enabled=False), "store-unit"),
        (lambda facts: facts["imap"]["services"][0].update(running=False), "store-services"),
        (lambda facts: facts["state"]["compared"].update(different=2), "store-copy-same"),
        (lambda facts: facts["state"].update(compared=None), "store-copy-same"),
        (
            lambda facts: facts["folders"]["now"]["alice"].update(INBOX="1795529901 131"),
            "store-folders",
        ),
        (
            lambda facts: facts["folders"]["now"]["alice"].update(INBOX="1795529902 140"),
            "store-folders",
        ),
        (lambda facts: facts.update(test={"error": "no login"}), "store-test-message"),
    ],
)
def test_verify_finds(change, check):
    assert [wrong.id for wrong in failed(change)] == [check]


def test_a_folder_that_its_user_deleted_is_a_warning():
    facts = example.altered(AFTER, lambda facts: facts["folders"]["now"]["alice"].pop("SPAM"))
    (check,) = (check for check in MOVE.verify(facts) if check.id == "store-folders")
    assert check.mark == "warn" and check.data["gone"] == ["alice SPAM"]


def test_sessions_and_queues_do_not_void_the_approval():
    def busy(facts):
        facts["imap"]["sessions"] = [{"pid": 7, "user": "alice", "command": "imap"}]
        facts["state"]["predicted"] = 99.0

    assert MOVE.stable(example.altered(BEFORE, busy)) == MOVE.stable(BEFORE)
    other = example.altered(BEFORE, lambda facts: facts["unit"].update(enabled=True))
    assert MOVE.stable(other) != MOVE.stable(BEFORE)
