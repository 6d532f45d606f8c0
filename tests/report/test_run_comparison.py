"""Two runs side by side: what is different, and whether it matters."""

import json
import shutil

import pytest
import stub
from click import testing
from cutover.commands import main
from cutover.record import audit
from cutover.report import record_tables, run_comparison
from cutover.run import outage


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        night = stub.Site(tmp_path_factory.mktemp("compare"), patch)
        return night.whole(), night


@pytest.fixture
def pair(made, tmp_path):
    """A run, and a copy of it to change."""
    return made[0], shutil.copytree(made[0], tmp_path / "other")


def differences_of(pair):
    return run_comparison.compare(*(run_comparison.read(path) for path in pair))


def change(pair, edit):
    stub.rewrite(pair[1], edit)


def events_of(events, name, step="stop-imap"):
    return [event for event in events if event["event"] == name and event.get("step") == step]


def probes(*seconds):
    """An outage.jsonl with one window of reading a number of seconds long for each."""
    lines, at = [], 1000.0
    for long in seconds:
        for offset, good in ((0, True), (0.5, False), (long - 0.5, False), (long, True)):
            lines.append(
                json.dumps(
                    {
                        "at": at + offset,
                        "took": 0.0,
                        "kind": outage.READING,
                        "good": good,
                        "said": "",
                    }
                )
            )
        at += long + 10
    return "\n".join(lines) + "\n"


def test_a_run_is_like_itself(pair):
    assert differences_of(pair) == []


def test_another_name_of_the_run_is_no_difference(pair):
    change(
        pair,
        lambda events: [
            json.loads(json.dumps(event).replace("/run/", "/night2/")) for event in events
        ],
    )
    change(pair, lambda events: events[0].update(run="night2"))
    assert differences_of(pair) == []


def another_plan(events):
    events_of(events, "intent")[0]["text"] = "systemctl stop something-else"


def slower(events):
    for event in events_of(events, "applied") + events_of(events, "verified"):
        event["time"] = event["time"][:11] + "23:59:59.000+00:00"


def new_warning(events):
    (check,) = [event for event in events_of(events, "verified")[0]["checks"]][:1]
    check.update(warning=True, actual="look here")


def failed(events):
    events_of(events, "verified")[0].update(passed=False)


@pytest.mark.parametrize(
    "edit, topic, words, matters",
    [
        (another_plan, "plan", "systemctl stop something-else", True),
        (slower, "duration", "slower", True),
        (new_warning, "warnings", "look here", True),
        (failed, "step", "it did not pass", True),
        (lambda events: events[0].update(code="1" * 64), "code", "111111111111", True),
        (lambda events: events[0].update(parameters="2" * 64), "code", "222222222222", True),
        (
            lambda events: events[0].update(parameters="2" * 64, site="elsewhere"),
            "code",
            "another site",
            False,
        ),
    ],
)
def test_what_is_different_is_told(pair, edit, topic, words, matters):
    change(pair, edit)
    difference = next(
        difference for difference in differences_of(pair) if difference.topic == topic
    )
    assert words in f"{difference.other} {difference.why}" and difference.matters is matters


@pytest.mark.parametrize(
    "before, after, matters",
    [((30,), (31,), False), ((30,), (60,), True), ((30,), (20,), False), ((), (9,), True)],
)
def test_an_outage_matters_when_it_is_longer(pair, before, after, matters):
    for path, seconds in zip(pair, (before, after), strict=True):
        (path / outage.NAME).write_text(probes(*seconds) if seconds else "")
    try:
        (outage_difference,) = [
            difference for difference in differences_of(pair) if difference.topic == "outage"
        ]
        assert outage_difference.matters is matters
    finally:
        (pair[0] / outage.NAME).unlink()


def test_what_matters_comes_first_in_table_and_json(pair):
    change(pair, another_plan)
    change(pair, lambda events: events[0].update(parameters="2" * 64, site="elsewhere"))
    shown = repr(record_tables.compared(*pair))
    assert (
        shown.index("something-else") < shown.index("another site") and "1 of which matter" in shown
    )
    done = testing.CliRunner().invoke(
        main.cutover, ["record", "compare", *map(str, pair), "--json"]
    )
    assert [difference["matters"] for difference in json.loads(done.output)["differences"]] == [
        True,
        False,
    ]


def test_what_is_no_run_is_refused(tmp_path):
    with pytest.raises(audit.NoRecord, match="no journal in"):
        run_comparison.read(tmp_path)
