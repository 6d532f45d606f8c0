"""Folders of a restore are taken by several pairs of sessions: each once, whole, and none after one
has failed.
"""

import contextlib
import threading

import pytest
from cutover.comparison import restored
from cutover.facts import mailboxes, users
from cutover.model import errors

NAMES = [f"folder{number}" for number in range(9)]


@pytest.fixture(autouse=True)
def no_sessions(monkeypatch):
    for name in ("tree_session", "new_session"):
        monkeypatch.setattr(
            mailboxes, name, lambda *arguments: contextlib.nullcontext(threading.get_ident())
        )


ALICE = users.Account("alice", 2001, 2001, "/home/alice")


def go(do):
    return restored.each_folder(None, ALICE, "/place", NAMES, do)


def test_several_at_the_same_time_and_the_answers_in_the_order_of_the_names():
    meet = threading.Barrier(restored.SESSIONS, timeout=60)
    first = set(NAMES[: restored.SESSIONS])

    def do(copy, live, name, stopped):
        if name in first:
            meet.wait()  # breaks unless they are at work together
        assert copy == live == threading.get_ident()
        return name.upper()

    assert restored.SESSIONS > 1 and list(go(do).items()) == [
        (name, name.upper()) for name in NAMES
    ]


def test_when_one_fails_the_others_are_told_and_no_other_begins():
    begun = []

    def do(copy, live, name, stopped):
        begun.append(name)
        if name == NAMES[0]:
            raise errors.CutoverError("broken")
        assert stopped.wait(10)

    with pytest.raises(errors.CutoverError, match="broken"):
        go(do)
    assert len(begun) <= restored.SESSIONS
