"""Two runs in the runbook's terms: what is different, and which of it matters.

Rehearsal against rehearsal, or against the night itself. The runs' names are taken out of plans
and warnings before they are compared.
"""

import dataclasses
import itertools
import json
from collections.abc import Iterator, Sequence
from pathlib import Path

from cutover.model import runbook
from cutover.record import audit, history, journal, record_json
from cutover.report import summary
from cutover.run import outage, prediction

SLOWER = 1.25  # times by which a duration or a window may grow
SECONDS = 5.0  # and the seconds by which it must grow before it matters
LISTED = 5  # differences of one kind that are listed


@dataclasses.dataclass(frozen=True)
class Difference:
    """What two runs do not share; `one` and `other` are the runs' sides of it, as text.

    topic: "step", "plan", "duration", "outage", "counts", "warnings", "code" or "record".
    """

    topic: str
    where: str
    one: str
    other: str
    matters: bool
    why: str = ""


@dataclasses.dataclass(frozen=True)
class RunFigures:
    """One run's figures.

    states, rows, plans, warnings: by step. windows, predicted: by kind of window.
    verified: the sums; None when they were not recorded. code: that of record.json.
    """

    path: Path
    name: str
    events: list[dict]
    states: dict[str, str]
    rows: dict[str, summary.StepRow]
    plans: dict[str, list[str]]
    warnings: dict[str, list[str]]
    windows: dict[str, outage.Window]
    predicted: dict[str, prediction.Span]
    verified: summary.Verified | None
    code: dict

    @property
    def begun(self) -> dict:
        """The event that began the run."""
        return self.events[0]


def read(path: str | Path) -> RunFigures:
    """The figures of the run in a folder.

    Raises audit.NoRecord for a folder without a journal, journal.JournalBroken for a broken one.
    """
    folder = Path(path).resolve()
    try:
        data = (folder / journal.NAME).read_bytes()
    except OSError as error:
        raise audit.NoRecord(f"no journal in {path}: {error.strerror}") from None
    events = journal.parse(data, str(folder / journal.NAME))
    if not events or events[0]["event"] != "run-begun":
        raise audit.NoRecord(f"the journal in {path} does not begin with a run")
    try:
        code = json.loads((folder / record_json.NAME).read_bytes())["code"]
    except (OSError, ValueError, KeyError, TypeError):
        code = {}
    name = events[0]["run"]
    return RunFigures(
        path=folder,
        name=name,
        events=events,
        states=runbook.states(events),
        rows={row.step: row for row in summary.steps(events)},
        plans=_plans(events, name, folder),
        warnings=_warnings(events, name),
        windows={window.kind: window for window in outage.windows(folder / outage.NAME)},
        predicted=prediction.spans(events),
        verified=summary.sums(events),
        code=code,
    )


def _plans(events, name, folder):
    """What was applied in each step, over all its attempts."""
    plans = {}
    for event in events:
        if event["event"] == "intent":
            whole = journal.whole(event["text"], folder)
            text = f"{event['target']}: {event['title']}\n{whole}"
            plans.setdefault(event["step"], []).append(text.replace(name, "RUN"))
    return plans


def _warnings(events, name):
    return {
        event["step"]: [
            f"{check.question} {check.actual}".replace(name, "RUN")
            for check in history.checks(event)
            if check.passed and check.warning
        ]
        for event in events
        if event["event"] == "verified"
    }


def compare(baseline: RunFigures, other: RunFigures) -> list[Difference]:
    """The differences, those that matter first."""
    parts = (_steps, _changes, _counts, _outage, _predictions, _durations, _warned, _code)
    differences = itertools.chain.from_iterable(part(baseline, other) for part in parts)
    return sorted(differences, key=lambda difference: not difference.matters)


def _steps(baseline, other) -> Iterator[Difference]:
    for name in runbook.EVERY:
        first, second = (run.states.get(name, "not run") for run in (baseline, other))
        if first != second:
            matters = second != "passed"
            why = "it did not pass" if matters else ""
            yield Difference("step", name, first, second, matters, why)


def _in_both(baseline, other):
    """The names of the steps that both runs have begun."""
    return [name for name in runbook.EVERY if name in baseline.states and name in other.states]


def _only(texts: Sequence[str], others: Sequence[str]) -> list[str]:
    return [text for text in texts if text not in others]


def _changes(baseline, other):
    for name in _in_both(baseline, other):
        first, second = (run.plans.get(name, []) for run in (baseline, other))
        if len(first) != len(second) or _only(first, second) or _only(second, first):
            yield Difference(
                "plan",
                name,
                _changes_of(first, second),
                _changes_of(second, first),
                True,
                "other changes than rehearsed",
            )


def _changes_of(plan, other_plan):
    own = _only(plan, other_plan)
    listed = f"; only here: {_first_lines(own, _only(other_plan, plan))}" if own else ""
    return f"{len(plan)} changes{listed}"


def _first_lines(texts, others=()):
    """The texts by their first lines.

    If the other side has a text with the same first line, the first line that differs is added.
    """
    heads = []
    for text in texts:
        head, *lines = text.split("\n")
        like = next((other.split("\n") for other in others if other.split("\n")[0] == head), None)
        differing = next((line for line in lines if line not in like), "") if like else ""
        heads.append(head + (f": {differing[:200]}" if differing else ""))
    return "; ".join(heads[:LISTED]) + (" …" if len(heads) > LISTED else "")


def _counts(baseline, other):
    if baseline.verified != other.verified:
        equal = other.verified is not None and other.verified.passed
        if other.verified is None:
            why = "no sums were recorded"
        else:
            why = "mail came or went between the runs" if equal else "the two sides did not agree"
        sides = (str(run.verified or summary.NOT_RECORDED) for run in (baseline, other))
        yield Difference("counts", "verify", *sides, not equal, why)
    for name in runbook.ORDER:
        first, second = (summary.checks_passed(run.events, name) for run in (baseline, other))
        if first and second and first != second:
            yield Difference(
                "counts",
                f"checks of {name}",
                baseline.rows[name].checks,
                other.rows[name].checks,
                second.passed != second.checks,
            )


def _longer(seconds, other_seconds):
    """Whether a time grew by so much that it matters. None: it is not over."""
    if other_seconds is None:
        return True
    return (
        seconds is not None
        and other_seconds > seconds * SLOWER
        and other_seconds - seconds > SECONDS
    )


def _outage(baseline, other):
    for kind in prediction.WINDOWS:
        windows = [run.windows.get(kind) for run in (baseline, other)]
        first, second = (window.seconds if window else 0.0 for window in windows)
        if first != second:
            longer = _longer(first, second)
            yield Difference(
                "outage",
                kind,
                *(str(window) if window else "none was seen" for window in windows),
                longer,
                "longer than rehearsed" if longer else "",
            )


def _predictions(baseline, other):
    """Whether the second run's outage was as predicted, and the first's for comparison."""
    for kind in prediction.WINDOWS:
        first, second = (
            prediction.excess(run.predicted.get(kind), run.windows.get(kind))
            for run in (baseline, other)
        )
        if first is None and second is None:
            continue
        wrong = second is not None and second > 0
        yield Difference(
            "outage",
            f"{kind}, predicted",
            _as_predicted(baseline, kind),
            _as_predicted(other, kind),
            wrong,
            "longer than predicted" if wrong else "",
        )


def _as_predicted(run, kind):
    expected, window = run.predicted.get(kind), run.windows.get(kind)
    judged = prediction.judged(expected, window)
    return f"{expected}; it was {window.seconds:.1f} s, {judged}" if judged else "not predicted"


def _durations(baseline, other):
    for name in runbook.EVERY:
        if name in baseline.rows and name in other.rows:
            first, second = baseline.rows[name].seconds, other.rows[name].seconds
            if abs(first - second) >= 1:
                slower = _longer(first, second)
                why = "slower" if slower else ""
                yield Difference("duration", name, f"{first:.1f} s", f"{second:.1f} s", slower, why)


def _warned(baseline, other):
    for name in _in_both(baseline, other):
        first, second = (run.warnings.get(name, []) for run in (baseline, other))
        if _only(first, second) or _only(second, first):
            new = bool(_only(second, first))
            yield Difference(
                "warnings",
                name,
                _first_lines(_only(first, second)) or "none of its own",
                _first_lines(_only(second, first)) or "none of its own",
                new,
                "a new warning" if new else "",
            )


def _code(baseline, other):
    same_site = baseline.begun["site"] == other.begun["site"]
    for key, where in (
        ("code", "the package's code"),
        ("notebooks", "the notebooks"),
        ("parameters", "the parameters"),
    ):
        first, second = (run.begun.get(key, "") for run in (baseline, other))
        if first != second:
            matters = key != "parameters" or same_site
            yield Difference(
                "code",
                where,
                first[:12] or "unknown",
                second[:12] or "unknown",
                matters,
                "not as rehearsed" if matters else "another site",
            )
    if baseline.code.get("commit") != other.code.get("commit"):
        commits = ((run.code.get("commit") or "none")[:12] for run in (baseline, other))
        yield Difference("code", "git commit", *commits, False)
    first, second = (
        sum(event["event"] == "drift" for event in run.events) for run in (baseline, other)
    )
    if first != second:
        yield Difference(
            "code",
            "approved differences in the run",
            str(first),
            str(second),
            second > first,
            "the run continued with something it did not begin with",
        )
