"""Presync of a mailbox that is written to while it is read, by a simulated writer and by a real
imapd."""

import contextlib
import os

import pytest

from mbx2maildir import batch, errors, events, plan_file
from mbx2maildir.convert import folder, folder_keywords, in_use, incoming, index, prepare, staged
from mbx2maildir.formats import maildir, mbx
from mbx2maildir.tests import build
from mbx2maildir.tests.test_batch import of, tree
from mbx2maildir.tests.test_presync import passes, scratch


@pytest.fixture
def busy(site, monkeypatch):
    """busy(content, changes): INBOX of alice; changes is {number of the message being written:
    function(path)}."""

    def make(content, changes):
        path = site.user("alice", content) / "INBOX"
        add, written = maildir.FolderWriter.add, []

        def add_and_change(self, uid, *arguments):
            add(self, uid, *arguments)
            written.append(uid)
            change = changes.pop(len(written), None)
            if change:
                change(path)

        monkeypatch.setattr(maildir.FolderWriter, "add", add_and_change)
        monkeypatch.setattr(folder, "PAUSE", 0)
        return path, written

    return make


def one_pass(site, presync=True):
    """A pass in this very process → the result of INBOX."""
    plan = plan_file.check(site.plan(presync=presync))
    collected = events.Collected()
    conversion = batch.Conversion(plan, collected)
    batch.containers.make_areas(plan)
    user = conversion.users["alice"]
    user["tree_id"], user["fresh"] = batch.publish.make_trees(plan, user)
    prepared = prepare.prepare(user, presync)
    return folder.folder(user, prepared["inbox"], b"", prepared["spool"], strict=True, live=presync)


def rewrite(change):
    """A change of the file in place, as c-client makes it: same inode."""

    def call(path):
        content = change(path.read_bytes())
        with open(path, "r+b") as file:
            file.write(content)
            file.truncate()

    return call


def expunge(uid):
    def change(content):
        gone = build.message(build.text(uid), uid, 0x11)
        assert gone in content
        return content.replace(gone, b"")

    return rewrite(change)


flag = rewrite(lambda content: content.replace(b"0011-00000007", b"0013-00000007"))
append = rewrite(lambda content: content + build.message(build.text(99), 0, 0))


def test_flags_and_new_mail_do_not_spoil_a_pass(site, busy):
    _path, written = busy(build.simple(20), {5: flag, 9: append, 15: append})
    result = one_pass(site)
    assert written == list(range(1, 21)) and result["messages"] == 20
    assert (
        one_pass(site)["written"] == 2 and len(written) == 22
    )  # it looks again, and takes only what came since
    passes(site.plan())
    assert tree(site.maildir("alice")) == scratch(site, "alice")


def test_an_expunge_meanwhile_costs_what_it_moved_and_no_more(site, busy):
    _path, written = busy(build.simple(20), {18: expunge(12)})
    result = one_pass(site)
    assert result["messages"] == 19
    assert written == [*range(1, 21), *range(13, 21)]
    passes(site.plan())
    assert tree(site.maildir("alice")) == scratch(site, "alice")


def test_a_message_that_is_just_being_appended_is_no_damage(site, busy):
    half = build.message(build.text(21, b"x" * 500), 0, 0)[:300]
    path, _written = busy(build.simple(20) + half, {})
    result = one_pass(site)
    assert result["messages"] == 20 and result["damage"] == []
    with open(path, "ab") as file:
        file.write(build.message(build.text(21, b"x" * 500), 0, 0)[300:])
    assert one_pass(site)["written"] == 1


def test_what_was_let_pass_while_users_work_is_judged_when_they_do_not(site, busy):
    """The half of a message that a pass takes for one being appended is damage to convert, though
    the file did not change."""
    half = build.message(build.text(21, b"x" * 500), 0, 0)[:300]
    path, _written = busy(build.simple(20) + half, {})
    assert one_pass(site)["messages"] == 20
    os.utime(path, (0, 0))
    with pytest.raises(errors.ShortTail):
        one_pass(site, presync=False)


@pytest.mark.parametrize(
    "damage",
    [b"garbage\r\n", build.message(build.text(21), 21, 0x11)[:-9]],
    ids=["garbage", "short tail"],
)
def test_what_a_pass_salvaged_is_damage_to_one_that_may_not(site, damage, monkeypatch):
    monkeypatch.setattr(index, "CLOCK_SKEW", -1)
    monkeypatch.setattr(in_use, "LATELY", -1)
    site.user("alice", build.simple(20) + damage, {"a": build.simple(2)})
    for _turn in range(2):
        results = passes(site.plan(), presync=True)
    assert [event["unchanged"] for event in of(results, "folder")] == [True, True]
    collected = events.Collected()
    batch.convert(plan_file.check(site.plan(strict=True)), collected)
    assert [error["kind"] for error in of(collected.all, "error")] == [
        "ShortTail" if damage[:1] == b" " else "BadMessageLine"
    ]
    passes(site.plan())
    assert tree(site.maildir("alice")) == scratch(site, "alice")


def test_uids_given_while_it_is_read(site, busy):
    def assign(content):
        content = bytearray(
            content.replace(b"-00000000", b"-00000015", 1).replace(b"-00000000", b"-00000016", 1)
        )
        content[15:23] = b"%08x" % 0x16
        return bytes(content)

    late = build.message(build.text(21), 0, 0) + build.message(build.text(22), 0, 0)
    _path, written = busy(build.simple(20) + late, {3: rewrite(assign)})
    result = one_pass(site)
    assert result["messages"] == 22 and not result["renumbered"] and written == list(range(1, 23))
    passes(site.plan())
    assert tree(site.maildir("alice")) == scratch(site, "alice")


def test_a_keyword_taken_off_while_lost_ones_are_looked_up_is_not_lost(site, monkeypatch):
    content = build.mbx(
        *(build.message(build.text(uid), uid, 0x11, 1 << (uid - 1)) for uid in range(1, 31)),
        uidlast=30,
        keywords=[b"k%d" % number for number in range(1, 31)],
    )
    path = site.user("alice", content) / "INBOX"
    rewind = mbx.Mailbox.rewind

    def rewind_later(self):
        if hasattr(self, "position"):  # the second pass over the lines
            rewrite(
                lambda content: content.replace(
                    b";200000000011-0000001e", b";000000000011-0000001e"
                )
            )(path)
        rewind(self)

    monkeypatch.setattr(mbx.Mailbox, "rewind", rewind_later)
    result = staged.empty_result(b"")
    user = batch.Conversion(plan_file.check(site.plan()), events.Collected()).users["alice"]
    prepared = incoming.find(user["inbox"], None)[0]
    fd, box = prepared.open()
    os.close(fd)
    folder_keywords.keywords_of(prepared, box, False, result)
    assert result["lost_keywords"] == ["k27", "k28", "k29"]
    assert result["warnings"][-1].startswith("keyword k29 is lost on UIDs 29:")


def test_with_the_services_stopped_any_change_is_an_error(site, busy, monkeypatch):
    monkeypatch.setattr(folder, "TRIES", 1)
    busy(build.simple(20), {5: flag})
    with pytest.raises(errors.ShortRead):
        one_pass(site, presync=False)


def test_one_that_never_holds_still_is_left_to_the_next_pass(site, busy):
    changes = {10: expunge(3), 35: expunge(4), 55: expunge(5)}
    busy(build.simple(20), changes)
    with contextlib.suppress(errors.ShortRead):
        one_pass(site)
    changes.clear()
    passes(site.plan())
    assert tree(site.maildir("alice")) == scratch(site, "alice")
