"""Mail that was left behind is appended once, then leaves the new side."""

import datetime

from cutover.carryback import carry_left
from cutover.carryback.notes import Later, LaterFlags, LaterRemoval, LeftMessage, Note
from cutover.facts import message_text
from mailbox_fakes import DATE, Folder, Refusing, Session


class Writable(Refusing, Session):
    def __init__(self, folders, refuses=()):
        Session.__init__(self, folders)
        Refusing.__init__(self, refuses)


def left(session, folder, uid, flags=()):
    (message,) = [row for row in session.stream(folder).messages if row.uid == uid]
    text = session.content[folder].texts[uid]
    return LeftMessage(
        folder,
        f"mail/{folder}",
        uid,
        "<m@x>",
        "imapd said no",
        message.size,
        message.internaldate.isoformat(),
        list(flags),
        message_text.key(text).hex(),
    )


def user(old, new, behind):
    note = Note("alice", "t1", 1.0, {}, [], [], behind, entry={"maildir": "/var/imap/alice"})
    copying = carry_left._User(old, new, note)
    copying.copy("x", "mail/x", behind)
    return copying


def test_it_is_appended_with_its_flags_and_then_removed_on_the_new_side():
    # its UID on the new side is another one since the trees were exchanged
    new = Writable({"x": Folder({7: "a"})})
    message = left(new, "x", 7, ["\\Flagged", "$Mia"])
    new.content["x"] = Folder({3: "a"})
    old = Writable({"mail/x": Folder()})
    copying = user(old, new, [message])
    assert old.done == [
        ("APPEND", "mail/x", ["\\Flagged"]),
        ("SELECT", "mail/x"),
        ("STORE", [101], ["$Mia"], True),
    ]
    assert new.done == [("DELETE", "x", [3])]
    assert copying.copied == [message] and copying.problems() == []


def test_what_was_appended_before_is_not_appended_again():
    new, old = Writable({"x": Folder({7: "a"})}), Writable({"mail/x": Folder({5: "a"})})
    copying = user(old, new, [left(new, "x", 7)])
    assert old.done == [] and new.done == [("DELETE", "x", [7])] and len(copying.copied) == 1


def test_of_two_that_are_alike_each_is_looked_for():
    """Killed after the first was appended."""
    new, old = Writable({"x": Folder({7: "a", 8: "a"})}), Writable({"mail/x": Folder({5: "a"})})
    copying = user(old, new, [left(new, "x", 7), left(new, "x", 8)])
    assert [done[0] for done in old.done].count("APPEND") == 1 and len(copying.copied) == 2


def test_a_folder_that_is_missing_is_created():
    new, old = Writable({"x": Folder({7: "a"})}), Writable({})
    user(old, new, [left(new, "x", 7)])
    assert old.done == [("CREATE", "mail/x"), ("APPEND", "mail/x", [])]


def test_what_is_refused_again_stays_and_is_reported():
    new, old = Writable({"x": Folder({7: "a"})}), Writable({"mail/x": Folder()}, ["APPEND"])
    copying = user(old, new, [left(new, "x", 7)])
    assert copying.copied == [] and new.done == [("DELETE", "x", [])]
    assert len(copying.problems()) == 1 and "quota" in copying.problems()[0]


def test_what_is_gone_from_the_new_side_is_reported():
    new = Writable({"x": Folder({7: "a"})})
    message = left(new, "x", 7)
    new.content["x"] = Folder()
    copying = user(Writable({"mail/x": Folder()}), new, [message])
    assert copying.copied == [] and "/var/imap/alice" in copying.problems()[0]


def test_flags_and_removals_are_done_only_to_messages_that_are_still_the_same():
    old = Writable({"mail/x": Folder({1: "a", 2: "b"})})
    size = len(old.content["mail/x"].texts[1])
    date, other = DATE.isoformat(), (DATE + datetime.timedelta(1)).isoformat()
    later = Later(
        [
            LaterFlags("mail/x", 1, date, size, ["$Mia"], []),
            LaterFlags("mail/x", 2, other, size, ["$No"], []),
        ],
        [LaterRemoval("mail/x", 2, date, size + 1)],
    )
    copying = carry_left._User(old, Writable({}), Note("alice", "t1", 1.0, {}, [], []))
    copying.change_flags_and_remove(later, None)
    assert old.done == [("SELECT", "mail/x"), ("STORE", [1], ["$Mia"], True)]
    assert copying.problems() == []
