"""What decommission says is on the old server only. Sessions are fakes."""

import types

import mailbox_fakes
import pytest
from cutover.carryback import only_on_old, published
from mailbox_fakes import DATE, Folder, Session

SITE = types.SimpleNamespace(
    old_store=types.SimpleNamespace(imap_prefix="mail/", spool="/var/mail/{user}")
)
TREE = mailbox_fakes.published("x")
ENTRY = {"user": "alice", "home": "/home/alice"}


@pytest.fixture
def compared(monkeypatch):
    """A function of (old, new, record: texts by UID): (Tally, what nothing accounts for)."""

    def compare(old, new, record):
        def taken(hosts, run, entry, uids):
            sizes = {uid: len(f"Subject: {text}") for uid, text in record.items()}
            return {
                ("x", uid): published.SourceMessage(
                    int(DATE.timestamp()), sizes[uid], sizes[uid], frozenset()
                )
                for uid in uids["x"]
            }

        monkeypatch.setattr(published, "source_messages", taken)
        old = Session({"INBOX": Folder(), "mail/x": old})
        new = Session({"INBOX": Folder(), "x": new})
        comparison = only_on_old._Comparison(SITE, ENTRY, TREE, old, new)
        comparison.read_new()
        comparison.read_old()
        comparison.judge_gone(None, "r1")
        return comparison.tally, [row.text for row in comparison.match_by_digest()]

    return compare


def test_a_message_under_its_uid_is_the_same_and_one_that_is_gone_was_removed(compared):
    old, new = Folder({1: "a", 2: "bb"}, 8), Folder({1: "a"}, 8)
    tally, only = compared(old, new, {1: "a", 2: "bb"})
    assert (tally.same, tally.removed, only) == (1, 1, [])


def test_an_equal_uid_of_another_uidvalidity_may_be_another_message(compared):
    """The conversion gave UIDs of its own. All messages are of the same second."""
    old, new = Folder({1: "a", 2: "bb", 3: "only here"}, 99), Folder({1: "bb", 2: "a"}, 8)
    tally, only = compared(old, new, {1: "bb", 2: "a", 3: "ccc"})
    assert (tally.same, tally.removed, tally.twice) == (0, 0, 2)
    assert len(only) == 1 and "UID 3" in only[0]


def test_where_the_old_server_takes_the_time_for_uidvalidity_what_was_removed_is_no_rest(compared):
    old, new = Folder({1: "a", 2: "bb"}, 99), Folder({1: "a"}, 8)
    tally, only = compared(old, new, {1: "a", 2: "bb"})
    assert (tally.moved, tally.removed, only) == (1, 1, [])
