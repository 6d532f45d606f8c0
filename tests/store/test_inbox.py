"""Which file is INBOX: every combination of what may lie in its three places, asked of c-client."""

import imaplib
import itertools
import os

import pytest
from mbx2maildir import errors
from mbx2maildir.convert import incoming
from mbx2maildir.tests import build

pytestmark = pytest.mark.lab
PLACES = ("mbox", "INBOX", "spool")
KINDS = ("", "empty", "blank", "text", "mbox", "mmdf", "mbx", "mtx")


def content(kind, place):
    text = b"Subject: %b\r\n\r\nbody\r\n" % place.encode()
    mbox = b"From a@b Tue Nov 10 10:00:00 2026\n" + text.replace(b"\r", b"") + b"\n"
    return {
        "empty": b"",
        "blank": b"\n",
        "text": b"hello\n",
        "mbox": mbox,
        "mmdf": b"\1\1\1\1\n%b\1\1\1\1\n" % mbox,
        "mbx": build.mbx(build.message(text, 1, 0x11), uidlast=1),
        "mtx": b" 3-Feb-2009 01:02:03 +0100,%d;000000000000\r\n%b" % (len(text), text),
    }[kind]


def shown(user):
    """The place whose mail c-client shows as INBOX, "" for an empty one, None for none at all."""
    try:
        with user.cclient() as connection:
            if connection.select('"INBOX"', readonly=True)[0] != "OK":
                return None
            if not int(connection.untagged_responses["EXISTS"][-1]):
                return ""
            header = str(connection.fetch("1", "(BODY.PEEK[HEADER.FIELDS (SUBJECT)])"))
            return next(place for place in PLACES if f"Subject: {place}" in header)
    except (imaplib.IMAP4.error, KeyError):
        return None


def taken(files):
    try:
        inbox, spool, _ = incoming.find([files["mbox"], files["INBOX"]], files["spool"])
    except errors.UnreadableMail:
        return None
    mailbox = inbox or spool
    if not mailbox or not mailbox.size:
        return ""
    return next(place for place in PLACES if os.fsencode(files[place]) == mailbox.path)


def as_wanted(mbox, old):
    """Answers (kind of the spool, c-client's, ours) that differ, and should."""
    yield "text", old, None  # nobody else would say that c-client leaves it there
    yield "blank", None, ""  # there is no mail, whether c-client opens it or not
    if mbox == "empty":
        yield "mbox", "", "spool"  # to which c-client appends it when the user comes next


def test_inbox_is_the_file_that_c_client_takes(old_user):
    files = {"mbox": old_user.home / "mbox", "INBOX": old_user.home / "INBOX"}
    files = {name: str(path) for name, path in (files | {"spool": old_user.spool}).items()}
    wrong = []
    for kinds in itertools.product(KINDS, repeat=3):
        for kind, place in zip(kinds, PLACES, strict=True):
            if os.path.exists(files[place]):
                os.unlink(files[place])
            if kind:
                with open(files[place], "wb") as file:
                    file.write(content(kind, place))
                os.chown(files[place], old_user.uid, old_user.uid)
        old, new = shown(old_user), taken(files)
        if old != new and (kinds[2], old, new) not in as_wanted(kinds[0], old):
            wrong.append(f"{dict(zip(PLACES, kinds, strict=True))}: c-client {old!r}, {new!r}")
    assert not wrong, "\n".join(wrong)
