"""Which file is INBOX, and what is taken out of the spool: c-client's order."""

import pytest

from mbx2maildir import errors
from mbx2maildir.convert import incoming
from mbx2maildir.tests import build

DATE = b"Tue Nov 10 10:00:00 2026"
MBOX = b"From a@b %b\nSubject: 1\n\nbody\n\n" % DATE
MBX = build.simple(2)
MTX = b" 3-Feb-2009 01:02:03 +0100,14;000000000000\r\nSubject: 1\r\n\r\n"
# ~/mbox, ~/INBOX, the spool → INBOX, spool, passed over as (file, format)
CASES = [
    (None, None, None, None, None, []),
    (None, MBX, MBOX, "INBOX", "spool", []),
    (MBOX, None, None, "mbox", None, []),
    (MBOX, MBX, MBOX, "mbox", "spool", [("INBOX", "mbx")]),
    (b"", MBX, None, None, None, [("INBOX", "mbx")]),
    (b"", MBX, MBOX, "spool", None, [("INBOX", "mbx")]),
    (b"", MBX, MBX, "INBOX", "spool", [("mbox", "")]),
    (b"", MBX, b"\n", "INBOX", None, [("mbox", "")]),
    (MBOX, MTX, MBX, "INBOX", "spool", [("mbox", "mbox")]),
    (b"no mail", MBX, None, "INBOX", None, [("mbox", "")]),
    (None, MBOX, MBOX, "spool", None, [("INBOX", "mbox")]),
    (None, MBOX, None, None, None, [("INBOX", "mbox")]),
    (MBX, None, None, None, None, [("mbox", "mbx")]),
    (MTX, MBOX, b"", None, None, [("mbox", "mtx"), ("INBOX", "mbox")]),
    (None, MBX, b"\n\n \t\r\n", "INBOX", None, []),
    (None, MBX, b"\0" * 99, "INBOX", None, [("spool", "")]),
    (None, MBX, MTX, "INBOX", "spool", []),
]


@pytest.mark.parametrize("mbox, mbx, spool, inbox, moved, passed", CASES)
def test_inbox_is_what_c_client_takes(tmp_path, mbox, mbx, spool, inbox, moved, passed):
    for name, content in (("mbox", mbox), ("INBOX", mbx), ("spool", spool)):
        if content is not None:
            (tmp_path / name).write_bytes(content)
    candidates = [str(tmp_path / "mbox"), str(tmp_path / "INBOX")]
    taken, waiting, others = incoming.find(candidates, str(tmp_path / "spool"))
    if taken is None and waiting is None:
        assert inbox is moved is None
    names = [file and file.path.decode().rpartition("/")[2] for file in (taken, waiting)]
    if taken is None and waiting is not None:
        names.reverse()
    assert names == [inbox, moved]
    assert [(item["file"].decode().rpartition("/")[2], item["format"]) for item in others] == passed


def test_a_directory_is_no_inbox_and_hides_none(tmp_path):
    (tmp_path / "mbox").mkdir()
    (tmp_path / "INBOX").write_bytes(MBX)
    taken, _spool, others = incoming.find([str(tmp_path / "mbox"), str(tmp_path / "INBOX")], None)
    assert taken.format == "mbx" and others[0]["why"] == "a directory, not a regular file"


def test_text_before_the_first_message_of_the_spool_is_named(tmp_path):
    (tmp_path / "spool").write_bytes(b"text\n" + MBOX)
    with pytest.raises(errors.UnreadableMail) as caught:
        incoming.find([], str(tmp_path / "spool"))
    assert "no mail out of it" in caught.value.what and "beginning" in caught.value.todo


@pytest.mark.parametrize("spool", [MBX, MTX])
def test_a_spool_that_nobody_can_open_is_named(tmp_path, spool):
    (tmp_path / "spool").write_bytes(spool)
    (tmp_path / "mbox").write_bytes(MBOX)
    with pytest.raises(errors.UnreadableMail) as caught:
        incoming.find([str(tmp_path / "mbox")], str(tmp_path / "spool"))
    assert "nobody can open it" in caught.value.what


def test_a_file_that_somebody_named_is_inbox(tmp_path):
    (tmp_path / "alice.mbox").write_bytes(MBOX)
    taken, _spool, others = incoming.find([str(tmp_path / "alice.mbox")], None)
    assert taken.format == "mbox" and not others
