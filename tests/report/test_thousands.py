"""With thousands of users a page stays small, shows what is wrong first, and names what has all."""

import types

import recorded
from cutover import model, site
from cutover.changes import old_spam, userdb_edit
from cutover.notebook import check_table, page
from cutover.record import journal, step_facts
from cutover.report import html_page, step_tables, tables
from cutover.run import wording

USERS = [f"u{number:05d}" for number in range(5000)]
PAGE = 500_000  # bytes of what a cell shows


def checks(wrong):
    return [
        model.equal(
            f"Is {user}'s mail the same?", 40, 40 - wrong(user), "stop here", id="user-mail"
        )
        for user in USERS
    ]


def size(shown):
    return len(shown._repr_html_().encode()) + len(repr(shown).encode())


def test_thousands_of_failures_are_counted_and_the_first_are_shown():
    listed = [*checks(lambda user: True), model.equal("Sums?", 1, 2, "look", id="sums")]
    shown = check_table.Checks(listed, file="checks/verify.7.txt")
    assert size(shown) < PAGE
    text = repr(shown)
    assert "u00059" in text and "u00060" not in text and "Sums?" in text and "5001 FAILED" in text
    assert "4940 more checks of this kind" in text and "checks/verify.7.txt" in shown._repr_html_()
    assert "u04999" in repr(shown.table(containing="u04999"))  # the filter reaches all


def test_the_file_of_all_checks_begins_with_what_failed():
    lines = step_tables.complete(checks(lambda user: user == "u04321")).splitlines()
    assert len(lines) == 5000 and lines[0].startswith("FAIL\tIs u04321's")
    assert step_tables.complete(checks(lambda user: user == "u04321")[:60]) == ""


def edit(lines):
    pairs = [[f"{user}:maildrop a", f"{user}:maildrop a,b"] for user in USERS[:lines]]
    return userdb_edit.UserdbEdit("postino3", "/userdb", "/userdb.db", "/backup", pairs)


def test_a_plan_shows_the_beginning_of_a_long_text_and_the_file_with_all_of_it(tmp_path):
    change = edit(5000)
    written = journal.Journal(tmp_path).append(
        "planned", file="plans/x.json", changes=[{"text": change.describe(), "undo": "short"}]
    )
    shown = step_tables.plan(model.Plan((change,)), "0" * 64, written)
    assert size(shown) < PAGE
    (file,) = (tmp_path / "blobs").iterdir()
    assert f"more lines, whole in blobs/{file.name}" in shown._repr_html_()
    assert file.read_text() == change.describe()


def test_a_change_per_user_is_counted():
    changes = tuple(
        old_spam.SetAside("mailboxvm", user, "SPAM", 7, "1:3", 3, "/imap/aside") for user in USERS
    )
    shown = step_tables.plan(model.Plan((edit(1), *changes, edit(2))), "0" * 64)
    assert size(shown) < PAGE and f"Plan: {len(USERS) + 2} changes" in repr(shown)
    assert [row[0] for row in shown.rows] == ["1", "2", "3", "4", "5", "6", "", "5002"]
    assert "4995 more changes of this kind" in shown.rows[6][2]
    done = step_tables.applied([(change, "done") for change in changes])
    assert len(done.rows) == 6 and "4995 more" in done.rows[-1][2]


def test_a_line_that_names_everybody_is_cut():
    shown = tables.Table(["who"], [[", ".join(USERS)]])
    assert size(shown) < 20_000 and "more characters, whole in" in shown._repr_html_()


def test_a_message_names_the_first_failures():
    failed = [vars(check) for check in checks(lambda user: True)]
    assert len(wording.failures(failed)) < 10_000
    assert wording.failures(failed).endswith("and 4940 more, in the journal")


def test_the_report_lists_who_differs_and_a_file_has_the_others(tmp_path, monkeypatch):
    run = recorded.whole(site.load("parameters/lab.yaml"), tmp_path / "run")
    sums = [step_facts.UserSums(user, 40, 40, folders=10) for user in USERS]
    sums[4321].differences = ["INBOX: UID 7: not there"]
    sums[1234].new = 39
    monkeypatch.setattr(step_facts, "users", lambda *_: sums)
    for user in USERS:
        run.keep(f"users/user-{user}.txt", b"", durable=False)
    html_page.write(run)
    text = (run.path / html_page.NAME).read_text()
    assert len(text) < PAGE
    assert text.index("u01234") < text.index("u00000") > text.index("u04321")
    assert "and 4940 more users" in text and "users/ (5000 files)" in text
    lines = (run.path / html_page.VERIFIED).read_text().splitlines()
    assert len(lines) == 5001 and lines[1].startswith("u01234\t") and "UID 7" in lines[2]


def test_the_notebook_names_the_file_with_every_check(tmp_path):
    run = recorded.whole(site.load("parameters/lab.yaml"), tmp_path / "run")
    live = types.SimpleNamespace(
        mode="execute",
        run=run,
        step=types.SimpleNamespace(id="verify"),
        engine=types.SimpleNamespace(attempt=7),
    )
    name = page.Live._complete(live, checks(lambda user: False))
    assert name == "checks/verify.7.txt"
    assert len((run.path / name).read_text().splitlines()) == 5000
    assert page.Live._complete(live, checks(lambda user: False)[:9]) == step_tables.JOURNAL
