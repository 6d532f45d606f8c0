"""The events of one conversion, out of those of its units: what one host alone would report."""

import time
from collections.abc import Callable

from cutover.remote import detached


class Merged:
    """Takes the lines of units' attempts in any order, and reports each event once.

    A unit that another host begins again is another attempt: what the first has reported stays
    reported. report(dict) is called by take() and the others, in the caller's thread.
    """

    def __init__(self, report: Callable[[dict], None], run: str, hosts: list[str], users: int):
        self.report, self.users, self.hosts = report, users, hosts
        self.began = time.monotonic()
        self.attempts: dict[int, tuple[str, int]] = {}  # by unit: the latest, lines of it taken
        self.progress: dict[int, dict] = {}
        self.ends: dict[int, dict] = {}
        self.paced = False
        self._say("start", run=run, users=users, host=", ".join(hosts))

    def take(self, unit: int, attempt: str, host: str, first: int, lines: list[str]) -> None:
        """Report what is new of an attempt's lines, of which the first has this number.

        host: the one that makes it.
        """
        latest, taken = self.attempts.get(unit, ("", 0))
        if attempt != latest:
            taken = 0
        for line in lines[max(0, taken - first) :]:
            self._one(unit, host, detached.parse_event(line.encode()))
        self.attempts[unit] = attempt, max(taken, first + len(lines))

    def ended(self, unit: int) -> bool:
        """Whether the unit's converter said that it came to its end."""
        return unit in self.ends

    def end(self, **figures) -> dict:
        """Report the end, with sums of the units' → the event."""
        totals = {}
        for end in self.ends.values():
            for key, value in end.items():
                if isinstance(value, int | float) and key not in ("ok", "time", "seconds"):
                    totals[key] = totals.get(key, 0) + value
        if "asleep" in totals:
            totals["asleep"] = round(totals["asleep"] / len(self.hosts), 3)
        ok = all(end.get("ok") for end in self.ends.values()) and not figures.get("failed_units")
        seconds = round(time.monotonic() - self.began, 3)
        return self._say("end", ok=ok, seconds=seconds, **totals, **figures)

    def log(self, text: str) -> None:
        self._say("log", text=text)

    def _say(self, kind, **values):
        event = {"event": kind, "time": round(time.time(), 3), **values}
        self.report(event)
        return event

    def _one(self, unit, host, event):
        kind = event.get("event")
        if kind == "progress":
            self.progress[unit] = event
            sums = {
                key: sum(progress.get(key, 0) for progress in self.progress.values())
                for key in ("users_done", "messages", "bytes")
            }
            self._say("progress", users=self.users, **sums)
        elif kind == "end":
            self.ends[unit] = event
        elif kind == "pace" and self.paced or kind == "start":
            return
        else:
            self.paced = self.paced or kind == "pace"
            self.report({**event, "worker": host} if kind == "user" else event)
