"""A prediction from what was measured and how it compares, from journals written by hand."""

import json

import example
import pytest
import recorded
from cutover import site
from cutover.record import history, run_folder
from cutover.report import summary
from cutover.run import outage, phases, prediction
from cutover.run.span import FLOOR_SECONDS, Span

LAB = site.load("parameters/lab.yaml")
SECONDS = {"sessions": 1.0, "opening": 1.0, "metadata": 2.0, "content": 4.0}
GROUP = {"users": 2, "folders": 2, "messages": 100, "bytes": 1000, **SECONDS}


@pytest.fixture
def run(tmp_path):
    return run_folder.begin(LAB, tmp_path / "run")


def surveyed(messages):
    """The worked example's facts of preflight, with so many messages in the old store."""

    def change(facts):
        facts["survey"]["value"]["totals"]["messages"] = messages

    return example.altered(example.recorded("preflight", "after"), change)


def passes(run, *listed):
    """Passes of presync: (begin, seconds, messages written).

    One user has 10 folders, 1000 messages and 100 kB.
    """
    events = []
    for began, seconds, written in listed:
        events += [
            {"event": "start", "users": 1, "host": "h", "at": began},
            {"event": "user", "user": "u", "folders": 10, "bytes": 100_000, "at": began},
            {
                "event": "folder",
                "user": "u",
                "folder": "INBOX",
                "messages": 1000,
                "bytes": 100_000,
                "written": written,
                "at": began + seconds,
            },
            {"event": "staged", "user": "u", "at": began + seconds},
            {"event": "end", "ok": True, "at": began + seconds},
        ]
    recorded.events(run, "presync", events)


def presync(run, *groups, proofs=None):
    recorded.step(
        run,
        "presync",
        changes=[{"title": "stage", "target": "h", "text": "", "undo": ""}],
        facts={
            "run": "r",
            "users": [],
            "state": {"users": {}},
            "sample": {"messages": 100, "users": ["a", "b"], "groups": groups},
            "proofs": proofs,
        },
    )


def phase(forecast, name):
    return Span.from_json(next(row for row in forecast["phases"] if row["phase"] == name))


def work(forecast, name):
    """Of a phase without its handling, which these journals make next to nothing."""
    return phase(forecast, name).likely - forecast["handling"]["likely"]


def test_verify_is_the_sample_scaled_to_sessions_folders_messages_and_bytes(run):
    passes(run, (1000, 40, 1000))
    presync(run, GROUP)
    forecast = prediction.outage_of(run, LAB)
    # 1 session at .5 s, 10 folders at .5 s, 1000 messages at .02 s, 100 kB at 4 ms
    assert work(forecast, "verify") == pytest.approx(0.5 + 5 + 20 + 400, abs=0.2)
    assert forecast["contents"] == pytest.approx(400)
    assert forecast["staged"] == {"messages": 1000, "bytes": 100_000}


def test_what_presync_has_proven_need_not_be_read_unless_it_is_touched(run):
    passes(run, (1000, 40, 1000))
    proof = {
        "new_name": "w",
        "old": "",
        "new": "",
        "uidvalidity": 5,
        "messages": 900,
        "line_ends": 0,
        "at": 1.0,
    }
    presync(run, GROUP, proofs={"u": {"mail/w": proof}})
    forecast = prediction.outage_of(run, LAB)
    assert work(forecast, "verify") == pytest.approx(0.5 + 5 + 2 + 40, abs=0.2)
    assert phase(forecast, "verify").high > 425


def test_contents_take_no_more_than_the_parameters_allow(run):
    passes(run, (1000, 40, 1000))
    presync(run, GROUP)
    short = LAB.model_copy(update={"verify": LAB.verify.model_copy(update={"content_minutes": 1})})
    assert work(prediction.outage_of(run, short), "verify") == pytest.approx(85.5, abs=0.2)
    metadata = LAB.model_copy(
        update={"verify": LAB.verify.model_copy(update={"level": "metadata"})}
    )
    assert work(prediction.outage_of(run, metadata), "verify") == pytest.approx(25.5, abs=0.2)


def test_seconds_in_which_presync_slept_are_not_those_of_the_outage(run):
    passes(run, (1000, 40, 1000))
    recorded.events(run, "presync", [{"event": "end", "ok": True, "asleep": 30.0, "at": 1040}])
    presync(run, GROUP)
    assert work(prediction.outage_of(run, LAB), "convert") == pytest.approx(
        5 + phases.PUBLISH.likely, abs=0.1
    )


@pytest.mark.parametrize("ratio", [1, 3])
def test_groups_that_differ_make_it_uncertain(run, ratio):
    passes(run, (1000, 40, 1000))
    presync(run, GROUP, {**GROUP, **{key: value * ratio for key, value in SECONDS.items()}})
    span = phase(prediction.outage_of(run, LAB), "verify")
    assert span.high / span.likely == pytest.approx(1.25 if ratio == 1 else 1.5, rel=0.05)
    assert span.low / span.likely == pytest.approx(0.75 if ratio == 1 else 0.5, rel=0.05)


def test_convert_pays_for_what_changes_between_passes_and_until_then(run):
    passes(run, (1000, 40, 1000), (2000, 3, 50))
    presync(run, GROUP)
    # looking: 3 s less 50 messages at .04 s
    # writing: .05 messages per second, as long again as between the passes
    assert work(prediction.outage_of(run, LAB), "convert") == pytest.approx(
        1 + 1000 * 0.05 * 0.04 + phases.PUBLISH.likely, abs=0.1
    )


def test_one_pass_tells_little(run):
    passes(run, (1000, 40, 1000))
    presync(run, GROUP)
    span = phase(prediction.outage_of(run, LAB), "convert")
    assert span.low == pytest.approx(4, abs=0.5) and span.high == pytest.approx(40, abs=0.5)


def test_services_are_as_in_earlier_runs_of_the_same_site(run):
    passes(run, (1000, 40, 1000))
    presync(run, GROUP)
    assumed = phase(prediction.outage_of(run, LAB), "stop-sendmail")
    assert assumed.high >= phases.ASSUMED["stop-sendmail"].high
    before = run_folder.begin(LAB, run.path.parent / "before")
    recorded.step(
        before, "stop-sendmail", changes=[{"title": "stop", "target": "h", "text": "", "undo": ""}]
    )
    forecast = prediction.outage_of(run, LAB)
    assert phase(forecast, "stop-sendmail").high < 2
    assert [row["from"] for row in forecast["phases"]][1] == "1 measured in earlier runs of lab"


def test_windows_are_sums_and_delivery_lies_within_reading(run):
    passes(run, (1000, 40, 1000))
    presync(run, GROUP)
    forecast = prediction.outage_of(run, LAB)
    reading, delivery = (Span.from_json(forecast[kind]) for kind in ("reading", "delivery"))
    assert (
        delivery.low < reading.low
        and delivery.likely < reading.likely
        and delivery.high < reading.high
    )
    assert reading.likely == pytest.approx(
        sum(phase(forecast, name).likely for name in prediction.PHASES)
        - forecast["handling"]["likely"],
        abs=0.5,
    )


def test_nothing_is_told_narrower_than_the_floor():
    span = Span(10, 10, 10).wide()
    assert (span.low, span.high) == (8, 12)
    assert Span(0, 0, 0).wide().high == FLOOR_SECONDS


@pytest.mark.parametrize(
    "seconds, words",
    [
        (15, "as predicted"),
        (20.5, "as predicted"),
        (30, "longer than predicted by 10.0 s"),
        (5, "shorter than predicted by 5.0 s"),
    ],
)
def test_what_it_was_is_judged_against_it(seconds, words):
    window = outage.Window(outage.READING, 100, 100 + seconds, 3)
    assert prediction.judged(Span(10, 12, 20), window) == words
    assert prediction.judged(None, window) == prediction.judged(Span(1, 2, 3), None) == ""


def test_it_is_told_beside_what_was_measured(run):
    run.journal.append(
        "predicted",
        step="presync",
        **{kind: {"low": 1, "likely": 2, "high": 3} for kind in prediction.WINDOWS},
        phases=[],
        handling={},
        passes=1,
    )
    (run.path / outage.NAME).write_text(
        "".join(
            json.dumps(
                {"kind": outage.READING, "at": at, "took": 0, "good": at in (0, 9), "said": ""}
            )
            + "\n"
            for at in range(10)
        )
    )
    rows = summary.windows(run)
    assert rows[0][2:] == ("1.0 s to 3.0 s, likely 2.0 s", "longer than predicted by 6.0 s")
    assert rows[1][1] == "none was seen" and rows[1][3] == ""


def test_a_step_that_predicts_is_over(run):
    recorded.step(run, "presync")
    run.journal.append("predicted", step="presync")
    attempt = history.attempts(run.journal.events())["presync"]
    assert attempt.ended is not None and attempt.state == "passed"


def test_mail_that_is_held_meanwhile_goes_out_before_delivery_is_back(run):
    recorded.step(run, "preflight", facts=surveyed(980))
    began = history.at(run.journal.events()[-1])
    passes(run, (began + 100, 40, 1000))
    presync(run, GROUP)
    quiet = run_folder.begin(LAB, run.path.parent / "quiet")
    passes(quiet, (began + 100, 40, 1000))
    presync(quiet, GROUP)
    # 20 more in 100 s: 0.2 a second
    forecast, still = (prediction.outage_of(folder, LAB) for folder in (run, quiet))
    held = 0.2 * still["delivery"]["likely"]
    assert "0.20 messages per second" in [row["from"] for row in forecast["phases"]][4]
    assert work(forecast, "restore-sendmail") - work(still, "restore-sendmail") == pytest.approx(
        held / phases.DRAIN.likely, rel=0.1
    )


def restored(run, seconds, **result):
    """A restore-sendmail whose only change, a drained queue, took `seconds`."""
    attempt = run.journal.append("step-begun", step="restore-sendmail")["seq"]
    common = {"step": "restore-sendmail", "attempt": attempt}
    run.journal.append("intent", **common)
    run.journal.append("result", outcome="done", seconds=seconds, **result, **common)
    run.journal.append("applied", **common)
    run.journal.append("verified", passed=True, checks=[], **common)


@pytest.mark.parametrize(
    "result, speed",
    [
        ({"output": "any words", "figures": {"queued": 600, "delivered": 600}}, 300),
        ({"output": "any words", "figures": {"queued": 99, "delivered": 99}}, None),
        ({"output": "600 queued, all delivered"}, None),  # of an earlier version: no figures
    ],
)
def test_how_fast_a_queue_was_drained_comes_from_figures(run, result, speed):
    recorded.step(run, "preflight", facts=surveyed(800))
    began = history.at(run.journal.events()[-1])
    passes(run, (began + 100, 40, 1000))
    before = run_folder.begin(LAB, run.path.parent / "before")
    restored(before, 2.0, **result)
    known = phases.Measurements.of(run, LAB)
    work = phases.queue(known, Span(60, 60, 60), phases.Work(Span(), "measured"))
    assert work.span.likely == pytest.approx(60 * 2 / (speed or phases.DRAIN.likely), rel=0.01)
    # reading does not wait for a long queue, only until it is seen to fall
    long = phases.queue(known, Span(6e4, 6e4, 6e4), phases.Work(Span(), "measured"))
    assert long.span == phases.SEEN


def test_the_time_of_draining_is_no_time_of_the_service(run):
    before = run_folder.begin(LAB, run.path.parent / "before")
    restored(before, 5.0, output="", figures={"queued": 1, "delivered": 1})
    span = phases.measured_before(phases.earlier_runs(run, "lab"), "restore-sendmail").span
    assert span.likely == pytest.approx(-5, abs=1)


def test_what_an_earlier_run_says_of_users_is_not_kept(run):
    before = run_folder.begin(LAB, run.path.parent / "before")
    restored(before, 5.0, output="", figures={"queued": 1, "delivered": 1})
    (earlier,) = phases.earlier_runs(run, "lab")
    kept, whole = (
        {key for event in of for key in event} for of in (earlier.events, before.journal.events())
    )
    assert kept == whole & set(phases.TIMED) and "checks" in whole


def test_a_queue_drained_while_services_start_takes_nothing_from_their_time(run):
    before = run_folder.begin(LAB, run.path.parent / "before")
    of = dict(step="restore-sendmail", attempt=before.journal.append("step-begun")["seq"])
    before.journal.append("intent", **of)
    before.journal.append("result", outcome="done", seconds=2.5, figures={}, **of)
    before.journal.append("result", outcome="done", seconds=5.0, figures={"delivered": 1}, **of)
    before.journal.append("applied", **of)
    before.journal.append("verified", passed=True, checks=[], **of)
    span = phases.measured_before(phases.earlier_runs(run, "lab"), "restore-sendmail").span
    assert span.likely == 2.5
