"""Presync goes slower while the old server answers slowly, as its users see it.

While presync runs, a test user logs in every second from here and asks for the status of INBOX.
When that takes longer than the limit, or fails, the speed is halved; else it rises by a tenth. The
converter reads it from a file of the run's, which only root can write. It is written again at least
every BEAT seconds: without it the converter goes slowest by itself, also when this process or the
link is gone. What this process reads itself goes as fast too (governed). Nothing here makes presync
fail, and the user's mail stays as it is.
"""

import contextlib
import statistics
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from mbx2maildir import pace

from cutover.facts import alias_service
from cutover.model import errors

EVERY = 1.0  # seconds
PATIENCE = 5.0  # seconds for each answer
BEAT = 5.0  # seconds; less than the converter's pace.STALE
SLOWER, FASTER, SLOWEST = 0.5, 0.1, 0.05


class Probe(NamedTuple):
    """How long one probe took and the speed set after it. at: seconds since the epoch.

    limit: milliseconds. failed: why there was no answer, or "".
    """

    at: float
    ms: float
    speed: float
    limit: float
    failed: str = ""


def described(pace: dict) -> list[str]:
    """What slows presync down, as lines of a plan. pace: the parameters' section presync, or {}."""
    parts = [f"nice {pace['nice']}"] if pace.get("nice") else []
    if pace.get("io_class", "none") != "none":
        parts.append(f"disk priority {pace['io_class']}")
    if pace.get("max_mb_per_second"):
        parts.append(f"at most {pace['max_mb_per_second']:g} MB per second")
    if pace.get("back_off_ms"):
        parts.append(f"slower while IMAP takes more than {pace['back_off_ms']:g} ms")
    return [", ".join(parts)] if parts else []


def control(work: str, run: str) -> str:
    """The file on the new host from which the converter reads its speed."""
    return f"{work}/{run}/presync.speed"


def for_converter(pace: dict, work: str, run: str) -> dict | None:
    """The "pace" of the converter's plan. work, run: those of the plan."""
    return pace and {
        "nice": pace["nice"],
        "io_class": pace["io_class"],
        "bytes_per_second": (pace["max_mb_per_second"] or 0) * 1e6,
        "control": control(work, run) if pace["back_off_ms"] else None,
    }


def next_speed(speed: float, over: bool) -> float:
    """The part of the time in which the converter may work, after a probe."""
    return max(SLOWEST, speed * SLOWER) if over else min(1.0, speed + FASTER)


def latency(hosts) -> float:
    """Milliseconds of a test user's login at the old server and STATUS of INBOX.

    Raises errors.CutoverError and OSError.
    """
    site = hosts.site
    account = site.outage.probe or site.production_test.users[0]
    began = time.monotonic()
    session = alias_service.login(
        hosts, account.user, site.address(site.roles.old), site.fqdn(site.alias), PATIENCE
    )
    try:
        session.status("INBOX", ("MESSAGES",))
        return 1000 * (time.monotonic() - began)
    finally:
        with contextlib.suppress(errors.CutoverError, OSError):
            session.logout()


def summary(probes: Sequence[Probe]) -> dict:
    """Figures of probes: milliseconds of those that were answered, and seconds at less than full
    speed."""
    answered = sorted(probe.ms for probe in probes if not probe.failed)
    slowed = sum(
        after.at - probe.at
        for probe, after in zip(probes, probes[1:], strict=False)
        if probe.speed < 1
    )
    return {
        "probes": len(probes),
        "failed": len(probes) - len(answered),
        "median_ms": round(statistics.median(answered), 1) if answered else None,
        "p95_ms": round(answered[int(0.95 * (len(answered) - 1))], 1) if answered else None,
        "max_ms": round(answered[-1], 1) if answered else None,
        "slowed_seconds": round(slowed, 1),
    }


def words(figures: dict) -> str:
    """summary(), for people."""
    if not figures["probes"]:
        return "it ended before the first probe of IMAP"
    answers = (
        f"median {figures['median_ms']:.0f}, 95 % within {figures['p95_ms']:.0f}, at most "
        f"{figures['max_ms']:.0f} ms"
        if figures["median_ms"] is not None
        else "no answer"
    )
    failed = f", {figures['failed']} failed" if figures["failed"] else ""
    return (
        f"login and STATUS at the old server: {answers} ({figures['probes']} probes{failed}); "
        f"slowed down for {figures['slowed_seconds']:.0f} s"
    )


class Watch:
    """Probes in the background from enter to exit, if presync is to back off; a context manager.

    limit: milliseconds, or None. report: takes an event per probe. file: (host, path) of the
    converter's control file. probes: list of Probe. speed: the latest.
    """

    def __init__(
        self,
        hosts,
        limit: float | None,
        report: Callable[[dict], None] = lambda event: None,
        file: tuple[str, str] | None = None,
    ):
        self.hosts, self.limit, self.report, self.file = hosts, limit, report, file
        self.probes, self.speed, self._written = [], 1.0, (None, 0.0)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._loop, daemon=True, name="cutover back-off")

    def __enter__(self):
        if self.limit:
            self._thread.start()
        return self

    def __exit__(self, *_):
        self._stop.set()
        if self.limit:
            self._thread.join(3 * PATIENCE)

    def figures(self) -> dict:
        """Of the change's result: {"latency": see summary()}."""
        return {"latency": summary(self.probes)} if self.limit else {}

    def words(self) -> str:
        return f"; {words(summary(self.probes))}" if self.limit else ""

    def _loop(self):
        while not self._stop.is_set():
            began = time.monotonic()
            self._once()
            self._stop.wait(max(0.0, EVERY - (time.monotonic() - began)))

    def _once(self):
        began, failed = time.monotonic(), ""
        try:
            taken = latency(self.hosts)
        except (errors.CutoverError, OSError) as error:
            taken, failed = 1000 * (time.monotonic() - began), f"{type(error).__name__}: {error}"
        self.speed = next_speed(self.speed, bool(failed) or taken > self.limit)
        probe = Probe(
            round(time.time(), 3), round(taken, 1), round(self.speed, 3), self.limit, failed[:200]
        )
        self.probes.append(probe)
        with contextlib.suppress(errors.CutoverError, OSError):
            self._write()
        with contextlib.suppress(OSError):  # a full disk costs the event alone
            self.report({"event": "latency", **probe._asdict()})

    def _write(self):
        if self.file is None:
            return
        (host, path), (speed, at) = self.file, self._written
        if speed == self.speed and time.monotonic() - at < BEAT:
            return
        text = f"{self.speed:.3f}\n".encode()
        self.hosts.ssh(host).put(text, path, sudo=True, timeout=PATIENCE)
        self._written = self.speed, time.monotonic()


def governed(messages: Iterator, watch: Watch, bytes_per_second: float) -> Iterator:
    """Messages (imap.Message) one by one, no faster than the watch and the rate allow; 0: any."""
    governor = pace.Pace(lambda: (watch.speed, bytes_per_second))
    for message in messages:
        yield message
        governor.pay(message.size, lambda: None)


def pacer(site, watch: Watch) -> Callable[[Iterator], Iterator]:
    """governed(), for one of the sessions that read at the same time (imap.Reader.paced)."""
    rate = (site.presync.max_mb_per_second or 0) * 1e6 / site.verify.parallel
    return lambda messages: governed(messages, watch, rate)
