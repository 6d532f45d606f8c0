"""Names and texts from outside that try to be something else: commands, options, paths, markup,
control sequences.
"""

import ast
import html.parser
import re
import subprocess

import pydantic
import pytest
from cutover import model, site
from cutover.changes import mail
from cutover.connect import dns, ssh
from cutover.connect.ssh.command import DECODE, ENVIRONMENT
from cutover.facts import mail_queue, userdb, users
from cutover.model import errors
from cutover.record import history, journal, run_folder
from cutover.remote import converter
from cutover.report import step_tables, summary, tables
from hypothesis import given, settings
from hypothesis import strategies as st
from papermill import translators

NASTY = [
    "$(id)",
    "`id`",
    "; id",
    "a\nb",
    "'; id; '",
    '"',
    "\\",
    "-rf",
    "--help",
    "../../etc/passwd",
    "..",
    "/",
    "~root",
    "*",
    "{user}",
    "<script>alert(1)</script>",
    "' onmouseover='x",
    "&amp;",
    "=cmd|' /C calc'!A0",
    "\x1b[31m",
    "\u202ecod",
    "\udcff",
    "%s%n",
    "\r\n.\r\n",
]
TEXT = st.one_of(
    st.sampled_from(NASTY),
    st.text(max_size=40),
    st.lists(st.sampled_from(NASTY), max_size=3).map("".join),
)
relaxed = settings(max_examples=40)
NO_NUL = TEXT.filter(lambda text: "\0" not in text and not re.search("[\ud800-\udfff]", text))


@relaxed
@given(st.lists(NO_NUL, min_size=1, max_size=5))
def test_an_argument_reaches_the_host_as_it_is(arguments):
    line = ssh.remote_line(["printf", "%s\\0", *arguments])
    done = subprocess.run(["sh", "-c", line], capture_output=True, stdin=subprocess.DEVNULL)
    assert done.stdout.decode().split("\0")[:-1] == arguments and not done.stderr


def test_a_nul_is_not_sent():
    with pytest.raises(ssh.UnsendableCommand, match="NUL"):
        ssh.remote_line(["cat", "/etc/passwd\0.mbx"])


@relaxed
@given(NO_NUL)
def test_sudo_takes_no_options_from_a_command(argument):
    line = ssh.remote_line([argument], sudo=True).removeprefix(ENVIRONMENT)
    assert line.removeprefix(DECODE + "'").startswith("sudo -n -- ")


@relaxed
@given(TEXT, TEXT)
def test_a_user_is_taken_as_it_is_or_refused_by_name(name, home):
    try:
        accounts = users.parse_passwd(f"{name}:x:2001:2001::{home}:/bin/sh\n", 2000, 2999)
    except errors.Unreadable as error:
        assert "users.exclude" in str(error)
        return
    for account in accounts:
        assert re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.@+$-]*", account.user)
        assert account.home.startswith("/") and "/../" not in account.home + "/"


@pytest.mark.parametrize(
    "name, home",
    [
        ("-oProxyCommand=id", "/home/a"),
        ("../x", "/home/a"),
        ("a b", "/home/a"),
        ("a;id", "/home/a"),
        ("ok", "/home/../etc"),
        ("ok", "relative"),
        ("ok", "/home/a\x1b[0m"),
    ],
)
def test_a_hostile_user_is_named_and_stops_the_step(name, home):
    with pytest.raises(errors.Unreadable, match=re.escape(repr(name))):
        users.parse_passwd(f"{name}:x:2001:2001::{home}:/bin/sh\n", 2000, 2999)


LAB = site.load("parameters/lab.yaml")


@relaxed
@given(st.from_regex(users.USER, fullmatch=True))
def test_a_users_paths_stay_below_what_the_parameters_name(user):
    (entry,) = converter.plan(LAB, "r1", [users.Account(user, 2001, 2001, f"/home/{user}")], 1)[
        "users"
    ]
    assert entry["maildir"] == f"/var/imap/{user}" and "/" not in user and user not in (".", "..")
    assert all(
        path.startswith("/srv/mailboxold/")
        for path in [*entry["inbox"], entry["spool"], entry["folders"]]
    )


@pytest.mark.parametrize("key", ["name", "zone", "alias"])
@relaxed
@given(TEXT)
def test_a_name_in_the_parameters_is_a_name_or_refused(key, text):
    try:
        taken = getattr(site.Site.model_validate({**LAB.model_dump(), key: text}), key)
    except pydantic.ValidationError:
        return
    assert re.fullmatch(r"[a-z0-9.-]+", taken)


@relaxed
@given(TEXT)
def test_a_path_in_the_parameters_fills_in_nothing_but_user_and_home(text):
    for section, fields in (
        (site.NewStore, {"maildir": "/x/" + text, "work": "/w"}),
        (site.OldStore, {"folders": "{home}/" + text, "seen_at": {}}),
    ):
        try:
            made = section.model_validate(fields)
        except pydantic.ValidationError:
            continue
        path = made.maildir if section is site.NewStore else made.folders
        assert set(re.findall(r"\{(.*?)\}", path)) <= {"user", "home"} and "\n" not in path
        path.format(user="u", home="/h")


@relaxed
@given(TEXT)
def test_the_sender_of_test_mail_cannot_add_a_line(text):
    values = LAB.model_dump()
    values["production_test"]["sender"] = text
    try:
        sender = site.Site.model_validate(values).production_test.sender
    except pydantic.ValidationError:
        return
    assert re.fullmatch(r"[A-Za-z0-9._+=-]+@[A-Za-z0-9.-]+", sender)


@relaxed
@given(TEXT)
def test_a_runs_name_is_a_name_or_refused(text):
    try:
        run = run_folder.Run(f"/nowhere/{text}")
    except (run_folder.NotARun, ValueError, OSError, UnicodeEncodeError):
        return
    assert re.fullmatch(r"[A-Za-z0-9._-]+", run.name)


class Page(html.parser.HTMLParser):
    """What a browser would make of it: tags with their attributes, and the text."""

    def __init__(self, text):
        super().__init__(convert_charrefs=True)
        self.tags, self.text = [], []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, tuple(name for name, _ in attributes)))

    def handle_data(self, data):
        self.text.append(data)

    def handle_comment(self, data):
        self.tags.append(("comment", ()))


ALLOWED = {
    "table",
    "thead",
    "tbody",
    "tr",
    "th",
    "td",
    "p",
    "b",
    "pre",
    "details",
    "summary",
    "div",
    "span",
    "br",
}


def harmless(shown):
    page = Page(shown._repr_html_())
    assert {tag for tag, _ in page.tags} <= ALLOWED
    assert {name for _, names in page.tags for name in names} <= {"style", "class", "open", "title"}
    text = repr(shown)
    assert all(char in "\n\t" or char.isprintable() for char in text)
    return "".join(page.text)


@relaxed
@given(TEXT, TEXT, TEXT)
def test_a_table_shows_text_and_nothing_else(column, value, caption):
    text = harmless(tables.Table([column], [[value]], caption, caption))
    assert (
        tables.printable(value).replace("\n", "") in text.replace("\n", "")
        or value.count("\n") > 10
    )
    harmless(tables.Text(value))
    harmless(tables.Text(value, preformatted=True))


@relaxed
@given(TEXT, TEXT)
def test_checks_facts_and_plans_show_text_and_nothing_else(text, other):
    harmless(
        step_tables.checks(
            [
                model.Check(text, other, text, True, other, id="hostile"),
                model.Check(text, other, text, False, other, id="hostile"),
            ],
            text,
        )
    )
    harmless(
        step_tables.facts({text: other, "list": [text, {"deep": other}], "text": text * 50}, other)
    )
    change = mail.SendTestMail(text, 25, other, text, other, text, True)
    harmless(step_tables.plan(model.Plan((change,)), text))


@relaxed
@given(TEXT, TEXT)
def test_a_journal_line_is_one_line_whatever_it_holds(tmp_path_factory, text, other):
    book = journal.Journal(tmp_path_factory.mktemp("journal"))
    book.append("note", step="preflight", output=text, **{"x" + other: other})
    book.append("note", text=(text + "\udcff") * 3000)
    raw = book.path.read_bytes()
    assert raw.count(b"\n") == 2 and raw.isascii() and len(journal.parse(raw)) == 2
    assert len(raw) < 40_000


@relaxed
@given(TEXT)
def test_papermill_hands_parameters_over_as_plain_text(value):
    code = translators.PythonTranslator.translate(value)
    try:
        assert ast.literal_eval(code) == value
    except (SyntaxError, ValueError):
        assert re.search("[\ud800-\udfff\0\r]", value)  # such a path is no path


@relaxed
@given(st.lists(TEXT, max_size=4))
def test_the_queues_own_words_are_words(lines):
    text = "\n".join(["\t\t/var/spool/mqueue (1 request)", *lines, "\t\tTotal requests: 1"])
    queue = mail_queue.parse(text)
    assert queue.requests >= 0
    harmless(step_tables.facts(queue))


@relaxed
@given(TEXT)
def test_a_line_of_the_userdb_stays_one_line(value):
    data = f"alice:maildrop\talice@mailbox.lab.test\n{value}\n".encode("utf-8", "replace")
    try:
        after, replaced = userdb.route_to_both(
            data, old=["mailbox.lab.test"], targets=("old.lab.test", "new.lab.test")
        )
    except errors.CutoverError:
        return
    assert all("\n" not in line for pair in replaced for line in pair)
    assert after.count(b"\n") == data.count(b"\n")


@relaxed
@given(TEXT)
def test_a_zone_name_cannot_add_to_an_update(text):
    update = dns.Update(
        "lab.test",
        [("unused", "mailboxold.lab.test")],
        [],
        [("mailboxold.lab.test", 5, "TXT", f'"{text}"')],
    )
    try:
        script = update.text()
    except (errors.CutoverError, ValueError):
        return
    except Exception as error:  # dnspython refuses what is no record data
        assert type(error).__module__.startswith("dns")
        return
    assert sum(line.startswith("update ") for line in script.splitlines()) == 1


@relaxed
@given(TEXT)
def test_a_summary_survives_whatever_a_check_says(text):
    event = {
        "seq": 0,
        "event": "verified",
        "step": "verify",
        "attempt": 0,
        "passed": True,
        "time": journal.now(),
        "checks": [
            {
                "question": text,
                "expected": text,
                "actual": text,
                "passed": True,
                "warning": True,
                "todo": text,
            }
        ],
    }
    assert summary.verified([event])
    assert history.attempts(
        [{"seq": 0, "event": "step-begun", "step": "verify", "time": journal.now()}, event]
    )
