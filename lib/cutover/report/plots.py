"""Plots where people would rather look than read. Each carries its text alternative, and reads in grey on paper.

matplotlib is imported when a plot is drawn: it takes half a second, and most calls need none. A plot is the same, byte for
byte, for the same figures.
"""

import base64
import html
import io
import itertools

from cutover.record import history as story
from cutover.run import outage
from cutover.run import prediction as predict

WIDE = 8.2  # inches
OLD, NEW, QUIET = "#3b6ea5", "#e08e2b", "#b9bfc8"  # apart for the colour-blind, and in grey
READING, DELIVERY = "#c2477f", "#5b8c3e"
STATE = {"passed": OLD, "stale": OLD, "undone": QUIET, "failed": "#b3261e", "begun": NEW}
SHOWN = 40  # users shown by name
NAMES = {outage.READING: "reading refused", outage.DELIVERY: "delivery held"}


class Plot:
    """A drawing and what it says in words. `svg` is text."""

    def __init__(self, svg: str, title: str, text: str):
        self.svg, self.title, self.text = svg, title, text

    def _repr_html_(self):
        data = base64.b64encode(self.svg.encode()).decode()
        # an image, not inline markup: nothing in it can run, and ids of two drawings never meet
        return (
            f"<figure style='margin:.6em 0'><img alt='{html.escape(self.title + ': ' + self.text, quote=True)}' "
            f"src='data:image/svg+xml;base64,{data}' style='max-width:100%;background:#fff;border-radius:4px'>"
            f"<figcaption style='font-size:13px'><b>{html.escape(self.title)}.</b> {html.escape(self.text)}"
            "</figcaption></figure>"
        )

    def __repr__(self):
        return f"{self.title}. {self.text}"


class _Drawing:
    """A figure in the house style, drawn without any display."""

    def __init__(self, height, **kwargs):
        import matplotlib

        self.style = matplotlib.rc_context(
            {
                "font.size": 9,
                "axes.spines.top": False,
                "axes.spines.right": False,
                "axes.edgecolor": "#555",
                "axes.labelcolor": "#222",
                "xtick.color": "#222",
                "ytick.color": "#222",
                "hatch.linewidth": 0.6,
                "svg.hashsalt": "cutover",
                "svg.fonttype": "path",
                "font.family": "DejaVu Sans",
            }
        )
        self.height, self.kwargs = height, kwargs

    def __enter__(self):
        from matplotlib.figure import Figure

        self.style.__enter__()
        self.figure = Figure(figsize=(WIDE, self.height), layout="constrained")
        self.axes = self.figure.subplots(**self.kwargs)
        return self

    def __exit__(self, *error):
        self.style.__exit__(*error)

    def svg(self) -> str:
        out = io.StringIO()
        self.figure.savefig(out, format="svg", metadata={"Date": None, "Creator": None})
        return out.getvalue()


def _clean(text: str) -> str:
    """A name as a font can draw it: no control characters, no raw bytes, no mathematics between dollar signs."""
    from cutover.report import tables

    return tables.printable(text).replace("$", r"\$")


def timeline(
    attempts: dict, windows: list, now: float | None = None, told: dict | None = None
) -> Plot | None:
    """The run's steps over time, with the outage windows behind them, and when each was predicted to end. `windows`:
    [outage.Window]; `told`: the run's prediction, see predict.outage_of."""
    rows = [one for one in attempts.values()]
    if not rows:
        return None
    ends = [one.ended or now or one.began for one in rows] + [
        window.ended or now or window.began for window in windows
    ]
    # a prediction counts from where its window began, and before that from now
    begun = {window.kind: window.began for window in windows}
    ahead = {
        kind: (begun.get(kind, max(ends)), predict.span(told[kind]))
        for kind in predict.WINDOWS
        if told
    }
    first, last = (
        min(one.began for one in rows),
        max([*ends, *(begin + span.high for begin, span in ahead.values())]),
    )
    unit, name = (60, "minutes") if last - first > 300 else (1, "seconds")

    def place(moment):
        return (moment - first) / unit

    with _Drawing(1.1 + 0.27 * len(rows)) as drawing:
        axes = drawing.axes
        heads = {outage.READING: 1.035, outage.DELIVERY: 1.12}
        for kind, (begin, span) in ahead.items():
            colour, height = READING if kind == outage.READING else DELIVERY, heads[kind] + 0.035
            low, likely, high = (
                place(begin + seconds) for seconds in (span.low, span.likely, span.high)
            )
            axes.plot(
                [low, high],
                [height, height],
                color=colour,
                lw=1.2,
                clip_on=False,
                transform=axes.get_xaxis_transform(),
                marker="|",
                ms=5,
            )
            axes.plot(
                [likely],
                [height],
                color=colour,
                marker="D",
                ms=3.5,
                clip_on=False,
                transform=axes.get_xaxis_transform(),
            )
            if kind not in begun:
                axes.text(
                    high,
                    height,
                    f"  {NAMES[kind]}: predicted end",
                    color=colour,
                    va="center",
                    fontsize=7.5,
                    clip_on=False,
                    transform=axes.get_xaxis_transform(),
                )
        for window in windows:
            colour = READING if window.kind == outage.READING else DELIVERY
            begin, end = place(window.began), place(window.ended or last)
            axes.axvspan(begin, end, facecolor=colour, alpha=0.13, lw=0)
            height = heads[window.kind]
            axes.plot(
                [begin, end],
                [height, height],
                color=colour,
                lw=5,
                solid_capstyle="butt",
                clip_on=False,
                transform=axes.get_xaxis_transform(),
            )
            for edge in (begin, end):
                axes.axvline(
                    edge, color=colour, lw=1, ls="--" if window.kind == outage.READING else ":"
                )
            said = f"{NAMES[window.kind]} " + (
                story.duration(window.seconds) if window.seconds is not None else "still"
            )
            axes.text(
                end,
                height,
                "  " + said,
                color=colour,
                va="center",
                fontsize=8,
                clip_on=False,
                weight="bold",
                transform=axes.get_xaxis_transform(),
            )
        for row, one in enumerate(rows):
            end = one.ended or now or one.began
            axes.barh(
                row,
                max(place(end) - place(one.began), place(last) * 0.002),
                left=place(one.began),
                height=0.62,
                color=STATE.get(one.state, QUIET),
                edgecolor="#222",
                lw=0.4,
                hatch={"undone": "////", "failed": "xxxx"}.get(one.state),
            )
            # beside the bar; in a light box, so that lines behind do not cross the words
            axes.text(
                place(end) + place(last) * 0.008,
                row,
                f"{story.duration(end - one.began)}"
                + ("" if one.state == "passed" else f" {one.state}"),
                va="center",
                fontsize=7.5,
                bbox={"facecolor": "white", "alpha": 0.75, "lw": 0, "pad": 0.8},
            )
        axes.set_yticks(range(len(rows)), [one.step for one in rows])
        axes.set_ylim(len(rows) - 0.4, -0.6)
        axes.set_xlim(-place(last) * 0.01, place(last) * 1.13)
        axes.set_xlabel(f"{name} since {story.clock(first)} UTC")
        axes.grid(axis="x", color="#ddd", lw=0.6)
        axes.set_axisbelow(True)
        svg = drawing.svg()
    text = f"{len(rows)} steps from {story.clock(first)} to {story.clock(last)} UTC. " + (
        " ".join(f"{NAMES[window.kind].capitalize()}: {window}." for window in windows)
        or "No outage was seen."
    )
    if ahead:
        text += (
            " Predicted (low to high, with a mark at what was likely): "
            + "; ".join(f"{NAMES[kind]} {span}" for kind, (_, span) in ahead.items())
            + "."
        )
    longest = max(rows, key=lambda one: one.seconds or 0)
    return Plot(
        svg,
        "Timeline",
        f"{text} The longest step was {longest.step} ({story.duration(longest.seconds)}).",
    )


def by_user(sums: list) -> Plot | None:
    """Messages and bytes, old beside new, by user."""
    if not sums:
        return None
    counted = any(each.old or each.new for each in sums)
    shown = sorted(sums, key=lambda each: -(each.old_bytes or each.old))[:SHOWN]
    with _Drawing(
        1 + 0.19 * len(shown), ncols=2 if counted else 1, sharey=True, squeeze=False
    ) as drawing:
        panels = drawing.axes[0]
        pairs = [
            (
                "bytes in files (MB)",
                [each.old_bytes / 1e6 for each in shown],
                [each.new_bytes / 1e6 for each in shown],
            )
        ]
        if counted:
            pairs.insert(
                0, ("messages", [each.old for each in shown], [each.new for each in shown])
            )
        places = range(len(shown))
        for axes, (what, old, new) in zip(panels, pairs, strict=True):
            axes.barh(
                [place - 0.2 for place in places],
                old,
                height=0.38,
                color=OLD,
                label="old (UW IMAP)",
            )
            axes.barh(
                [place + 0.2 for place in places],
                new,
                height=0.38,
                color=NEW,
                hatch="///",
                edgecolor="#7a4a10",
                lw=0.3,
                label="new (Dovecot)",
            )
            axes.set_xlabel(what)
            axes.grid(axis="x", color="#ddd", lw=0.6)
            axes.set_axisbelow(True)
        panels[0].set_yticks(places, [_clean(each.user) for each in shown], fontsize=8)
        panels[0].set_ylim(len(shown) - 0.4, -0.6)
        panels[0].legend(loc="lower right", fontsize=8, frameon=True)
        svg = drawing.svg()
    old, new, added = (
        sum(getattr(each, name) for each in sums) for name in ("old", "new", "added")
    )
    differ = [each.user for each in sums if each.new != each.old + each.added or each.differences]
    said = [f"{len(sums)} users" + (f", the {SHOWN} largest shown" if len(sums) > SHOWN else "")]
    if counted:
        said.append(
            f"{old} messages old and {new} new, of them {added} added from the spool or by dual delivery"
        )
        said.append("no user differs" if not differ else f"these differ: {', '.join(differ[:10])}")
    said.append(
        f"{story.size(sum(each.old_bytes for each in sums))} in the old folders' files, "
        f"{story.size(sum(each.new_bytes for each in sums))} in Maildir (MBX keeps a header of its own in each file)"
    )
    return Plot(svg, "Messages and bytes by user", "; ".join(said) + ".")


def rate(conversion) -> Plot | None:
    """Conversion over time: what was done, and how fast. `conversion`: transcript.Pass."""
    points = conversion.points if conversion else []
    if len(points) < 3:
        return None
    first, last = conversion.began, max(point[0] for point in points)
    span = max(last - first, 0.001)
    bins = max(
        4, min(30, len(points) // 10)
    )  # a folder counts when it is finished: finer bins would show only that
    width, speeds, before, place = span / bins, [], 0, 0
    for number in range(bins):
        until = first + (number + 1) * width
        while place < len(points) and points[place][0] <= until + 1e-9:
            place += 1
        size = points[place - 1][2] if place else 0
        speeds.append((size - before) / width / 1e6)
        before = size
    with _Drawing(2.6, ncols=2) as drawing:
        done, speed = drawing.axes
        times = [0, *(point[0] - first for point in points)]
        done.step(times, [0, *(point[1] for point in points)], where="post", color=OLD, lw=1.8)
        done.set_xlabel("seconds")
        done.set_ylabel("messages converted")
        users = done.twinx()
        users.step(
            times, [0, *(point[3] for point in points)], where="post", color=NEW, lw=1.4, ls="--"
        )
        users.set_ylabel("users done (dashed)")
        users.set_ylim(0, max(conversion.total, 1) * 1.05)
        done.set_ylim(0, None)
        speed.bar(
            [(number + 0.5) * width for number in range(bins)],
            speeds,
            width=width * 0.92,
            color=OLD,
        )
        speed.set_xlabel("seconds")
        speed.set_ylabel("MB a second")
        for axes in (done, speed):
            axes.grid(axis="y", color="#ddd", lw=0.6)
            axes.set_axisbelow(True)
        svg = drawing.svg()
    messages, size = points[-1][1:3]
    return Plot(
        svg,
        "Conversion over time",
        f"From {story.clock(first)} UTC: {messages} messages, "
        f"{story.size(size)} in {story.duration(span)}, on average "
        f"{messages / span:.0f} messages and {story.size(size / span)} a second.",
    )


def slowest(conversion) -> Plot | None:
    """Where the time is: the slowest users and the slowest folders."""
    users = sorted(
        (
            user
            for user in (conversion.users.values() if conversion else [])
            if user.ended is not None and user.name
        ),
        key=lambda user: user.began - user.ended,
    )[:12]
    folders = sorted(
        conversion.folders if conversion else [], key=lambda each: (-each[4], -each[3])
    )[:12]
    if not users or not folders:
        return None
    with _Drawing(1 + 0.2 * max(len(users), len(folders)), ncols=2) as drawing:
        left, right = drawing.axes
        left.barh(
            range(len(users)), [user.ended - user.began for user in users], color=OLD, height=0.7
        )
        left.set_yticks(range(len(users)), [_clean(user.name) for user in users], fontsize=8)
        left.set_xlabel("seconds from first look to published")
        right.barh(
            range(len(folders)),
            [each[4] for each in folders],
            color=NEW,
            height=0.7,
            hatch="///",
            edgecolor="#7a4a10",
            lw=0.3,
        )
        right.set_yticks(
            range(len(folders)),
            [_clean(f"{each[0]}: {each[1]}")[:28] for each in folders],
            fontsize=8,
        )
        right.set_xlabel("seconds worked on it")
        for axes, listed in ((left, users), (right, folders)):
            axes.set_ylim(len(listed) - 0.4, -0.6)
            axes.grid(axis="x", color="#ddd", lw=0.6)
            axes.set_axisbelow(True)
        svg = drawing.svg()
    user, folder = users[0], folders[0]
    return Plot(
        svg,
        "Slowest users and folders",
        f"{user.name} took longest ({story.duration(user.ended - user.began)}); the slowest folder is "
        f"{folder[1]} of {folder[0]}: {folder[2]} messages, {story.size(folder[3])}, {story.duration(folder[4])}.",
    )


def sizes(counts: list) -> Plot | None:
    """How many messages are of which size, and what part of all bytes they hold. `counts`: story.sizes."""
    total = sum(counts)
    if not total:
        return None
    filled = [number for number, count in enumerate(counts) if count]
    shown = range(filled[0], filled[-1] + 1)
    # of a class that holds sizes from 2^(n-1) to below 2^n the middle stands for its bytes
    held = [counts[number] * 0.75 * 2**number for number in shown]
    with _Drawing(2.5) as drawing:
        axes = drawing.axes
        axes.bar(
            [number - 0.2 for number in shown],
            [counts[number] / total * 100 for number in shown],
            width=0.4,
            color=OLD,
            label="of all messages",
        )
        axes.bar(
            [number + 0.2 for number in shown],
            [size / max(sum(held), 1) * 100 for size in held],
            width=0.4,
            color=NEW,
            hatch="///",
            edgecolor="#7a4a10",
            lw=0.3,
            label="of all bytes, about",
        )
        edges = range(shown[0], shown[-1] + 2)
        axes.set_xticks(
            [number - 0.5 for number in edges],
            [story.size(2 ** (number - 1) if number else 0) for number in edges],
            rotation=45,
            fontsize=7.5,
        )
        axes.set_xlabel("size of a message")
        axes.set_ylabel("per cent")
        axes.legend(fontsize=8, frameon=True)
        axes.grid(axis="y", color="#ddd", lw=0.6)
        axes.set_axisbelow(True)
        svg = drawing.svg()

    def below(part):
        """The size below which so large a part of the messages lies."""
        so_far = itertools.accumulate(counts[number] for number in shown)
        return story.size(
            2
            ** next(
                number for number, count in zip(shown, so_far, strict=True) if count >= part * total
            )
        )

    return Plot(
        svg,
        "Sizes of messages",
        f"{total} messages of the old store: half are below {below(0.5)}, nine in ten below "
        f"{below(0.9)}, the largest below {below(1)}.",
    )


def deltas(passes: list) -> Plot | None:
    """What each pass over the folders wrote: the first much, the later ones what had changed. `passes`: [transcript.Pass]."""
    passes = [each for each in passes if each.ended is not None]
    if len(passes) < 2:
        return None
    written = [sum(user.written for user in each.users.values()) for each in passes]
    seconds = [each.ended - each.began for each in passes]
    with _Drawing(2.3, ncols=2) as drawing:
        left, right = drawing.axes
        names = [
            f"{number}\n{story.clock(each.began)[:5]}" for number, each in enumerate(passes, 1)
        ]
        for axes, values, what in (
            (left, written, "messages written"),
            (right, seconds, "seconds"),
        ):
            bars = axes.bar(names, values, color=OLD, width=0.6)
            axes.bar_label(
                bars,
                [f"{value:.0f}" if what != "seconds" else f"{value:.1f}" for value in values],
                fontsize=8,
            )
            axes.set_ylabel(what)
            axes.set_xlabel("pass")
            axes.margins(y=0.15)
        svg = drawing.svg()
    return Plot(
        svg,
        "From pass to pass",
        "; ".join(
            f"pass {number} at {story.clock(each.began)} UTC wrote {count} messages in {story.duration(took)}"
            for number, (each, count, took) in enumerate(
                zip(passes, written, seconds, strict=True), 1
            )
        )
        + ".",
    )
