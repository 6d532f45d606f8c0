"""Every kind of change: complete in JSON, an inverse or a reason, and an exact description."""

import dataclasses
import json

import pytest
from cutover import model
from cutover.carryback.carry_back import CarryBack
from cutover.carryback.carry_left import CarryLeft
from cutover.carryback.left_behind import LeaveBehind
from cutover.changes import (
    backup_run,
    bacula_jobs,
    bacula_restore,
    bring_beside,
    conversion,
    delivery_proof,
    dns_update,
    dovecot,
    files,
    home_file,
    mail,
    mail_directory,
    mail_stop,
    old_spam,
    program_run,
    restored_mail,
    retirement,
    service,
    sieve,
    spam_digest,
    store_move,
    store_switch,
    system_mail,
    trial_restore,
    user_page,
    userdb_edit,
)
from cutover.connect import dns, ssh

FORWARD = dns.Update(
    "lab.test",
    [("exists", "mailbox.lab.test", "CNAME", ["mailboxold.lab.test."])],
    [("mailbox.lab.test", "CNAME")],
    [("mailbox.lab.test", 5, "CNAME", "mailboxvm.lab.test.")],
).to_json()
BACKWARD = dns.Update(
    "lab.test",
    [("exists", "mailbox.lab.test", "CNAME", ["mailboxvm.lab.test."])],
    [("mailbox.lab.test", "CNAME")],
    [("mailbox.lab.test", 5, "CNAME", "mailboxold.lab.test.")],
).to_json()
RENAMED = dns.Update(
    "lab.test",
    [("exists", "mailbox.lab.test", "A", ["10.77.0.13"]), ("unused", "mailboxold.lab.test")],
    [("mailbox.lab.test", "ANY"), ("mailboxold.lab.test", "ANY")],
    [
        ("mailboxold.lab.test", 5, "A", "10.77.0.13"),
        ("mailbox.lab.test", 5, "CNAME", "mailboxold.lab.test."),
    ],
).to_json()
RENAMED_BACK = dns.Update(
    "lab.test",
    [
        ("exists", "mailbox.lab.test", "CNAME", ["mailboxold.lab.test."]),
        ("exists", "mailboxold.lab.test", "A", ["10.77.0.13"]),
    ],
    [("mailbox.lab.test", "ANY"), ("mailboxold.lab.test", "ANY")],
    [("mailbox.lab.test", 3600, "A", "10.77.0.13")],
).to_json()
RENAME_BACK = dns_update.RenameBack(
    "ns1",
    ["ns1", "ns2"],
    RENAMED_BACK,
    RENAMED,
    30,
    "mailboxold.lab.test",
    ["postino3", "postino4"],
    300,
)
USER = {
    "user": "alice",
    "uid": 2001,
    "gid": 2001,
    "home": "/home/alice",
    "inbox": ["/srv/o/alice/INBOX"],
    "spool": "/srv/s/alice",
    "folders": "/srv/o/alice/mail",
    "subscriptions": "/srv/o/alice/.mailboxlist",
    "maildir": "/var/imap/alice",
}
ACCOUNT = {"user": "alice", "uid": 2001, "gid": 2001, "home": "/home/alice"}
MOVE = ("mailboxvm", "r1", "/var/imap", "/srv/new", "/var/lib/mail-cutover")

ENGINE = {
    "workers": ["mailboxvm", "mailboxvm2"],
    "units": [["alice"]],
    "ports": [8786, 8799],
    "place": "/var/lib/mail-cutover-worker",
}
EXAMPLES = [
    dns_update.DnsUpdate("ns1", ["ns1", "ns2"], FORWARD, BACKWARD, 30),
    userdb_edit.UserdbEdit(
        "postino3",
        "/etc/mail/userdb",
        "/etc/mail/userdb.db",
        "/etc/mail/userdb.r1",
        [["a:maildrop\ta@old", "a:maildrop\ta@old, a@new"]],
    ),
    service.ServiceAction("mailboxold", "systemd", "xinetd", "stop", True),
    service.ServiceAction("mailboxvm", "systemd", "dovecot", "start", False),
    service.EndSessions("mailboxold", ["imapd"]),
    mail.DrainQueue(["postino3", "postino4"], 300),
    mail_stop.DrainOnceClosed(
        ["postino3"], 300, "mailboxold.lab.test", closed="mailboxold", host="mailboxvm"
    ),
    mail.ReleaseQueue(["postino3", "postino4"], 300, whole=True),
    mail.AwaitDeliveries("mailboxold", ["dmail"], 300),
    delivery_proof.ProveDelivery(
        ["postino3", "postino4"], ["mailboxold", "mailboxvm"], "t@lab.test", "sonda", "r1", 60
    ),
    mail.SendTestMail("postino3", 25, "t@lab.test", "alice@lab.test", "alice", "r1-ham", False),
    system_mail.SubmitTestMail(
        "postinoauth1",
        587,
        "alice@lab.test",
        "alice@lab.test",
        "alice",
        "r1-smtp",
        False,
        "inside",
        "from inside",
    ),
    system_mail.PostTestMail(
        "postino3",
        25,
        "alice@lab.test",
        "staff@lab.test",
        "alice",
        "r1-list",
        False,
        ["alice", "bruno"],
    ),
    conversion.Convert("mailboxvm", "r1", "/var/imap/.cutover", 2, [USER]),
    conversion.Convert("mailboxvm", "r1", "/var/imap/.cutover", 2, [USER], engine=ENGINE),
    conversion.ConvertAgain("mailboxvm", "r1", "/var/imap/.cutover", 2, [USER]),
    conversion.Presync(
        "mailboxvm",
        "r1",
        "/var/imap/.cutover",
        2,
        [USER],
        pace={"nice": 10, "io_class": "idle", "max_mb_per_second": 2.5, "back_off_ms": 300},
    ),
    conversion.Unpublish("mailboxvm", "r1", "/var/imap/.cutover", 2, [USER]),
    CarryBack("mailboxold", "r1", "/var/lib/mail-cutover", [USER]),
    LeaveBehind("mailboxvm", "r1", "/var/imap/.cutover", [USER]),
    CarryLeft("mailboxold", "r1", "/var/lib/mail-cutover", ["alice"]),
    files.FileChange(
        "sanbackup", "/etc/systemd/system/x.timer", "0644", None, "[Timer]\nOnCalendar=daily\n"
    ),
    retirement.SingleDelivery(
        "postino3",
        "/etc/mail/userdb",
        "/etc/mail/userdb.db",
        "/etc/mail/userdb.r1",
        [["a:maildrop\ta@old, a@new", "a:maildrop\ta@both"]],
    ),
    retirement.RetireService("mailboxold", "systemd", "sendmail", "stop", True),
    retirement.RemoveName("ns1", ["ns1", "ns2"], FORWARD, BACKWARD, 30),
    retirement.PowerOff("mailboxold", 180),
    RENAME_BACK,
    backup_run.RunBackup("sanbackup", "mailbackup.service", "/backup/current", 60),
    bacula_jobs.DirectorFile(
        "sanbackup",
        "/etc/bacula/posta.conf",
        "0640",
        None,
        "Job {\n}\n",
        "/etc/bacula/bacula-dir.conf",
    ),
    bacula_jobs.RunJob("sanbackup", "posta", 60),
    bacula_restore.RestoreBeforehand(
        "sanbackup", "alice", [3, 5], [".", ".SPAM"], [1, 2], [7], "/srv/bacula/scratch/r1", 60
    ),
    bacula_restore.RemoveRestored("sanbackup", "/srv/bacula/scratch/r1"),
    trial_restore.TrialRestore(
        "mailboxvm",
        "alice",
        "bacula",
        "/var/imap/.cutover/restore-test/bacula",
        "sanbackup",
    ),
    trial_restore.RemoveTrial("mailboxvm", "/var/imap/.cutover/restore-test/bacula"),
    bring_beside.BringBeside(
        "mailboxvm",
        "alice",
        "2001:2001",
        "/var/imap/.cutover/restore/r1/alice",
        [".", ".SPAM"],
        ["tar", "-C", "/backup/current", "-c", "alice"],
        "sanbackup",
    ),
    mail_directory.MakeMailDirectory(
        "mailboxvm",
        "alice",
        "/var/imap/alice",
        "2001:2001",
        "700",
        "/var/imap/.cutover/restore/r1/alice.aside",
    ),
    mail_directory.RemoveMailDirectory(
        "mailboxvm", "alice", "/var/imap/alice", "/var/imap/.cutover/restore/r1/alice.aside"
    ),
    restored_mail.AddMissing(
        "mailboxvm", "alice", ACCOUNT, "/var/imap/.cutover/restore/r1/alice", ["INBOX"], ""
    ),
    restored_mail.TakeOut(
        "mailboxvm", "alice", ACCOUNT, "/var/imap/.cutover/restore/r1/alice", ["INBOX"], ""
    ),
    sieve.DovecotBlock(
        "mailboxvm", "/etc/dovecot/local.conf", None, "protocols = $protocols sieve\n"
    ),
    dovecot.DovecotFile(
        "mailboxvm", "/etc/dovecot/conf.d/99-cutover-names.conf", "0644", None, "namespace x {\n}\n"
    ),
    sieve.ProcmailSieve(
        "mailboxvm", "/etc/procmailrc", "0644", ":0\n/x/\n", ":0\n| lda\n:0\n/x/\n"
    ),
    sieve.SieveScript(
        "mailboxvm", "alice", "/home/alice", sieve.FORWARD, None, 'redirect "a@far.test";\n'
    ),
    old_spam.SetAside("mailboxvm", "alice", "SPAM", 7, "1:3", 3, "/var/imap/.spam-aside/r1/alice"),
    old_spam.PutBack("mailboxvm", "alice", "SPAM", "/var/imap/.spam-aside/r1/alice"),
    old_spam.Expunge("mailboxvm", "alice", "r1", "/var/imap/.spam-aside/r1/alice", 3, 30),
    spam_digest.SendDigest(
        "postino3",
        25,
        "mailboxvm",
        "alice",
        "p@lab.test",
        "alice@lab.test",
        "SPAM",
        "2026-01-01",
        "2026-01-08",
        "<spam-digest.r1.alice@lab.test>",
        60,
    ),
    program_run.StartMailProgram("alice", "/srv/runs/r1.5f.aside"),
    program_run.RunMailProgram("alice", "/srv/runs/r1.5f.aside"),
    program_run.RemoveMailProgram("alice", "/srv/runs/r1.5f.aside"),
    user_page.SendPage(
        "postino3",
        25,
        "alice",
        "p@lab.test",
        "alice@lab.test",
        "/runs/r1/users/user-alice.txt",
        "0" * 64,
        "<pages.r1.alice@lab.test>",
    ),
    home_file.EditHomeFile(
        "mailboxvm",
        "alice",
        "/home/alice",
        ".procmailrc",
        ".procmailrc.r1",
        [[3, "mail/x", "/var/imap/alice/.x/"]],
        "0" * 64,
    ),
    home_file.RestoreHomeFile(
        "mailboxvm", "alice", "/home/alice", ".procmailrc", ".procmailrc.r1", [], "0" * 64
    ),
    store_move.CopyStore(*MOVE, 5, 30),
    store_move.LastCopy(*MOVE),
    store_switch.SwitchStore(*MOVE, "cutover-store-var-imap.service"),
    store_switch.SwitchBack(*MOVE, "cutover-store-var-imap.service"),
    store_switch.SwitchStore(*MOVE, "cutover-store-var-imap.service", "/srv/former", "[Unit]\n"),
]


def test_the_examples_are_all_the_kinds_there_are():
    assert {example.kind for example in EXAMPLES} == {kind for kind in model.KINDS if kind}


@pytest.mark.parametrize("change", EXAMPLES, ids=lambda change: change.kind)
def test_a_journal_line_holds_a_change_whole(change):
    assert model.change_from_json(json.loads(json.dumps(change.to_json()))).to_json() == json.loads(
        json.dumps(change.to_json())
    )


@pytest.mark.parametrize("change", EXAMPLES, ids=lambda change: change.kind)
def test_it_has_an_inverse_or_says_why_not(change):
    inverse = change.inverse()
    if inverse is None:
        assert change.no_inverse
        assert change.undo_text() == f"none: {change.no_inverse}"
    else:
        assert not change.no_inverse
        assert inverse.describe() != change.describe()
        if (
            inverse.inverse() is None
        ):  # other UIDs, a store that has gone on, or a copy: not what it was
            assert change.kind in (
                "spam-aside",
                "home-file-edit",
                "mail-program",
                "restore-add",
                "store-switch",
                "bacula-restore",
                "restore-test",
                "restore-directory",
            )
            assert inverse.no_inverse
            return
        again = inverse.inverse().describe().replace(".undone", "")
        # what takes back and makes anew has its second half back
        assert (
            again == change.describe()
            or change.kind == "convert-again"
            and again in change.describe()
            # one update there and back, in two parts
            or change.kind == "rename-back"
            and inverse.inverse().forward == change.forward
        )


@pytest.mark.parametrize("change", EXAMPLES, ids=lambda change: change.kind)
def test_it_names_its_target_and_says_exactly_what_it_does(change):
    assert change.target and change.title() and change.describe().strip()


def test_an_unknown_kind_is_named():
    with pytest.raises(model.UnknownChange, match="'teleport'"):
        model.change_from_json({"kind": "teleport"})


def test_an_empty_plan_says_why():
    with pytest.raises(ValueError, match="must say why"):
        model.Plan()


def test_a_dns_update_is_one_message_with_its_prerequisite():
    assert EXAMPLES[0].describe() == (
        "zone lab.test.\n"
        "prereq yxrrset mailbox.lab.test. CNAME mailboxold.lab.test.\n"
        "update delete mailbox.lab.test. CNAME\n"
        "update add mailbox.lab.test. 5 CNAME mailboxvm.lab.test.\n"
        "send"
    )


def test_the_old_servers_name_goes_after_the_alias_and_what_was_sent_to_it():
    assert RENAME_BACK.describe() == (
        "zone lab.test.\n"
        "prereq yxrrset mailbox.lab.test. CNAME mailboxold.lab.test.\n"
        "prereq yxrrset mailboxold.lab.test. A 10.77.0.13\n"
        "update delete mailbox.lab.test.\n"
        "update add mailbox.lab.test. 3600 A 10.77.0.13\n"
        "send\n\n"
        "5 s later: sendmail -qf; sendmail -Ac -qf (in the background, two passes at a time, "
        "repeated until `mailq` lists nothing it lists now, at most 300 s)\n\n"
        "zone lab.test.\n"
        "prereq yxrrset mailbox.lab.test. A 10.77.0.13\n"
        "prereq yxrrset mailboxold.lab.test. A 10.77.0.13\n"
        "update delete mailboxold.lab.test.\n"
        "send"
    )


def test_a_userdb_edit_shows_its_diff_and_builds_the_map_beside_the_old_one():
    lines = EXAMPLES[1].describe().splitlines()
    part = "/etc/mail/userdb.r1.part"
    assert lines[0] == f"cp -p /etc/mail/userdb {part}; mv -f {part} /etc/mail/userdb.r1"
    assert "-a:maildrop\ta@old" in lines and "+a:maildrop\ta@old, a@new" in lines
    assert lines.index(
        "makemap btree /etc/mail/userdb.cutover.db < /etc/mail/userdb"
    ) < lines.index("mv -f /etc/mail/userdb.cutover.db /etc/mail/userdb.db")


SOURCE = b"# users\r\na:maildrop\ta@old\r\nb:maildrop\tb@elsewhere\n\nc:maildrop\tc@old"


def test_only_the_lines_named_are_replaced_and_line_ends_stay():
    after, changed = userdb_edit.replace_lines(
        SOURCE, [["a:maildrop\ta@old", "a:maildrop\tX"], ["c:maildrop\tc@old", "Y"]], "here"
    )
    assert after == b"# users\r\na:maildrop\tX\r\nb:maildrop\tb@elsewhere\n\nY"
    assert changed == 2


def test_lines_already_replaced_are_left_so():
    after, changed = userdb_edit.replace_lines(SOURCE, [["was", "a:maildrop\ta@old"]], "here")
    assert (after, changed) == (SOURCE, 0)


@pytest.mark.parametrize("data, times", [(SOURCE, 0), (b"was\nwas\n", 2)])
def test_a_file_that_somebody_changed_is_refused(data, times):
    with pytest.raises(
        model.ChangeFailed,
        match=rf"postino3:/etc/mail/userdb: the line b'was' occurs {times} times",
    ):
        userdb_edit.replace_lines(data, [["was", "is"]], "postino3:/etc/mail/userdb")


def test_a_change_cannot_be_altered():
    with pytest.raises(dataclasses.FrozenInstanceError):
        EXAMPLES[2].action = "start"


class InitScript:
    """A host whose systemd runs a service by its init script, and whose daemon is gone."""

    def __init__(self):
        self.state = "exited"

    def run(self, host, argv, **options):
        verb = argv[1] if argv[0] == "systemctl" else ""
        if verb == "stop":
            self.state = "dead"
        elif verb == "start" and self.state == "dead":
            self.state = "running"  # what counts as active is not started
        active = "inactive" if self.state == "dead" else "active"
        text = (
            f"LoadState=loaded\nActiveState={active}\nSubState={self.state}\n"
            "UnitFileState=enabled\n"
        )
        return ssh.Result(host, tuple(argv), 0, text.encode() if verb == "show" else b"", b"", 0.0)


def test_a_service_whose_daemon_is_gone_is_started_all_the_same():
    change = service.ServiceAction("mailboxvm", "systemd", "sendmail", "start", True)
    assert change.apply(model.Context(InitScript()), None).text == "active (running), enabled"
