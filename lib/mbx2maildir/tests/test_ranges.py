"""A folder written in ranges by several workers is the folder one worker writes."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mbx2maildir.convert import folder, ranges
from mbx2maildir.tests import build
from mbx2maildir.tests.test_batch import messages, tree
from mbx2maildir.tests.test_presync import passes, scratch

FAKE = build.line(30, 4, 0x11) + b"this text looks like a message" + build.text(1)
SPOOL = b"From a@b Tue Nov 10 10:00:00 2026\nSubject: x\n\nspool\n\n"
BOXES = {
    "plain": (build.simple(40), True),
    "hidden": (
        build.simple(40)
        .replace(b"0011-00000009", b"8011-00000009")
        .replace(b"0011-00000028", b"8011-00000028"),
        True,
    ),
    "no UIDs at the end": (
        build.mbx(
            *(build.message(build.text(n), n, 0x11) for n in range(1, 38)),
            *(build.message(build.text(n), 0, 0) for n in range(38, 41)),
            uidlast=37,
        ),
        True,
    ),
    "no UIDs at all": (
        build.mbx(*(build.message(build.text(n), 0, 0) for n in range(1, 41))),
        False,
    ),
    "UIDs that fall": (build.simple(40).replace(b"0011-00000014", b"0011-00000003"), None),
    "a line in every text": (
        build.mbx(*(build.message(FAKE, n, 0x11) for n in range(1, 41)), uidlast=40),
        None,
    ),
    "garbage": (build.simple(20) + b"garbage" * 60 + build.simple(40)[2048:][-2000:], None),
    "cut": (build.simple(40)[:-9], True),
}


@pytest.mark.parametrize("name", BOXES)
@pytest.mark.parametrize("spool", [b"", SPOOL], ids=["no spool", "spool"])
def test_ranges_give_what_one_pass_gives(site, monkeypatch, name, spool):
    content, spread = BOXES[name]
    site.user("alice", content, spool=spool)
    whole = scratch(site, "alice")
    monkeypatch.setattr(ranges, "PART_BYTES", 900)
    if spread is not None:  # whether the parts must fit
        fit = ranges.fit

        def checked(job, parts):
            assert fit(job, parts) == spread and len(parts) > 2
            return spread

        monkeypatch.setattr(ranges, "fit", checked)
    results = passes(site.plan())
    assert tree(site.maildir("alice")) == whole
    assert sum(event["messages"] for event in results if event["event"] == "folder") == len(
        messages(site.maildir("alice"))
    )
    assert any(event["seconds"] > 0 for event in results if event["event"] == "folder")


def test_a_change_meanwhile_makes_one_worker_do_it_again(site, monkeypatch):
    home = site.user("alice", build.simple(40))
    monkeypatch.setattr(ranges, "PART_BYTES", 900)
    settled = folder.settled
    done = []

    def change(*arguments):
        if not done:
            done.append(True)
            (home / "INBOX").write_bytes(build.simple(41))
        return settled(*arguments)

    monkeypatch.setattr(folder, "settled", change)
    passes(dict(site.plan(), jobs=2))
    assert len(messages(site.maildir("alice"))) == 41


@settings(max_examples=15)
@given(
    st.lists(
        st.tuples(
            st.sampled_from([0, 1, 1, 1, 1]),
            st.sampled_from([0x11, 0x11, 0x13, 0x8011]),
            st.sampled_from([b"x", b"a\r\n" * 90, FAKE]),
        ),
        min_size=8,
        max_size=30,
    ),
    st.integers(300, 2000),
)
def test_random_boxes(tmp_path_factory, entries, size):
    site = build.Site(tmp_path_factory.mktemp("ranges"))
    parts = [
        build.message(text, number * given_uid, flags)
        for number, (given_uid, flags, text) in enumerate(entries, 1)
    ]
    site.user("alice", build.mbx(*parts, uidlast=len(parts)))
    whole = scratch(site, "alice")
    before, ranges.PART_BYTES = ranges.PART_BYTES, size
    try:
        passes(site.plan())
    finally:
        ranges.PART_BYTES = before
    assert tree(site.maildir("alice")) == whole
