"""The second reader: names and digests in tables, servers that talk oddly, c-client and Dovecot in
the lab.
"""

import hashlib
import os
import re
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import fakes
import pytest
from cutover.connect import imap, ssh
from cutover.connect.imap import messages, reader, together
from hypothesis import given
from hypothesis import strategies as st

# -- names


@pytest.mark.parametrize(
    "raw, name",
    [
        (b"INBOX", "INBOX"),
        (b"mail/Entw&APw-rfe", "mail/Entwürfe"),
        (b"&ZeVnLIqe-", "日本語"),
        (b"a &- b", "a & b"),
        (b"caff\xe8", "caff\udce8"),  # Latin-1, written by an old client
        ("caffè".encode(), "caff\udcc3\udca8"),  # UTF-8, not the same mailbox as the next
        (b"caff&AOg-", "caffè"),
        (b"a & b", "a \udc26 b"),  # no modified UTF-7: "&" must be "&-"
        (b"&AGE-", "\udc26AGE-"),  # an "a" that needs no encoding: "a" is another mailbox
        (b"&!!!-", "\udc26!!!-"),
        (b"", ""),
    ],
)
def test_names(raw, name):
    assert imap.decode_name(raw) == name
    assert imap.encode_name(name) == raw


@given(
    st.one_of(
        st.binary(max_size=30),
        st.text(alphabet="&-aAGE/,+w\xe8", max_size=20).map(lambda text: text.encode("latin-1")),
    )
)
def test_every_name_comes_back_to_the_byte(raw):
    assert imap.encode_name(imap.decode_name(raw)) == raw


@given(st.text(alphabet=st.characters(exclude_categories=["Cs"]), max_size=20))
def test_every_proper_name_is_read_as_it_was_meant(name):
    assert imap.decode_name(imap.encode_name(name)) == name


# -- digests


@pytest.mark.parametrize(
    "sent, kept",
    [
        (b"a\r\nb\r\n", b"a\nb\n"),
        (b"a\nb\n", b"a\nb\n"),
        (b"a\r\r\nb", b"a\nb"),
        (b"a\rb\r", b"a\rb\r"),
        (b"", b""),
    ],
)
def test_digest(sent, kept):
    assert imap.Digest().update(sent).hexdigest() == hashlib.sha256(kept).hexdigest()


@given(st.lists(st.text(alphabet="a\r\n", max_size=5).map(str.encode), max_size=6))
def test_digest_does_not_depend_on_the_pieces(pieces):
    whole, parts = imap.Digest().update(b"".join(pieces)), imap.Digest()
    for piece in pieces:
        parts.update(piece)
    assert parts.hexdigest() == whole.hexdigest()


# -- a server out of a script


class Stream:
    """What ssh.Connection.open gives, with a server behind it that answers each command by the
    first that fits.

    An answer is what comes before the tagged OK; one with TAG in it is all that comes; one that
    ends in "!" breaks off.
    """

    timeout = 0

    def __init__(self, greeting=b"* PREAUTH ready\r\n", **answers):
        self.input, self.answers, self.said, self.line, self.closed = (
            greeting,
            answers,
            [],
            b"",
            False,
        )

    def write(self, data):
        self.said.append(data)
        self.line += data
        while b"\r\n" in self.line:
            line, _, self.line = self.line.partition(b"\r\n")
            tag, _, command = line.partition(b" ")
            self.input += self._answer(tag, command + b"\r\n")

    def _answer(self, tag, command):
        standard = {
            "CAPABILITY": b"* CAPABILITY IMAP4REV1\r\n",
            "LOGOUT": b"",
            "": b"TAG BAD what\r\n",
        }
        for begins, answer in {**self.answers, **standard}.items():
            if command.upper().startswith(begins.replace("_", " ").encode()):
                text = answer(command) if callable(answer) else answer
                if text.endswith(b"!"):
                    return text[:-1]
                return text.replace(b"TAG", tag) if b"TAG" in text else text + tag + b" OK done\r\n"

    def readline(self):
        line, newline, self.input = self.input.partition(b"\n")
        return line + newline

    def read(self, size):
        data, self.input = self.input[:size], self.input[size:]
        return data

    def close(self):
        self.closed = True

    def stderr_text(self):
        return "imapd: it broke\n"


OPENED = b"* 2 EXISTS\r\n* 1 RECENT\r\n* OK [UIDVALIDITY 77] ok\r\n* OK [UIDNEXT 9] ok\r\n"
ONE = b'* 1 FETCH (UID 3 FLAGS (\\SEEN \\Recent Junk 123 NIL) INTERNALDATE " 1-Jul-2005 10:20:30 +0200" RFC822.SIZE 12)\r\n'
TWO = b'* 2 FETCH (UID 8 FLAGS () INTERNALDATE "31-Dec-1999 23:59:59 -0330" RFC822.SIZE 6)\r\n'


def session(**answers):
    return imap.preauth(Stream(**answers), 5)


def test_metadata():
    stream = Stream(EXAMINE=OPENED, FETCH=b"* 5 FETCH (FLAGS (\\Deleted))\r\n" + TWO + ONE)
    folder = imap.preauth(stream, 5).read("box", "metadata")
    zone = timezone(timedelta(hours=2))
    assert (folder.uidvalidity, folder.uidnext, folder.exists) == (77, 9, 2)
    assert folder.messages[0] == imap.Message(
        3,
        frozenset({"\\Seen", "Junk", "123", "NIL"}),
        True,
        datetime(2005, 7, 1, 10, 20, 30, tzinfo=zone),
        12,
    )
    assert folder.messages[1].internaldate == datetime(2000, 1, 1, 3, 29, 59, tzinfo=UTC)
    assert stream.timeout == 5


@pytest.mark.parametrize(
    "greeting, asked",
    [
        (b"* PREAUTH [CAPABILITY IMAP4rev1 UIDPLUS] in\r\n", 0),
        (b"* PREAUTH [CAPABILITY\r\n", 1),
    ],
)
def test_capabilities_in_the_greeting_are_not_asked_for(greeting, asked):
    stream = Stream(greeting, LIST=b"")
    opened_session = imap.preauth(stream, 5)
    assert opened_session.folders("%") == []
    assert sum(b"CAPABILITY" in line for line in stream.said) == asked
    assert opened_session.client.has_capability("UIDPLUS") == (not asked)


def test_content_in_batches_and_pieces_without_a_trace(monkeypatch):
    monkeypatch.setattr(reader, "BATCH_BYTES", 8)
    monkeypatch.setattr(messages, "BATCH_BYTES", 8)
    bodies = {3: b"ab\r\ncd\r\nef\r\n", 8: b"gh\r\n\r\n"}

    def fetch(command):
        uid, at = int(command.split()[2]), re.search(rb"<(\d+)\.(\d+)>", command)
        body, label = bodies[uid], b"BODY[]"
        if at:
            body, label = body[int(at[1]) : int(at[1]) + int(at[2])], b"BODY[]<" + at[1] + b">"
        return b"* 1 FETCH (UID %d %s {%d}\r\n%s)\r\n" % (uid, label, len(body), body)

    stream = Stream(EXAMINE=OPENED, FETCH=ONE + TWO, UID_FETCH=fetch)
    folder = imap.preauth(stream, 5).read("box", "content")
    assert [message.digest for message in folder.messages] == [
        hashlib.sha256(body.replace(b"\r\n", b"\n")).hexdigest() for body in bodies.values()
    ]
    sent = b"".join(stream.said).upper()
    assert sent.count(b"BODY.PEEK[]<") == 2 and sent.count(b"BODY.PEEK[]") == 3
    assert b"SELECT" not in sent and b"BODY[" not in sent and b"STORE" not in sent


@pytest.mark.parametrize(
    "answers, error, says",
    [
        (
            {"EXAMINE": b"* NO Last message runs past end\r\nTAG NO EXAMINE failed\r\n"},
            imap.FolderUnreadable,
            "runs past end",
        ),
        ({"EXAMINE": b"TAG BAD no such thing\r\n"}, imap.FolderUnreadable, "no such thing"),
        ({"EXAMINE": b"* 2 EXISTS\r\n"}, imap.FolderUnreadable, "no EXISTS or UIDVALIDITY"),
        ({"EXAMINE": b"* BYE disk on fire\r\n!"}, imap.SessionLost, "disk on fire.*it broke"),
        ({"EXAMINE": OPENED, "FETCH": ONE}, imap.FolderUnreadable, "2 messages announced, 1 given"),
        (
            {"EXAMINE": OPENED, "FETCH": ONE + b"* 2 FETCH (UID 8)\r\n"},
            imap.FolderUnreadable,
            "UID 8.*no usable FLAGS",
        ),
        (
            {"EXAMINE": OPENED, "FETCH": b"TAG NO cannot read\r\n"},
            imap.FolderUnreadable,
            "cannot read",
        ),
        ({"EXAMINE": OPENED, "FETCH": b"* BYE gone\r\n!"}, imap.SessionLost, "gone"),
        ({"EXAMINE": OPENED, "FETCH": b"* 1 FETCH ((\r\n"}, imap.FolderUnreadable, "box"),
        (
            {
                "EXAMINE": OPENED,
                "FETCH": ONE + TWO,
                "UID_FETCH": b"* 1 FETCH (UID 3 BODY[] {4}\r\nab\r\n)\r\n",
            },
            imap.FolderUnreadable,
            "no content for UID 8",
        ),
        (
            {
                "EXAMINE": OPENED,
                "FETCH": ONE + TWO,
                "UID_FETCH": b"* 1 FETCH (UID 3 BODY[] {400}\r\nab\r\n!",
            },
            imap.SessionLost,
            "reading box UID 3 to 8",
        ),
    ],
)
def test_folders_that_cannot_be_read(answers, error, says):
    with pytest.raises(error, match=says) as caught:
        session(**answers).read("box", "content")
    assert "box" in str(caught.value)


def test_list_in_all_its_spellings():
    listed = (
        b'* LIST (\\NoSelect) "/" mail/\r\n* LIST () "/" 007\r\n* LIST () "/" "a b"\r\n* LIST () NIL INBOX\r\n'
        b'* LIST (\\HasNoChildren) "/" "q\\"uo\\\\te"\r\n* LIST () "." {6}\r\nlit{3}\r\n'
        b'* LIST () "/" caff\xe8\r\n* LIST () "\\\\" x\r\n'
    )
    assert session(LIST=listed).folders("*") == [
        ("mail/", "/", False),
        ("007", "/", True),
        ("a b", "/", True),
        ("INBOX", None, True),
        ('q"uo\\te', "/", True),
        ("lit{3}", ".", True),
        ("caff\udce8", "/", True),
        ("x", "\\", True),
    ]
    assert session(LIST=b"").folders("*") == []
    assert session(LSUB=b'* LSUB () "/" mail/x\r\n').subscribed() == ["mail/x"]


def test_a_status_text_that_ends_like_a_literal_is_a_text():
    unseen = b"* OK [UNSEEN 1] first unseen message in /home/u/mail/Progetti {2008}\r\n"
    stream = Stream(EXAMINE=OPENED + unseen, FETCH=ONE + TWO)
    folder = imap.preauth(stream, 5).read("Progetti {2008}", "metadata")
    assert [message.uid for message in folder.messages] == [3, 8]


def test_status():
    answers = {"STATUS": b'* STATUS "a (b" (MESSAGES 3 UIDNEXT 9 UIDVALIDITY 77)\r\n'}
    assert session(**answers).status("a (b") == {"MESSAGES": 3, "UIDNEXT": 9, "UIDVALIDITY": 77}
    with pytest.raises(imap.FolderUnreadable, match="not there"):
        session(STATUS=b"TAG NO not there\r\n").status("x")


@pytest.mark.parametrize(
    "name, sent",
    [('a "b" \\c', rb'"a \"b\" \\c"'), ("è & x", b'"&AOg- &- x"'), ("a\udc26b", b'"a&b"')],
)
def test_names_are_quoted_on_the_wire(name, sent):
    stream = Stream(EXAMINE=OPENED)
    imap.preauth(stream, 5).read(name)
    assert b" EXAMINE " + sent + b"\r\n" in b"".join(stream.said)


def test_a_command_is_sent_at_once():
    """Each piece would be a packet of ssh, and each packet costs as much as imapd's answer."""
    stream = Stream(EXAMINE=OPENED, UID_FETCH=ONE, FETCH=ONE + TWO, LSUB=b"")
    opened = imap.preauth(stream, 5)
    opened.read("x", "metadata")
    opened.subscribed()
    assert len(stream.said) > 3 and all(line.endswith(b"\r\n") for line in stream.said)


@pytest.mark.parametrize(
    "greeting, says",
    [
        (b"* OK please log in\r\n", "please log in"),
        (b"* BYE no mail here\r\n", "no mail here"),
        (b"su: no such user\n", "su: no such user"),
        (b"", "it broke"),
    ],
)
def test_greetings_that_are_not_preauth(greeting, says):
    stream = Stream(greeting=greeting)
    with pytest.raises(imap.NotPreauthenticated, match=says):
        imap.preauth(stream, 5)
    assert stream.closed


def test_delete_wants_uidplus_lest_it_expunge_what_others_marked():
    stream = Stream()
    with pytest.raises(imap.CommandRefused, match="UIDPLUS"):
        imap.preauth(stream, 5).delete("INBOX", [1])
    assert b"SELECT" not in b"".join(stream.said)


def test_tls_to_what_is_no_tls():
    with (
        fakes.listening(fakes.scripted([b"* OK plain\r\n", None])) as port,
        pytest.raises(imap.NoImap),
    ):
        imap.login("127.0.0.1", port, "box.test", None, "u", "p", 2)
    with (
        fakes.listening(fakes.scripted([None])) as port,
        pytest.raises(imap.NoImap, match="timed out"),
    ):
        imap.login("127.0.0.1", port, "box.test", None, "u", "p", 0.3)


# -- the lab


@pytest.fixture
def own_mail(real):
    """(connection to mailboxold, opener of sessions of the operator's own c-client).

    The operator's folders go again.
    """
    link = real.ssh("mailboxold")
    clean = ["sh", "-c", "cd && rm -rf hosts-trial"]
    link.run(clean)
    link.run(
        ["sh", "-c", "cd && mkdir hosts-trial && mailutil create '#driver.mbx/hosts-trial/box'"]
    )
    yield link, lambda: imap.preauth(link.open([real.site.old_store.imapd]), 30)
    link.run(clean)


MESSAGES = [
    b"From: a@b\nSubject: plain\n\nbody\n",
    b"From: a@b\nSubject: eight bits\n\n" + bytes(range(128, 256)) + b"\n\n\n",
    b"From: a@b\nSubject: long\n\n" + b"x" * 70 + b"\n" * 3000,
    b"From: a@b\nSubject: no end of line\n\nend",
]


@pytest.mark.lab
def test_real_c_client_gives_back_what_went_in(own_mail):
    _, opened = own_mail
    when = datetime(2005, 7, 1, 10, 20, 30, tzinfo=timezone(timedelta(hours=2)))
    with opened() as own:
        for message in MESSAGES:
            own.append("hosts-trial/box", message, ["\\Seen", "\\Flagged"], when)
        folder = own.read("hosts-trial/box", "content")
        assert [message.digest for message in folder.messages] == [
            hashlib.sha256(message).hexdigest() for message in MESSAGES
        ]
        assert {message.flags for message in folder.messages} == {
            frozenset({"\\Seen", "\\Flagged"})
        }
        assert {message.internaldate for message in folder.messages} == {when}
        [uid] = own.find("hosts-trial/box", "Subject", "eight")
        assert own.fetch("hosts-trial/box", uid).replace(b"\r\n", b"\n") == MESSAGES[1]
        own.delete("hosts-trial/box", [uid])
        assert own.read("hosts-trial/box").exists == len(MESSAGES) - 1
        assert own.status("hosts-trial/box")["UIDNEXT"] == len(MESSAGES) + 1


@pytest.mark.lab
def test_real_damaged_folders_are_named_with_the_servers_words(own_mail):
    link, opened = own_mail
    with opened() as own:
        own.append("hosts-trial/box", MESSAGES[0])
    link.run(
        [
            "sh",
            "-c",
            "cd hosts-trial && head -c -5 box > cut && cp box junk && printf garbage >> junk && mkdir dir",
        ]
    )
    with opened() as own:
        for name, says in [
            ("cut", "runs past end of file"),
            ("junk", "Unable to find CRLF.*garbage"),
            ("dir", "not a selectable mailbox"),
            ("none", "no such mailbox"),
        ]:
            with pytest.raises(imap.FolderUnreadable, match=f"hosts-trial/{name} .*{says}"):
                own.read(f"hosts-trial/{name}")
        assert own.read("hosts-trial/box").exists == 1  # the session has survived it all


@pytest.mark.lab
def test_real_reading_leaves_no_trace(real):
    """Every folder of a few users by c-client: as many messages as announced, and no file touched."""
    link = real.ssh("mailboxold")
    script = 'cd "$1" && find . -type f -exec stat -c "%n %s %Y %Z" {} + | sort; '
    script += 'find . -type f -exec cat {} + | sha256sum; ls -l /var/mail/"$2" 2>&1'
    facts = ["sh", "-c", script]
    for user in ("alice", "bruno", "davide"):
        home = link.run(["getent", "passwd", user]).text.split(":")[5]
        before = link.run([*facts, "facts", home, user], sudo=True).out
        with imap.preauth(link.open([real.site.old_store.imapd], as_user=user), 30) as theirs:
            names = [
                "INBOX",
                *(name for name, _, selectable in theirs.folders("mail/*") if selectable),
            ]
            for name in names:
                folder = theirs.read(name, "content")
                uids = [message.uid for message in folder.messages]
                assert len(uids) == folder.exists and uids == sorted(set(uids))
                assert all(
                    message.digest and message.internaldate.tzinfo for message in folder.messages
                )
            assert set(theirs.subscribed()) - {"INBOX"} <= set(names) | {
                name for name, *_ in theirs.folders("*")
            }
        assert link.run([*facts, "facts", home, user], sudo=True).out == before


@pytest.mark.lab
def test_real_commands_that_are_no_imap(real):
    link = real.ssh("mailboxold")
    with pytest.raises(imap.NotPreauthenticated, match="oops"):
        imap.preauth(link.open(["sh", "-c", "echo oops >&2"]), 5)
    with pytest.raises(ssh.TimedOut):
        imap.preauth(link.open(["sleep", "5"]), 0.3)


@pytest.mark.lab
def test_real_tls_and_login(real):
    """Not on mailboxvm with a good password: a login there makes the user's Maildir."""
    user = real.site.production_test.users[0]
    password = Path(user.password.removeprefix("file:")).read_text().strip()
    at, ca = real.site.address("mailboxold"), real.site.production_test.ca
    alias = real.site.fqdn(real.site.alias)
    with imap.login(at, 993, alias, ca, user.user, password, 20) as theirs:
        assert ("INBOX", None, True) in theirs.folders("*")
    for host in ("mailboxold", "mailboxvm"):
        where = real.site.address(host)
        with pytest.raises(imap.CertificateRefused, match="Hostname mismatch"):
            imap.login(where, 993, "wrong.lab.test", ca, user.user, password, 20)
        with pytest.raises(imap.CertificateRefused, match="issuer"):
            imap.login(where, 993, alias, None, user.user, password, 20)
        with pytest.raises(imap.LoginRefused, match=user.user) as caught:
            imap.login(where, 993, alias, ca, user.user, "no such password", 20)
        assert "no such password" not in str(caught.value)
    with pytest.raises(imap.CertificateRefused, match="none"):
        imap.login(at, 993, alias, os.devnull + "/none", user.user, password, 20)


def test_second_names_of_folders_are_left_out_of_whole_listings_only(monkeypatch):
    replies = [b'() "/" work', b'() "/" mail', b'() "/" mail/work', b'() "/" mailing']
    session = imap.Session(None, "test")
    monkeypatch.setattr(session, "_untagged", lambda *_: replies)
    session.besides = ("mail/",)
    assert [name for name, _, _ in session.folders()] == ["work", "mailing"]
    assert session.subscribed() == ["work", "mailing"]
    assert len(session.folders("mail/*")) == len(session.subscribed("mail/*")) == len(replies)


# -- small folders, in one round trip

BODIES = b"* 1 FETCH (UID 3 BODY[] {4}\r\nab\r\n)\r\n* 2 FETCH (UID 8 BODY[] {2}\r\nc\n)\r\n"


def test_small_folders_are_read_as_one_by_one_and_all_asked_for_before_the_first_answer():
    empty = b"* 0 EXISTS\r\n* OK [UIDVALIDITY 78] ok\r\n"
    opened = {b'"EMPTY"': empty, b'"GONE"': b"* NO none\r\nTAG NO EXAMINE failed\r\n"}
    state = {}

    def examine(command):
        state["name"] = command.split()[1].upper()
        return opened.get(state["name"], OPENED)

    def fetch(command):
        if state["name"] in opened:
            return b"TAG BAD Bogus sequence\r\n"
        return ONE + TWO + (BODIES if b"BODY" in command else b"")

    def uid_fetch(command):
        return BODIES

    stream = Stream(EXAMINE=examine, FETCH=fetch, UID_FETCH=uid_fetch)
    opened_session = imap.preauth(stream, 5)
    before = len(stream.said)
    names = ["one", "empty", "gone", "two", "caffè\udcc3"]
    for level in ("count", "metadata", "content"):
        read = imap.read_together(opened_session, names, level)
        assert len(stream.said) == before + 1 and list(read) == ["one", "empty", "two"]
        assert read == {name: opened_session.read(name, level) for name in read}
        before = len(stream.said)
    sent = b"".join(stream.said).upper()
    assert b"SELECT" not in sent and b"BODY[" not in sent and b"STORE" not in sent


@pytest.mark.parametrize(
    "fetched",
    [
        ONE,
        ONE + TWO,
        ONE + TWO + b"* 1 FETCH (BODY[] {1}\r\na)\r\n* 2 FETCH (BODY[] NIL)\r\n",
        ONE + b"* 2 FETCH (UID 8 BODY[] {1}\r\na)\r\n* 1 FETCH (BODY[] {1}\r\na)\r\n",
        ONE + b"* 2 FETCH ((\r\n",
        b"TAG NO cannot read\r\n",
    ],
)
def test_what_is_not_as_announced_is_left_to_be_read_by_itself(fetched):
    good = ONE + TWO + BODIES
    answers = [fetched, good]
    opened_session = session(EXAMINE=OPENED, FETCH=lambda command: answers.pop(0))
    assert list(imap.read_together(opened_session, ["bad", "good"], "content")) == ["good"]


def test_the_status_of_any_number_of_folders(monkeypatch):
    monkeypatch.setattr(together, "TOGETHER", 2)

    def status(command):
        if b"none" in command:
            return b"TAG NO none\r\n"
        number = int(command.split()[1].strip(b'"'))
        return b'* STATUS "x (y" (MESSAGES %d UIDVALIDITY 7)\r\n' % number

    stream = Stream(STATUS=status)
    opened_session = imap.preauth(stream, 5)
    before, items = len(stream.said), ["MESSAGES", "UIDVALIDITY"]
    names = ["1", "none", "\udcc3", "3"]
    read = imap.status_together(opened_session, names, items)
    assert read == {name: {"MESSAGES": int(name), "UIDVALIDITY": 7} for name in ("1", "3")}
    assert read == {name: opened_session.status(name, items) for name in read}
    assert len(stream.said) == before + 4
    assert imap.status_together(opened_session, [], items) == {}


@pytest.mark.parametrize(
    "answers", [{"EXAMINE": b"* BYE gone\r\n!"}, {"EXAMINE": OPENED, "FETCH": b"* BYE gone\r\n!"}]
)
def test_a_session_lost_among_small_folders(answers):
    with pytest.raises(imap.SessionLost, match="gone"):
        imap.read_together(session(**answers), ["box", "other"], "metadata")
