"""The MBX reader by tables: c-client's rules, and damage of every kind."""

import os

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mbx2maildir import errors
from mbx2maildir.formats import mbx, mbx_header, mbx_lines
from mbx2maildir.tests import build


def read(path, content, strict=False, texts=True):
    path.write_bytes(content)
    fd = os.open(path, os.O_RDONLY)
    try:
        box = mbx.Mailbox(fd, str(path), strict)
        return box, list(box.messages(texts))
    finally:
        os.close(fd)


def uids(messages):
    return [message[0] for message in messages]


@pytest.fixture
def path(tmp_path):
    return tmp_path / "box"


def test_header(path):
    box, messages = read(
        path,
        build.mbx(uidvalidity=0xFEDCBA98, uidlast=0x12, keywords=[b"$Label1", b"x" * 51, b"last"]),
    )
    assert (box.uidvalidity, box.uidnext, messages) == (0xFEDCBA98, 0x13, [])
    assert box.keywords == [
        b"$Label1",
        None,
        b"last",
    ]  # c-client ignores a keyword above 50 bytes but keeps its slot


def test_all_thirty_keywords_and_a_gap(path):
    words = [b"k%d" % number for number in range(30)]
    assert read(path, build.mbx(keywords=words))[0].keywords == words
    assert read(path, build.mbx(keywords=[b"a", b"", b"never"]))[0].keywords == [b"a"]


def test_a_message(path):
    text = build.text(1)
    _box, messages = read(
        path, build.mbx(build.message(text, 7, 0x1F, 5, b"31-Dec-1999 23:59:59 -0830"), uidlast=9)
    )
    offset = mbx_header.HEADER_SIZE + len(build.line(len(text)))
    assert messages == [(7, False, 0x1F, 5, 946715399, len(text), offset, text)]


UID_CASES = [
    # UIDs in the file ("x" marks an expunged one), UIDLAST, UIDs seen, next UID, renumbered
    ("0 0 0", 0, [1, 2, 3], 4, False),
    ("4 9 0 0", 9, [4, 9, 10, 11], 12, False),
    ("4 0x 0", 9, [4, 11], 12, False),
    ("4x 9x", 9, [], 10, False),
    ("1 2 7 5 9", 9, [1, 2, 7, 8, 9], 10, True),
    ("1 2 2", 9, [1, 2, 3], 4, True),
    ("1 12 3", 9, [1, 2, 3], 4, True),
    ("1 12x 3", 9, [1, 3], 4, True),
    ("0 3", 9, [10, 11], 12, True),
    ("", 77, [], 78, False),
]


@pytest.mark.parametrize("written, uidlast, seen, uidnext, renumbered", UID_CASES)
def test_uids(path, written, uidlast, seen, uidnext, renumbered):
    parts = [
        build.message(build.text(1), int(uid.rstrip("x")), 0x8011 if uid.endswith("x") else 0x11)
        for uid in written.split()
    ]
    box, messages = read(path, build.mbx(*parts, uidlast=uidlast))
    assert uids(messages) == seen
    assert (box.uidnext, box.renumbered, box.expunged) == (uidnext, renumbered, written.count("x"))
    assert (box.uidvalidity != 1234567890) == renumbered


def test_c_client_reads_no_date_of_an_expunged_message(path):
    odd = build.message(build.text(2), 1, 0x8011, date=b"19-M\xe4r-2005 10:50:19 +0100")
    box, messages = read(path, build.mbx(build.message(build.text(1), 40, 0x11), odd, uidlast=44))
    assert uids(messages) == [40] and not box.damage
    assert (box.renumbered, box.uidnext, box.expunged) == (True, 42, 1)


def test_recent_is_uid_zero_or_not_old(path):
    parts = [
        build.message(build.text(1), uid, flags)
        for uid, flags in ((1, 0x11), (2, 1), (0, 0x11), (0, 0))
    ]
    assert [message[1] for message in read(path, build.mbx(*parts, uidlast=2))[1]] == [
        False,
        True,
        True,
        True,
    ]


A, B, C, D = (build.message(build.text(number), number, 0x11) for number in (1, 2, 3, 4))
H = mbx_header.HEADER_SIZE
DAMAGE = [
    # name, content after the header, UIDs read, (kind, offset, length) of the damage
    ("short tail", A + B[:-3], [1], [("ShortTail", H + len(A), len(B) - 3)]),
    ("only half a line", A + B[:20], [1], [("BadMessageLine", H + len(A), 20)]),
    ("garbage", A + b"\0" * 5000 + B, [1, 2], [("BadMessageLine", H + len(A), 5000)]),
    ("garbage at once", b"garbage\r\n" + A, [1], [("BadMessageLine", H, 9)]),
    ("garbage at the end", A + b"garbage\r\n", [1], [("BadMessageLine", H + len(A), 9)]),
    (
        "size beyond the end",
        build.line(10**9, 1, 0x11) + build.text(1) + B,
        [1, 2],
        [("BadSize", H, 0)],
    ),
    (
        "size too large",
        A + build.line(len(B) + 30, 2, 0x11) + build.text(2) + C,
        [1, 2, 3],
        [("BadSize", H + len(A), 0)],
    ),
    (
        "size too large, no text",
        A + build.line(30, 2, 0x11) + C,
        [1, 3],
        [("BadSize", H + len(A), len(build.line(30)))],
    ),
    (
        "size too large by chance",
        A + build.line(len(build.text(2)) + len(B), 2, 0x11) + build.text(2) + B + C,
        [1, 2, 3],
        [],
    ),
    (
        "killed expunge",
        A + B + C + C[40:] + B + C + D,
        [1, 2, 3, 4],
        [
            ("BadMessageLine", H + len(A + B + C), len(C) - 40),
            ("StaleCopy", H + len(A + B + C + C) - 40, len(B)),
            ("StaleCopy", H + len(A + B + C + C + B) - 40, len(C)),
        ],
    ),
    (
        "killed expunge, the end of a line",
        A + B + B[20:] + C + D,
        [1, 2, 3, 4],
        [("BadMessageLine", H + len(A + B), len(B) - 20)],
    ),
    (
        "size too small",
        build.line(20, 1, 0x11) + build.text(1) + B,
        [1, 2],
        [("BadMessageLine", H + len(build.line(20)) + 20, len(build.text(1)) - 20)],
    ),
    ("size nought", build.line(0, 1, 0x11) + B, [2], [("BadSize", H, len(build.line(0)))]),
    (
        "size beyond all numbers",
        build.line(10**30, 1, 0x11) + build.text(1) + B,
        [2],
        [("BadMessageLine", H, len(build.line(10**30)) + len(build.text(1)))],
    ),
    (
        "impossible date",
        build.message(build.text(1), 1, 0x11, date=b"99-Foo-2009 01:02:03 +0100") + B,
        [1, 2],
        [("BadDate", H, 0)],
    ),
    (
        "two holes",
        b"x" * 70 + A + b"y" * 70 + B,
        [1, 2],
        [("BadMessageLine", H, 70), ("BadMessageLine", H + 70 + len(A), 70)],
    ),
]


@pytest.mark.parametrize("name, content, seen, damage", DAMAGE, ids=[case[0] for case in DAMAGE])
@pytest.mark.parametrize("texts", [True, False], ids=["texts", "lines"])
def test_damage_is_skipped_and_named(path, name, content, seen, damage, texts):
    box, messages = read(path, build.header(uidlast=4) + content, texts=texts)
    assert uids(messages) == seen
    assert [
        (item["kind"], item["offset"], item["length"]) for item in box.damage
    ] == damage and not box.renumbered
    if not damage:
        return
    with pytest.raises(errors.DamagedMbx) as caught:
        read(path, build.header(uidlast=4) + content, strict=True, texts=texts)
    assert type(caught.value).__name__ == damage[0][0]
    assert caught.value.offset == damage[0][1] and caught.value.file == str(path)


def test_a_line_inside_garbage_counts_only_when_its_message_fits(path):
    fake = build.line(5000, 9, 0x11) + b"not so many bytes"
    box, messages = read(path, build.header(uidlast=9) + A + b"junk" + fake + B)
    assert uids(messages) == [1, 2]
    assert box.damage[0]["length"] == 4 + len(fake)


@pytest.mark.parametrize("size", [7, 24, 25, 2047])
def test_cut_inside_the_header(path, size):
    content = build.header(uidlast=3)[:size]
    box, messages = read(path, content)
    assert messages == [] and box.damage[0]["kind"] == "ShortHeader"
    assert (box.damage[0]["offset"], box.damage[0]["length"]) == (0, size)
    assert box.uidvalidity > 0
    with pytest.raises(errors.ShortHeader):
        read(path, content, strict=True)


def test_bad_header_keeps_the_messages(path):
    content = bytearray(build.mbx(A, B, uidlast=3))
    content[7:23] = b"????????????????"
    box, messages = read(path, bytes(content))
    assert uids(messages) == [1, 2] and box.renumbered and box.damage[0]["kind"] == "BadHeader"


@pytest.mark.parametrize(
    "content", [b"", b"From a@b Tue Nov 10 10:00:00 2026\n", b"*mbx*\n", b"JMF6abc"]
)
def test_other_formats(path, content):
    with pytest.raises(errors.NotMbx) as caught:
        read(path, content)
    assert caught.value.offset == 0


@pytest.mark.parametrize(
    "large",
    [
        mbx.LARGE - 1,
        mbx.LARGE,
        mbx.LARGE + 1,
        mbx_lines.CHUNK,
        mbx_lines.CHUNK - 60,
        3 * mbx_lines.CHUNK,
    ],
)
def test_large_texts_and_borders_of_chunks(path, large):
    text = b"x" * large
    _box, messages = read(path, build.mbx(A, build.message(text, 2, 0x11), C, uidlast=3))
    assert uids(messages) == [1, 2, 3]
    assert messages[1][7] == (text if large <= mbx.LARGE else None)
    assert messages[2][7] == build.text(3)


def test_a_line_longer_than_c_client_reads_is_none(path):
    """Found by mutations: the end of a text and the line after it were taken for one line, but only
    when texts were read."""
    inner = build.text(2, build.line(30, 4, 0x11) + b"text that looks like a message")
    torn = build.message(inner, 2, 0x11)
    torn = torn.replace(b"From:", b"\0" * 12 + b"From:", 1)
    content = build.mbx(A, torn, C, uidlast=3)
    box, messages = read(path, content)
    lines, again = read(path, content, texts=False)
    assert [message[:7] for message in again] == [
        message[:7] for message in messages
    ] and lines.damage == box.damage


def test_file_that_shrinks_while_it_is_read(path):
    path.write_bytes(
        build.mbx(*(build.message(b"y" * 400000, uid, 0x11) for uid in range(1, 6)), uidlast=5)
    )
    fd = os.open(path, os.O_RDONLY)
    box = mbx.Mailbox(fd, str(path))
    reading = box.messages()
    next(reading)
    os.truncate(path, 900000)
    with pytest.raises(errors.ShortRead):
        list(reading)
    os.close(fd)


GOOD = build.mbx(
    *(build.message(build.text(uid), uid, 0x11, uid) for uid in range(1, 9)),
    uidlast=8,
    keywords=[b"a", b"b"],
)


@settings(max_examples=300)
@given(
    st.lists(
        st.tuples(st.integers(0, len(GOOD) - 1), st.integers(0, 2), st.binary(max_size=40)),
        min_size=1,
        max_size=4,
    )
)
def test_mutated_files_never_raise(tmp_path_factory, changes):
    content = bytearray(GOOD)
    for offset, kind, data in changes:
        if kind == 0:
            content[offset : offset + len(data)] = data
        elif kind == 1:
            content[offset:offset] = data
        else:
            del content[offset : offset + 3 * len(data)]
    path = tmp_path_factory.mktemp("mutated") / "box"
    try:
        box, messages = read(path, bytes(content))
    except errors.NotMbx:
        assert not content.startswith(mbx_header.MAGIC)
        return
    assert uids(messages) == sorted(set(uids(messages)))
    assert box.uidnext > max(uids(messages), default=0)
    covered = sum(item["length"] for item in box.damage if item["offset"] >= mbx_header.HEADER_SIZE)
    read_bytes = sum(message[5] for message in messages)
    assert read_bytes + covered <= max(0, len(content) - mbx_header.HEADER_SIZE)
    lines = read(path, bytes(content), texts=False)
    assert uids(lines[1]) == uids(messages) and lines[0].damage == box.damage
