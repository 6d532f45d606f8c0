"""The Maildir writer: line ends, sizes, names, and the copy of texts too large to hold."""

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mbx2maildir import files
from mbx2maildir.formats import file_names, keywords, line_ends, maildir, uidlist

LINE_ENDS = [
    (b"a\r\nb\r\n", b"a\nb\n", 6),
    (b"no line end", b"no line end", 11),
    (b"", b"", 0),
    (b"bare\nLF\r\n", b"bare\nLF\n", 10),
    (b"a\r\r\nb", b"a\r\r\nb", 5),
    (b"a\r\r\r\n\r\n", b"a\r\r\r\n\n", 7),
    (b"bare\rCR\r\n", b"bare\rCR\n", 9),
    (b"\r", b"\r", 1),
    (b"\n", b"\n", 2),
    (bytes(range(256)), bytes(range(256)), 257),
]


def as_dovecot_shows(stored):
    """LF without CR before it gets one: what Dovecot does when it sends a stored text."""
    out = bytearray()
    for byte in stored:
        if byte == 10 and out[-1:] != b"\r":
            out.append(13)
        out.append(byte)
    return bytes(out)


@pytest.mark.parametrize("text, stored, size", LINE_ENDS)
def test_line_ends(text, stored, size):
    assert line_ends.to_lf(text) == (stored, size)


@given(st.lists(st.sampled_from([b"\r", b"\n", b"\r\n", b"a", b"\xff"]), max_size=30).map(b"".join))
def test_line_ends_come_back(text):
    stored, size = line_ends.to_lf(text)
    assert len(as_dovecot_shows(stored)) == size == line_ends.virtual_size(stored)
    assert as_dovecot_shows(stored) == as_dovecot_shows(text)


@given(
    st.lists(st.sampled_from([b"\r", b"\n", b"\r\n", b"ab", b"\r\r"]), max_size=40).map(b"".join),
    st.integers(1, 7),
)
def test_copy_in_pieces_gives_the_same(tmp_path_factory, text, piece):
    directory = tmp_path_factory.mktemp("copy")
    (directory / "source").write_bytes(b"xx" + text + b"yy")
    chunk, files.COPY_CHUNK = files.COPY_CHUNK, piece
    source, target = (
        os.open(directory / "source", os.O_RDONLY),
        os.open(directory / "target", os.O_RDWR | os.O_CREAT),
    )
    try:
        written, size = line_ends.copy_lf(files.pieces(source, 2, len(text)), target)
    finally:
        files.COPY_CHUNK = chunk
        os.close(source)
        os.close(target)
    assert ((directory / "target").read_bytes(), size) == line_ends.to_lf(text)
    assert written == len(line_ends.to_lf(text)[0])


def test_folder(tmp_path):
    path = os.fsencode(tmp_path / ".folder")
    writer = maildir.FolderWriter(path, file_names.host_name("host/with:odd,name"), 17)
    writer.add(3, False, b"FS", 1233619323, b"a\nb\n", 6)
    writer.add(9, True, b"", 0, b"c", 1)
    writer.close(18, 10, b"0" * 32, b"0 work\n")
    names = [(subdir, name) for subdir, name in maildir.listing(os.fsencode(tmp_path), b"folder")]
    assert names == [
        (b"cur", b"1233619323.M3P17.host\\057with\\072odd\\054name,S=4,W=6:2,FS"),
        (b"new", b"0.M9P17.host\\057with\\072odd\\054name,S=1,W=1:2,"),
    ]
    assert os.stat(os.path.join(path, *names[0])).st_mtime == 1233619323
    assert uidlist.read(path)[:2] == (18, 10)
    assert sorted(uidlist.read(path)[2].values()) == [3, 9]
    assert keywords.read(path) == {b"a": b"work"}
    assert os.path.exists(os.path.join(path, b"maildirfolder"))
    assert {os.stat(os.path.join(path, *name)).st_mode & 0o777 for name in names} == {0o600}


def test_keyword_letters():
    table = keywords.KeywordTable([b"one", None, b"three"])
    assert (table.letters(1), table.letters(2), table.letters(4), table.letters(7)) == (
        b"a",
        b"",
        b"b",
        b"ab",
    )
    assert table.file_text() == b"0 one\n1 three\n" and not table.dropped


def test_with_more_than_26_keywords_those_in_use_come_first():
    names = [b"k%d" % number for number in range(30)]
    used = (1 << 30) - 1 & ~0b1111  # the first four are in use by nobody
    table = keywords.KeywordTable(names, used)
    assert table.dropped == [] and table.names == names[4:]
    table = keywords.KeywordTable(names, (1 << 30) - 1)
    assert table.dropped == names[26:] and table.dropped_bits == 0b1111 << 26


def test_keywords_that_differ_only_in_case_share_a_letter():
    table = keywords.KeywordTable([b"Lavoro", b"lavoro", b"x"])
    assert table.file_text() == b"0 Lavoro\n1 x\n"
    assert [table.letters(bits) for bits in (1, 2, 3, 4)] == [b"a", b"a", b"a", b"b"]
    assert table.merged == [(b"lavoro", b"Lavoro")]
