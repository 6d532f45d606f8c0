"""Users' procmail rules: which lines are simple, and where they lead in the Maildir."""

import os
import subprocess
import types

import pytest
from cutover import model, site
from cutover.changes.home_file import EditHomeFile
from cutover.facts import home_files
from cutover.facts.users import Account
from cutover.steps.maintenance import mail_rules, procmail_rules
from mbx2maildir import pointers

ROMA1 = site.load("parameters/roma1.yaml")
MAILDIR = "/var/imap/alice"


def with_store(**more):
    return ROMA1.model_copy(update={"new_store": ROMA1.new_store.model_copy(update=more)})


class Hosts:
    """The new host is this machine."""

    site = ROMA1

    def run(self, name, argv, *, as_user, input=b"", check=True):
        assert as_user == "alice"
        done = subprocess.run(argv, input=input, capture_output=True)
        assert not check or done.returncode == 0, done.stderr
        text = done.stdout.decode("utf-8", "surrogateescape")
        return types.SimpleNamespace(rc=done.returncode, text=text, err=done.stderr)


@pytest.fixture
def home(tmp_path):
    return tmp_path


def of_home(home, text, **files):
    (home / ".procmailrc").write_bytes(text.encode("utf-8", "surrogateescape"))
    return mail_rules._of_user(Hosts(), Account("alice", 2001, 2001, str(home)))


def test_an_answer_that_a_user_spoiled_stops_nobody_else(home, monkeypatch):
    class Spoiled(Hosts):
        def run(self, name, argv, *, as_user, input=b"", check=True):
            text = "" if as_user == "alice" else "noise of a user\n"
            return types.SimpleNamespace(rc=0, text=text, err=b"")

    accounts = [Account(name, 2001, 2001, str(home)) for name in ("alice", "bruno")]
    monkeypatch.setattr(mail_rules.users, "read", lambda hosts, host: accounts)
    monkeypatch.setattr(mail_rules.files, "read", lambda *_: b"")
    monkeypatch.setattr(mail_rules, "_cron", lambda hosts, names: [])
    facts = mail_rules.probe(model.Context(Spoiled(), run_name="r1"))
    assert list(facts.unread) == ["bruno"] and "not as it should be" in facts.unread["bruno"]
    (check,) = [check for check in mail_rules.verify(facts, ROMA1) if check.id == "rules-unread"]
    assert check.subject == "bruno" and check.warning


def change(home, user, run="r1"):
    edits = mail_rules.edits(user, ROMA1)
    name = mail_rules.PROCMAILRC
    return EditHomeFile("new", "alice", str(home), name, f"{name}.{run}", edits, user.digest)


SIMPLE = {
    "$HOME/mail/lists": ".lists/",
    "mail/lists": ".lists/",
    "${HOME}/mail/a/b": ".a.b/",
    "mail/x.y": ".x_y/",
    '"mail/lists"': ".lists/",
    "mail/lists   # many": ".lists/   # many",
    "/var/mail/alice": "/",
    "/var/spool/mail/$LOGNAME": "/",
    "$HOME/mbox": "/",
    "$HOME/Mail/x": None,
    "| /usr/bin/dmail +mail/SPAM": ".SPAM/",
    "| dmail": "/",
    "|dmail -s $LOGNAME+mail/a/b": ".a.b/",
    "| tmail alice+mail/SPAM": ".SPAM/",
    "| dmail +oldmail": None,
    "| dmail bruno+mail/x": None,
    "| dmail +#driver.mbx/mail/x": None,
    "| formail -A X: y | dmail +mail/x": None,
    "| cat >> $HOME/mail/x": None,
    "mail/`date +%Y`": None,
    "mail/$MATCH": None,
    "mail/a mail/b": None,
    "mail/own/": None,
    "oldmail": None,
}


@pytest.mark.parametrize("action", SIMPLE)
def test_what_is_simple_and_where_it_leads(home, action):
    text = f":0:\n* ^Subject: x\n  {action}\n"
    user = of_home(home, text)
    wanted = SIMPLE[action]
    edits = [[number, old, new] for number, old, new in mail_rules.edits(user, ROMA1)]
    if wanted is None:
        assert not edits and len(mail_rules.left(user, ROMA1)) == 1
    else:
        # a comment behind a path is part of the line's text
        changed = [3, f"  {action}", f"  {MAILDIR}/{wanted.lstrip('/')}"]
        assert edits == [[1, ":0:", ":0"], changed]
        assert not mail_rules.left(user, ROMA1)


def test_dots_that_stay_and_roots(home):
    (home / ".procmailrc").write_text(":0\nmail/x.y\n:0\n$HOME/Mail/z\n")
    root = ROMA1.old_store.roots + [type_of_root()(path="{home}/Mail", name="Mail")]
    at = with_store(dots="escape").model_copy(
        update={"old_store": ROMA1.old_store.model_copy(update={"roots": root})}
    )
    hosts = Hosts()
    hosts.site = at
    user = mail_rules._of_user(hosts, Account("alice", 2001, 2001, str(home)))
    assert [new for _, _, new in mail_rules.edits(user, at)] == [
        f"{MAILDIR}/.x\\2ey/",
        f"{MAILDIR}/.Mail.z/",
    ]


def type_of_root():
    from cutover.site import night_sections

    return night_sections.Root


@pytest.mark.parametrize(
    "existing, certain",
    [([], True), ([".a_b"], True), ([".a_b_2"], False), ([".a_b_2.c"], False), ([".a_b_x"], True)],
)
def test_a_folder_that_may_have_got_a_number_is_left(existing, certain):
    assert (procmail_rules.place("a.b", MAILDIR, existing, ROMA1) is not None) == certain
    assert procmail_rules.place("a_b", MAILDIR, existing, ROMA1) == f"{MAILDIR}/.a_b/"


@pytest.mark.parametrize(
    "head, without",
    [
        (":0", ":0"),
        (":0:", ":0"),
        (" :0 cw: $HOME/x.lock", " :0 cw"),
        (":0 : # why", ":0 # why"),
        (":0 # a: b", ":0 # a: b"),
        (":0:a  # b", ":0  # b"),
        (":0:" + 200_000 * " " + "a", ":0"),  # in a moment
        (
            ":" + 100_000 * "0" + ":" + 100_000 * "a" + "#",
            ":" + 100_000 * "0" + ":" + 100_000 * "a" + "#",
        ),
    ],
)
def test_a_lock_file_goes(head, without):
    assert procmail_rules.unlocked(head) == without


VARIABLES = """\
MAILDIR=$HOME/mail
L=lists
D=`date +%Y`
DEFAULT=$MAILDIR/inbox
:0
* ^Subject: a
{
  L=other
  :0
  fixed
}
:0
$L
:0
$D
:0
X=| formail -xTo:
INCLUDERC=$HOME/more
M=$HOME/mail/$L
:0
$M
"""


def test_variables_that_are_set_in_a_block_or_by_a_program_are_not_simple(home):
    user = of_home(home, VARIABLES)
    assert [new for _, _, new in mail_rules.edits(user, ROMA1)] == [
        f"DEFAULT={MAILDIR}/.inbox_/",
        f"  {MAILDIR}/.fixed/",
    ]
    assert [line.line for line in mail_rules.left(user, ROMA1)] == [13, 15, 18, 21]


def test_a_long_line_is_left(home):
    user = of_home(home, f":0\nmail/{'x' * pointers.LONGEST}\n")
    assert not mail_rules.edits(user, ROMA1) and len(mail_rules.left(user, ROMA1)) == 1


def test_a_link_and_a_long_file_are_left(home, monkeypatch):
    (home / "rules").write_text(":0\nmail/x\n")
    (home / ".procmailrc").symlink_to("rules")
    user = mail_rules._of_user(Hosts(), Account("alice", 2001, 2001, str(home)))
    assert not mail_rules.edits(user, ROMA1) and len(mail_rules.left(user, ROMA1)) == 1
    monkeypatch.setattr(home_files, "LIMIT", 10)
    (home / ".procmailrc").unlink()
    assert not mail_rules.edits(of_home(home, ":0\nmail/x\n"), ROMA1)


@pytest.mark.parametrize(
    "text, reads",
    [
        ("", True),
        (":0\n* ^X-Spam: Y\n/x/\n", True),
        (":0\n/x/\n", False),
        (":0 w:\n| dmail\n", False),
        (":0 c\n/x/\n", True),
        (":0\n* ^A\n{\n:0\n/x/\n}\n", True),
        ("DEFAULT=/x/\n", True),
        ("DROPPRIVS=yes\nINCLUDERC=$HOME/.procmailrc\n:0\n/x/\n", True),
        ("DROPPRIVS=yes\n:0\n/x/\nINCLUDERC=$HOME/.procmailrc\n", False),
        ("DROPPRIVS=yes\n:0\n* A\n{\nINCLUDERC=$HOME/.procmailrc\n}\n:0\n/x/\n", False),
        ("INCLUDERC=$HOME/.procmailrc\nDROPPRIVS=yes\n:0\n/x/\n", False),
    ],
)
def test_whether_procmail_comes_to_users_own_rules(text, reads):
    assert procmail_rules.reads_home(text) == reads
    user = mail_rules.User("/home/alice", MAILDIR, "d", [LINE], [])
    facts = mail_rules.Facts("r1", 1, reads, {"alice": user}, model.Reading([]))
    if reads:
        assert len(mail_rules.plan(facts, ROMA1).changes) == 1
    else:
        with pytest.raises(model.CannotPlan, match="never reads"):
            mail_rules.plan(facts, ROMA1)


LINE = mail_rules.Line(".procmailrc", 2, "delivers", "mail/x", "mail/x", "x")


def test_the_file_goes_there_and_back(home):
    text = ":0\nmail/x\n# caff\udce8\r\n"
    edit = change(home, of_home(home, text))
    (home / ".procmailrc").chmod(0o640)
    ctx = types.SimpleNamespace(hosts=Hosts())
    assert not edit.settled(ctx).done
    edit.apply(ctx, print)
    changed = os.fsencode(text).replace(b"mail/x", MAILDIR.encode() + b"/.x/")
    assert (home / ".procmailrc").read_bytes() == changed
    assert (home / ".procmailrc").stat().st_mode & 0o777 == 0o640
    assert (home / ".procmailrc.r1").read_bytes() == os.fsencode(text)
    assert edit.settled(ctx).done and edit.apply(ctx, print).text == "already so"
    back = edit.inverse()
    assert not back.settled(ctx).done
    back.apply(ctx, print)
    assert (home / ".procmailrc").read_bytes() == os.fsencode(text)
    assert os.listdir(home) == [".procmailrc"] and back.settled(ctx).done


def test_what_its_user_changed_stays(home):
    edit = change(home, of_home(home, ":0\nmail/x\n"))
    ctx = types.SimpleNamespace(hosts=Hosts())
    (home / ".procmailrc").write_text(":0\nmail/x\n# mine\n")
    with pytest.raises(model.ChangeFailed, match="changed it since"):
        edit.apply(ctx, print)
    assert os.listdir(home) == [".procmailrc"]
    edit = change(home, of_home(home, ":0\nmail/x\n"))
    edit.apply(ctx, print)
    with (home / ".procmailrc").open("a") as file:
        file.write("# mine\n")
    back = edit.inverse()
    assert back.settled(ctx).done and "changed" in back.apply(ctx, print).text
    assert (home / ".procmailrc").read_text().endswith("# mine\n")
    (home / ".procmailrc").write_text(f":0\n{MAILDIR}/.x/\n")
    (home / ".procmailrc.r1").unlink()
    with pytest.raises(model.ChangeFailed, match="no longer the former"):
        back.apply(ctx, print)


def test_files_that_are_none_are_passed_over(home):
    os.mkfifo(home / ".procmailrc")
    (home / ".forward").symlink_to("/nowhere")
    (home / ".profile").write_text("MAIL=/var/mail/$USER\n")
    user = mail_rules._of_user(Hosts(), Account("alice", 2001, 2001, str(home)))
    assert [(line.file, line.kind) for line in user.lines] == [(".profile", "names")]
    gone = Account("alice", 2001, 2001, str(home / "gone"))
    assert mail_rules._of_user(Hosts(), gone).lines == []
