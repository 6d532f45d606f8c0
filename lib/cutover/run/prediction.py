"""What the outage will cost, phase by phase, and afterwards how that compares with what it cost.

A phase has three figures in seconds: low, likely, high. A window is the sum of its phases, low with
low and high with high: as wide as if everything went well, or badly, together. phases.py says
where the figures come from.
"""

from typing import NamedTuple

from cutover.model import runbook
from cutover.record import history
from cutover.run import outage, phases
from cutover.run.span import Span

PHASES = [
    "stop-imap",
    "stop-sendmail",
    "convert",
    "verify",
    "restore-sendmail",
    "switch-alias",
    "restore-imap",
]
WINDOWS = {
    outage.READING: ("stop-imap", "restore-imap"),
    outage.DELIVERY: ("stop-sendmail", "restore-sendmail"),
}


class ComparedWindow(NamedTuple):
    """An outage window as predicted and as measured; None where it was not."""

    kind: str
    predicted: Span | None
    measured: outage.Window | None


def predicted(events) -> dict | None:
    """The last prediction of a run, an event with the keys of outage_of(); None before it."""
    return runbook.latest(events, "predicted")


def spans(events) -> dict[str, Span]:
    """The predicted windows by kind; empty before there was a prediction."""
    prediction = predicted(events)
    return {kind: Span.from_json(prediction[kind]) for kind in WINDOWS} if prediction else {}


def outage_of(run, site) -> dict:
    """Predict the outage of a run whose presync has just passed; times in seconds.

    `{"phases": [{"phase", "low", "likely", "high", "from": text}], "reading", "delivery" and
    "handling": {"low", "likely", "high"}, "contents": what verify would need for all contents, or
    None, "passes": presync's passes so far, "staged": {"messages", "bytes"}}`
    """
    known = phases.Measurements.of(run, site)
    handling = phases.handling(known.events)
    before = {name: phases.measured_before(known.earlier, name) for name in PHASES}
    work = _work(known, before, handling)
    steps = {name: (work[name].span + handling).wide() for name in PHASES}
    # mail comes through as soon as sendmail runs; restore-sendmail waits for the queues
    ends = {
        outage.READING: work["restore-imap"].span,
        outage.DELIVERY: before["restore-sendmail"].span,
    }
    last = known.passes[-1] if known.passes else None
    return {
        "contents": phases.contents(known),
        "phases": [
            {"phase": name, **steps[name].as_json(), "from": work[name].source} for name in PHASES
        ],
        "handling": handling.as_json(),
        "passes": len(known.passes),
        "staged": {"messages": last.messages if last else 0, "bytes": last.bytes if last else 0},
        **{kind: _window(kind, work, steps, ends[kind], handling).as_json() for kind in WINDOWS},
    }


def _work(known, before, handling):
    """The phases.Work of each phase. before: as earlier runs measured it."""
    work = {
        **before,
        "switch-alias": phases.alias(known, before["switch-alias"], before["restore-imap"].span),
        "convert": phases.convert(known, before["convert"]),
        "verify": phases.verify(known, before["verify"]),
    }
    held = Span.sum(
        work[name].span for name in ("stop-sendmail", "convert", "verify", "restore-sendmail")
    )
    work["restore-sendmail"] = phases.queue(known, held + handling * 3, work["restore-sendmail"])
    return work


def _window(kind, work, steps, end, handling):
    """A window begins within its first step and ends within its last.

    Half of the handling of these two is outside of it.
    """
    first, last = WINDOWS[kind]
    between = PHASES[PHASES.index(first) + 1 : PHASES.index(last)]
    half = handling * 0.5
    return Span.sum(
        [
            (work[first].span + half).wide(),
            *(steps[name] for name in between),
            (end + half).wide(),
        ]
    )


def measured(events) -> dict[str, float]:
    """Seconds of each phase that was verified: from the end of the step before to its own end."""
    seconds, before = {}, None
    for name, attempt in history.attempts(events).items():
        if name in PHASES and attempt.ended is not None:
            gap = attempt.began - before if before is not None else -1
            begin = before if 0 <= gap < phases.PAUSE else attempt.began
            seconds[name] = attempt.ended - begin
        before = attempt.ended
    return seconds


def costs(run, events) -> dict[str, float]:
    """Measured seconds by phase, and by kind of window for the windows that are over."""
    return {
        **measured(events),
        **{
            window.kind: window.seconds
            for window in outage.windows(run.path / outage.NAME)
            if window.seconds is not None
        },
    }


def windows(run, events) -> list[ComparedWindow]:
    """Both windows, predicted and measured."""
    expected = spans(events)
    seen = {window.kind: window for window in outage.windows(run.path / outage.NAME)}
    return [ComparedWindow(kind, expected.get(kind), seen.get(kind)) for kind in WINDOWS]


def excess(expected: Span | None, window: outage.Window | None) -> float | None:
    """Seconds by which a window was longer than predicted; negative when it was shorter.

    0.0 within the prediction; None where there is nothing to compare.
    """
    if expected is None or window is None or window.seconds is None:
        return None
    if window.seconds - window.grain > expected.high:
        return window.seconds - expected.high
    return min(0.0, window.seconds - expected.low)


def judged(expected: Span | None, window: outage.Window | None) -> str:
    """How a measured window compares with its prediction, in words; "" where it cannot."""
    seconds = excess(expected, window)
    if seconds is None:
        return ""
    if seconds > 0:
        return f"longer than predicted by {history.duration(seconds)}"
    if seconds < 0:
        return f"shorter than predicted by {history.duration(-seconds)}"
    return "as predicted"
