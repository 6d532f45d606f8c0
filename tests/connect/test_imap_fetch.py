"""Answers to FETCH, read from a server's bytes as they may come."""

import imaplib
import io
from datetime import UTC, datetime, timedelta, timezone

import pytest
from cutover.connect.imap import fetch


class Said:
    """A connection whose server has said it all already."""

    error, abort = imaplib.IMAP4.error, imaplib.IMAP4.abort

    def __init__(self, text):
        self.sent, self.heard, source = b"", [], io.BytesIO(text)
        self.readline, self.read = source.readline, source.read

    def _new_tag(self):
        return b"A1"

    def send(self, data):
        self.sent += data

    def _append_untagged(self, kind, text):
        self.heard.append((kind, text))


def asked(text, **options):
    connection = Said(text)
    return fetch.fetch(connection, [1, 2, 3, 7], "UID FLAGS", **options), connection


def test_every_shape_of_a_value():
    values, connection = asked(
        b'* 2 FETCH (UID 12 FLAGS (\\Seen $Label NIL 12) X "a \\"b\\" ) (" Y NIL)\r\n'
        b"* 9 EXISTS\r\n* NO something is odd\r\n"
        b"* 1 fetch (body[] {7}\r\n)\r\nA1 ( UID 11)\r\n"
        b'* 3 FETCH (BODY[HEADER.FIELDS (X-A B)] {0}\r\n BODY[]<0> "" FLAGS ())\r\nA1 OK done\r\n'
    )
    assert values == {
        2: {"UID": b"12", "FLAGS": b"\\Seen $Label NIL 12", "X": b'a "b" ) (', "Y": None},
        1: {"BODY[]": b")\r\nA1 (", "UID": b"11"},
        3: {"BODY[HEADER.FIELDS (X-A B)]": b"", "BODY[]<0>": b"", "FLAGS": b""},
    }
    assert connection.sent == b"A1 FETCH 1:3,7 (UID FLAGS)\r\n" and connection.heard == [
        ("NO", b"something is odd")
    ]


@pytest.mark.parametrize("keyword", [b"a(b", b"a)b", b"a)", b"(", b")", b"a(b)c", b'"', b"e\\f"])
@pytest.mark.parametrize("after", [b" UID 4", b' INTERNALDATE " 1-Jan-2009 00:00:00 +0000"', b""])
def test_keywords_of_a_mail_file_that_imap_has_no_words_for(keyword, after):
    values, _ = asked(b"* 4 FETCH (FLAGS (\\Seen %b)%b)\r\nA1 OK\r\n" % (keyword, after))
    assert values[4]["FLAGS"] == b"\\Seen " + keyword and len(values[4]) == (2 if after else 1)


def test_what_is_said_of_one_message_in_two_answers_is_put_together():
    values, connection = asked(
        b"* 4 FETCH (UID 4)\r\n* 4 FETCH (FLAGS (\\Recent))\r\nA1 OK\r\n", uid=True
    )
    assert values == {4: {"UID": b"4", "FLAGS": b"\\Recent"}} and connection.sent.startswith(
        b"A1 UID FETCH "
    )


@pytest.mark.parametrize(
    "text, error, message",
    [
        (
            b"* 1 FETCH (UID 1)\r\nA1 NO [X] disk\r\n",
            imaplib.IMAP4.error,
            r"fetch failed: \[X\] disk",
        ),
        (b"A1 BAD\r\n", imaplib.IMAP4.error, "fetch failed"),
        (b"* 1 FETCH (ENVELOPE ((NIL)))\r\nA1 OK\r\n", imaplib.IMAP4.error, "cannot be read"),
        (b"* BYE going down\r\n", imaplib.IMAP4.abort, "going down"),
        (b"* 1 FETCH (BODY[] {10}\r\nshort", imaplib.IMAP4.abort, "EOF"),
        (b"* 1 FETCH (UID 1", imaplib.IMAP4.abort, "EOF"),
        (b"", imaplib.IMAP4.abort, "EOF"),
    ],
)
def test_what_is_no_answer(text, error, message):
    with pytest.raises(error, match=message):
        asked(text)


@pytest.mark.parametrize(
    "raw, meant",
    [
        (
            b" 1-Feb-1999 03:04:05 +0130",
            datetime(1999, 2, 1, 3, 4, 5, tzinfo=timezone(timedelta(minutes=90))),
        ),
        (
            b"29-FEB-2000 23:59:59 -0800",
            datetime(2000, 2, 29, 23, 59, 59, tzinfo=timezone(timedelta(hours=-8))),
        ),
        # c-client shows days that no month has, seconds of 60, and zones of more than a day
        (
            b"31-Feb-2000 23:59:60 -0800",
            datetime(2000, 3, 3, 0, 0, 0, tzinfo=timezone(timedelta(hours=-8))),
        ),
        (b" 1-Feb-1999 03:04:05 +3100", datetime(1999, 1, 30, 20, 4, 5, tzinfo=UTC)),
        (b" 1-Foo-1999 03:04:05 +0130", None),
        (b"yesterday", None),
        (b"", None),
        (None, None),
    ],
)
def test_dates(raw, meant):
    date = fetch.internaldate(raw)
    assert date == meant and (meant is None or date.utcoffset() == meant.utcoffset())
