"""The run's steps over time, with the outage windows behind them and when each should end."""

import dataclasses

from cutover.record import history
from cutover.report.drawing import (
    NEW,
    OLD,
    QUIET,
    WINDOW_COLOURS,
    WINDOW_NAMES,
    Drawing,
    Plot,
    grid,
)
from cutover.run import outage, prediction
from cutover.run.span import Span

STATE_COLOURS = {"passed": OLD, "stale": OLD, "undone": QUIET, "failed": "#b3261e", "begun": NEW}
HATCHES = {"undone": "////", "failed": "xxxx"}
HEIGHTS = {outage.READING: 1.035, outage.DELIVERY: 1.12}  # of the windows' bars, above the axes


@dataclasses.dataclass(frozen=True)
class _Ahead:
    """A predicted window: it counts from where its window began, and before that from now."""

    began: float
    span: Span


@dataclasses.dataclass(frozen=True)
class _Scale:
    """Where a time, in seconds since the epoch, is on the axis."""

    first: float
    last: float

    @property
    def unit(self) -> str:
        return "minutes" if self.last - self.first > 300 else "seconds"

    def place(self, at: float) -> float:
        return (at - self.first) / (60 if self.unit == "minutes" else 1)

    @property
    def end(self) -> float:
        return self.place(self.last)


def draw(
    attempts: dict[str, history.Attempt],
    windows: list[outage.Window],
    now: float | None = None,
    predicted: dict | None = None,
) -> Plot | None:
    """The plot; None before the first step. predicted: the event, see prediction.outage_of()."""
    rows = list(attempts.values())
    if not rows:
        return None
    ends = [_end(row, now) for row in rows] + [
        window.ended or now or window.began for window in windows
    ]
    begun = {window.kind: window.began for window in windows}
    ahead = {
        kind: _Ahead(begun.get(kind, max(ends)), Span.from_json(predicted[kind]))
        for kind in prediction.WINDOWS
        if predicted
    }
    scale = _Scale(
        min(row.began for row in rows),
        max([*ends, *(window.began + window.span.high for window in ahead.values())]),
    )
    with Drawing(1.1 + 0.27 * len(rows)) as drawing:
        axes = drawing.axes
        for kind, window in ahead.items():
            _draw_ahead(axes, kind, window, scale, labelled=kind not in begun)
        for window in windows:
            _draw_window(axes, window, scale)
        for number, row in enumerate(rows):
            _draw_step(axes, number, row, _end(row, now), scale)
        axes.set_yticks(range(len(rows)), [row.step for row in rows])
        axes.set_ylim(len(rows) - 0.4, -0.6)
        axes.set_xlim(-scale.end * 0.01, scale.end * 1.13)
        axes.set_xlabel(f"{scale.unit} since {history.clock(scale.first)} UTC")
        grid(axes, "x")
        svg = drawing.svg()
    return Plot(svg, "Timeline", _words(rows, windows, ahead, scale.first, max(ends)))


def _end(row, now):
    return row.ended or now or row.began


def _above(axes, colour):
    """How whatever is above the axes is drawn."""
    return {"color": colour, "clip_on": False, "transform": axes.get_xaxis_transform()}


def _draw_ahead(axes, kind, window, scale, labelled):
    """From low to high, with a mark at what is likely."""
    above, height = _above(axes, WINDOW_COLOURS[kind]), HEIGHTS[kind] + 0.035
    span = window.span
    low, likely, high = (
        scale.place(window.began + seconds) for seconds in (span.low, span.likely, span.high)
    )
    axes.plot([low, high], [height, height], lw=1.2, marker="|", ms=5, **above)
    axes.plot([likely], [height], marker="D", ms=3.5, **above)
    if labelled:
        text = f"  {WINDOW_NAMES[kind]}: predicted end"
        axes.text(high, height, text, va="center", fontsize=7.5, **above)


def _draw_window(axes, window, scale):
    colour, height = WINDOW_COLOURS[window.kind], HEIGHTS[window.kind]
    above = _above(axes, colour)
    begin, end = scale.place(window.began), scale.place(window.ended or scale.last)
    axes.axvspan(begin, end, facecolor=colour, alpha=0.13, lw=0)
    axes.plot([begin, end], [height, height], lw=5, solid_capstyle="butt", **above)
    for edge in (begin, end):
        axes.axvline(edge, color=colour, lw=1, ls="--" if window.kind == outage.READING else ":")
    lasted = history.duration(window.seconds) if window.seconds is not None else "still"
    text = f"  {WINDOW_NAMES[window.kind]} {lasted}"
    axes.text(end, height, text, va="center", fontsize=8, weight="bold", **above)


def _draw_step(axes, number, row, end, scale):
    begin = scale.place(row.began)
    axes.barh(
        number,
        max(scale.place(end) - begin, scale.end * 0.002),
        left=begin,
        height=0.62,
        color=STATE_COLOURS.get(row.state, QUIET),
        edgecolor="#222",
        lw=0.4,
        hatch=HATCHES.get(row.state),
    )
    # in a light box, so that lines behind do not cross the words
    axes.text(
        scale.place(end) + scale.end * 0.008,
        number,
        history.duration(end - row.began) + ("" if row.state == "passed" else f" {row.state}"),
        va="center",
        fontsize=7.5,
        bbox={"facecolor": "white", "alpha": 0.75, "lw": 0, "pad": 0.8},
    )


def _words(rows, windows, ahead, first, last):
    seen = " ".join(f"{WINDOW_NAMES[window.kind].capitalize()}: {window}." for window in windows)
    text = f"{len(rows)} steps from {history.clock(first)} to {history.clock(last)} UTC. " + (
        seen or "No outage was seen."
    )
    if ahead:
        spans = "; ".join(f"{WINDOW_NAMES[kind]} {window.span}" for kind, window in ahead.items())
        text += f" Predicted (low to high, with a mark at what was likely): {spans}."
    longest = max(rows, key=lambda row: row.seconds or 0)
    took = history.duration(longest.seconds)
    return f"{text} The longest step was {longest.step} ({took})."
