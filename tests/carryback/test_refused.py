"""What the old server refuses is collected, and passed on as what is left."""

import types

import pytest
from cutover.carryback import execute, refused
from cutover.carryback.folder_pairs import FolderPair
from cutover.carryback.refused import Appended, Refusals
from cutover.carryback.user_plan import Append, FlagChange, UserPlan
from cutover.connect import imap
from mailbox_fakes import DATE, Folder, Refusing, Session

PAIR = FolderPair("x", "mail/x", "mail/x", None)


def message(uid):
    return imap.Message(uid, frozenset(), False, DATE, 10)


def test_after_many_refusals_in_a_row_the_rest_is_not_tried():
    refusals, old = Refusals(), Refusing(["APPEND"])
    for uid in range(refused.IN_A_ROW):
        assert refusals.append(old, PAIR, message(uid), b"", []) is None
    old.refuses = ()
    assert refusals.append(old, PAIR, message(99), b"", []) is None and old.done == []
    assert "not tried" in refusals.why("x", 99, "mail/x")
    other = FolderPair("y", "mail/y", "mail/y", None)
    assert refusals.append(old, other, message(1), b"", []) == Appended(101)


def test_a_session_that_ends_says_during_which_message():
    def lost(*arguments):
        raise imap.SessionLost(server="old", doing="APPEND to mail/x", reason="killed")

    with pytest.raises(imap.SessionLost, match=r"UID 3 of x <m@x>"):
        Refusals().append(
            types.SimpleNamespace(append=lost), PAIR, message(3), b"Message-ID: <m@x>\r\n\r\n", []
        )


def test_keywords_of_an_appended_message_are_stored_afterwards():
    new = Session({"x": Folder({1: ("a", ["\\Seen", "$Mia"])})})
    append = Append(PAIR, new.stream("x").messages[0], frozenset(["\\Seen", "$Mia"]))
    old, texts = Refusing(), []
    assert execute.append_all(old, new, [append], Refusals(), texts.append) == [append]
    assert old.done == [
        ("APPEND", "mail/x", ["\\Seen"]),
        ("SELECT", "mail/x"),
        ("STORE", [101], ["$Mia"], True),
    ]
    assert texts == ["mail/x: 1 messages appended"]


def test_messages_of_a_folder_that_could_not_be_made_are_left():
    new = Session({"x": Folder({1: "a", 2: "b"})})
    first, second = (
        Append(PAIR, row, frozenset(), moved_from)
        for row, moved_from in zip(new.stream("x").messages, (None, "INBOX"), strict=True)
    )
    refusals = Refusals({(refused.FOLDER, "mail/x"): "CREATE was refused"})
    assert execute.append_all(Refusing(), new, [first, second], refusals, print) == []
    left = refused.left_messages(new, UserPlan(appends=[first, second]), refusals)
    # the second one still is in the folder it was moved from
    assert [(row.folder, row.to, row.uid, row.why) for row in left] == [
        ("x", "mail/x", 1, "CREATE was refused")
    ]


def test_flags_that_are_refused_are_kept_for_later():
    change = FlagChange("mail/x", 3, frozenset(["b", "a"]), frozenset(), "2026-03-14", 10)
    refusals = Refusals()
    assert not refusals.attempt(
        lambda: execute.set_flags(Refusing(["SELECT"]), [change]), "flags", "mail/x"
    )
    assert "quota" in refusals.general["flags", "mail/x"]
    later = refused.later(UserPlan(flags=[change]))
    assert later.flags == [("mail/x", 3, "2026-03-14", 10, ["a", "b"], [])]


def test_a_refusal_is_reported_once_per_folder_and_not_again_as_the_reason_of_a_message():
    refusals = Refusals()
    for folder in ("mail/x", "mail/y", "mail/y"):
        assert not refusals.attempt(
            lambda: Refusing(["STORE"]).store([1], [], True), "flags", folder
        )
    assert refused.refusals_text(refusals, []).count("quota") == 2
    refusals.general[refused.FOLDER, "mail/z"] = "quota"
    assert refusals.why("z", 7, "mail/z") == "quota"
    assert refused.refusals_text(refusals, []).count("quota") == 2
