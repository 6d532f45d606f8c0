"""Names, links and subscriptions: what c-client shows is what Dovecot shows, by verify's reading."""

import contextlib
import os
import subprocess
import threading
import types

import pytest
from cutover import model
from cutover.comparison import elsewhere, folders
from cutover.comparison.contents import Contents
from cutover.facts import mailboxes, users
from cutover.facts.old_mail import Survey
from cutover.remote import converter
from cutover.steps.checks import old_mail
from cutover.steps.night import verify
from lab import base_image
from mbx2maildir import batch, plan_file, survey
from mbx2maildir.publish import status
from mbx2maildir.tests import build

from store import oracle

pytestmark = pytest.mark.lab
WAIT = 30  # seconds for an answer


class Stream:
    """A command of a user on the mail host, as ssh.Stream runs one."""

    def __init__(self, argv):
        self.process = subprocess.Popen(
            argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        )

    @contextlib.contextmanager
    def waiting(self):
        """imapd may hang where it crashes."""
        timer = threading.Timer(WAIT, self.process.kill)
        timer.start()
        try:
            yield self.process.stdout
        finally:
            timer.cancel()

    def read(self, n):
        with self.waiting() as stdout:
            return stdout.read(n)

    def readline(self, limit=1 << 20):
        with self.waiting() as stdout:
            return stdout.readline(limit)

    def write(self, data):
        self.process.stdin.write(data)
        self.process.stdin.flush()

    def close(self):
        with contextlib.suppress(OSError):
            self.process.communicate(timeout=60)


class Hosts:
    """Both sides on the mail host: imapd is the old one, Dovecot the new one."""

    def __init__(self, user):
        self.user, self.kept = user, {}
        self.site = types.SimpleNamespace(
            roles=types.SimpleNamespace(old="old", new="new"),
            old_store=types.SimpleNamespace(
                imapd="/usr/sbin/imapd",
                imap_prefix="mail/",
                spool="/var/mail/{user}",
                inbox=("{home}/mbox", "{home}/INBOX"),
                accepted=(),
                accepts=lambda *place: False,
            ),
            new_store=types.SimpleNamespace(listed=(), escapes=False),
        )

    def ssh(self, name):
        return self

    def open(self, argv, as_user):
        if argv[0] == "doveadm":
            argv = oracle.IMAP
        return Stream(self.user.argv(*argv))

    def run(self, name, argv, as_user, input, timeout, check):
        done = subprocess.run(self.user.argv(*argv), input=input, capture_output=True)
        return types.SimpleNamespace(out=done.stdout)


def put(user, *names, messages=1):
    for number, name in enumerate(names, 1):
        path = os.path.join(os.fsencode(user.home), name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        texts = (build.text(number * 10 + index) for index in range(messages))
        with open(path, "wb") as file:
            file.write(
                build.mbx(
                    *(build.message(text, uid, 0x11) for uid, text in enumerate(texts, 1)),
                    uidlast=messages,
                )
            )


def verified(user, strict=True, **more):
    """Convert, and judge as verify does → (its check, the user's rows, the survey)."""
    places = [path for path in (user.home, user.spool) if path.exists()]
    subprocess.run(["chown", "-R", "-h", f"{user.uid}:{user.uid}", *places], check=True)
    plan = plan_file.check(
        {
            **user.plan(),
            "users": [user.entry(home=f"/home/{user.name}", **more)],
            "strict": strict,
        }
    )
    surveyed = survey.survey(plan)["users"][0]
    errors = []
    totals = batch.convert(plan, lambda what, **event: what == "error" and errors.append(event))
    assert not totals["failed"], errors
    state = model.from_json(converter.State, by_name(status.state(plan)))
    hosts, mail = Hosts(user), state.users[user.name]
    passed = verify.passed_over(hosts.site, mail)
    with (
        mailboxes.old_session(hosts, user.name) as old,
        mailboxes.new_session(hosts, user.name) as new,
    ):
        rows = folders.read_user(
            hosts,
            old,
            new,
            user.name,
            verify.converted_folders(hosts.site, mail),
            "content",
            Contents("seed"),
            passed,
        )
    added = {folder.new: folder.added for folder in verify.converted_folders(hosts.site, mail)}
    check, _sums = verify.user_check(user.name, verify.UserMail(rows, passed, added), "content")
    assert user.host.complaints() == ""
    return check, rows, surveyed


def by_name(answer):
    return {**answer, "users": {user["user"]: user for user in answer["users"]}}


def unknown(user, rows, passed=()):
    """Names of mail that the old server shows besides the converted folders."""
    account = users.Account(user.name, user.uid, user.uid, f"/home/{user.name}")
    hosts = Hosts(user)
    with mailboxes.old_session(hosts, user.name) as old:
        known = [
            folders.Converted(row.old_name, row.new_name, salvaged=row.salvaged or None)
            for row in rows
            if row.old_name and not row.unknown
        ]
        return [mail.name for mail in elsewhere.read(hosts, old, account, known, passed).mail]


def subscribed(user):
    with user.dovecot() as new:
        return set(oracle.folder_list(new, command="lsub"))


def test_links_names_and_subscriptions(old_user):
    put(
        old_user,
        b"mail/x",
        b"mail/work/alpha",
        b"mail/work/beta",
        b"mail/.archive/2009",
        b"mail/{old}",
        b"mail/Progetti {2008}",
        b"mail/sub/.hidden",
    )
    (old_user.home / "mail/Archive").symlink_to("work")  # sorts before the directory's own name
    (old_user.home / "mail/loop").symlink_to(".")
    (old_user.home / "mail/home").symlink_to("..")
    (old_user.home / "mail/note.txt").write_text("Not mail.\n")
    (old_user.home / ".mailboxlist").write_bytes(
        b"mail//x\n~%b/mail/work/alpha\nmail/.archive/2009\nmail/{old}\n{localhost}mail/Progetti {2008}\n"
        b"mail/Archive/beta\nmail/loop/home/mail/sub/.hidden\r\n/home/%b/mail/../mail/./gone\n"
        % ((old_user.name.encode(),) * 2)
    )
    check, rows, surveyed = verified(old_user)
    assert check.passed, check.actual
    assert {row.old_name: row.new_name for row in rows if not row.unknown} == {
        "INBOX": "INBOX",
        "mail/x": "x",
        "mail/work/alpha": "work/alpha",
        "mail/work/beta": "work/beta",
        "mail/.archive/2009": "_archive/2009",
        "mail/{old}": "{old}",
        "mail/Progetti {2008}": "Progetti {2008}",
        "mail/sub/.hidden": "sub/_hidden",
    }
    assert {row.old_name for row in rows if row.unknown} == {
        "mail/note.txt",
        "mail/home/.mailboxlist",
    }
    passed = {os.path.basename(item["file"]): item["why"] for item in surveyed["passed"]}
    assert passed == {
        ".mailboxlist": "INBOX, the spool or the list of subscriptions",
        "Archive": "another name of work",
        "loop": "a loop",
        "mail": "a loop",  # home/mail
        "note.txt": "not a mail folder: it begins with b'Not mail.\\n'",
    }
    assert subscribed(old_user) == {
        b"x",
        b"work/alpha",
        b"work/beta",
        b"_archive/2009",
        b"{old}",
        b"Progetti {2008}",
        b"sub/_hidden",
        b"gone",
    }


def test_a_subscription_leads_to_a_folder_by_its_place(old_user):
    """By a further root, by a link in the root, and to a folder that is a directory."""
    with old_user.cclient() as old:
        assert old.create('"#driver.mx/archive/mx"')[0] == "OK"
        assert old.append("archive/mx", None, None, b"Subject: 1\r\n\r\nbody\r\n")[0] == "OK"
    put(old_user, b"archive/2009", b"Mail/sent", b"mail/x")
    (old_user.home / "mail/up").symlink_to("../Mail")
    (old_user.home / "old").symlink_to("archive")
    (old_user.home / ".mailboxlist").write_bytes(b"archive/mx\nold/2009\nMail/sent\nmail/x\n")
    roots = [{"path": f"/home/{old_user.name}/archive", "name": "years"}]
    seen = [{**root, "path": str(old_user.home / "archive")} for root in roots]
    check, _rows, surveyed = verified(old_user, old_home=str(old_user.home), roots=seen)
    assert check.passed, check.actual
    assert subscribed(old_user) == {b"years/mx", b"years/2009", b"up/sent", b"x"}
    assert surveyed["elsewhere"] == []


@pytest.mark.parametrize("roots", [[], ["Mail"]])
def test_what_a_link_beside_inbox_leads_to_is_named(old_user, roots):
    """c-client takes ~/INBOX, so nobody converts the mail to which ~/mbox leads."""
    put(old_user, b"INBOX", b"mail/x")
    (old_user.home / "Mail").mkdir()
    (old_user.home / "Mail/mbox").write_bytes(mbox(BASE))
    (old_user.home / "mbox").symlink_to("Mail/mbox")
    old_user.spool.write_bytes(b"\1\1\1\1\nSubject: 1\n\nbody\n\1\1\1\1\n")
    home = str(old_user.home)
    more = [{"path": f"{home}/{root}", "name": root} for root in roots]
    _check, rows, surveyed = verified(old_user, old_home=home, roots=more)
    left = [] if roots else ["Mail/mbox"]
    assert [item["file"] for item in surveyed["outside"]] == [f"{home}/{name}" for name in left]
    assert unknown(old_user, rows, ["mail/../mbox"]) == left


def test_another_name_of_a_damaged_folder_is_no_unknown_mail(old_user):
    """c-client shows it as a text, whose size depends on the name by which it is opened."""
    put(old_user, b"INBOX", b"mail/whole", b"mail/short")
    path = old_user.home / "mail/short"
    path.write_bytes(path.read_bytes()[:2026])
    (old_user.home / "box").symlink_to("mail")
    (old_user.home / "mail/spool").symlink_to(f"/var/mail/{old_user.name}")
    old_user.spool.write_bytes(mbox(BASE))
    _check, rows, surveyed = verified(old_user, strict=False)
    assert [item["folder"] for item in surveyed["damage"]] == ["short"]
    assert unknown(old_user, rows) == []
    put(old_user, b"more", messages=2)
    (old_user.home / "copy").write_bytes((old_user.home / "mail/whole").read_bytes())
    assert unknown(old_user, rows) == ["more"]


@pytest.mark.parametrize("place", ["folder", "spool"])
def test_a_folder_at_which_c_client_crashes_is_salvaged_and_the_rest_compared(old_user, place):
    put(old_user, b"INBOX", b"mail/x")
    content = b"From a@b Tue Nov 10 10:00:00 2026\nX-IMAP: 1254000000 10 work  WORK " + b"l" * 50
    path = old_user.spool if place == "spool" else old_user.home / "mail/cut"
    path.write_bytes(content)
    check, rows, surveyed = verified(old_user, strict=False)
    assert surveyed["damage"]
    (row,) = (row for row in rows if row.salvaged)
    assert row.old_name == ("INBOX" if place == "spool" else "mail/cut")
    (other,) = (row for row in rows if row.old_name == "mail/x")
    assert (other.old, other.new, other.differences) == (1, 1, [])
    assert check.passed and row.notes


def test_names_that_c_client_does_not_open(old_user):
    """It refuses line ends and more than 256 bytes. Some that it opens it does not list."""
    longest, longer = b"mail/" + b"n" * 251, b"mail/d/" + b"n" * 250
    refused = [b"mail/cr\r", b"mail/l\nf", longer]
    put(old_user, longest, *refused, messages=2)
    (old_user.home / ".mailboxlist").write_bytes(b"mail/cr\r\n")
    check, rows, surveyed = verified(old_user)
    with old_user.cclient() as old:
        assert longest not in oracle.folder_list(old)
        assert len(oracle.view(old, longest)["messages"]) == 2
    (row,) = (row for row in rows if row.old_name == longest.decode())
    assert (row.old, row.new, row.differences) == (2, 2, [])
    assert check.data["differences"] == len(refused)
    assert subscribed(old_user) == {b"cr_"}
    beforehand = preflight_check(surveyed, "old-names-openable")
    assert not beforehand.passed
    assert len(beforehand.data["folders"]) == len(refused)


def test_names_in_the_home_that_mean_another_place(old_user):
    """A further root takes files that c-client lists, and opens only by another name."""
    names = [b"{2008}", b"#old", b"~t", b"Inbox", b"plain", b"sub/{x}"]
    put(old_user, *names)
    home = str(old_user.home)
    check, rows, surveyed = verified(old_user, old_home=home, roots=[{"path": home, "name": "old"}])
    wrong = {row.old_name for row in rows if row.differences or row.extra}
    assert wrong == {"{2008}", "#old", "~t", "Inbox"}
    assert check.data["differences"] >= len(wrong)
    beforehand = preflight_check(surveyed, "old-names-openable")
    named = {text.rpartition("/")[2] for text in beforehand.data["folders"]}
    assert named == wrong and not beforehand.passed


@pytest.mark.parametrize("old_user", base_image.SUITES, indirect=True)
def test_dates_before_1970_stay_what_they_become(old_user):
    """Dovecot would show them once; from then on 2.3 as dates of 2106, and 2.4 as we do."""
    put(old_user, b"mail/mbx", b"mail/mbox")
    line = b" 1-Jan-1970 %b +0100,"
    texts = [build.text(number) for number in range(3)]
    messages = [build.message(text, uid, 0x11) for uid, text in enumerate(texts, 1)]
    for number, clock in enumerate((b"00:00:00", b"00:59:59", b"11:00:00")):
        messages[number] = line % clock + messages[number].partition(b",")[2]
    (old_user.home / "mail/mbx").write_bytes(build.mbx(*messages, uidlast=3))
    (old_user.home / "mail/mbox").write_bytes(
        b"From mboxrd@z Thu Jan  1 00:00:00 1970 +0100\nSubject: 1\n\nbody\n"
    )
    check, rows, surveyed = verified(old_user)
    assert check.passed, check.actual
    beforehand = preflight_check(surveyed, "old-folders-change")
    assert beforehand.warning and "2 messages of 1969" in beforehand.actual
    assert beforehand.data["folders"] == 2
    for _ in range(2):
        with old_user.dovecot() as new:
            dates = [message[2] for message in oracle.view(new, b"mbx")["messages"]]
            assert dates == [0, 0, 36000]
            assert oracle.view(new, b"mbox")["messages"][0][2] == 0


def test_a_from_line_of_mmdf_that_ends_in_crlf(old_user):
    """The mmdf driver counts the CR as part of the line: mostly it is none to it then."""
    ends = [
        b":00 2026",
        b" 2026 -080",
        b" 2026 -0800",
        b" 2026",
        b" 2026 EST",
        b" 202",
        b" 2026 ES",
    ]
    lines = [b"From a@b Tue Nov 10 10:00%b\r\nSubject: x\n\nbody\n" % end for end in ends]
    put(old_user, b"mail/mmdf")
    path = old_user.home / "mail/mmdf"
    path.write_bytes(b"".join(b"\1\1\1\1\n%b\1\1\1\1\n" % line for line in lines))
    check, rows, _surveyed = verified(old_user)
    assert check.passed, check.actual
    assert (rows[-1].old_name, rows[-1].old, rows[-1].new) == ("mail/mmdf", len(ends), len(ends))


@pytest.mark.parametrize("content", [b"\n", b"\r\n \t\n", b"\0", b"\0" * 3000, b" \0\n"])
@pytest.mark.parametrize("inbox", [False, True])
def test_a_spool_without_mail_is_no_difference(old_user, content, inbox):
    """c-client shows the file as a message that it makes up."""
    put(old_user, b"INBOX" if inbox else b"mail/x")
    old_user.spool.write_bytes(content)
    check, rows, _surveyed = verified(old_user)
    assert check.passed, check.actual
    assert not any(row.spool for row in rows)


BASE = b"X-IMAPbase: 1254000000 10\n"
SENT = [
    b"X-UID: 1\n",
    b"X-UID: 10\n",
    b"X-IMAPbase: 4294967297 4294967306\nX-UID: 7\n",
    b"X-UID: 4294967294\n",
    b"X-UID: 4294967306\nX-UID: 12\n",
    b"X-UID: 18446744073709551615\n",
]


def mbox(*headers):
    line = b"From a@b Tue Nov 10 10:00:%02d 2026\n%bSubject: %d\n\nbody\n\n"
    return b"".join(line % (number % 60, header, number) for number, header in enumerate(headers))


@pytest.mark.parametrize("fields", SENT)
def test_no_sender_changes_the_uidvalidity_of_inbox(old_user, fields):
    """c-client believes the fields once a session moves a message from the spool to ~/mbox."""
    (old_user.home / "mbox").write_bytes(mbox(BASE + b"X-UID: 3\n", b"X-UID: 9\n"))
    old_user.spool.write_bytes(mbox(fields, b"X-UID: 5\n", b""))
    check, _rows, surveyed = verified(old_user)
    assert check.passed, check.actual
    assert not surveyed["damage"] and not any(file["renumbered"] for file in surveyed["folders"])
    with old_user.cclient() as old:
        before = oracle.view(old, b"INBOX")
    with old_user.dovecot() as new:
        after = oracle.view(new, b"INBOX")
    assert after["uidvalidity"] == before["uidvalidity"] == 1254000000
    assert after["messages"][:2] == before["messages"] and len(after["messages"]) == 5
    assert after["uidnext"] < 1 << 32
    # programs ask for what lies above the UIDNEXT they know
    assert all(message[0] >= before["uidnext"] for message in after["messages"][2:])


@pytest.mark.parametrize("place", ["spool", "folder", "beside INBOX"])
def test_numbers_that_imap_does_not_allow_stop_no_conversion(old_user, place):
    """Where c-client believes what a sender wrote, the folder gets new UIDs, and it is named."""
    text = mbox(BASE + b"X-UID: 3\n", *SENT[3:], b"", b"")
    path = old_user.home / "mail/folder" if place == "folder" else old_user.spool
    path.write_bytes(text)
    if place == "beside INBOX":
        put(old_user, b"INBOX")
    elif place == "spool":
        put(old_user, b"mail/x")
    check, _rows, surveyed = verified(old_user)
    assert check.passed, check.actual
    assert not surveyed["damage"] and not surveyed["errors"]
    with old_user.dovecot() as new:
        name = b"folder" if place == "folder" else b"INBOX"
        assert len(oracle.view(new, name)["messages"]) == 6 + (place == "beside INBOX")


@pytest.mark.parametrize(
    "headers",
    [
        (b"X-IMAPbase: 4294967297 10\nX-UID: 3\n", b"X-UID: 9\n", b""),
        (b"X-IMAPbase: 1 4294967306\nX-UID: 3\n", b"", b"X-UID: 20\n"),
        (BASE + b"X-UID: 3\n", b"X-UID: 4294967306\n", b"X-UID: 4294967309\n", b""),
        (BASE + b"X-UID: 4294967294\n", b"", b""),
        (b"X-IMAPbase: 1 4294967200\n", *[b""] * 100),
        (BASE + b"X-UID: 18446744073709551615\n", b"", b""),
        (BASE + b"X-UID: 3\n", b"X-UID: 18446744073709551615\n"),
    ],
)
def test_uids_that_imap_does_not_allow_are_named_and_no_difference(old_user, headers):
    (old_user.home / "mail/folder").write_bytes(mbox(*headers))
    put(old_user, b"INBOX")
    check, rows, surveyed = verified(old_user)
    assert check.passed, check.actual
    beforehand = preflight_check(surveyed, "old-folders-change")
    assert beforehand.warning and beforehand.data["folders"] == 1
    row = next(row for row in rows if row.old_name == "mail/folder")
    assert (row.old, row.new, row.extra) == (len(headers), len(headers), 0) and row.notes


def test_a_file_beside_the_messages_of_a_mx_mailbox_is_none(old_user):
    """`²` is a digit to Unicode, and no number."""
    with old_user.cclient() as old:
        oracle.ok(old.create('"#driver.mx/mail/box"'))
        for number in (1, 2):
            old.literal = b"Subject: %d\r\n\r\nbody\r\n" % number
            oracle.ok(
                old._simple_command("APPEND", "mail/box", "()", '" 3-Feb-2009 01:02:03 +0100"')
            )
    for name in ("²", "٣", "1a"):
        (old_user.home / "mail/box" / name).write_bytes(b"Subject: other\n\nnote\n")
    check, rows, surveyed = verified(old_user)
    assert check.passed, check.actual
    row = next(row for row in rows if row.old_name == "mail/box")
    assert (row.old, row.new, row.extra) == (2, 2, 0) and not surveyed["errors"]


def test_a_text_that_c_client_mixes_up_with_that_of_another_folder(old_user):
    """After `a`, its tenex driver shows no body of `b` in the same session; alone it does."""
    put(old_user, b"mail/a", b"mail/b")
    for name, body in (("a", b"body\n"), ("b", b"body without an end")):
        text = b"Subject: 0\n\n" + body
        line = b"15-Oct-1995 20:03:22 +0000,%d;000000000000\n" % len(text)
        (old_user.home / "mail" / name).write_bytes(line + text)
    with old_user.cclient() as old:
        assert [text_size(old, name) for name in ("mail/a", "mail/b")] == [20, 14]
    with old_user.cclient() as old:
        assert text_size(old, "mail/b") == 33
    check, _rows, _surveyed = verified(old_user)
    assert check.passed, check.actual


def text_size(connection, name):
    connection.select(name, readonly=True)
    return len(connection.fetch("1", "(BODY.PEEK[])")[1][0][1])


def test_full_names_that_hold_what_python_takes_for_line_ends(old_user):
    """As getent prints them: with U+0085, VT, FF or in ISO 8859-1."""
    names = (b"Ren\xc2\x85", b"a\x0bb\x0cc", b"Ren\xe9\x85")
    with open(old_user.host.root / "etc/passwd", "ab") as passwd:
        for number, gecos in enumerate(names):
            passwd.write(b"g%d:x:%d:2999:%b:/home/g:/bin/sh\n" % (number, 2990 + number, gecos))
    text = old_user.run("getent", "passwd").decode("utf-8", "surrogateescape")
    accounts = users.parse_passwd(text, 2990, 2999)
    assert [account.user for account in accounts] == ["g0", "g1", "g2"]


def preflight_check(surveyed, check_id):
    """What preflight says of one user's survey."""
    counts = ("messages", "bytes", "expunged", "inodes")
    lists = ("folders", "passed", "errors", "damage")
    totals = {key: surveyed[key] for key in counts}
    totals.update({key: len(surveyed[key]) for key in lists}, users=1)
    survey = model.from_json(Survey, by_name({"totals": totals, "users": [surveyed]}))
    site = types.SimpleNamespace(
        roles=types.SimpleNamespace(new="new"),
        old_store=types.SimpleNamespace(imap_prefix="mail/", to_salvage=list),
    )
    judged = old_mail.readable(model.Reading(survey), site)
    return next(check for check in judged if check.id == check_id)
