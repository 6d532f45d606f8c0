"""A store written by real c-client, converted, and read by real Dovecot: what c-client shows is
what Dovecot shows."""

import os
import signal
import subprocess

import pytest
from lab import base_image
from mbx2maildir import batch, events, plan_file, survey
from mbx2maildir.formats import mbx
from mbx2maildir.tests import build
from mbx2maildir.tests.test_batch import messages

from store import oracle

pytestmark = pytest.mark.lab
# with Dovecot 2.3 and 2.4; the other tests have the lab's new server's
on_each_release = pytest.mark.parametrize("old_user", base_image.SUITES, indirect=True)


def convert(plan):
    collected = events.Collected()
    totals = batch.convert(plan, collected)
    assert not totals["failed"], [event for event in collected.all if event["event"] == "error"]
    return collected.all


def mail(number, body=b"Hello.", **fields):
    head = b"".join(
        f"{key.replace('_', '-')}: {value}\r\n".encode() for key, value in fields.items()
    )
    return (
        b"From: a@example.org\r\nSubject: message %d\r\nMessage-ID: <%d@example.org>\r\n"
        % (number, number)
        + head
        + b"\r\n"
        + body
        + b"\r\n"
    )


def append(connection, name, text, flags="", date='" 3-Feb-2009 01:02:03 +0100"'):
    connection.literal = text  # imaplib's append() would mend the line ends
    oracle.ok(
        connection._simple_command(
            "APPEND", oracle.quoted(name).decode("latin-1"), flags or "()", date
        )
    )


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
    converted = convert(plan or user.plan())
    listed = sorted(path.name for path in user.maildir.rglob("cur/*")) + sorted(
        path.name for path in user.maildir.rglob("new/*")
    )
    with user.dovecot() as new:
        for (_old, name), expected in zip(names, before, strict=False):
            same(oracle.view(new, name), expected)
        assert (
            sorted(path.name for path in user.maildir.rglob("cur/*"))
            + sorted(path.name for path in user.maildir.rglob("new/*"))
            == listed
        ), "Dovecot renamed files"
        for (_old, name), expected in zip(names, before, strict=False):
            oracle.ok(new.select(oracle.quoted(name).decode("latin-1")))
            answer = new.untagged_responses
            assert int(answer["UIDVALIDITY"][-1]) == expected["uidvalidity"]
            recent = sum(b"\\recent" in entry[1] for entry in expected["messages"])
            assert int(answer["RECENT"][-1]) == recent
    assert user.host.complaints() == ""
    return converted


def same(actual, expected):
    for index in ("uidvalidity", "uidnext"):
        assert actual[index] == expected[index], index
    assert [entry[0] for entry in actual["messages"]] == [
        entry[0] for entry in expected["messages"]
    ]
    for message, wanted in zip(actual["messages"], expected["messages"], strict=False):
        assert message == wanted


@on_each_release
def test_flags_keywords_dates_sizes(old_user):
    make_inbox(old_user)
    with old_user.cclient() as old:
        append(old, b"INBOX", mail(1), r"(\Seen)")
        append(old, b"INBOX", mail(2), r"(\Answered \Flagged)", '"31-Dec-1999 23:59:59 -0800"')
        append(old, b"INBOX", mail(3), r"(\Draft \Deleted)", '"29-Feb-2024 12:00:00 +0530"')
        append(old, b"INBOX", mail(4))
        append(
            old,
            b"INBOX",
            mail(5, b"line\rbare CR\r\n\r\n\r\nFrom the start\r\n.\r\n" + bytes(range(128, 256))),
        )
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
    assert [
        event["expunged"]
        for event in events_seen
        if event["event"] == "folder" and event["folder"] == "INBOX"
    ] == [5]


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
    lost = [
        (uid, set(flags) - set(new_flags))
        for (uid, flags, *_), (_uid, new_flags, *_rest) in zip(
            before["messages"], after["messages"], strict=False
        )
    ]
    lost = [(uid, flags) for uid, flags in lost if flags]
    assert len(lost) == 3  # 29 in use, 26 letters
    warnings = [text for event in seen if event["event"] == "folder" for text in event["warnings"]]
    assert len(warnings) == 3
    for uid, flags in lost:
        assert any(
            f"keyword {next(iter(flags)).decode()} is lost on UIDs {uid}:" in text
            for text in warnings
        )


def test_bad_uids_are_renumbered_as_c_client_does(old_user):
    path = old_user.home / "INBOX"
    path.write_bytes(
        build.mbx(
            *(build.message(build.text(uid), uid, 0x11) for uid in (1, 2, 7, 5, 9, 10)), uidlast=10
        )
    )
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


@on_each_release
def test_folder_names(old_user):
    make_inbox(old_user)
    names = {
        b"plain": b"plain",
        b"work/2009/spring": b"work/2009/spring",
        b"a.b": b"a_b_2",
        b"a_b": b"a_b",
        b"Entw&APw-rfe": b"Entw&APw-rfe",
        b"Entw\xc3\xbcrfe": b"Entw&APw-rfe_2",
        b"caf\xe9": b"caf&AOk-",
        b"a&b": b"a&-b",
        b"~tilde": b"_tilde",
        b"x/inbox": b"x/inbox",
        b"inbox": b"inbox_",
        b"cur": b"cur",
        b"d/~e": b"d/~e",
        b"dovecot": b"dovecot",
        b"with space": b"with space",
        b'quo"te': b'quo"te',
        b"back\\slash": b"back\\slash",
        b"Case": b"Case",
        b"case": b"case",
        b"per%cent": b"per%cent",
        b"st*r": b"st*r",
        b"#hash": b"#hash",
        b"new": b"new",
        b"deep/new": b"deep/new",
        b"trailing ": b"trailing ",
        b" leading": b" leading",
        b"-": b"-",
        b"tab\there": b"tab_here",
        b"&AHg-y": b"xy",
        b"open&AOk": b"open&-AOk",
    }
    for number, name in enumerate(names):
        path = os.path.join(os.fsencode(old_user.home / "mail"), name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "wb") as file:
            file.write(build.mbx(build.message(build.text(number), 1, 0x11), uidlast=1))
        os.chown(path, old_user.uid, old_user.uid)
    lines = b"".join(
        (prefix or name[:1] in b"~#i" and b"mail/" or b"") + name + b"\n"
        for name, prefix in zip(
            names, [b"mail/", b"~/mail/", b"{localhost}mail/", b""] * 20, strict=False
        )
    )
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


def test_a_directory_that_is_closed_to_its_user(old_user):
    """c-client finds no folder there. We do, as root; whether it is the user's mail is asked for,
    not guessed."""
    make_inbox(old_user)
    with old_user.cclient() as old:
        create(old, b"d/x")
        append(old, b"mail/d/x", mail(1))
    directory = old_user.home / "mail/d"
    for owner, mode in ((old_user.uid, 0), (old_user.uid, 0o400), (0, 0o700)):
        os.chown(directory, owner, owner)
        directory.chmod(mode)
        with old_user.cclient() as old:
            assert (
                b"mail/d/x" not in oracle.folder_list(old, "mail/*") or mode == 0o400
            )  # names can be seen there
            assert old.select("mail/d/x")[0] == "NO"
        collected = events.Collected()
        assert batch.convert(plan_file.check(old_user.plan()), collected)["failed"] == 1
        (error,) = [event for event in collected.all if event["event"] == "error"]
        assert (error["kind"], error["file"]) == (
            "UnreadableMail",
            str(directory),
        ) and "may not read it" in error["what"]
        assert survey.survey(plan_file.check(old_user.plan()))["users"][0]["errors"][0][
            "file"
        ] == str(directory)
    os.chown(directory, old_user.uid, old_user.uid)
    directory.chmod(0o700)
    secret = old_user.host.root / "secret"
    secret.mkdir(mode=0o700)
    (secret / "box").write_bytes(build.simple(1))
    (old_user.home / "mail/link").symlink_to(
        secret
    )  # a way into what is not theirs is passed over, and said
    converted = compare(old_user, [(b"INBOX", b"INBOX"), (b"mail/d/x", b"d/x")])
    (published,) = [event for event in converted if event["event"] == "published"]
    assert published["folders"] == 2 and [item["why"] for item in published["passed"]] == [
        "a link to what its user may not read"
    ]


class Imapd:
    """c-client as the user, to be killed."""

    def __init__(self, user):
        self.process = subprocess.Popen(
            user.argv("/usr/sbin/imapd"),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )

    def begin(self, command):
        self.process.stdin.write(b"tag " + command + b"\r\n")
        self.process.stdin.flush()

    def say(self, command):
        self.begin(command)
        for line in self.process.stdout:
            if line.startswith(b"tag "):
                assert line.startswith(b"tag OK"), line
                return

    def kill(self):
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.communicate()


@pytest.mark.parametrize("sizes", [7, 1], ids=["texts of many sizes", "texts of one size"])
def test_an_expunge_that_is_killed(old_user, sizes):
    """Under sharing it only hides; the session that is left alone moves the texts, and is killed in
    the middle of that.

    What is left behind the place is garbage to c-client, which refuses the folder: nothing is lost
    to us. Where all texts have one size it is a message that stands there twice, to c-client and to
    us.
    """
    make_inbox(old_user)
    path = old_user.home / "INBOX"
    texts = {
        uid: build.text(uid, b"%06d" % uid * (1500 + uid % sizes) + b"\r\n")
        for uid in range(1001, 4001)
    }
    damage, read_texts = None, {}
    while not damage and (sizes > 1 or len(read_texts) != len(texts)):
        path.write_bytes(
            build.mbx(
                *(build.message(text, uid, 0x11) for uid, text in texts.items()), uidlast=4000
            )
        )
        os.chown(path, old_user.uid, old_user.uid)
        whole = path.read_bytes()
        first, other = Imapd(old_user), Imapd(old_user)
        for command in (b"SELECT INBOX", b"STORE 3 +FLAGS (\\Deleted)"):
            first.say(command)
        other.say(b"SELECT INBOX")
        first.say(b"EXPUNGE")
        assert path.stat().st_size == len(whole), "nothing is moved under sharing"
        other.kill()
        middle = len(whole) // 2
        with open(path, "rb") as file:
            first.begin(b"EXPUNGE")
            while os.pread(file.fileno(), 64, middle) == whole[middle : middle + 64]:
                assert first.process.poll() is None
            first.kill()
        damage, read_texts = read_all(path)  # none when it was faster than we
    if sizes == 1:  # a UID that does not rise: c-client takes the time of day for UIDVALIDITY
        with old_user.cclient() as old:
            before = oracle.view(old, b"INBOX")
        convert(old_user.plan())
        with old_user.dovecot() as new:
            assert {**oracle.view(new, b"INBOX"), "uidvalidity": 0} == {**before, "uidvalidity": 0}
        return
    with old_user.cclient() as old:
        assert old.select("INBOX")[0] == "NO"
    del texts[1003]
    assert read_texts == texts
    plan = old_user.plan()
    convert(plan)
    kept = messages(old_user.maildir)
    assert dict(kept) == {uid: text.replace(b"\r\n", b"\n") for uid, text in texts.items()} and len(
        kept
    ) == len(texts)
    strict = events.Collected()
    batch.convert(plan_file.check(dict(old_user.plan(), run="r2", strict=True)), strict)
    assert [event["kind"] for event in strict.all if event["event"] == "error"] == [
        damage[0]["kind"]
    ]


def read_all(path):
    """→ (damage, {UID: text}) of an MBX file."""
    fd = os.open(path, os.O_RDONLY)
    try:
        box = mbx.Mailbox(fd, str(path))
        return box.damage, {message[0]: message[7] for message in box.messages()}
    finally:
        os.close(fd)


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
    assert [
        [field for field in entry[1] if field != b"\\recent"] for entry in before["messages"]
    ] == [[field for field in entry[1] if field != b"\\recent"] for entry in after["messages"]]
    for index in (0, 2, 3, 4):
        assert [entry[index] for entry in before["messages"]] == [
            entry[index] for entry in after["messages"]
        ]
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


@on_each_release
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
    output = old_user.run(*oracle.POP3, stdin=b"UIDL\r\nLIST\r\nQUIT\r\n")
    uidls, sizes = (block.split(b"\r\n")[1:-1] for block in output.split(b"+OK")[-3:-1])
    number = range(1, 11)
    assert uidls[:-1] == [
        b"%d %08x%08x" % (at, before["uidvalidity"], entry[0])
        for at, entry in zip(number, before["messages"], strict=True)
    ]
    assert sizes[:-1] == [
        b"%d %d" % (at, entry[3]) for at, entry in zip(number, before["messages"], strict=True)
    ]
    assert old_user.host.complaints() == ""
