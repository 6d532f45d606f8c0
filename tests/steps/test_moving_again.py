"""move-store, pure: a store that has moved moves again, and what cannot work is refused while nothing is stopped."""

import copy
import json

import pytest
from cutover import model, site
from cutover.steps.maintenance import move_store

FIRST = site.load("parameters/roma1.yaml")
TO, THIRD, STORE = FIRST.maintenance.move_store.to, "/srv/third/mail", "/var/imap"


def to(place, **other):
    moving = FIRST.maintenance.move_store.model_copy(update={"to": place, **other})
    return FIRST.model_copy(
        update={"maintenance": FIRST.maintenance.model_copy(update={"move_store": moving})}
    )


NEXT = to(THIRD)


def moved(change=lambda found: None):
    """The facts of a store that was moved to TO, and is to move to an empty THIRD."""
    found = copy.deepcopy(
        json.loads((FIRST.path.parent / "roma1/move-store.json").read_bytes())["after"]
    )
    found["is"] = {"mark": {"store": STORE, "place": TO}, "real": STORE, "bound": True, "alone": TO}
    found["new"].update(names=[], ours=False, mark=None, real=THIRD, inside=False)
    found.update(
        served=False, state={}, folders=None, begun=False, frozen=None, test={"error": "none"}
    )
    change(found)
    return found


def kinds(plan):
    return [change.kind for change in plan.changes]


def test_it_moves_in_place_of_the_former_storage_and_goes_back_there():
    plan = move_store.plan(moved(), NEXT)
    first = move_store.plan(
        json.loads((FIRST.path.parent / "roma1/move-store.json").read_bytes())["before"], FIRST
    )
    assert kinds(plan) == kinds(first)
    file, switch = (change for change in plan.changes if change.kind in ("file", "store-switch"))
    assert file.before == move_store.unit_text(FIRST) and THIRD in file.after
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
            lambda found: found.update(
                {
                    "is": {**found["is"], "mark": None, "bound": False, "alone": None},
                    "unit": {"text": None, "enabled": False},
                }
            ),
            ("", ""),
        ),  # the first time
        (
            lambda found: (found["is"].update(bound=False), found["unit"].update(enabled=False)),
            (TO, ""),
        ),  # by /etc/fstab
        (
            lambda found: found["unit"].update(text=move_store.unit_text(NEXT)),
            (TO, move_store.unit_text(FIRST)),
        ),  # broken off
        (
            lambda found: found.update(served=True, state={"former": [TO, "unit\n"]}),
            (TO, "unit\n"),
        ),  # after that
        (lambda found: found.update(served=True), ("", "")),
    ],
)
def test_what_the_store_was_before_is_known_wherever_it_was_broken_off(change, former):
    assert tuple(move_store._former(moved(change), NEXT)) == former


def test_to_where_it_is_already_there_is_nothing_to_do():
    found = moved(
        lambda found: (
            found.update(served=True),
            found["new"].update(
                names=["alice"], ours=True, inside=True, real=TO, mark=found["is"]["mark"]
            ),
        )
    )
    assert f"served from {TO} already" in move_store.plan(found, FIRST).reason


@pytest.mark.parametrize(
    "change, at, said",
    [
        (lambda found: found["new"].update(names=["somebody"]), NEXT, "did not put there"),
        (
            lambda found: found["new"].update(ours=True, mark={"store": "/mail", "place": THIRD}),
            NEXT,
            "of another store, of /mail",
        ),
        (lambda found: found["new"].update(inside=True), NEXT, "in one another"),
        (lambda found: None, to(f"{STORE}/new"), "in one another"),
        (
            lambda found: found["new"].update(real="/srv/else"),
            NEXT,
            "/srv/third/mail is /srv/else by another name",
        ),
        (
            lambda found: found["is"].update(real="/data/imap"),
            NEXT,
            "new_store.maildir: /var/imap is /data/imap by another name",
        ),
        (lambda found: found["new"].update(there=False), NEXT, "no directory"),
        (lambda found: found["new"]["filesystem"].update(options=["ro"]), NEXT, "read-only"),
        (lambda found: None, to(THIRD, work=f"{STORE}/.notes"), "lie on neither storage"),
        (lambda found: None, to(THIRD, work=f"{THIRD}/notes"), "lie on neither storage"),
        (
            lambda found: found["is"].update(mark=None, bound=False),
            NEXT,
            f"served from {TO} last.*systemctl restart cutover-store",
        ),
        (
            lambda found: found["is"].update(mark=None, bound=False),
            FIRST,
            f"served from {TO} last.*state.json",
        ),
        (
            lambda found: found["is"].update(mark=None, bound=False, alone=None),
            NEXT,
            f"puts {TO} in the place of {STORE} at",
        ),
    ],
)
def test_what_cannot_work_is_refused_in_the_plan(change, at, said):
    found = moved(change)
    if at is FIRST:
        found["new"].update(real=TO)
    elif at.maintenance.move_store.to != THIRD:
        found["new"].update(real=at.maintenance.move_store.to)
    with pytest.raises(model.CannotPlan, match=said):
        move_store.plan(found, at)
