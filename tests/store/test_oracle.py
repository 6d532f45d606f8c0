"""A store written by real c-client, converted, and read by real Dovecot: what c-client shows is what Dovecot shows."""

import os

import pytest
from cutover.store import events, users

from store import build, oracle

pytestmark = pytest.mark.lab


def convert(plan):
    collected = events.Collected()
    totals = users.convert(plan, collected)
    assert not totals["failed"], [event for event in collected.all if event["event"] == "error"]
    return collected.all


def mail(number, body=b"Hello.", **fields):
    head = b"".join(f"{key.replace('_', '-')}: {value}\r\n".encode() for key, value in fields.items())
    return (b"From: a@example.org\r\nSubject: message %d\r\nMessage-ID: <%d@example.org>\r\n" % (number, number)
            + head + b"\r\n" + body + b"\r\n")


def append(connection, name, text, flags="", date='" 3-Feb-2009 01:02:03 +0100"'):
    connection.literal = text  # imaplib's append() would mend the line ends
    oracle.ok(connection._simple_command("APPEND", oracle.quoted(name).decode("latin-1"), flags or "()", date))


def make_inbox(user):
    user.run("mailutil", "create", "#driver.mbx/INBOX")


def create(connection, name):
    oracle.ok(connection.create(oracle.quoted(b"#driver.mbx/mail/" + name).decode("latin-1")))


def both(user, names):
    """→ [(name, c-client's view, Dovecot's view)]; names: (old name, new name)."""
    with user.cclient() as old:
        before = [oracle.view(old, name) for name, _new in names]
    return before


def compare(user, names, plan=None):
    """Read by c-client, convert, read by Dovecot (twice: EXAMINE, then SELECT), compare."""
    before = both(user, names)
    found = convert(plan or user.plan())
    listed = sorted(path.name for path in user.maildir.rglob("cur/*")) + sorted(
        path.name for path in user.maildir.rglob("new/*"))
    with user.dovecot() as new:
        for (_old, name), expected in zip(names, before, strict=False):
            same(oracle.view(new, name), expected)
        assert sorted(path.name for path in user.maildir.rglob("cur/*")) + sorted(
            path.name for path in user.maildir.rglob("new/*")) == listed, "Dovecot renamed files"
        for (_old, name), expected in zip(names, before, strict=False):
            oracle.ok(new.select(oracle.quoted(name).decode("latin-1")))
            answer = new.untagged_responses
            assert int(answer["UIDVALIDITY"][-1]) == expected["uidvalidity"]
            recent = sum(b"\\recent" in entry[1] for entry in expected["messages"])
            assert int(answer["RECENT"][-1]) == recent
    assert user.host.complaints() == ""
    return found


def same(actual, expected):
    for index in ("uidvalidity", "uidnext"):
        assert actual[index] == expected[index], index
    assert [entry[0] for entry in actual["messages"]] == [entry[0] for entry in expected["messages"]]
    for one, other in zip(actual["messages"], expected["messages"], strict=False):
        assert one == other


def test_flags_keywords_dates_sizes(old_user):
    make_inbox(old_user)
    with old_user.cclient() as old:
        append(old, b"INBOX", mail(1), r"(\Seen)")
        append(old, b"INBOX", mail(2), r"(\Answered \Flagged)", '"31-Dec-1999 23:59:59 -0800"')
        append(old, b"INBOX", mail(3), r"(\Draft \Deleted)", '"29-Feb-2024 12:00:00 +0530"')
        append(old, b"INBOX", mail(4))
        append(old, b"INBOX", mail(5, b"line\rbare CR\r\n\r\n\r\nFrom the start\r\n.\r\n" + bytes(range(128, 256))))
        oracle.ok(old.select("INBOX"))
        oracle.ok(old.store("1:3", "+FLAGS", "($Label1 NonJunk $Forwarded)"))
        oracle.ok(old.store("2", "-FLAGS", "(NonJunk)"))
        oracle.ok(old.store("4", "+FLAGS", "(work)"))
    with old_user.cclient() as old:
        append(old, b"INBOX", mail(6), r"(\Seen)")  # Recent, with a flag
        append(old, b"INBOX", mail(7))
    compare(old_user, [(b"INBOX", b"INBOX")])


def test_delivery_by_dmail_leaves_uid_zero_and_recent(old_user):
    make_inbox(old_user)
    with old_user.cclient() as old:
        append(old, b"INBOX", mail(1), r"(\Seen)")
        oracle.ok(old.select("INBOX"))
    for number in (2, 3, 4):
        old_user.run("dmail", stdin=mail(number).replace(b"\r\n", b"\n"))
    assert (old_user.home / "INBOX").read_bytes().count(b"-00000000\r\n") == 3
    compare(old_user, [(b"INBOX", b"INBOX")])


def test_copy_expunge_and_hidden_expunged_under_sharing(old_user):
    make_inbox(old_user)
    with old_user.cclient() as old:
        create(old, b"kept")
        for number in range(1, 13):
            append(old, b"INBOX", mail(number), r"(\Seen)")
        oracle.ok(old.select("INBOX"))
        with old_user.cclient() as sharer:
            oracle.ok(sharer.select("INBOX"))
            oracle.ok(old.store("2,5:7,12", "+FLAGS", r"(\Deleted)"))
            oracle.ok(old.expunge())
            oracle.ok(old.copy("1:3", '"mail/kept"'))
            oracle.ok(sharer.noop())
            sharer.shutdown()
            old.shutdown()
    assert b"8013-" in (old_user.home / "INBOX").read_bytes()
    events_seen = compare(old_user, [(b"INBOX", b"INBOX"), (b"mail/kept", b"kept")])
    assert [event["expunged"] for event in events_seen if event["event"] == "folder" and event["folder"] == "INBOX"] == [5]


def test_expunged_without_uid_consumes_one(old_user):
    make_inbox(old_user)
    for number in (1, 2, 3):
        old_user.run("dmail", stdin=mail(number).replace(b"\r\n", b"\n"))
    path = old_user.home / "INBOX"
    data = path.read_bytes()
    path.write_bytes(data.replace(b";000000000000-00000000", b";000000008000-00000000", 1))
    os.chown(path, old_user.uid, old_user.uid)
    compare(old_user, [(b"INBOX", b"INBOX")])


def test_thirty_keywords_are_reported(old_user):
    make_inbox(old_user)
    with old_user.cclient() as old:
        for number in range(1, 31):
            append(old, b"INBOX", mail(number))
        oracle.ok(old.select("INBOX"))
        for number in range(1, 31):
            if number != 3:  # defined, but in use by none in the end
                oracle.ok(old.store(str(number), "+FLAGS", f"(kw{number})"))
        before = oracle.view(old, b"INBOX")
    seen = convert(old_user.plan())
    with old_user.dovecot() as new:
        after = oracle.view(new, b"INBOX")
    lost = [(uid, set(flags) - set(new_flags)) for (uid, flags, *_), (_uid, new_flags, *_rest)
            in zip(before["messages"], after["messages"], strict=False)]
    lost = [(uid, flags) for uid, flags in lost if flags]
    assert len(lost) == 3  # 29 in use, 26 letters
    warnings = [text for event in seen if event["event"] == "folder" for text in event["warnings"]]
    assert len(warnings) == 3
    for uid, flags in lost:
        assert any(f"keyword {next(iter(flags)).decode()} " in text and text.endswith(f"UIDs {uid}") for text in warnings)


def test_bad_uids_are_renumbered_as_c_client_does(old_user):
    path = old_user.home / "INBOX"
    path.write_bytes(build.mbx(*(build.message(build.text(uid), uid, 0x11) for uid in (1, 2, 7, 5, 9, 10)), uidlast=10))
    os.chown(path, old_user.uid, old_user.uid)
    with old_user.cclient() as old:
        before = oracle.view(old, b"INBOX")
    convert(old_user.plan())
    with old_user.dovecot() as new:
        after = oracle.view(new, b"INBOX")
    assert before["messages"] == after["messages"] and before["uidnext"] == after["uidnext"]
    assert [entry[0] for entry in after["messages"]] == [1, 2, 7, 8, 9, 10]
    assert before["uidvalidity"] != 1234567890 != after["uidvalidity"]
    assert old_user.host.complaints() == ""


def test_large_messages_and_odd_line_ends(old_user):
    make_inbox(old_user)
    big = (b"0123456789" * 7 + b"\r\n") * 45000
    with old_user.cclient() as old:
        append(old, b"INBOX", mail(1, big), r"(\Seen)")
        append(old, b"INBOX", mail(2, b"\r" + big[:-1] + b"\r\r\n\r\r\r\n"), r"(\Seen)")
        append(old, b"INBOX", mail(3, b"a\r\r\nb\r\r\r\n\rc"), r"(\Seen)")
        append(old, b"INBOX", b"\r\n", r"(\Seen)")
        append(old, b"INBOX", b"no header end", r"(\Seen)")
    compare(old_user, [(b"INBOX", b"INBOX")])


def test_folder_names(old_user):
    make_inbox(old_user)
    names = {
        b"plain": b"plain", b"work/2009/spring": b"work/2009/spring", b"a.b": b"a_b_2", b"a_b": b"a_b",
        b"Entw&APw-rfe": b"Entw&APw-rfe", b"Entw\xc3\xbcrfe": b"Entw&APw-rfe_2", b"caf\xe9": b"caf&AOk-",
        b"a&b": b"a&-b", b"~tilde": b"_tilde", b"x/inbox": b"x/inbox", b"inbox": b"inbox_", b"cur": b"cur", b"d/~e": b"d/~e",
        b"dovecot": b"dovecot", b"with space": b"with space", b'quo"te': b'quo"te', b"back\\slash": b"back\\slash",
        b"Case": b"Case", b"case": b"case", b"per%cent": b"per%cent", b"st*r": b"st*r", b"#hash": b"#hash",
        b"new": b"new", b"deep/new": b"deep/new", b"trailing ": b"trailing ", b" leading": b" leading", b"-": b"-",
        b"tab\there": b"tab_here", b"&AHg-y": b"xy", b"open&AOk": b"open&-AOk"}
    for number, name in enumerate(names):
        path = os.path.join(os.fsencode(old_user.home / "mail"), name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "wb") as file:
            file.write(build.mbx(build.message(build.text(number), 1, 0x11), uidlast=1))
        os.chown(path, old_user.uid, old_user.uid)
    lines = b"".join((prefix or name[:1] in b"~#i" and b"mail/" or b"") + name + b"\n" for name, prefix in zip(
        names, [b"mail/", b"~/mail/", b"{localhost}mail/", b""] * 20, strict=False))
    (old_user.home / ".mailboxlist").write_bytes(lines)
    os.chown(old_user.home / ".mailboxlist", old_user.uid, old_user.uid)
    convert(old_user.plan())
    with old_user.dovecot() as new:
        listed = set(oracle.folder_list(new))
        for number, (_name, expected) in enumerate(names.items()):
            assert expected in listed
            entry = oracle.view(new, expected)["messages"]
            text = build.text(number)
            assert [message[3] for message in entry] == [len(text)], expected
        parents = {b"INBOX", b"work", b"work/2009", b"x", b"d", b"deep"}
        assert listed - parents == set(names.values())
        assert set(oracle.folder_list(new, command="lsub")) == set(names.values())
    assert old_user.host.complaints() == ""


SPOOL = b"""From MAILER-DAEMON Tue Nov 10 10:00:00 2026
Date: 10 Nov 2026 10:00:00 +0000
From: Mail System Internal Data <MAILER-DAEMON@x>
Subject: DON'T DELETE THIS MESSAGE -- FOLDER INTERNAL DATA
Message-ID: <1@x>
X-IMAP: 1254000000 0000000040 $Label1 other
Status: RO

This text is part of the internal format of your mail folder.

From a@example.org Tue Nov 10 11:02:03 2026
Received: by x
Status: RO
X-Status: AF
X-Keywords: other
X-UID: 17
Subject: one
x-Status: odd
X-UIDL: kept
Statuses: kept
S: kept

body
>From quoted
From not a separator
Status: in the body

From b@example.org  Wed Nov 11 11:02 2026 +0100
Subject: two
 continued
X-Keywords: a
 continuation
Content-Length: 3

From someone Wed Feb 30 11:02 CET 2026

From c d e Thu Nov 12 11:02:03 PST 2026 remote from host
Subject: three, no body

From d Fri Nov 13 11:02:03 2026
Subject: four

ends without a blank line
"""


def test_spool_is_appended_as_c_client_snarfs_it(old_user):
    make_inbox(old_user)
    with old_user.cclient() as old:
        append(old, b"INBOX", mail(1), r"(\Seen)")
    old_user.spool.write_bytes(SPOOL)
    os.chown(old_user.spool, old_user.uid, old_user.uid)
    convert(old_user.plan())
    with old_user.dovecot() as new:
        after = oracle.view(new, b"INBOX")
    with old_user.cclient() as old:
        oracle.ok(old.select("INBOX"))  # snarfs
        before = oracle.view(old, b"INBOX")
    assert len(before["messages"]) > 3
    assert [[field for field in entry[1] if field != b"\\recent"] for entry in before["messages"]] == [
        [field for field in entry[1] if field != b"\\recent"] for entry in after["messages"]]
    for index in (0, 2, 3, 4):
        assert [entry[index] for entry in before["messages"]] == [entry[index] for entry in after["messages"]]
    assert before["uidvalidity"] == after["uidvalidity"] and before["uidnext"] == after["uidnext"]
    assert old_user.host.complaints() == ""


def test_without_inbox_the_spool_is_inbox(old_user):
    old_user.spool.write_bytes(SPOOL)
    os.chown(old_user.spool, old_user.uid, old_user.uid)
    compare(old_user, [(b"INBOX", b"INBOX")])


def test_no_mail_at_all(old_user):
    convert(old_user.plan())
    with old_user.dovecot() as new:
        assert oracle.view(new, b"INBOX")["messages"] == []
    assert old_user.host.complaints() == ""


def test_pop3_clients_find_the_uidls_they_know(old_user):
    """UW's POP3 server told UIDVALIDITY and UID as %08lx%08lx; LIST told sizes with CRLF."""
    make_inbox(old_user)
    with old_user.cclient() as old:
        for number in range(1, 14):
            append(old, b"INBOX", mail(number, b"x\r\n" * number), r"(\Seen)")
        oracle.ok(old.select("INBOX"))
        oracle.ok(old.store("3,7:9", "+FLAGS", r"(\Deleted)"))
        oracle.ok(old.expunge())
    old_user.run("dmail", stdin=mail(20).replace(b"\r\n", b"\n"))
    with old_user.cclient() as old:
        before = oracle.view(old, b"INBOX")
    convert(old_user.plan())
    said = old_user.run("/usr/lib/dovecot/pop3", "-c", "/etc/dovecot/oracle.conf", stdin=b"UIDL\r\nLIST\r\nQUIT\r\n")
    uidls, sizes = (block.split(b"\r\n")[1:-1] for block in said.split(b"+OK")[-3:-1])
    number = range(1, 11)
    assert uidls[:-1] == [b"%d %08x%08x" % (at, before["uidvalidity"], entry[0]) for at, entry in zip(
        number, before["messages"], strict=True)]
    assert sizes[:-1] == [b"%d %d" % (at, entry[3]) for at, entry in zip(number, before["messages"], strict=True)]
    assert old_user.host.complaints() == ""
