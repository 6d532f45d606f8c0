"""The report: one file, no script, nothing fetched, nothing that a name smuggles in, no secret.

And what it says is so.
"""

import hashlib
import html
import html.parser
import re

import nbformat
import pytest
import recorded
from cutover import site
from cutover.record import history, run_folder, transcript
from cutover.report import html_page, plots
from cutover.site import secrets


@pytest.fixture
def parameters():
    return site.load("parameters/lab.yaml")


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run with its report written."""
    with secrets.apart():
        secrets.register("alice", "tr0ub4dor&3")
        made = recorded.whole(
            site.load("parameters/lab.yaml"),
            tmp_path_factory.mktemp("runs") / "2026-03-14_01_lab_run",
        )
        notebook(made)
        html_page.write(made)
        yield made


@pytest.fixture
def text(run):
    return (run.path / html_page.NAME).read_text()


class Page(html.parser.HTMLParser):
    """Tags, and every address a page would fetch by itself."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.fetched, self.links, self.handlers = set(), [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        for name, value in attrs:
            if name in ("src", "srcset", "data", "poster") or (tag == "link" and name == "href"):
                self.fetched.append(value)
            elif name == "href":
                self.links.append(value)
            elif name.startswith("on"):
                self.handlers.append((tag, name))


def notebook(run, name="08_verify.ipynb"):
    """An executed copy whose output is hostile."""
    cell = nbformat.v4.new_code_cell(
        "step.verify()",
        outputs=[
            nbformat.v4.new_output(
                "display_data",
                {
                    "text/plain": "a widget",
                    "text/html": "<p>static</p>",
                    "application/vnd.jupyter.widget-view+json": {"model_id": "x"},
                },
            )
        ],
    )
    text = nbformat.v4.new_markdown_cell("# T\n[next](09_restore_sendmail.ipynb)")
    nbformat.write(nbformat.v4.new_notebook(cells=[text, cell]), run.path / name)


def test_it_opens_with_no_network_and_runs_nothing(run):
    for path in (run.path / html_page.NAME, run.path / "html" / "08_verify.html"):
        text = path.read_text()
        page = Page(text)
        assert not page.tags & {"script", "iframe", "object", "embed", "link", "base", "form"}
        assert all(address.startswith("data:") for address in page.fetched) and not page.handlers
        assert not re.search(r"url\((?!['\"]?data:)|@import", text)
        assert "Content-Security-Policy" in text and "default-src 'none'" in html.unescape(text)


def test_hostile_names_are_text(text):
    assert "<script" not in text and "\x1b" not in text
    assert "&lt;script&gt;" in text and "\\udcff" in text


def test_it_holds_no_secret(run, text):
    """The notebooks' pages neither, whatever a cell says."""
    page = html_page.page(
        nbformat.v4.new_notebook(cells=[nbformat.v4.new_markdown_cell("tr0ub4dor&3")]), "t"
    )
    assert "tr0ub4dor" in page and "tr0ub4dor" not in secrets.redact(page)
    assert "tr0ub4dor" not in text


def test_the_verdict_and_every_difference_are_there(run, text):
    assert 'class="verdict failed">Stopped: verify did not pass.' in text
    assert "UID 7: missing" in text and "sums differ" not in text
    assert "NOT equal" in text  # 5 old, 4 new
    assert "restore-sendmail</td><td colspan" in text  # has not run
    assert text.count("<img alt=") == 4  # timeline, users, rate, slowest
    assert run.journal.events()[0]["parameters"] in text


def test_the_notebooks_are_linked_and_their_widgets_static(run, text):
    assert 'href="html/08_verify.html"' in text
    text = (run.path / "html" / "08_verify.html").read_text()
    assert (
        "static" in text and "widget-view" not in text and 'href="09_restore_sendmail.html"' in text
    )


def test_it_lists_every_file_with_its_digest(run, text):
    for name, _, digest in html_page.files(run):
        assert name in text and digest in text
    assert "journal.jsonl" not in [
        name for name, _, _ in html_page.files(run)
    ]  # it goes on: its last line stands there
    assert (
        hashlib.sha256((run.path / "journal.jsonl").read_bytes().splitlines()[-1]).hexdigest()
        in text
    )


def test_a_run_that_only_began_has_a_report(parameters, tmp_path):
    run = run_folder.begin(parameters, tmp_path / "run")
    assert "Nothing has run yet" in html_page.write(run).read_text()


def test_a_folder_without_a_journal_has_none(tmp_path):
    with pytest.raises(html_page.CannotReport):
        html_page.write(run_folder.Run(tmp_path))


def test_a_report_that_fails_hides_nothing(tmp_path):
    messages = []
    html_page.write_if_possible(run_folder.Run(tmp_path), messages.append)
    assert messages[0].startswith("no report: CannotReport")


@pytest.mark.parametrize(
    "steps, word",
    [
        ([], "begun"),
        ([("preflight", True)], "begun"),
        ([("preflight", True), ("dns-rename", False)], "failed"),
        ([("preflight", False), ("preflight", True)], "begun"),
        ([("preflight", True), ("rollback", True)], "undone"),
    ],
)
def test_the_verdict_is_the_journals(parameters, tmp_path, steps, word):
    run = run_folder.begin(parameters, tmp_path / "run")
    for name, passed in steps:
        recorded.step(run, name, passed=passed)
    events = run.journal.events()
    assert history.verdict(events, history.attempts(events))[0] == word


def test_a_transcript_is_followed_while_it_grows(tmp_path):
    run = run_folder.Run(tmp_path)
    script = transcript.Transcript(tmp_path / "transcripts" / "convert.events.jsonl")
    assert not script.update() and script.current is None
    listed = recorded.conversion(4, done=2)
    recorded.events(run, "convert", listed)
    assert script.update() and not script.update()
    going = script.current
    assert (going.done, going.total, going.messages, going.ended) == (2, 4, 20, None)
    assert going.left() == pytest.approx((4 * 1000 - 1600) / going.rate()[1])
    with script.path.open("a") as out:
        out.write('{"event": "publi')  # a line half written is read when it is whole
    assert not script.update()
    with script.path.open("a") as out:
        out.write('shed", "user": "user2", "messages": 10, "bytes": 800, "at": 1005.0}\n')
    assert script.update() and script.current.done == 3
    with script.path.open("a") as out:  # such a user is done once
        out.write('{"event": "error", "user": "user2", "what": "late", "at": 1006.0}\n')
    assert script.update() and script.current.done == 3


def test_a_second_pass_is_one_of_its_own(tmp_path):
    run = run_folder.Run(tmp_path)
    recorded.events(run, "presync", recorded.conversion() + recorded.conversion(began=2000.0))
    script = transcript.read(run, "presync")
    assert [(attempt.began, attempt.done, attempt.ok) for attempt in script.passes] == [
        (1000.0, 3, True),
        (2000.0, 3, True),
    ]


def test_what_users_felt_of_presync_is_drawn_and_said(tmp_path):
    run = run_folder.Run(tmp_path)
    probes = [
        {"event": "latency", "at": at, "ms": ms, "speed": speed, "limit": 100, "failed": failed}
        for at, ms, speed, failed in (
            (1001.0, 40.0, 1.0, ""),
            (1002.0, 180.0, 0.5, ""),
            (1004.0, 900.0, 0.25, "NoImap: <b>gone</b>"),
            (1005.0, 60.0, 0.35, ""),
        )
    ]
    listed = recorded.conversion()
    recorded.events(run, "presync", [*listed[:-1], *probes, listed[-1]])
    (attempt,) = transcript.read(run, "presync").passes
    assert [probe.ms for probe in attempt.probes] == [40, 180, 900, 60]
    plot = plots.latency(attempt)
    assert "median 60, 95 % within 60, at most 180 ms (4 probes, 1 failed)" in plot.text
    assert "slowed down for 3 s" in plot.text and "above 100 ms" in plot.text
    assert plot.svg == plots.latency(attempt).svg
    attempt.probes.clear()
    assert plots.latency(attempt) is None


@pytest.mark.parametrize(
    "seconds, text",
    [(0.25, "0.2 s"), (59.9, "59.9 s"), (61, "1 min 01 s"), (3720, "1 h 02 min"), (None, "")],
)
def test_durations_in_words(seconds, text):
    assert history.duration(seconds) == text
