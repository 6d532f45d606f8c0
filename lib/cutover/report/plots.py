"""Plots of the conversion, where people would rather look than read.

Each carries its text alternative, and reads in grey on paper.
"""

import itertools
from typing import NamedTuple

from cutover.record import history, step_facts, transcript
from cutover.remote import back_off
from cutover.report.drawing import NEW, OLD, Drawing, Plot, clean, grid, new_style

SHOWN = 40  # users shown by name
SLOWEST = 12  # users, and folders, shown as the slowest


class _Pair(NamedTuple):
    """A panel that compares both sides, a bar per user."""

    label: str
    old: list[float]
    new: list[float]


def by_user(sums: list[step_facts.UserSums]) -> Plot | None:
    """Messages and bytes by user, old and new side by side."""
    if not sums:
        return None
    counted = any(user.old or user.new for user in sums)
    shown = sorted(sums, key=lambda user: -(user.old_bytes or user.old))[:SHOWN]
    pairs = [
        _Pair("messages", [user.old for user in shown], [user.new for user in shown]),
        _Pair(
            "bytes in files (MB)",
            [user.old_bytes / 1e6 for user in shown],
            [user.new_bytes / 1e6 for user in shown],
        ),
    ][0 if counted else 1 :]
    with Drawing(1 + 0.19 * len(shown), ncols=len(pairs), sharey=True, squeeze=False) as drawing:
        panels = drawing.axes[0]
        places = range(len(shown))
        for axes, pair in zip(panels, pairs, strict=True):
            old_places, new_places = ([place + by for place in places] for by in (-0.2, 0.2))
            axes.barh(old_places, pair.old, height=0.38, color=OLD, label="old (UW IMAP)")
            axes.barh(new_places, pair.new, **new_style(height=0.38, label="new (Dovecot)"))
            axes.set_xlabel(pair.label)
            grid(axes, "x")
        panels[0].set_yticks(places, [clean(user.user) for user in shown], fontsize=8)
        panels[0].set_ylim(len(shown) - 0.4, -0.6)
        panels[0].legend(loc="lower right", fontsize=8, frameon=True)
        svg = drawing.svg()
    return Plot(svg, "Messages and bytes by user", _by_user_words(sums, counted))


def _by_user_words(sums, counted):
    old, new, added = (
        sum(getattr(user, name) for user in sums) for name in ("old", "new", "added")
    )
    differ = [user.user for user in sums if user.new != user.old + user.added or user.differences]
    parts = [f"{len(sums)} users" + (f", the {SHOWN} largest shown" if len(sums) > SHOWN else "")]
    if counted:
        parts.append(
            f"{old} messages old and {new} new, of them {added} added from the spool or by dual "
            "delivery"
        )
        parts.append("no user differs" if not differ else f"these differ: {', '.join(differ[:10])}")
    parts.append(
        f"{history.size(sum(user.old_bytes for user in sums))} in the old folders' files, "
        f"{history.size(sum(user.new_bytes for user in sums))} in Maildir (MBX keeps a header of "
        "its own in each file)"
    )
    return "; ".join(parts) + "."


def rate(conversion: transcript.Pass | None) -> Plot | None:
    """A conversion over time: what was done, and how fast."""
    points = conversion.points if conversion else []
    if len(points) < 3:
        return None
    first, last = conversion.began, max(point.at for point in points)
    span = max(last - first, 0.001)
    # a folder counts when it is finished: finer bins would show only that
    bins = max(4, min(30, len(points) // 10))
    width = span / bins
    with Drawing(2.6, ncols=2) as drawing:
        done, speed = drawing.axes
        times = [0, *(point.at - first for point in points)]
        messages = [0, *(point.messages for point in points)]
        done.step(times, messages, where="post", color=OLD, lw=1.8)
        done.set_xlabel("seconds")
        done.set_ylabel("messages converted")
        users = done.twinx()
        users_done = [0, *(point.users for point in points)]
        users.step(times, users_done, where="post", color=NEW, lw=1.4, ls="--")
        users.set_ylabel("users done (dashed)")
        users.set_ylim(0, max(conversion.total, 1) * 1.05)
        done.set_ylim(0, None)
        middles = [(number + 0.5) * width for number in range(bins)]
        speed.bar(middles, _speeds(points, first, width, bins), width=width * 0.92, color=OLD)
        speed.set_xlabel("seconds")
        speed.set_ylabel("MB a second")
        for axes in (done, speed):
            grid(axes, "y")
        svg = drawing.svg()
    end = points[-1]
    return Plot(
        svg,
        "Conversion over time",
        f"From {history.clock(first)} UTC: {end.messages} messages, {history.size(end.bytes)} in "
        f"{history.duration(span)}, on average {end.messages / span:.0f} messages and "
        f"{history.size(end.bytes / span)} a second.",
    )


def latency(conversion: transcript.Pass) -> Plot | None:
    """What users felt of a pass: the old server's latency, and how fast the pass went."""
    probes, points = conversion.probes, conversion.points
    if len(probes) < 2 or not points:
        return None
    first = min(conversion.began, probes[0].at)
    last = max(probes[-1].at, points[-1].at)
    bins = max(4, min(60, round(last - first)))
    width = (last - first) / bins
    times = [probe.at - first for probe in probes]
    with Drawing(3.4, nrows=2, sharex=True) as drawing:
        felt, speed = drawing.axes
        felt.plot(times, [probe.ms for probe in probes], color=OLD, lw=1.4, marker=".")
        failed = [probe for probe in probes if probe.failed]
        felt.plot(
            [probe.at - first for probe in failed], [probe.ms for probe in failed], "x", color=NEW
        )
        felt.axhline(probes[-1].limit, color=NEW, lw=1, ls="--")
        felt.set_ylabel("IMAP, ms")
        middles = [(number + 0.5) * width for number in range(bins)]
        speed.bar(middles, _speeds(points, first, width, bins), width=width * 0.92, color=OLD)
        speed.set_ylabel("MB a second")
        part = speed.twinx()
        part.step(times, [100 * probe.speed for probe in probes], where="post", color=NEW, ls="--")
        part.set_ylabel("speed, % (dashed)")
        part.set_ylim(0, 105)
        speed.set_xlabel("seconds")
        for axes in (felt, speed):
            axes.set_ylim(0, None)
            grid(axes, "y")
        svg = drawing.svg()
    return Plot(
        svg,
        "What users felt of presync",
        f"From {history.clock(first)} UTC, {back_off.words(back_off.summary(probes))}; it goes "
        f"slower above {probes[-1].limit:g} ms (dashed).",
    )


def _speeds(points, first, width, bins):
    """MB per second in each bin of `width` seconds."""
    speeds, before, place = [], 0, 0
    for number in range(bins):
        until = first + (number + 1) * width
        while place < len(points) and points[place].at <= until + 1e-9:
            place += 1
        size = points[place - 1].bytes if place else 0
        speeds.append((size - before) / width / 1e6)
        before = size
    return speeds


def slowest(conversion: transcript.Pass | None) -> Plot | None:
    """Where the time goes: the slowest users and the slowest folders."""
    if not conversion:
        return None
    ended = [user for user in conversion.users.values() if user.ended is not None and user.name]
    users = sorted(ended, key=lambda user: user.began - user.ended)[:SLOWEST]
    folders = sorted(conversion.folders, key=lambda folder: (-folder.seconds, -folder.bytes))
    folders = folders[:SLOWEST]
    if not users or not folders:
        return None
    with Drawing(1 + 0.2 * max(len(users), len(folders)), ncols=2) as drawing:
        left, right = drawing.axes
        seconds = [user.ended - user.began for user in users]
        left.barh(range(len(users)), seconds, color=OLD, height=0.7)
        left.set_yticks(range(len(users)), [clean(user.name) for user in users], fontsize=8)
        left.set_xlabel("seconds from first look to published")
        seconds = [folder.seconds for folder in folders]
        right.barh(range(len(folders)), seconds, **new_style(height=0.7))
        names = [clean(f"{folder.user}: {folder.name}")[:28] for folder in folders]
        right.set_yticks(range(len(folders)), names, fontsize=8)
        right.set_xlabel("seconds worked on it")
        for axes, listed in ((left, users), (right, folders)):
            axes.set_ylim(len(listed) - 0.4, -0.6)
            grid(axes, "x")
        svg = drawing.svg()
    user, folder = users[0], folders[0]
    return Plot(
        svg,
        "Slowest users and folders",
        f"{user.name} took longest ({history.duration(user.ended - user.began)}); the slowest "
        f"folder is {folder.name} of {folder.user}: {folder.messages} messages, "
        f"{history.size(folder.bytes)}, {history.duration(folder.seconds)}.",
    )


def sizes(counts: list[int]) -> Plot | None:
    """How many messages are of which size, and what part of all bytes they hold.

    counts: see step_facts.sizes().
    """
    total = sum(counts)
    if not total:
        return None
    filled = [number for number, count in enumerate(counts) if count]
    shown = range(filled[0], filled[-1] + 1)
    # of the sizes from 2^(n-1) to below 2^n the middle stands for all
    held = [counts[number] * 0.75 * 2**number for number in shown]
    with Drawing(2.5) as drawing:
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
            **new_style(width=0.4, label="of all bytes, about"),
        )
        edges = range(shown[0], shown[-1] + 2)
        axes.set_xticks(
            [number - 0.5 for number in edges],
            [history.size(2 ** (number - 1) if number else 0) for number in edges],
            rotation=45,
            fontsize=7.5,
        )
        axes.set_xlabel("size of a message")
        axes.set_ylabel("per cent")
        axes.legend(fontsize=8, frameon=True)
        grid(axes, "y")
        svg = drawing.svg()

    def below(part):
        """The size below which so large a part of the messages is."""
        so_far = itertools.accumulate(counts[number] for number in shown)
        number = next(
            number for number, count in zip(shown, so_far, strict=True) if count >= part * total
        )
        return history.size(2**number)

    return Plot(
        svg,
        "Sizes of messages",
        f"{total} messages of the old store: half are below {below(0.5)}, nine in ten below "
        f"{below(0.9)}, the largest below {below(1)}.",
    )


def deltas(passes: list[transcript.Pass]) -> Plot | None:
    """What each pass over the folders wrote: the first much, the later ones what had changed."""
    passes = [done for done in passes if done.ended is not None]
    if len(passes) < 2:
        return None
    written = [done.written for done in passes]
    seconds = [done.seconds for done in passes]
    with Drawing(2.3, ncols=2) as drawing:
        left, right = drawing.axes
        names = [
            f"{number}\n{history.clock(done.began)[:5]}" for number, done in enumerate(passes, 1)
        ]
        for axes, values, label, digits in (
            (left, written, "messages written", 0),
            (right, seconds, "seconds", 1),
        ):
            bars = axes.bar(names, values, color=OLD, width=0.6)
            axes.bar_label(bars, [f"{value:.{digits}f}" for value in values], fontsize=8)
            axes.set_ylabel(label)
            axes.set_xlabel("pass")
            axes.margins(y=0.15)
        svg = drawing.svg()
    texts = [
        f"pass {number} at {history.clock(done.began)} UTC wrote {done.written} messages in "
        f"{history.duration(done.seconds)}"
        for number, done in enumerate(passes, 1)
    ]
    return Plot(svg, "From pass to pass", "; ".join(texts) + ".")
