"""Plots: the same for the same figures, with their words beside them, and no name can break out of them."""

import sys
from pathlib import Path

import pytest
from cutover import site
from cutover.run import outage, story
from cutover.ui import plots

sys.path.insert(0, str(Path(__file__).parents[1] / "run"))
import recorded


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return recorded.whole(site.load("parameters/lab.yaml"), tmp_path_factory.mktemp("runs") / "run")


def drawings(run):
    events = run.journal.events()
    script = story.transcribed(run, "convert")
    began = story.at(events[0])
    windows = [outage.Window(outage.READING, began, began + 2, 3), outage.Window(outage.DELIVERY, began + 1, None, 3)]
    return [plots.timeline(story.attempts(events), windows, began + 5), plots.by_user(story.users(run, events)),
            plots.rate(script.current), plots.slowest(script.current), plots.deltas(script.passes * 2)]


@pytest.fixture(scope="module")
def drawn(run):
    return drawings(run)


def test_each_says_its_figures_in_words(drawn):
    said = " ".join(repr(each) for each in drawn)
    for words in ("Reading refused: 2.0 s", "Delivery held: since", "5 messages old and 4 new", "these differ: alice",
                  "30 messages", "took longest", "pass 2"):
        assert words in said
    assert all(each.text in each._repr_html_().replace("&#x27;", "'").replace("&lt;", "<").replace("&gt;", ">")
               for each in drawn if "script" not in each.text)


def test_the_same_figures_give_the_same_drawing(run, drawn):
    assert plots.rate(story.transcribed(run, "convert").current).svg == drawn[2].svg


def test_a_hostile_name_stays_a_name(drawn):
    for each in drawn:
        assert "<script" not in each._repr_html_() and "<script" not in each.svg


def test_nothing_to_draw_draws_nothing():
    assert plots.timeline({}, []) is None and plots.by_user([]) is None and plots.rate(None) is None
    assert plots.slowest(None) is None and plots.deltas([]) is None
