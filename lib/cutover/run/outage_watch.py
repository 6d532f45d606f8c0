"""Probes that measure the outage from outside while steps run; outage.py describes them."""

import contextlib
import itertools
import json
import threading
import time

from cutover.connect import hosts, smtp
from cutover.facts import alias_service
from cutover.model import errors, runbook
from cutover.record import journal, run_folder
from cutover.run import outage
from cutover.site import secrets

LOOK_EVERY = 5.0  # seconds between two looks for messages that have arrived
PATIENCE = 3.0  # seconds one probe may take
LAST = 20.0  # seconds given to the last messages at the end
HEADER = "X-Cutover-Probe"
STEPS = [*runbook.OUTAGE, "rollback"]  # in or beside an outage


class Watch:
    """Probes in the background from enter to exit; a context manager."""

    def __init__(self, hosts, run):
        self.hosts, self.path, self.mark = hosts, run.path / outage.NAME, run.name
        # how much of the journal was looked at, and whether it is close to an outage by that
        self._journal, self._looked, self._close = run.path / journal.NAME, 0, False
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self._waiting = set()  # ids of messages that were taken and have not been seen
        self._before = outage.missing_messages(self.path)  # of commands before this one
        self._numbers = itertools.count(int(time.time()))
        loops = [
            (outage.READING, outage.EVERY, self._read),
            (outage.DELIVERY, outage.EVERY, self._greet),
        ]
        if hosts.site.outage.probe:
            loops.append((outage.MAIL, outage.MAIL_EVERY, self._send))
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
            # the clock may be set while the night runs
            at, began, fields = time.time(), time.monotonic(), {}
            try:
                text, good = probe(fields), True
            except (errors.CutoverError, OSError) as error:
                text, good = f"{type(error).__name__}: {error}", False
            self._note(
                kind=kind,
                at=round(at, 3),
                took=round(time.monotonic() - began, 3),
                good=good,
                said=secrets.redact(text)[:200],
                **fields,
            )
            self._pause(every, began, good)

    def _pause(self, every, began, good):
        """Wait until the next probe is due, which may become sooner meanwhile."""
        while not self._stop.is_set():
            left = began + self._rest(every, good) - time.monotonic()
            if left <= 0:
                return
            self._stop.wait(min(left, outage.EVERY))

    def _rest(self, every, good):
        """Seconds between two probes by now."""
        return every if self._close_to_outage() or not good else every * outage.CALM

    def _close_to_outage(self):
        """Whether the step begun last is in an outage or beside it."""
        with self._lock, contextlib.suppress(OSError, ValueError), self._journal.open("rb") as file:
            file.seek(self._looked)
            whole, _, _ = file.read().rpartition(b"\n")
            if whole:
                self._looked += len(whole) + 1
                for event in map(json.loads, whole.split(b"\n")):
                    if event["event"] == "step-begun":
                        self._close = event["step"] in STEPS
        return self._close

    def _note(self, **line):
        # on a full disk only the probe is lost
        with self._lock, contextlib.suppress(OSError), self.path.open("a") as out:
            out.write(json.dumps(line, sort_keys=True) + "\n")

    def _login(self, user):
        """(address, session) of a login: the alias resolved at the primary, TLS, a password."""
        alias = self.hosts.site.fqdn(self.hosts.site.alias)
        address = alias_service.resolve(self.hosts, alias)
        return address, alias_service.login(self.hosts, user, address, alias, timeout=PATIENCE)

    def _read(self, _):
        address, session = self._login(self.hosts.site.production_test.users[0].user)
        with contextlib.suppress(errors.CutoverError, OSError):
            session.logout()
        return address

    def _greet(self, _):
        """Ask every mail host whether it takes mail: the MX hold what any of them refuses."""
        site = self.hosts.site
        self.hosts.prove()
        return ", ".join(
            smtp.greeting(site.address(name), 25, PATIENCE, name)[:60] for name in site.mail_hosts
        )

    def _send(self, fields):
        site, number = self.hosts.site, next(self._numbers)
        mx, recipient = (
            site.roles.mx[number % len(site.roles.mx)],
            f"{site.outage.probe.user}@{site.zone}",
        )
        token = f"{self.mark}-{number}"
        fields["id"] = token
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
        """Look for messages that have arrived, note when they were delivered, and remove them.

        At the end it waits for the last ones. While nobody can read, they are left to the next
        command.
        """
        last = None
        while last is None or (self._waiting and time.monotonic() < last):
            self._stop.wait(LOOK_EVERY)
            if last is None and self._stop.is_set():
                last = time.monotonic() + LAST
            if last is not None:
                time.sleep(outage.EVERY)
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
                {
                    message.uid: message.internaldate
                    for message in session.read("INBOX", "metadata").messages
                }
                if tokens
                else {}
            )
            seen = [uid for uid, token in tokens.items() if token and uid in dates]
            for uid in seen:
                # a message that is on both servers is met twice
                if tokens[uid] in self._waiting | self._before:
                    self._waiting.discard(tokens[uid])
                    self._before.discard(tokens[uid])
                    # the date tells the second only: it arrived within it
                    self._note(
                        kind=outage.ARRIVED,
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


def in_background(site, run) -> threading.Thread:
    """Begin to measure, unless another process of the run already does. Returns at once.

    It ends with this process, e.g. a notebook's kernel.
    """
    thread = threading.Thread(target=_measure, args=(site, run), daemon=True, name="cutover watch")
    thread.start()
    return thread


def _measure(site, run):
    with (
        contextlib.suppress(run_folder.RunBusy, OSError),
        run.alone("watch"),
        hosts.Hosts(site) as connections,
        Watch(connections, run),
    ):
        threading.Event().wait()  # until the process ends
