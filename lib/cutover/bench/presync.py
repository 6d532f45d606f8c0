"""What users feel of presync, on the lab.

While presync converts everything from the beginning, a test user logs in at the old server and asks
for the status of INBOX, again and again, as in remote/back_off.py. Each way of going slower is
measured in turns, beside no presync and presync at full speed.

With a slow disk (lab/slow_disk.py) each pass begins with all old mail on disk alone, and another
user opens an INBOX that nobody has read for long: its pages are dropped before each visit.
"""

import contextlib
import dataclasses
import os
import platform
import statistics
import threading
import time

from lab import control, seeder, slow_disk

from cutover import model, site
from cutover.changes import conversion
from cutover.connect.hosts import Hosts
from cutover.facts import alias_service
from cutover.model import errors
from cutover.remote import back_off
from cutover.steps.night import convert

EVERY = 0.2  # seconds between logins
ALONE = 20.0  # seconds of logins without presync
FULL = {"nice": 0, "io_class": "none", "max_mb_per_second": None, "back_off_ms": None}
NONE, FULL_SPEED, NICE = "no presync", "full speed", "nice 10"
FETCHED = range(1, 21)  # messages that a visitor reads
PATIENCE = 60.0  # seconds for each answer to one
LIMIT_FACTOR = 1.5  # of the median without presync: the limit to back off at


def measure(fill: int, runs: int, disk: float | None, say=lambda text: None) -> dict:
    """Measure `runs` of each; `fill` more messages of old mail; disk: MB per second, if it is slow.

    → {"fill", "disk", "messages", "bytes", "processors", "python", "load": [before, after], "rows":
    {way: {"seconds": [of each run], "ms": [of each login], "visits": [ms of each; none without a
    slow disk], "failed", "slowed": [seconds]}}}. Takes the lab down.
    """
    parameters, load, rows = site.load("parameters/lab.yaml"), [os.getloadavg()[0]], {}
    try:
        say("preparing a lab …")
        control.up(fresh=True, seed=True)
        if fill:
            seeder.more(fill)
        slowly = slow_disk.slow(disk) if disk else contextlib.nullcontext()
        with slowly, Hosts(parameters) as hosts:
            context = model.Context(hosts, run_name="bench")
            facts = convert.probe(context)
            change = convert.change(conversion.Presync, facts, parameters, facts.users)
            for _ in range(runs):
                _round(context, change, rows, disk, say)
            figures = rows[FULL_SPEED]
    finally:
        control.down()
    return {
        "fill": fill,
        "disk": disk,
        "messages": figures["messages"],
        "bytes": figures["bytes"],
        "processors": os.cpu_count(),
        "python": platform.python_version(),
        "load": [*load, os.getloadavg()[0]],
        "rows": rows,
    }


def _round(context, change, rows, disk, say):
    """Each way once. What is slower than what, the first ways' figures decide."""
    _once(context, None, NONE, rows, disk, say)
    _once(context, dataclasses.replace(change, pace=FULL), FULL_SPEED, rows, disk, say)
    full = rows[FULL_SPEED]
    rate = max(1, round(full["bytes"] / statistics.median(full["seconds"]) / 2e6))
    limit = round(LIMIT_FACTOR * statistics.median(rows[NONE]["ms"]))
    if len(rows) > 2:  # as in the first round
        ways = list(rows.items())[2:]
    else:
        nice = {**FULL, "nice": 10}
        ways = [
            (NICE, {"pace": nice}),
            (f"nice 10, {rate} MB/s", {"pace": {**nice, "max_mb_per_second": rate}}),
            (f"nice 10, back off at {limit} ms", {"pace": {**nice, "back_off_ms": limit}}),
        ]
    for name, row in ways:
        _once(context, dataclasses.replace(change, pace=row["pace"]), name, rows, disk, say)


def _once(context, change, name, rows, disk, say):
    """One pass from the beginning, or a time without any, with logins meanwhile."""
    empty = {"seconds": [], "ms": [], "visits": [], "failed": 0, "slowed": []}
    row = rows.setdefault(name, empty)
    if change is not None:
        row["pace"] = change.pace
        context.hosts.run(change.host, ["rm", "-rf", change.work], sudo=True, timeout=600)
    if disk:
        slow_disk.forget(slow_disk.HOME)
    with _Logins(context.hosts, back_off.latency) as logins, _visits(context, disk) as visits:
        if change is None:
            time.sleep(ALONE)
        else:
            figures = change.apply(context, lambda event: None).figures
            row.update(messages=figures["messages"], bytes=figures["bytes"])
            row["seconds"].append(figures["seconds"])
            row["slowed"].append(figures.get("latency", {}).get("slowed_seconds", 0))
    row["ms"] += logins.ms
    row["failed"] += logins.failed
    say(f"{name}: {len(logins.ms)} logins, median {statistics.median(logins.ms):.0f} ms")
    if visits:
        row["visits"] += visits.ms
        row["failed"] += visits.failed


def _visits(context, disk):
    return _Logins(context.hosts, _visit) if disk else contextlib.nullcontext()


def _visit(hosts) -> float:
    """Milliseconds for which a user opens INBOX and reads messages, from the disk.

    Raises errors.CutoverError and OSError.
    """
    site = hosts.site
    user = site.production_test.users[0].user
    slow_disk.forget(slow_disk.HOME / user)
    began = time.monotonic()
    session = alias_service.login(
        hosts, user, site.address(site.roles.old), site.fqdn(site.alias), PATIENCE
    )
    try:
        session.examine("INBOX")
        session.client.fetch(FETCHED, "BODY.PEEK[]")
        return 1000 * (time.monotonic() - began)
    finally:
        with contextlib.suppress(errors.CutoverError, OSError):
            session.logout()


class _Logins:
    """Logs in again and again from enter to exit. act: does, and returns its milliseconds."""

    def __init__(self, hosts, act):
        self.hosts, self.act, self.ms, self.failed = hosts, act, [], 0
        self.ended = threading.Event()
        self.thread = threading.Thread(target=self._loop, daemon=True)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.ended.set()
        self.thread.join()

    def _loop(self):
        while not self.ended.wait(EVERY):
            self.failed += 1
            with contextlib.suppress(errors.CutoverError, OSError):
                self.ms.append(self.act(self.hosts))
                self.failed -= 1


def text(values: dict) -> str:
    """A table in Markdown."""
    lines = [
        f"{values['messages']:,} messages, {values['bytes'] / 1e6:,.0f} MB; {values['processors']} "
        f"processors, Python {values['python']}; load {values['load'][0]:.1f} at the beginning, "
        f"{values['load'][1]:.1f} at the end; {len(values['rows'][FULL_SPEED]['seconds'])} runs of "
        "each, in turns.",
        "",
        "| | presync, s | MB/s | logins | failed | median, ms | p95, ms | max, ms | slowed, s |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    if values["disk"]:
        lines[0] += f" The old server's disk reads {values['disk']:g} MB per second."
        lines[2] += " visits | median, ms | p95, ms | max, ms |"
        lines[3] += "---|---|---|---|"
    for name, row in values["rows"].items():
        cells = ["", "", ""]
        if row["seconds"]:
            seconds = statistics.median(row["seconds"])
            slowed = f"{statistics.median(row['slowed']):.0f}" if any(row["slowed"]) else ""
            cells = [f"{seconds:.1f}", f"{row['bytes'] / seconds / 1e6:.1f}", slowed]
        line = (
            f"| {name} | {cells[0]} | {cells[1]} | {len(row['ms'])} | {row['failed']} | "
            f"{_spread(row['ms'])} | {cells[2]} |"
        )
        if values["disk"]:
            line += f" {len(row['visits'])} | {_spread(row['visits'])} |"
        lines.append(line)
    return "\n".join(lines)


def _spread(ms):
    """Median, 95th percentile and maximum, as cells."""
    ms = sorted(ms)
    return f"{statistics.median(ms):.0f} | {ms[int(0.95 * (len(ms) - 1))]:.0f} | {ms[-1]:.0f}"
