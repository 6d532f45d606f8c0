"""Both outage windows, measured from outside: logins by the alias, and whether a mail host takes mail.

A probe each half second, each with its time, in `outage.jsonl` of the run folder. A window begins with the last probe
that succeeded before the service was gone and ends with the first that succeeded after, so it is never told too short.
"""

import contextlib
import dataclasses
import datetime
import json
import threading
import time

from cutover import errors, secrets
from cutover.hosts import live, smtp

NAME = "outage.jsonl"
EVERY = 0.5         # seconds
PATIENCE = 3.0      # seconds one probe may take

READING, DELIVERY = "reading", "delivery"


@dataclasses.dataclass(frozen=True)
class Window:
    kind: str           # READING or DELIVERY
    began: float        # seconds since the epoch: last success before
    ended: float | None  # first success after; None while it lasts
    probes: int         # failed probes within

    @property
    def seconds(self) -> float | None:
        return None if self.ended is None else self.ended - self.began

    def __str__(self):
        def clock(at):
            return datetime.datetime.fromtimestamp(at, datetime.UTC).strftime("%H:%M:%S")

        if self.ended is None:
            return f"since {clock(self.began)}, not over"
        return f"{self.seconds:.1f} s ({clock(self.began)} to {clock(self.ended)} UTC, {self.probes} probes refused)"


class Watch:
    """Probes in the background between start and stop; a context manager."""

    def __init__(self, hosts, run):
        self.hosts, self.path = hosts, run.path / NAME
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._loop, args=probe, daemon=True)
                         for probe in ((READING, self._read), (DELIVERY, self._deliver))]
        self._lock = threading.Lock()

    def __enter__(self):
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self._stop.set()
        for thread in self._threads:
            thread.join(PATIENCE * 3)

    def _loop(self, kind, probe):
        while not self._stop.is_set():
            began = time.time()
            try:
                said, good = probe(), True
            except (errors.CutoverError, OSError) as error:
                said, good = f"{type(error).__name__}: {error}", False
            line = json.dumps({"at": round(began, 3), "took": round(time.time() - began, 3), "kind": kind, "good": good,
                               "said": secrets.redact(said)[:200]}, sort_keys=True)
            with self._lock, self.path.open("a") as out:
                out.write(line + "\n")
            self._stop.wait(max(0.0, EVERY - (time.time() - began)))

    def _read(self):
        """A user's login: the alias resolved at the primary, TLS, a password."""
        site = self.hosts.site
        alias = site.fqdn(site.alias)
        address = live.resolve(self.hosts, alias)
        session = live.login(self.hosts, site.production_test.users[0].user, address, alias, timeout=PATIENCE)
        with contextlib.suppress(errors.CutoverError, OSError):
            session.logout()
        return address

    def _deliver(self):
        """Whether every mail host says that it takes mail: the MX hold what either of them refuses."""
        site = self.hosts.site
        self.hosts.prove()
        return ", ".join(smtp.greeting(site.address(name), 25, PATIENCE)[:60] for name in site.mail_hosts)


def windows(path) -> list:
    """The windows in an outage.jsonl: `[Window]`, the longest of each kind; without a failed probe, none of that kind."""
    found = []
    probes = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
    for kind in (READING, DELIVERY):
        last_good, current, all_of = None, None, []
        for probe in (each for each in probes if each["kind"] == kind):
            if probe["good"]:
                if current is not None:
                    all_of.append(Window(kind, current[0], probe["at"] + probe["took"], current[1]))
                    current = None
                last_good = probe["at"]
            else:
                current = current or [last_good if last_good is not None else probe["at"], 0]
                current[1] += 1
        if current is not None:
            all_of.append(Window(kind, current[0], None, current[1]))
        if all_of:
            found.append(max(all_of, key=lambda window: (window.ended is None, window.seconds or 0)))
    return found
