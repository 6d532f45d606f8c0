"""The pages that tell users what the move means to them."""

import html

import pytest
import recorded
from cutover import site
from cutover.record import run_folder
from cutover.report import html_page, letters
from example import recorded as facts_of

HOME = "/srv/mailboxold/home/alice"


@pytest.fixture
def run(tmp_path):
    made = run_folder.begin(site.load("parameters/lab.yaml"), tmp_path / "2026-03-14_01_lab_run")
    preflight, convert = facts_of("preflight", "after"), facts_of("convert", "after")
    user = preflight["survey"]["value"]["users"]["alice"]
    user["outside"] = [
        {"file": f"{HOME}/Mail/x", "format": "mbx", "bytes": 700, "subscribed": True, "link": False}
    ]
    user["pointers"] = [
        {"file": f"{HOME}/.procmailrc", "line": 3, "kind": "delivers", "text": "lists/debian"}
    ]
    user["shared"], user["elsewhere"] = [f"{HOME}/mail/team"], ["#news.x"]
    preflight["cron"] = {"value": [{"user": "alice", "line": 4, "text": "cp mail/x y"}]}
    state = convert["state"]["users"]["alice"]
    state["renamed"] = [{"from": "a.b", "to": "a_b.c", "why": "dots"}]
    state["folders"][0].update(folder=recorded.HOSTILE, lost_keywords=["urgent"])
    recorded.step(made, "preflight", facts=preflight)
    recorded.step(made, "convert", facts=convert)
    return made


def test_each_user_gets_a_page_and_all_get_an_announcement(run):
    html_page.write(run)
    names = {path.name for path in (run.path / "users").iterdir()}
    users = facts_of("preflight", "after")["survey"]["value"]["users"]
    assert names == {
        f"{name}.{ending}"
        for name in ("announcement", *(f"user-{user}" for user in users))
        for ending in ("txt", "html")
    }
    text = (run.path / "users/user-alice.txt").read_text()
    for line in (
        "mail/a.b is now a_b/c",
        "urgent",
        "~/Mail/x (mbx, 700 bytes)",
        "#news.x",
        "~/mail/team",
        "~/.procmailrc, line 3, delivers mail into a file: lists/debian",
        "crontab, line 4, runs at set times: cp mail/x y",
    ):
        assert line in text
    assert "Nothing changes for you" in (run.path / "users/user-zoe.txt").read_text()
    announced = (run.path / "users/announcement.txt").read_text()
    assert "mailbox.lab.test" in announced and "at most 30 minutes" in announced


def test_the_announcement_says_when_the_work_begins(run):
    parameters = run.parameters()
    outage = parameters.outage.model_copy(update={"begins": "Saturday 14 March, 21:00"})
    parameters = parameters.model_copy(update={"outage": outage})
    when, *_ = letters.announcement(run, run.journal.events(), parameters)
    assert when.lines == [
        "The work begins on Saturday 14 March, 21:00.",
        "No mail can be read for at most 30 minutes.",
        "New mail waits for at most 30 minutes.",
    ]


def test_a_page_runs_nothing_and_hides_nothing(run):
    letters.write(run, run.journal.events())
    page = (run.path / "users/user-alice.html").read_text()
    assert "<script" not in page and "\x1b" not in page
    assert html.escape("<script>alert('x')</script>") in page
    assert "default-src 'none'" in page


def test_before_preflight_there_is_nothing_to_tell(tmp_path):
    made = run_folder.begin(site.load("parameters/lab.yaml"), tmp_path / "2026-03-14_01_lab_run")
    assert letters.write(made, made.journal.events()) == []
    assert not (made.path / "users").exists()
