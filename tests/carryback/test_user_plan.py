"""What is missing on the old side, by three states of a mailbox: published, new and old.

Sessions are fakes; tests/lab/test_carry.py does the same with real servers.
"""

import dataclasses
import types

import mailbox_fakes
import pytest
from cutover.carryback import published, user_plan
from cutover.carryback.folder_pairs import Rename, Subscription
from cutover.carryback.keyword_room import KEYWORDS
from cutover.carryback.published import SourceMessage
from mailbox_fakes import DATE, Folder, Session, Unreadable

SITE = types.SimpleNamespace(
    old_store=types.SimpleNamespace(imap_prefix="mail/", spool="/var/mail/{user}")
)
CTX = types.SimpleNamespace(site=SITE, hosts=None, run_name="r1")
SPOOL = "/var/mail/alice"
TREE = mailbox_fakes.published()
TREE_X = mailbox_fakes.published("x")


@pytest.fixture
def work_out(monkeypatch):
    """A function of (tree, old, new) that gives the plan. `record`: flags by (key, UID)."""

    def plan(tree, old, new, record=(), spool=False, subscribed=((), ())):
        old, new = Session(old, subscribed[0]), Session(new, subscribed[1])

        def source_messages(hosts, run, entry, uids):
            names = {folder.key: folder.old for folder in tree.folders}
            return {
                (key, uid): SourceMessage(
                    int(DATE.timestamp()),
                    len(old.content[names[key]].texts[uid]),
                    0,
                    frozenset(flags),
                )
                for (key, uid), flags in dict(record).items()
                if uid in uids.get(key, ())
            }

        monkeypatch.setattr(published, "source_messages", source_messages)
        return user_plan.work_out(CTX, {"user": "alice"}, tree, old, new, spool)

    return plan


def appends(plan):
    return [(append.pair.old, append.message.uid, append.moved_from) for append in plan.appends]


def removals(rows):
    return [(row.folder, row.message.uid) for row in rows]


# --- messages


def test_two_sides_that_are_the_same_need_nothing(work_out):
    same = {1: "a", 2: ("b", ["\\Seen"])}
    plan = work_out(TREE, {"INBOX": Folder(same)}, {"INBOX": Folder(same)})
    assert plan.counts() == {} and plan.problems == [] == plan.notes


def test_a_message_that_only_the_new_side_has_is_appended_with_its_flags(work_out):
    new = Folder({1: "a", 10: ("b", ["\\Seen", "$Mia"])})
    plan = work_out(TREE, {"INBOX": Folder({1: "a"})}, {"INBOX": new})
    assert appends(plan) == [("INBOX", 10, None)]
    assert plan.appends[0].flags == {"\\Seen", "$Mia"}


def test_a_move_that_was_cut_off_is_completed_where_uids_tell_nothing(work_out):
    """The conversion gave the folder x UIDs of its own. The message is in INBOX already."""
    old = {"INBOX": Folder({1: "a", 10: "moved"}), "mail/x": Folder({4: "moved", 5: "c"}, 99)}
    new = {"INBOX": Folder({1: "a", 10: "moved"}), "x": Folder({2: "c"}, 8)}
    plan = work_out(TREE_X, old, new)
    assert removals(plan.removed) == [("mail/x", 4)]
    assert plan.appends == [] and plan.problems == []


def test_a_message_that_is_gone_where_uids_tell_nothing_stays_and_is_named(work_out):
    old, new = Folder({4: "b", 5: "c"}, 99), Folder({2: "c"}, 8)
    plan = work_out(TREE_X, {"INBOX": Folder(), "mail/x": old}, {"INBOX": Folder(), "x": new})
    assert plan.counts() == {} and plan.problems[0].endswith(": 1 in mail/x")


def test_a_uid_from_the_limit_on_is_not_the_same_message(work_out):
    old, new = Folder({1: "a", 10: "old"}), Folder({1: "a", 10: "new"})
    plan = work_out(TREE, {"INBOX": old}, {"INBOX": new})
    assert appends(plan) == [("INBOX", 10, None)] and plan.removed == []
    assert len(plan.notes) == 1 and plan.notes[0].endswith(": 1 in INBOX")


def test_mail_that_was_delivered_to_both_is_not_appended_again(work_out):
    old, new = Folder({12: "a"}), Folder({10: ("a", ["\\Flagged"])})
    plan = work_out(TREE, {"INBOX": old}, {"INBOX": new})
    assert plan.counts() == {"flags changed": 1}
    assert plan.flags[0][:4] == ("INBOX", 12, {"\\Flagged"}, frozenset())


def test_flags_follow_what_the_user_changed_and_nothing_else(work_out):
    old = Folder({1: ("a", ["\\Seen", "Lost", "$Old"]), 2: ("b", ["\\Answered"])})
    new = Folder({1: ("a", ["\\Flagged", "$old"]), 2: ("b", ["\\Answered"])})
    tree = mailbox_fakes.published(lost=["lost"])
    plan = work_out(tree, {"INBOX": old}, {"INBOX": new}, {("", 1): ["\\seen", "$old"]})
    assert [change[:4] for change in plan.flags] == [("INBOX", 1, {"\\Flagged"}, {"\\Seen"})]


def test_without_a_record_flags_stay_and_nothing_is_removed(work_out):
    old, new = Folder({1: ("a", ["\\Seen"]), 2: "b"}), Folder({1: "a"})
    plan = work_out(TREE, {"INBOX": old}, {"INBOX": new})
    assert plan.counts() == {} and "no record shows that 2 messages" in plan.problems[0]


def test_a_message_that_the_user_removed_is_removed(work_out):
    old, new = Folder({1: "a", 2: "b"}), Folder({2: "b"})
    plan = work_out(TREE, {"INBOX": old}, {"INBOX": new}, {("", 1): []})
    assert removals(plan.removed) == [("INBOX", 1)] and appends(plan) == []


def test_a_moved_message_is_appended_and_its_old_copy_goes_without_being_set_aside(work_out):
    old = {"INBOX": Folder({1: "a", 2: "b"}), "mail/x": Folder(uidvalidity=8)}
    new = {"INBOX": Folder({2: "b"}), "x": Folder({10: "a"}, uidvalidity=8)}
    plan = work_out(TREE_X, old, new, {("", 1): []})
    assert appends(plan) == [("mail/x", 10, "INBOX")]
    assert removals(plan.moved) == [("INBOX", 1)] and plan.removed == []


def test_after_a_move_that_was_killed_half_way_the_old_place_is_cleared(work_out):
    old = {"INBOX": Folder({11: "a"}), "mail/x": Folder({12: "a"}, uidvalidity=8)}
    new = {"INBOX": Folder(), "x": Folder({10: "a"}, uidvalidity=8)}
    plan = work_out(TREE_X, old, new)
    assert plan.counts() == {"messages removed": 1} and removals(plan.removed) == [("INBOX", 11)]


def test_two_copies_need_two_partners(work_out):
    old, new = Folder({11: "a"}), Folder({10: "a", 11: "a"})
    plan = work_out(TREE, {"INBOX": old}, {"INBOX": new})
    assert appends(plan) == [("INBOX", 11, None)]


def test_with_another_uidvalidity_only_content_counts_and_nothing_is_removed(work_out):
    old, new = Folder({1: "a", 2: "b"}), Folder({1: "b", 2: "c"}, uidvalidity=99)
    plan = work_out(TREE, {"INBOX": old}, {"INBOX": new})
    assert appends(plan) == [("INBOX", 2, None)] and plan.removed == []
    assert plan.problems[0].endswith(": 1 in INBOX")


def test_mail_in_the_spool_counts_as_present(work_out):
    old = {"INBOX": Folder({1: "a"}), SPOOL: Folder({1: "b"})}
    new = {"INBOX": Folder({1: "a", 10: "b"})}
    assert work_out(TREE, old, new, spool=True).counts() == {}
    assert appends(work_out(TREE, old, new)) == [("INBOX", 10, None)]


def test_keywords_for_which_the_folder_has_no_room_are_left_out_and_said(work_out):
    keywords = [f"k{number}" for number in range(KEYWORDS - 1)]
    old = Folder({1: "a"}, keywords=keywords)
    new = Folder({1: "a", 10: ("b", ["K1", "fits", "surplus", "\\Seen"])})
    plan = work_out(TREE, {"INBOX": old}, {"INBOX": new})
    assert plan.appends[0].flags == {"K1", "fits", "\\Seen"}
    assert "no room for the keyword surplus of 1 messages" in plan.problems[0]


# --- folders


def test_a_renamed_folder_is_renamed_and_its_messages_are_paired_by_uid(work_out):
    old = {"INBOX": Folder(), "mail/x": Folder({1: "a"}, uidvalidity=8)}
    new = {"INBOX": Folder(), "y": Folder({1: "a"}, uidvalidity=8)}
    plan = work_out(TREE_X, old, new)
    assert plan.renames == [Rename("mail/x", "mail/y")]
    assert plan.counts() == {"folders renamed": 1}


def test_a_new_folder_is_created_and_a_deleted_one_stays(work_out):
    old = {"INBOX": Folder(), "mail/x": Folder({1: "a"}, uidvalidity=8)}
    new = {"INBOX": Folder(), "y": Folder({1: "b"}, uidvalidity=9)}
    plan = work_out(TREE_X, old, new)
    assert plan.creates == ["mail/y"] and appends(plan) == [("mail/y", 1, None)]
    assert len(plan.notes) == 1 and plan.notes[0].startswith("mail/x: ")
    assert plan.removed == [] == plan.moved


def test_a_folder_below_a_folder_gets_another_name_and_that_is_said(work_out):
    old = {"INBOX": Folder(), "mail/x": Folder(uidvalidity=8)}
    new = {"INBOX": Folder(), "x": Folder(uidvalidity=8), "x/y": Folder(uidvalidity=9)}
    plan = work_out(TREE_X, old, new)
    assert plan.creates == ["mail/x_y"] and "mail goes to mail/x_y" in plan.problems[0]


def test_new_mail_of_a_folder_that_c_client_cannot_read_is_listed(work_out):
    old = {"INBOX": Folder(), "mail/x": Unreadable()}
    new = {"INBOX": Folder(), "x": Folder({1: "a", 10: "b"}, uidvalidity=8)}
    plan = work_out(TREE_X, old, new)
    ((pair, reason, messages),) = plan.unreadable
    assert (pair.old, reason) == ("mail/x", "broken") and [row.uid for row in messages] == [10]
    assert plan.counts() == {} and "mail/x: c-client cannot read it" in plan.problems[0]


def test_subscriptions_follow_the_user_in_the_spelling_of_the_old_list(work_out):
    old = {
        "INBOX": Folder(),
        "mail/x": Folder(uidvalidity=8),
        "mail/y": Folder(uidvalidity=9),
    }
    new = {"INBOX": Folder(), "x": Folder(uidvalidity=8), "y": Folder(uidvalidity=9)}
    subscribed = (["{localhost}x", "mail/other"], ["y"])
    plan = work_out(mailbox_fakes.published("x", "y"), old, new, subscribed=subscribed)
    assert plan.subscriptions == [
        Subscription("{localhost}x", False),
        Subscription("mail/y", True),
    ]


def test_a_folder_of_a_further_root_stays_where_it_was(work_out):
    tree = mailbox_fakes.published("x")
    (inbox, x) = tree.folders
    outside = dataclasses.replace(x, key="oldmail", old="oldmail", new="oldmail")
    tree = dataclasses.replace(tree, folders=(inbox, outside))
    old = {"INBOX": Folder(), "oldmail": Folder(), "oldmail2": Folder()}
    new = {"INBOX": Folder(), "oldmail": Folder({10: "written on the new server"})}
    plan = work_out(tree, old, new, subscribed=(["oldmail"], ["oldmail"]))
    assert appends(plan) == [("oldmail", 10, None)]
    assert plan.creates == plan.renames == plan.subscriptions == []
