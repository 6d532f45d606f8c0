"""The board says what the journal says, at any moment of a night, and draws without a browser."""

import threading

import pytest
import recorded
from cutover import model, site
from cutover.model import runbook
from cutover.notebook import board, check_table, live, page, progress
from cutover.record import history, run_folder
from cutover.report import tables
from cutover.steps import registry


@pytest.fixture
def parameters():
    return site.load("parameters/lab.yaml")


@pytest.fixture
def run(parameters, tmp_path):
    return run_folder.begin(parameters, tmp_path / "run")


@pytest.fixture
def night(parameters, run):
    return board.open(str(parameters.path), str(run.path), "plan")


def column(shown, name):
    """{step: what stands in a column}"""
    return {row[1]: row[shown.columns.index(name)] for row in shown.rows}


def test_before_anything_only_preflight_may_run_and_the_others_say_why(night):
    shown = night.steps().draw()
    shown_now = column(shown, "now")
    assert shown_now["preflight"] == "may run now: NEXT"
    for name in runbook.ORDER[1:]:
        with pytest.raises(runbook.NotYet) as refused:
            registry.may_run(name, night.events())
        assert shown_now[name] in str(refused.value) and "has not run" in shown_now[name]
    assert "nothing to undo" in shown_now["rollback"]
    assert set(column(shown, "state").values()) == {"not yet"}


def test_a_step_that_passed_opens_the_next_one(night, run):
    for name in runbook.ORDER[:3]:
        recorded.step(run, name)
    now = column(night.steps().draw(), "now")
    assert now[runbook.ORDER[2]] == "done" and now[runbook.ORDER[3]].endswith("NEXT")
    assert f"Next: {runbook.ORDER[3]}" in repr(night._head())


def test_a_step_that_was_left_out_is_not_next(night, run):
    for name in runbook.NIGHT:
        if name != "presync":
            recorded.step(run, name)
            following = runbook.NIGHT[runbook.NIGHT.index(name) + 1 :]
            assert (f"Next: {following[0]}" if following else "Passed: ") in repr(night._head())
    assert "Next: " not in repr(night._head())  # decommission is asked for by its name
    assert f"Passed: {len(runbook.NIGHT) - 1} steps passed verification; skipped: presync." in repr(
        night._head()
    )
    assert column(night.steps().draw(), "now")["presync"] == "may run now"


def test_a_step_given_again_still_says_who_approved_it(night, run):
    recorded.step(run, "preflight", kind="signed")
    recorded.step(run, "preflight", kind="nothing to do")
    approved = column(night.steps().draw(), "approved by")["preflight"]
    assert (
        approved.startswith("nothing to approve; before: ") and "plan 0123456789abcdef" in approved
    )


def test_switching_before_verify_is_refused_in_the_runbooks_words(night, run):
    for name in runbook.ORDER[: runbook.ORDER.index("verify")]:
        recorded.step(run, name)
    assert (
        "verify has not run; restore-sendmail has not run."
        in column(night.steps().draw(), "now")["switch-alias"]
    )


@pytest.mark.parametrize(
    "end, state, text",
    [
        ("failed", "failed", "NEXT"),
        ("begun", "begun", "not verified yet"),
        ("waiting", "begun", "waits for its approval"),
        ("undone", "rolled back", "NEXT"),
    ],
)
def test_each_way_a_step_may_stand(night, run, end, state, text):
    if end == "failed":
        recorded.step(run, "preflight", passed=False)
    elif end == "undone":
        recorded.step(run, "preflight")
        recorded.step(run, "rollback")
    else:
        attempt = run.journal.append("step-begun", step="preflight", title="t")["seq"]
        if end == "waiting":
            run.journal.append(
                "approval-missing",
                step="preflight",
                attempt=attempt,
                hash="0",
                error="no signature",
            )
    shown = night.steps().draw()
    assert (
        column(shown, "state")["preflight"] == state and text in column(shown, "now")["preflight"]
    )


def test_a_step_run_again_makes_later_ones_stale(night, run):
    change = {"title": "t", "target": "h", "text": "x", "undo": "y"}
    for name in (*runbook.ORDER[:4], "dns-rename"):
        recorded.step(run, name, changes=[change] if name == "dns-rename" else [])
    assert column(night.steps().draw(), "state")["dual-delivery"] == "stale: run it again"


def test_the_clocks_run_from_the_first_stop_to_the_verify_that_saw_it_back(night, run):
    stop = {"title": "stop", "target": "h", "text": "x", "undo": "y"}
    assert [row[1] for row in night._clocks().rows] == ["no outage", "no outage"]
    recorded.step(run, "stop-imap", changes=[stop])
    recorded.step(run, "stop-sendmail", changes=[stop])
    assert all(row[1].startswith("RUNNING") for row in night._clocks().rows)
    recorded.step(run, "restore-sendmail")
    assert [row[1].partition(" ")[0] for row in night._clocks().rows] == ["RUNNING", "over:"]
    recorded.step(run, "rollback")
    assert [row[1].partition(" ")[0] for row in night._clocks().rows] == ["over:", "over:"]
    recorded.step(run, "stop-imap", changes=[stop])
    assert [row[1].partition(" ")[0] for row in night._clocks().rows] == ["RUNNING", "over:"]


def test_go_or_no_go_shows_the_worst_first(night, run):
    assert "No go" in repr(night._gates())
    recorded.step(
        run, "preflight", [recorded.CHECK, {**recorded.CHECK, "warning": True, "question": "Odd?"}]
    )
    assert (
        night._gates().caption.startswith("GO, after a look at 1 warning")
        and night._gates().rows[0][0] == "warn"
    )
    recorded.step(
        run, "preflight", [recorded.CHECK, {**recorded.CHECK, "passed": False}], passed=False
    )
    assert (
        night._gates().caption.startswith("NO GO: 1 check failed")
        and night._gates().rows[0][0] == "FAIL"
    )


def test_progress_follows_the_file_whoever_writes_it(night, run):
    view = night.progress()
    assert "Nothing has been applied yet" in repr(view.draw())
    run.journal.append("step-begun", step="convert", title="t")
    recorded.events(run, "convert", recorded.conversion(5, done=2))
    text = repr(view.draw())
    assert "2 of 5 users" in text and "left" in text and "at work" in text
    recorded.events(run, "convert", recorded.conversion(5)[len(recorded.conversion(5, done=2)) :])
    assert "5 of 5 users" in repr(view.draw())
    assert "5 of 5 users" in repr(progress.follow(run).draw())  # opened again


def test_hostile_names_do_no_harm(night, run):
    recorded.whole(night.site, run.path.parent / "other")
    night.run = run_folder.Run(run.path.parent / "other")
    for draw in (
        night._head,
        night.steps().draw,
        night._clocks,
        night._gates,
        night.progress().draw,
        night.log().draw,
        night.timeline,
    ):
        text = draw()._repr_html_()
        assert "<script" not in text and "\x1b" not in text


def test_a_view_is_static_html_where_there_is_no_browser(night):
    data = night.steps()._repr_mimebundle_()
    assert set(data) == {"text/plain", "text/html"} and not live.in_kernel()


def test_a_view_that_cannot_be_drawn_says_so():
    def draw():
        raise OSError("gone")

    assert "cannot be shown: OSError: gone" in live.View(draw)._repr_mimebundle_()["text/plain"]


def test_the_worked_example_is_a_journal_that_holds(tmp_path):
    shown = board.open("parameters/roma1.yaml", "", "explain")
    states = runbook.states(shown.events())  # parsing checks the chain
    assert states["verify"] == "passed" and "restore-sendmail" not in states
    assert [row[1].partition(" ")[0] for row in shown.outage().rows] == ["RUNNING", "RUNNING"]
    assert repr(shown.steps()) == repr(board.open("parameters/roma1.yaml", "", "explain").steps())


@pytest.mark.parametrize(
    "arguments",
    [
        ("parameters/lab.yaml", "", "execute"),
        ("parameters/lab.yaml", "", "plan"),
        ("parameters/lab.yaml", "", "watch"),
        (3, "", "explain"),
    ],
)
def test_it_refuses_what_it_cannot_work_with(arguments):
    with pytest.raises(page.BadCall):
        board.open(*arguments)


def test_checks_can_be_narrowed_and_say_how_many_there_are():
    listed = [
        model.equal(f"Is {user}'s mail the same?", 1, actual, "look", id="same-mail", subject=user)
        for user, actual in (("ann", 1), ("bob", 2))
    ]
    shown = check_table.Checks(listed, "Verified")
    assert len(shown.table().rows) == 2
    assert [row[1] for row in shown.table(check_table.FAILED).rows] == ["Is bob's mail the same?"]
    assert shown.table(containing="ANN").note == "2 checks: 1 passed, 1 FAILED; 1 shown"


def test_a_link_is_text_in_text_and_escaped_in_html():
    link = tables.Link("<b>", "a'b.ipynb")
    assert str(link) == "<b>" and link._repr_html_() == "<a href='a&#x27;b.ipynb'>&lt;b&gt;</a>"
    assert "<b>" in repr(tables.Table(["x"], [[link]]))


def test_an_attempt_that_goes_on_has_no_end(run):
    run.journal.append("step-begun", step="preflight", title="t")
    attempt = history.attempts(run.journal.events())["preflight"]
    assert attempt.seconds is None and history.verdict(
        run.journal.events(), {"preflight": attempt}
    )[1].startswith("Not finished: preflight")


def test_a_notebook_run_again_gives_up_what_its_earlier_attempt_held(monkeypatch):
    closed = []

    class Attempt:
        def __init__(self, parameters, step_id, mode, run, chosen):
            self.engine, self.number = self, len(closed)

        def close(self):
            closed.append(self.number)

    monkeypatch.setattr(page, "Live", Attempt)
    monkeypatch.setattr(page, "_opened", [])
    for closed_so_far in (0, 1, 2):
        page.open("preflight", "parameters/lab.yaml", "", "plan")
        assert len(closed) == closed_so_far


def test_a_cell_that_is_run_again_is_drawn_by_one_thread(night, monkeypatch):
    def drawing():
        return {thread for thread in threading.enumerate() if thread.name == "cutover view"}

    monkeypatch.setattr(live, "in_kernel", lambda: True)
    monkeypatch.setattr(live, "HEAD_START", 0.0)
    before = drawing()
    night.steps()._repr_mimebundle_()
    (first,) = drawing() - before
    night.steps()._repr_mimebundle_()
    first.join(20)
    assert not first.is_alive() and len(drawing() - before) == 1
