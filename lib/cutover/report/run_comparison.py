"""Two runs in the runbook's terms: what is different, and which of it matters.

Rehearsal against rehearsal, or against the night itself. Names of the runs are taken out of plans before they are compared.
"""

import dataclasses
import json
import re
from pathlib import Path

from cutover.model import runbook
from cutover.record import audit, journal
from cutover.record import record_json as record
from cutover.report import summary
from cutover.run import outage
from cutover.run import prediction as predict

SLOWER = 1.25  # times by which a duration or a window may grow
SECONDS = 5.0  # … and seconds, before it matters
EACH = 5  # differences of one kind that are told


@dataclasses.dataclass(frozen=True)
class Difference:
    topic: str  # "step", "plan", "duration", "outage", "counts", "warnings", "code", "record"
    where: str
    one: str
    other: str
    matters: bool
    why: str = ""


@dataclasses.dataclass
class Told:
    """One run's figures."""

    path: Path
    name: str
    events: list
    states: dict
    steps: dict  # step → (seconds, changes applied, checks passed as text)
    plans: dict  # step → [texts]
    warnings: dict  # step → [texts]
    windows: dict  # kind → outage.Window
    predicted: dict  # kind → predict.Span
    verified: str
    begun: dict
    code: dict

    @classmethod
    def read(cls, path):
        """Raises audit.NoRecord for a folder with no journal, journal.JournalBroken for a broken one."""
        top = Path(path).resolve()
        try:
            events = journal.parse((top / journal.NAME).read_bytes(), str(top / journal.NAME))
        except OSError as error:
            raise audit.NoRecord(f"{path}: no journal there ({error.strerror})") from None
        if not events or events[0]["event"] != "run-begun":
            raise audit.NoRecord(f"{path}: its journal does not begin with a run")
        try:
            code = json.loads((top / record.NAME).read_bytes())["code"]
        except (OSError, ValueError, KeyError, TypeError):
            code = {}
        name = events[0]["run"]
        rows = {row[1]: row[3:] for row in summary.steps(events)}
        told = predict.predicted(events)
        return cls(
            top,
            name,
            events,
            runbook.states(events),
            rows,
            _plans(events, name, top),
            _warnings(events, name),
            {window.kind: window for window in outage.windows(top / outage.NAME)},
            {kind: predict.span(told[kind]) for kind in predict.WINDOWS} if told else {},
            summary.verified(events),
            events[0],
            code,
        )


def _plans(events, name, top):
    """What was applied in each step, over all its attempts."""
    found = {}
    for event in events:
        if event["event"] == "intent":
            text = f"{event['target']}: {event['title']}\n{journal.whole(event['text'], top)}"
            found.setdefault(event["step"], []).append(text.replace(name, "RUN"))
    return found


def _warnings(events, name):
    found = {}
    for event in events:
        if event["event"] == "verified":
            found[event["step"]] = [
                f"{check['question']} {check['actual']}".replace(name, "RUN")
                for check in event["checks"]
                if check["passed"] and check["warning"]
            ]
    return found


def compare(one: Told, other: Told) -> list:
    """`[Difference]`, what matters first."""
    found = [
        *_steps(one, other),
        *_changes(one, other),
        *_counts(one, other),
        *_outage(one, other),
        *_predictions(one, other),
        *_durations(one, other),
        *_texts(one, other),
        *_code(one, other),
    ]
    return sorted(found, key=lambda each: not each.matters)


def _steps(one, other):
    for name in runbook.EVERY:
        states = [told.states.get(name, "not run") for told in (one, other)]
        if states[0] != states[1]:
            matters = states[1] != "passed"
            yield Difference("step", name, *states, matters, "it did not pass" if matters else "")


def _changes(one, other):
    for name in runbook.EVERY:
        if name not in one.states or name not in other.states:
            continue
        plans = [told.plans.get(name, []) for told in (one, other)]
        only = [[text for text in plan if text not in rest] for plan, rest in (plans, plans[::-1])]
        if len(plans[0]) != len(plans[1]) or only[0] or only[1]:
            firsts = [
                f"{len(plan)} changes" + (f"; only here: {_first(mine, rest)}" if mine else "")
                for plan, mine, rest in zip(plans, only, only[::-1], strict=True)
            ]
            yield Difference("plan", name, *firsts, True, "other changes than rehearsed")


def _first(texts, others=()):
    """The texts by their first lines; one whose first line the other side has as well by the first line that differs."""
    heads = []
    for text in texts:
        head, *lines = text.split("\n")
        like = next((other.split("\n") for other in others if other.split("\n")[0] == head), None)
        differing = next((line for line in lines if line not in like), "") if like else ""
        heads.append(head + (f": {differing[:200]}" if differing else ""))
    return "; ".join(heads[:EACH]) + (" …" if len(heads) > EACH else "")


def _counts(one, other):
    if one.verified != other.verified:
        figures = [re.findall(r"\d+", told.verified) for told in (one, other)]
        equal = not other.verified.endswith("NOT equal") and bool(figures[1])
        yield Difference(
            "counts",
            "verify",
            one.verified,
            other.verified,
            not equal,
            "mail came or went meanwhile; both sides agree"
            if equal
            else "the two sides did not agree",
        )
    for name in runbook.ORDER:
        checks = [told.steps.get(name, (0, 0, "none"))[2] for told in (one, other)]
        if "none" not in checks and checks[0] != checks[1]:
            bad = checks[1].partition(" of ")
            yield Difference("counts", f"checks of {name}", *checks, bad[0] != bad[2], "")


def _outage(one, other):
    for kind in (outage.READING, outage.DELIVERY):
        windows = [told.windows.get(kind) for told in (one, other)]
        seconds = [window.seconds if window else 0.0 for window in windows]
        if seconds[0] == seconds[1]:
            continue
        longer = seconds[1] is None or (
            seconds[0] is not None
            and seconds[1] > seconds[0] * SLOWER
            and seconds[1] - seconds[0] > SECONDS
        )
        yield Difference(
            "outage",
            kind,
            *(str(window) if window else "none was seen" for window in windows),
            longer,
            "longer than rehearsed" if longer else "",
        )


def _predictions(one, other):
    """Whether the second run's outage was what it had predicted, beside the first's."""
    for kind in (outage.READING, outage.DELIVERY):
        judged = [
            predict.judged(told.predicted.get(kind), told.windows.get(kind))
            for told in (one, other)
        ]
        if any(judged):
            said = [
                f"{told.predicted[kind]}; it was {told.windows[kind].seconds:.1f} s, {each}"
                if each
                else "not predicted"
                for told, each in zip((one, other), judged, strict=True)
            ]
            wrong = judged[1].startswith("longer")
            yield Difference(
                "outage",
                f"{kind}, predicted",
                *said,
                wrong,
                "longer than it had predicted" if wrong else "",
            )


def _durations(one, other):
    for name in runbook.EVERY:
        if name in one.steps and name in other.steps:
            first, second = one.steps[name][0], other.steps[name][0]
            if abs(first - second) >= 1:
                slower = second > first * SLOWER and second - first > SECONDS
                yield Difference(
                    "duration",
                    name,
                    f"{first:.1f} s",
                    f"{second:.1f} s",
                    slower,
                    "slower" if slower else "",
                )


def _texts(one, other):
    for name in runbook.EVERY:
        if name not in one.states or name not in other.states:
            continue
        texts = [told.warnings.get(name, []) for told in (one, other)]
        only = [[text for text in mine if text not in rest] for mine, rest in (texts, texts[::-1])]
        if only[0] or only[1]:
            yield Difference(
                "warnings",
                name,
                *(_first(mine) or "none of its own" for mine in only),
                bool(only[1]),
                "a warning that was not there before" if only[1] else "",
            )


def _code(one, other):
    for key, what in (
        ("code", "the package's code"),
        ("notebooks", "the notebooks"),
        ("parameters", "the parameters"),
    ):
        values = [told.begun.get(key, "") for told in (one, other)]
        if values[0] != values[1]:
            same_site = one.begun["site"] == other.begun["site"]
            yield Difference(
                "code",
                what,
                *(value[:12] or "unknown" for value in values),
                key != "parameters" or same_site,
                "other than rehearsed" if key != "parameters" or same_site else "another site",
            )
    if one.code.get("commit") != other.code.get("commit"):
        yield Difference(
            "code",
            "git commit",
            *((told.code.get("commit") or "none")[:12] for told in (one, other)),
            False,
        )
    drifts = [sum(event["event"] == "drift" for event in told.events) for told in (one, other)]
    if drifts[0] != drifts[1]:
        yield Difference(
            "code",
            "approved differences in the run",
            *map(str, drifts),
            drifts[1] > drifts[0],
            "the run went on with something it had not begun with",
        )
