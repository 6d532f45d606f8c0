"""Plots: the same for the same figures, with words, and no name can break out of them."""

import pytest
import recorded
from cutover import site
from cutover.record import history, step_facts, transcript
from cutover.report import plots, timeline
from cutover.run import outage


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return recorded.whole(site.load("parameters/lab.yaml"), tmp_path_factory.mktemp("runs") / "run")


def drawings(run):
    events = run.journal.events()
    script = transcript.read(run, "convert")
    began = history.at(events[0])
    windows = [
        outage.Window(outage.READING, began, began + 2, 3),
        outage.Window(outage.DELIVERY, began + 1, None, 3),
    ]
    prediction = {
        "reading": {"low": 1, "likely": 3, "high": 7},
        "delivery": {"low": 1, "likely": 2, "high": 3},
    }
    return [
        timeline.draw(history.attempts(events), windows, began + 5, prediction),
        plots.by_user(step_facts.users(run, events)),
        plots.rate(script.current),
        plots.slowest(script.current),
        plots.deltas(script.passes * 2),
        plots.sizes(SIZES),
    ]


SIZES = (
    [0] * 10 + [60, 0, 30] + [0] * 7 + [10]
)  # 60 messages of 512 to 1023 bytes, 30 of 2 to 4 kB, 10 of half a megabyte


@pytest.fixture(scope="module")
def drawn(run):
    return drawings(run)


def test_each_says_its_figures_in_words(drawn):
    shown = " ".join(repr(item) for item in drawn)
    for words in (
        "Reading refused: 2.0 s",
        "Delivery held: since",
        "5 messages old and 4 new",
        "these differ: alice",
        "30 messages",
        "took longest",
        "the slowest folder is INBOX of",
        "pass 2",
        "reading refused 1.0 s to 7.0 s, likely 3.0 s",
        "100 messages of the old store: half are below 1.0 kB, nine in ten below 4.1 kB, "
        "the largest below 1.0 MB",
    ):
        assert words in shown
    assert all(
        item.text
        in item._repr_html_().replace("&#x27;", "'").replace("&lt;", "<").replace("&gt;", ">")
        for item in drawn
        if "script" not in item.text
    )


def test_the_same_figures_give_the_same_drawing(run, drawn):
    assert plots.rate(transcript.read(run, "convert").current).svg == drawn[2].svg


def test_a_hostile_name_stays_a_name(drawn):
    for item in drawn:
        assert "<script" not in item._repr_html_() and "<script" not in item.svg


def test_nothing_to_draw_draws_nothing():
    assert timeline.draw({}, []) is None and plots.by_user([]) is None and plots.rate(None) is None
    assert plots.slowest(None) is None and plots.deltas([]) is None
    assert plots.sizes([]) is None and plots.sizes([0] * 41) is None


def test_a_prediction_is_drawn_before_its_outage_begins(run):
    events = run.journal.events()
    predicted = {kind: {"low": 100, "likely": 200, "high": 300} for kind in ("reading", "delivery")}
    plain, ahead = (
        timeline.draw(history.attempts(events), [], history.at(events[-1]), forecast)
        for forecast in (None, predicted)
    )
    assert plain.svg != ahead.svg and "Predicted" in ahead.text and "Predicted" not in plain.text
    # what is predicted was not seen
    assert ahead.text.startswith(plain.text[: plain.text.index(" UTC")] + " UTC")
