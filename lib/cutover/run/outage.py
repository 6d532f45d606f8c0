"""Both outage windows, measured from outside, from the probes that outage_watch.py wrote down.

Every probe is a line of `outage.jsonl` in the run's folder: `{"kind", "at", "took", "good",
"said"}`, `at` in seconds since the epoch, `took` in seconds. Kinds:

reading    every half second a test user logs in by the alias.
delivery   every half second both mail hosts are asked whether they take mail (SMTP greeting).
mail       every two seconds a message goes through the MX, in turns, to the account
           `outage.probe`; `id` names it. Before and after the outage all three come at a quarter
           of that rate while they succeed: a login costs the mail host a tenth of a second.
arrived    that message as its reader sees it by the alias: `at` is the second of its delivery
           (INTERNALDATE, the mail host's clock).

A window begins with the last probe that succeeded before the service was gone and ends with the
first that succeeded after, so it is never reported too short. Once mail came through again, the
delivery window ends with that mail. While it lasts, and at a site without `outage.probe`, it is
that of the greetings.
"""

import contextlib
import dataclasses
import datetime
import itertools
import json
from pathlib import Path

NAME = "outage.jsonl"
EVERY = 0.5  # seconds between two logins, or greetings
MAIL_EVERY = 2.0  # seconds between two messages
CALM = 4  # times as long outside the outage

_read = {}  # path: (bytes read, the last of them, the probes in them)

READING, DELIVERY, MAIL, ARRIVED = "reading", "delivery", "mail", "arrived"


@dataclasses.dataclass(frozen=True)
class Window:
    """A time without a service, in seconds since the epoch.

    kind: READING or DELIVERY. began: the last success before. ended: the first success after, None
    while it lasts. probes: failed probes within it or, by_mail, messages that waited.
    """

    kind: str
    began: float
    ended: float | None
    probes: int
    by_mail: bool = False

    @property
    def grain(self) -> float:
        """Seconds by which it may be reported too long: the time between two probes."""
        return MAIL_EVERY + 1 if self.by_mail else EVERY

    @property
    def seconds(self) -> float | None:
        return None if self.ended is None else self.ended - self.began

    @property
    def by(self) -> str:
        """What `probes` counts, in words."""
        return "probe messages waited" if self.by_mail else "probes refused"

    def __str__(self):
        def clock(at):
            return datetime.datetime.fromtimestamp(at, datetime.UTC).strftime("%H:%M:%S")

        if self.ended is None:
            return f"since {clock(self.began)}, not over"
        return (
            f"{self.seconds:.1f} s ({clock(self.began)} to {clock(self.ended)} UTC, {self.probes} "
            f"{self.by})"
        )


def probes(path: Path) -> list[dict]:
    """The probes of an outage.jsonl. Lines that a full disk cut off are skipped.

    Boards ask every second, all night long: what was read before is not read again.
    """
    if not path.exists():
        return []
    offset, end, lines = _read.get(path, (0, b"", []))
    with path.open("rb") as file:
        file.seek(offset - len(end))
        if file.read(len(end)) != end:  # another file
            file.seek(0)
            offset, end, lines = 0, b"", []
        whole, newline, _ = file.read().rpartition(b"\n")
    lines = list(lines)  # whoever has the list from before keeps it as it was
    for line in whole.split(b"\n"):
        with contextlib.suppress(ValueError):
            lines.append(json.loads(line))
    if newline:
        _read[path] = offset + len(whole) + 1, (whole + newline)[-200:], lines
    return lines


def missing_messages(path: Path) -> set[str]:
    """The ids of messages that an MX took and nobody has seen yet."""
    lines = probes(path)
    return {probe.get("id") for probe in lines if probe["kind"] == MAIL and probe["good"]} - {
        probe.get("id") for probe in lines if probe["kind"] == ARRIVED
    }


def windows(path: Path) -> list[Window]:
    """The longest window of each kind in an outage.jsonl; none of a kind without a failed probe."""
    lines, longest = probes(path), []
    for kind in (READING, DELIVERY):
        refused = _refused(kind, lines)
        if refused:
            by_mail = _by_mail(refused, lines) if kind == DELIVERY else None
            longest.append(
                by_mail
                or max(refused, key=lambda window: (window.ended is None, window.seconds or 0))
            )
    return longest


def _refused(kind, lines):
    """Every window of a kind in which probes failed."""
    closed, last_good, began, failed = [], None, None, 0
    for probe in lines:
        if probe["kind"] != kind:
            continue
        if probe["good"]:
            if failed:
                closed.append(Window(kind, began, probe["at"] + probe["took"], failed))
            last_good, failed = probe["at"], 0
        else:
            if not failed:
                began = last_good if last_good is not None else probe["at"]
            failed += 1
    return [*closed, Window(kind, began, None, failed)] if failed else closed


def _by_mail(greeted, lines):
    """The longest time without an arrival in which the hosts did not greet, as a Window.

    A busy host greets late and delivers all the same. None while such a time lasts, and when
    nothing arrived before or after it: where `run` did only some steps, nobody sent mail while it
    began.
    """
    arrived = sorted((probe["at"], probe["took"]) for probe in lines if probe["kind"] == ARRIVED)
    if any(window.ended is None for window in greeted):
        return None
    longest = max(greeted, key=lambda window: window.seconds)
    if not arrived or arrived[0][0] > longest.began:
        return None
    gaps = [
        (before, after, took)
        for (before, _), (after, took) in itertools.pairwise(arrived)
        if any(before < window.ended and after > window.began for window in greeted)
    ]
    if not gaps:
        return None
    before, after, took = max(gaps, key=lambda gap: gap[1] - gap[0])
    # until both hosts greeted for the last time they took mail, whether a message came or not
    refused = min(
        window.began for window in greeted if before < window.ended and after > window.began
    )
    began = max(before, refused)
    waited = sum(
        probe["kind"] == MAIL and probe["good"] and began <= probe["at"] < after for probe in lines
    )
    return Window(DELIVERY, began, after + took, waited, by_mail=True)
