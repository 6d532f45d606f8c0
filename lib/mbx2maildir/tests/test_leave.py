"""Mail that a rollback goes on without: it is in the tree that comes back, and the next conversion
takes it over, once."""

import os

import pytest

from mbx2maildir import batch, events, plan_file
from mbx2maildir.publish import leave, publish, status
from mbx2maildir.tests import build
from mbx2maildir.tests.test_batch import deliver, messages


def convert(plan):
    collected = events.Collected()
    batch.convert(plan_file.check(plan), collected)
    assert collected.all[-1]["ok"], collected.all


def leave_mail(site, keep):
    """The store's `leave` of the one user. → (ok, files by (folder, UID))"""
    plan = site.plan()
    plan["users"] = [dict(plan["users"][0], keep=keep)]
    collected = events.Collected()
    leave.leave(plan_file.check(plan), collected)
    files = [item for event in collected.all for item in event.get("files", [])]
    return collected.all[-1]["ok"], {(item["folder"], item["uid"]): item["file"] for item in files}


def subjects(maildir):
    return sorted(
        text.split(b"Subject: ")[1].split(b"\n")[0].rstrip() for _, text in messages(maildir)
    )


@pytest.fixture
def alice(site):
    """Three old messages and one that came to the new side before; published; then one more, read
    and labelled, and a folder."""
    site.user("alice", build.simple(3))
    deliver(site.maildir("alice"), "1.before.vm", b"Subject: before\n\nx\n")
    convert(site.plan())
    live = site.maildir("alice")
    with open(live / "dovecot-uidlist", "ab") as uids:
        uids.write(b"9 :2.sent.vm\n")
    (live / "dovecot-keywords").write_bytes(b"3 Lavoro\n")
    (live / "cur/2.sent.vm:2,Sd").write_bytes(b"Subject: sent\n\ny\n")
    (live / ".Nuova.Sotto").mkdir()
    for part in ("cur", "new", "tmp"):
        (live / ".Nuova.Sotto" / part).mkdir()
    (live / ".Nuova.Sotto/dovecot-uidlist").write_bytes(b"3 V7 N2 G0\n1 :3.made.vm\n")
    (live / ".Nuova.Sotto/new/3.made.vm").write_bytes(b"Subject: made\n\nz\n")
    return site


KEEP = {"": [9], "Nuova.Sotto": [1]}


def test_it_is_in_the_tree_that_comes_back_and_only_it(alice):
    live = alice.maildir("alice")
    ok, files = leave_mail(alice, KEEP)
    assert ok and leave_mail(alice, KEEP) == (ok, files)  # once more, nothing twice
    batch.unpublish(plan_file.check(alice.plan()), events.Collected())
    assert leave_mail(alice, KEEP) == (ok, files)  # killed before it was journaled
    assert subjects(live) == [b"before", b"sent"]
    assert files == {
        ("", 9): str(live / "cur/2.sent.vm:2,Sa"),
        ("Nuova.Sotto", 1): str(live / ".Nuova.Sotto/new/3.made.vm"),
    }
    assert (
        all(os.path.exists(path) for path in files.values())
        and (live / "dovecot-keywords").read_bytes() == b"0 Lavoro\n"
    )
    assert (alice.root / "new/work/r1/unpublished/alice/cur/2.sent.vm:2,Sd").exists()
    assert status.state(plan_file.check(alice.plan()))["users"][0]["marked"] is None


def test_a_second_conversion_takes_it_over_once_and_so_it_does_when_it_was_carried_meanwhile(alice):
    assert leave_mail(alice, KEEP)[0]
    batch.unpublish(plan_file.check(alice.plan()), events.Collected())
    second = dict(alice.plan(), run="r2")
    inbox = alice.root / "home/alice/INBOX"
    inbox.write_bytes(
        build.mbx(
            *(build.message(build.text(number), number, 0x11) for number in (1, 2, 3)),
            build.message(b"Subject: sent\r\n\r\ny\r\n", 4, 0x11),
            uidlast=4,
        )
    )
    convert(second)
    live = alice.maildir("alice")
    assert subjects(live) == [b"before", b"message 1", b"message 2", b"message 3", b"sent"]
    assert [uid for uid, text in messages(live) if b"sent" in text] == [4]
    assert (live / ".Nuova.Sotto/new/3.made.vm").exists()
    assert status.state(plan_file.check(second))["users"][0]["marked"]["tree"]


def test_a_user_who_had_no_maildir_gets_one_and_a_message_that_is_gone_is_told(site):
    site.user("alice", build.simple(1))
    convert(site.plan())
    live = site.maildir("alice")
    ok, files = leave_mail(site, {"": [1]})
    assert ok and len(files) == 1
    assert not leave_mail(site, {"": [1, 5]})[0]
    batch.unpublish(plan_file.check(site.plan()), events.Collected())
    assert subjects(live) == [b"message 1"] and (live / "tmp").is_dir()
    assert publish.current(site.plan(), site.plan()["users"][0]) is None
