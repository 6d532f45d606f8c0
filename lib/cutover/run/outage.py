"""Both outage windows, measured from outside: logins by the alias; mail sent through the MX, and when it arrived.

Every probe is a line of `outage.jsonl` in the run folder: `{"kind", "at", "took", "good", "said"}`, `at` in seconds since the
epoch, `took` in seconds. Kinds:

reading    each half second a test user logs in by the alias.
delivery   each half second both mail hosts are asked whether they take mail (SMTP greeting).
mail       every two seconds a message goes through the MX, in turns, to the account `outage.probe`; `id` names it.
arrived    that message as its reader sees it by the alias: `at` is the second of its delivery (INTERNALDATE, the mail host's
           clock). It is looked for as long as reading is refused, and removed once it was seen.

A window begins with the last probe that succeeded before the service was gone and ends with the first that succeeded after, so
it is never told too short. The delivery window ends with real mail once mail came through after it; while it lasts, and at a
site without `outage.probe`, it is that of the greetings.
"""

import contextlib
import dataclasses
import datetime
import itertools
import json
import threading
import time

from cutover.connect import smtp
from cutover.facts import alias_service as live
from cutover.model import errors
from cutover.site import secrets

NAME = "outage.jsonl"
EVERY = 0.5  # seconds between two logins, or greetings
MAIL_EVERY = 2.0  # seconds between two messages
LOOK_EVERY = 5.0  # seconds between two looks for those that have arrived
PATIENCE = 3.0  # seconds one probe may take
LAST = 20.0  # seconds given to the last messages at the end

READING, DELIVERY, MAIL, ARRIVED = "reading", "delivery", "mail", "arrived"
HEADER = "X-Cutover-Probe"


@dataclasses.dataclass(frozen=True)
class Window:
    kind: str  # READING or DELIVERY
    began: float  # seconds since the epoch: last success before
    ended: float | None  # first success after; None while it lasts
    probes: int  # failed probes within; messages that waited
    by: str = "probes refused"

    @property
    def grain(self) -> float:
        """Seconds by which it may be told too long: probes come so far apart."""
        return EVERY if self.by == Window.by else MAIL_EVERY + 1

    @property
    def seconds(self) -> float | None:
        return None if self.ended is None else self.ended - self.began

    def __str__(self):
        def clock(at):
            return datetime.datetime.fromtimestamp(at, datetime.UTC).strftime("%H:%M:%S")

        if self.ended is None:
            return f"since {clock(self.began)}, not over"
        return f"{self.seconds:.1f} s ({clock(self.began)} to {clock(self.ended)} UTC, {self.probes} {self.by})"


class Watch:
    """Probes in the background between start and stop; a context manager."""

    def __init__(self, hosts, run):
        self.hosts, self.path, self.mark = hosts, run.path / NAME, run.name
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self._waiting = set()  # ids of messages that were taken and have not been seen
        self._before = _unseen(self.path)  # the same, of commands before this one
        self._numbers = itertools.count(int(time.time()))
        loops = [(READING, EVERY, self._read), (DELIVERY, EVERY, self._greet)]
        if hosts.site.outage.probe:
            loops.append((MAIL, MAIL_EVERY, self._send))
        self._threads = [
            threading.Thread(target=self._loop, args=loop, daemon=True) for loop in loops
        ]
        if hosts.site.outage.probe:
            self._threads.append(threading.Thread(target=self._look, daemon=True))

    def __enter__(self):
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self._stop.set()
        for thread in self._threads:
            thread.join(LAST + PATIENCE * 3)

    def _loop(self, kind, every, probe):
        while not self._stop.is_set():
            began, more = time.time(), {}
            try:
                said, good = probe(more), True
            except (errors.CutoverError, OSError) as error:
                said, good = f"{type(error).__name__}: {error}", False
            self._note(
                kind=kind,
                at=round(began, 3),
                took=round(time.time() - began, 3),
                good=good,
                said=secrets.redact(said)[:200],
                **more,
            )
            self._stop.wait(max(0.0, every - (time.time() - began)))

    def _note(self, **line):
        # on a full disk the probe is lost, and the night is not
        with self._lock, contextlib.suppress(OSError), self.path.open("a") as out:
            out.write(json.dumps(line, sort_keys=True) + "\n")

    def _login(self, user):
        """A login: the alias resolved at the primary, TLS, a password. → (address, session)"""
        alias = self.hosts.site.fqdn(self.hosts.site.alias)
        address = live.resolve(self.hosts, alias)
        return address, live.login(self.hosts, user, address, alias, timeout=PATIENCE)

    def _read(self, _):
        address, session = self._login(self.hosts.site.production_test.users[0].user)
        with contextlib.suppress(errors.CutoverError, OSError):
            session.logout()
        return address

    def _greet(self, _):
        """Whether every mail host says that it takes mail: the MX hold what either of them refuses."""
        site = self.hosts.site
        self.hosts.prove()
        return ", ".join(
            smtp.greeting(site.address(name), 25, PATIENCE, name)[:60] for name in site.mail_hosts
        )

    def _send(self, more):
        site, number = self.hosts.site, next(self._numbers)
        mx, recipient = (
            site.roles.mx[number % len(site.roles.mx)],
            f"{site.outage.probe.user}@{site.zone}",
        )
        token = f"{self.mark}-{number}"
        more["id"] = token
        self.hosts.prove()
        lines = [
            f"From: <{site.production_test.sender}>",
            f"To: <{recipient}>",
            f"Subject: cutover probe {token}",
            f"Message-ID: <{token}@cutover.invalid>",
            f"{HEADER}: {token}",
            "",
            "This message measures the mail service during its move. It may be deleted.",
            "",
        ]
        answer = smtp.send(
            site.address(mx),
            site.production_test.smtp_port,
            site.production_test.sender,
            [recipient],
            "\r\n".join(lines).encode(),
            PATIENCE,
            name=mx,
        )
        self._waiting.add(token)
        return f"{mx}: {answer}"

    def _look(self):
        """Look for messages that have arrived, note when each was delivered, and remove them; at the end, wait for the last,
        if they can be looked for: while nobody can read they are left to the next command."""
        last = None
        while last is None or (self._waiting and time.monotonic() < last):
            self._stop.wait(LOOK_EVERY)
            if last is None and self._stop.is_set():
                last = time.monotonic() + LAST
            if last is not None:
                time.sleep(EVERY)
            try:
                self._collect()
            except (errors.CutoverError, OSError):
                if last is not None:
                    return

    def _collect(self):
        _, session = self._login(self.hosts.site.outage.probe.user)
        try:
            tokens = session.headers("INBOX", HEADER)
            dates = (
                {each.uid: each.internaldate for each in session.read("INBOX", "metadata").messages}
                if tokens
                else {}
            )
            seen = [uid for uid, token in tokens.items() if token and uid in dates]
            for uid in seen:
                if (
                    tokens[uid] in self._waiting | self._before
                ):  # a message that lies on both servers is met twice
                    self._waiting.discard(tokens[uid])
                    self._before.discard(tokens[uid])
                    # the date tells the second only: it arrived within it
                    self._note(
                        kind=ARRIVED,
                        at=dates[uid].timestamp(),
                        took=1.0,
                        good=True,
                        id=tokens[uid],
                        said="",
                    )
            session.delete("INBOX", seen)
        finally:
            with contextlib.suppress(errors.CutoverError, OSError):
                session.logout()


def _lines(path) -> list:
    found = []
    for line in path.read_text().splitlines() if path.exists() else ():
        with contextlib.suppress(ValueError):  # torn by a disk that was full
            found.append(json.loads(line))
    return found


def _unseen(path) -> set:
    """The ids of messages that were taken and not seen yet."""
    probes = _lines(path)
    return {probe.get("id") for probe in probes if probe["kind"] == MAIL and probe["good"]} - {
        probe.get("id") for probe in probes if probe["kind"] == ARRIVED
    }


def windows(path) -> list:
    """The windows in an outage.jsonl: `[Window]`, the longest of each kind; without a failed probe, none of that kind."""
    found = []
    probes = _lines(path)
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
            by_mail = _by_mail(all_of, probes) if kind == DELIVERY else None
            found.append(
                by_mail
                or max(all_of, key=lambda window: (window.ended is None, window.seconds or 0))
            )
    return found


def _by_mail(greeted, probes):
    """The longest time without an arrival in which the hosts did not greet: a busy host greets late and delivers all the same.
    None while such a time lasts, or when nothing arrived before it or after it, as in a night in which `run` did only some
    steps: then nobody sent mail while it began."""
    arrived = sorted((probe["at"], probe["took"]) for probe in probes if probe["kind"] == ARRIVED)
    if any(window.ended is None for window in greeted):
        return None
    longest = max(greeted, key=lambda window: window.seconds)
    if not arrived or arrived[0][0] > longest.began:
        return None
    gaps = [
        (before, after)
        for before, after in itertools.pairwise(arrived)
        if any(before[0] < window.ended and after[0] > window.began for window in greeted)
    ]
    if not gaps:
        return None
    before, after = max(gaps, key=lambda gap: gap[1][0] - gap[0][0])
    # until both hosts greeted for the last time they took mail, whether a message was on its way just then or not
    refused = min(
        window.began for window in greeted if before[0] < window.ended and after[0] > window.began
    )
    began, ended = max(before[0], refused), after[0] + after[1]
    held = sum(
        probe["kind"] == MAIL and probe["good"] and began <= probe["at"] < after[0]
        for probe in probes
    )
    return Window(DELIVERY, began, ended, held, "probe messages waited")
