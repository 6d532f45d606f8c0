"""Mutations of valid files: nothing is raised, UIDs rise, every byte is accounted for, and a delta
pass ends where a conversion from scratch ends, as far as message lines tell. The suite takes a
hundred and more; CUTOVER_MUTATIONS=100000 makes a long run.
"""

import os
import re
import shutil

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mbx2maildir import batch, errors, events, plan_file
from mbx2maildir.convert import folder, index, prepare
from mbx2maildir.formats import mbx_header
from mbx2maildir.publish import containers, publish
from mbx2maildir.tests import build
from mbx2maildir.tests.test_batch import tree
from mbx2maildir.tests.test_mbx import read, uids

MUTATIONS = int(os.environ.get("CUTOVER_MUTATIONS", "150"))

TEXTS = [
    build.text(number, body)
    for number, body in enumerate(
        (
            b"",
            b"a\r\r\nb",
            b"x" * 400 + b"\r\n",
            b"bare\nLF",
            build.line(30, 4, 0x11) + b"text that looks like a message",
            b"z\r\n",
        ),
        1,
    )
]
GOOD = [
    build.mbx(
        *(build.message(text, uid, 0x11, uid) for uid, text in enumerate(TEXTS * 2, 1)),
        uidlast=12,
        keywords=[b"a", b"b"],
    ),
    build.mbx(
        *(
            build.message(text, 2 * uid, 0x8011 if uid in (2, 5) else 0x11)
            for uid, text in enumerate(TEXTS, 1)
        ),
        *(build.message(text, 0, 0) for text in TEXTS[:2]),
        uidlast=20,
    ),
    # what a killed expunge leaves: slid to the front, then the old copies
    build.mbx(
        *(build.message(text, uid, 0x11) for uid, text in enumerate(TEXTS[:4], 1)),
        build.message(TEXTS[3], 4, 0x11)[50:],
        *(build.message(text, uid, 0x11) for uid, text in enumerate(TEXTS[:5], 1)),
        uidlast=9,
    ),
]
CHANGE = st.tuples(
    st.integers(0, 4000),
    st.integers(0, 3),
    st.one_of(
        st.binary(max_size=40),
        st.sampled_from(
            [
                b"\r\n",
                b"00000000",
                b"8011",
                b",9999;",
                b",1;",
                b"-00000003\r\n",
                build.line(50, 7, 0x11),
                b"\0" * 30,
            ]
        ),
    ),
)


def mutated(content, changes):
    content = bytearray(content)
    for offset, kind, data in changes:
        offset %= len(content) + 1
        if kind == 0:
            content[offset : offset + len(data)] = data
        elif kind == 1:
            content[offset:offset] = data
        elif kind == 2:
            del content[offset : offset + 3 * len(data)]
        else:
            content[offset:offset] = content[
                offset // 2 : offset // 2 + 9 * len(data)
            ]  # a piece stands there twice
    return bytes(content)


class Stager:
    """Stages one INBOX in this very process, on the fastest file system there is."""

    def __init__(self, root):
        self.site = build.Site(root)
        self.home = self.site.user("alice", b"x")

    def stage(self, content, run, fresh):
        (self.home / "INBOX").write_bytes(content)
        plan = plan_file.check(
            dict(self.site.plan(run), presync=True, work=str(self.site.root / "new" / run))
        )
        if fresh:
            shutil.rmtree(plan["work"], ignore_errors=True)
        containers.make_areas(plan)
        user = batch.Conversion(plan, events.Collected()).users["alice"]
        user["tree_id"], user["fresh"] = publish.make_trees(plan, user)
        prepared = prepare.prepare(user, True)
        result = folder.folder(user, prepared["inbox"], b"", prepared["spool"])
        return tree(user["staging"]), result


@pytest.fixture(scope="module")
def stager(tmp_path_factory):
    place = f"/dev/shm/cutover-fuzz-{os.getpid()}" if os.path.isdir("/dev/shm") else None
    if place is None:
        yield Stager(tmp_path_factory.mktemp("fuzz"))
        return
    root = type(tmp_path_factory.getbasetemp())(place)
    root.mkdir()
    yield Stager(root)
    shutil.rmtree(root)


@settings(max_examples=MUTATIONS, suppress_health_check=list(HealthCheck))
@given(st.integers(0, len(GOOD) - 1), st.lists(CHANGE, min_size=1, max_size=4), st.booleans())
def test_mutations(stager, which, changes, delta):
    before, index.CLOCK_SKEW = index.CLOCK_SKEW, -1
    pause, folder.PAUSE = folder.PAUSE, 0
    try:
        content = mutated(GOOD[which], changes)
        path = stager.site.root / "box"
        try:
            box, messages = read(path, content)
        except errors.NotMbx:
            assert not content.startswith(mbx_header.MAGIC)
            return
        assert uids(messages) == sorted(set(uids(messages)))
        assert box.uidnext > max(uids(messages), default=0)
        covered = sum(
            item["length"] for item in box.damage if item["offset"] >= mbx_header.HEADER_SIZE
        )
        assert sum(message[5] for message in messages) + covered <= max(
            0, len(content) - mbx_header.HEADER_SIZE
        )
        lines, again = read(path, content, texts=False)
        assert [message[:7] for message in again] == [
            message[:7] for message in messages
        ] and lines.damage == box.damage
        scratch, result = stager.stage(content, "scratch", True)
        assert result["messages"] == len(messages)
        if delta:
            stager.stage(GOOD[which], "delta", True)
            other, result = stager.stage(content, "delta", False)
            assert result["messages"] == len(messages) and shape(other) == shape(scratch)
    finally:
        index.CLOCK_SKEW, folder.PAUSE = before, pause


def shape(staged):
    """Folders, UIDs and flags of a staged tree. A text that was changed in place is no case
    c-client makes: by the message lines, which are all that a delta pass looks at, it is the same.
    """
    return sorted(re.sub(",S=[0-9]+,W=[0-9]+", "", name) for name in staged)
