"""What a published tree took over, asked for later: flags and keywords as they were published, and
no message that was not."""

import os
import shutil

import pytest

from mbx2maildir import batch, events, plan_file
from mbx2maildir.publish import base, containers
from mbx2maildir.tests import build
from mbx2maildir.tests.test_batch import deliver

SEEN, DELETED, FLAGGED, ANSWERED = 1, 2, 4, 8


def convert(plan):
    collected = events.Collected()
    batch.convert(plan_file.check(plan), collected)
    assert collected.all[-1]["ok"], collected.all


def ask(plan, asked):
    """The store's `base` of the one user of a plan. asked: {Maildir name: [UIDs]}"""
    plan["users"] = [dict(plan["users"][0], asked=asked)]
    return base.read(plan_file.check(plan))["users"][0]


@pytest.fixture
def alice(site):
    """One user, whose INBOX also got mail on the new side."""
    texts = [build.text(number) for number in (1, 2, 4)]
    site.user(
        "alice",
        build.mbx(
            build.message(texts[0], 1, SEEN | ANSWERED | 0x10, 0b101),
            build.message(texts[1], 2, DELETED | 0x10),
            build.message(texts[2], 4, FLAGGED | 0x10, 0b10),
            uidlast=4,
            keywords=(b"zero", b"One", b"$two"),
        ),
        {"a.b": build.simple(2)},
    )
    deliver(site.maildir("alice"), "1.M1.vm", b"Subject: on the new side alone\n\nx\n")
    return site


def test_flags_keywords_date_and_sizes_as_they_were_published(alice):
    convert(alice.plan())
    results = ask(alice.plan(), {"": [1, 2, 3, 4, 5], "a_b": [2]})
    size = len(build.text(1))
    assert set(results["folders"]) == {"", "a_b"}
    assert {
        uid: (values[0], values[1:3], set(values[3]))
        for uid, values in results["folders"][""].items()
    } == {
        "1": (build.SECONDS, [size, size], {"\\Seen", "\\Answered", "zero", "$two"}),
        "2": (build.SECONDS, [size, size], {"\\Deleted"}),
        "4": (build.SECONDS, [size, size], {"\\Flagged", "One"}),
    }
    assert results["folders"]["a_b"] == {"2": [build.SECONDS, size, size, ["\\Seen"]]}


def test_a_tree_that_is_not_published_has_none(alice):
    assert ask(alice.plan(), {"": [1]}) == {"user": "alice", "tree": None, "folders": {}}
    convert(alice.plan())
    batch.unpublish(plan_file.check(alice.plan()), events.Collected())
    assert ask(alice.plan(), {"": [1]}) == {"user": "alice", "tree": None, "folders": {}}


def test_published_anew_it_is_that_of_the_new_tree(alice):
    convert(alice.plan())
    first = ask(alice.plan(), {"": [1]})
    batch.unpublish(plan_file.check(alice.plan()), events.Collected())
    inbox = alice.root / "home/alice/INBOX"
    inbox.write_bytes(build.mbx(build.message(build.text(1), 1, 0x10), uidlast=4))
    convert(alice.plan())
    again = ask(alice.plan(), {"": [1]})
    assert again["tree"] not in (None, first["tree"]) and again["folders"][""]["1"][3] == []


def test_killed_before_it_was_kept_it_is_found_where_it_was(alice):
    convert(alice.plan())
    places = containers.paths(alice.plan(), alice.plan()["users"][0])
    shutil.move(os.fsdecode(places["base"]), os.fsdecode(places["index"]))
    assert ask(alice.plan(), {"": [1]})["folders"][""]["1"]
    convert(alice.plan())  # settles what was begun
    assert ask(alice.plan(), {"": [1]})["folders"][""]["1"]


def test_the_record_of_another_tree_is_not_taken_for_it(alice):
    convert(alice.plan())
    places = containers.paths(alice.plan(), alice.plan()["users"][0])
    tables = os.path.join(places["base"], b"tables")
    with open(tables, "rb") as source:
        content = source.read()
    with open(tables, "wb") as target:
        target.write(content.replace(ask(alice.plan(), {})["tree"].encode(), b"0" * 32))
    assert ask(alice.plan(), {"": [1]})["folders"] == {}
