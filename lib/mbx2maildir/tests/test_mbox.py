"""The traditional mbox reader: what is a message, what is taken out, what size is left."""

import os
import re

import pytest

from mbx2maildir.formats import mbox, mbx

DATE = b"Tue Nov 10 10:00:00 2026"


def read(path, content):
    path.write_bytes(content)
    fd = os.open(path, os.O_RDONLY)
    try:
        box = mbox.Mailbox(fd, str(path))
        return box, list(box.messages())
    finally:
        os.close(fd)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "spool"


def test_two_messages(path):
    content = b"From a@b %b\nSubject: 1\n\nbody\n\nFrom c %b\nSubject: 2\n\nlast\n" % (DATE, DATE)
    _box, messages = read(path, content)
    assert [message[7] for message in messages] == [
        b"Subject: 1\n\nbody\n",
        b"Subject: 2\n\nlast\n",
    ]
    assert [message[5] for message in messages] == [
        len(b"Subject: 1\r\n\r\nbody\r\n"),
        len(b"Subject: 2\r\n\r\nlast\r\n"),
    ]
    assert [message[0] for message in messages] == [1, 2]


@pytest.mark.parametrize(
    "body", [b"From here\n", b">From here\n", b"From a b c d e f\n", b" From x %b\n" % DATE]
)
def test_not_every_from_is_a_message(path, body):
    _box, messages = read(path, b"From a@b %b\nSubject: 1\n\n%b" % (DATE, body))
    assert [message[7] for message in messages] == [b"Subject: 1\n\n" + body]


def test_own_headers_are_taken_out_and_lookalikes_stay(path):
    header = b"Status: RO\nX-Status: FT\nX-Keywords: a b\n c\nX-UID: 4\nX-IMAPbase: 1 2\n"
    header += b"X-Statusline: x\nSubject: s\n"
    _box, messages = read(path, b"From a@b %b\n%b\nStatus: in the body\n" % (DATE, header))
    assert messages[0][7] == b"X-Statusline: x\nSubject: s\n\nStatus: in the body\n"
    assert messages[0][2] == mbx.SEEN | mbx.OLD | mbx.FLAGGED | mbx.DRAFT


def test_pseudo_message_gives_uids_and_keywords(path):
    content = (
        b"From x %b\nX-IMAP: 1254000000 40 k1 k2\n\nDo not delete\n\n" % DATE
        + b"From a@b %b\nX-UID: 17\nX-Keywords: K2\nStatus: RO\nSubject: 1\n\nb\n\n" % DATE
        + b"From a@b %b\nSubject: 2\n\nb\n" % DATE
    )
    box, messages = read(path, content)
    assert [(message[0], message[1], message[3]) for message in messages] == [
        (17, False, 2),
        (41, True, 0),
    ]
    assert (box.uidvalidity, box.uidnext, box.keywords) == (1254000000, 42, [b"k1", b"k2"])


def test_after_one_bad_uid_none_is_believed(path):
    content = b"".join(
        b"From a@b %b\n%bSubject: s\n\nb\n\n" % (DATE, fields)
        for fields in (
            b"X-IMAPbase: 1254000000 10\nX-UID: 5\n",
            b"X-UID: 9\n",
            b"X-UID: 3\n",
            b"X-UID: 20\n",
            b"",
        )
    )
    box, messages = read(path, content)
    assert [message[0] for message in messages] == [5, 9, 11, 12, 13]
    assert box.renumbered and (box.uidvalidity, box.uidnext) == (1254000001, 14)


@pytest.mark.parametrize("end, damage", [(b"", 1), (b"\n", 0), (b"\nX-UID: 3", 0)])
def test_a_base_that_the_file_ends_in_is_named(path, end, damage):
    """c-client looks for the end of its line, and crashes."""
    box, messages = read(path, b"From a@b %b\nX-IMAPbase: 1254000000 10 a%b" % (DATE, end))
    assert len(messages) == 1 and len(box.damage) == damage


def test_a_from_line_within_a_header_separates_nothing(path):
    content = b"From a@b %b\nSubject: 1\nFrom c %b\nSubject: 2\n\nb\n" % (DATE, DATE)
    assert [message[7] for message in read(path, content)[1]] == [content.partition(b"\n")[2]]


def test_crlf_file_and_leading_blank_lines(path):
    _box, messages = read(
        path, (b"\n\nFrom a@b %b\nSubject: 1\n\nbody\n\n" % DATE).replace(b"\n", b"\r\n")
    )
    assert [message[7] for message in messages] == [b"Subject: 1\n\nbody\n"]


@pytest.mark.parametrize(
    "content, damage",
    [(b"no mail at all\n", (0, 15)), (b"junk\nFrom a@b %b\nS: 1\n\nb\n" % DATE, (0, 5))],
)
def test_text_before_the_first_message_is_named(path, content, damage):
    box, _messages = read(path, content)
    assert [(item["offset"], item["length"]) for item in box.damage] == [damage]


def test_from_line_across_the_border_of_a_chunk(path):
    for shift in range(8):
        filler = b"x" * (mbox.CHUNK - 60 + shift)
        content = b"From a@b %b\nS: 1\n\n%b\n\nFrom c %b\nS: 2\n\nb\n" % (DATE, filler, DATE)
        assert [len(message[7]) for message in read(path, content)[1]] == [6 + len(filler) + 1, 8]


def test_empty(path):
    assert read(path, b"")[1] == [] and read(path, b"\n\n")[1] == []


def test_large_messages_are_streamed_and_come_out_the_same(site, monkeypatch):
    from mbx2maildir.tests.test_batch import convert, tree

    spool = b"".join(
        b"From a@b Tue Nov 10 10:00:%02d 2026\nSubject: %d\nStatus: RO\n\n%b\n"
        % (number, number, body)
        for number, body in enumerate(
            (b"", b"x\r\ny" * 200, b"\n\n\n", b"line\n" * 90 + b"\n\n", b"end" * 150)
        )
    )
    for limit in (1 << 20, 120):
        site.user(f"u{limit}", None, {"box": spool}, spool=spool)
        monkeypatch.setattr(mbox.mbx, "LARGE", limit)
        monkeypatch.setattr(mbox.files, "COPY_CHUNK", 64 if limit == 120 else 1 << 20)
        assert convert(site.plan(f"r{limit}"))[-1]["ok"]
    with_limit, without_limit = (
        {
            name: value
            for name, value in tree(site.maildir(f"u{limit}")).items()
            if "dovecot-uid" not in name
        }
        for limit in (1 << 20, 120)
    )
    assert strip(with_limit) == strip(without_limit) and len(with_limit) > 10


def strip(files):
    """UIDVALIDITY is that of the file's time."""
    return {re.sub(r"P\d+", "P", name): value for name, value in files.items()}


@pytest.mark.parametrize(
    "base, uids, given, uidnext",
    [
        (b"4294967296 10", [b"3", b"9", None], [3, 9, 11], 12),
        (b"1 4294967306", [b"3", None, b"20"], [3, 4, 5], 6),
        (b"1 10", [b"3", b"4294967306", b"20", None], [3, 11, 12, 13], 14),
        (b"1 10", [b"4294967294", None], [11, 12], 13),
        (b"1 4294967200", [None] * 3, [1, 2, 3], 4),
        (b"1 10", [b"18446744073709551615", None, None], [11, 12, 13], 14),
        (b"1 10", [b"9" * 5000, None], [11, 12], 13),
    ],
)
def test_numbers_that_imap_does_not_allow_are_not_kept(path, base, uids, given, uidnext):
    """c-client believes them; no mail program takes them."""
    fields = [b"" if uid is None else b"X-UID: %b\n" % uid for uid in uids]
    fields[0] = b"X-IMAPbase: %b\n" % base + fields[0]
    text = b"".join(b"From a@b %b\n%b\nbody\n\n" % (DATE, field) for field in fields)
    box, messages = read(path, text)
    assert [message[0] for message in messages] == given and box.uidnext == uidnext
    assert box.renumbered and box.uidvalidity == 2 and not box.damage
