"""Live traffic for a rehearsal: mail through both MX, and users at work.

What was accepted is in the ledger (ledger.py). One message in GREY_EVERY is of the kind that the
MX put off. As a mail server would, the sender keeps it and tries again. A message that still waits
at the end was never accepted, so it is not lost.
"""

import dataclasses
import itertools
import random
import threading
import time

from lab import antispam, topology

from cutover.connect import smtp
from cutover.model import errors
from cutover.rehearsal import ledger, readers

SENDERS = 4  # connections at a time
SPAM_EVERY, GREY_EVERY = 9, 11  # messages; odd, so that each MX has its share
AGAIN = 1.5  # seconds after which a message that was put off is tried again


@dataclasses.dataclass
class Message:
    """One message in the hands of its sender."""

    key: str
    user: str
    mx: str
    sender: str
    text: bytes
    began: float = 0.0  # when it was first put off, by time.monotonic
    due: float = 0.0  # when it is tried again
    times: int = 0  # it was put off

    def entry(self) -> dict:
        """What the ledger has of it in any case."""
        entry = {"key": self.key, "user": self.user, "mx": self.mx, "at": round(time.time(), 3)}
        if self.times:
            entry["put_off"] = self.times
            entry["waited"] = round(time.monotonic() - self.began, 1)
        return entry


class Traffic:
    """Sends `rate` messages a second from start to stop, and `least` in all; a context manager.

    `hosts`: cutover.connect.hosts.Hosts of the lab; `run`: the run's folder.
    """

    def __init__(self, hosts, run, rate: float, least: int = 0):
        self.hosts, self.rate, self.least = hosts, rate, least
        self.ledger = ledger.Ledger(run)
        self.put_off = []  # Messages
        self._numbers = itertools.count(1)
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self._mark = run.name
        self._readers = [
            readers.Reader(hosts, user, self.ledger, run.name, self._stop) for user in readers.USERS
        ]
        work = [(self._send, number) for number in range(SENDERS)]
        work += [(reader.run,) for reader in self._readers]
        self._threads = [
            threading.Thread(target=target, args=arguments, daemon=True)
            for target, *arguments in work
        ]

    @property
    def accepted(self) -> int:
        """Messages that an MX took."""
        return self.ledger.accepted

    @property
    def acts(self) -> int:
        """What the users have done: one for each message read, flagged, moved, sent, removed."""
        return sum(reader.acts for reader in self._readers)

    def __enter__(self):
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, kind, *_):
        deadline = time.monotonic() + (ledger.SETTLE if kind is None else 0)
        while self.accepted < self.least and time.monotonic() < deadline:
            time.sleep(0.1)
        self._stop.set()
        for thread in self._threads:
            thread.join(60)
        while self.put_off and time.monotonic() < deadline:
            if message := self._due():
                self._hand_over(message)
            time.sleep(0.1)
        for message in self.put_off:
            self.ledger.note({**message.entry(), "waits": True, "known": False})

    def _send(self, worker):
        """Hand over one message after the other, through each MX in turn."""
        dice = random.Random(worker)
        while not self._stop.is_set():
            began = time.monotonic()
            if not self._hand_over(self._due() or self._next(dice)):
                time.sleep(0.5)
                continue
            self._stop.wait(max(0.0, SENDERS / self.rate - (time.monotonic() - began)))

    def _next(self, dice):
        """A new message: for any user, of any length."""
        site = self.hosts.site
        with self._lock:
            number = next(self._numbers)
        key, user = f"{self._mark}-{number}", dice.choice(sorted(topology.USERS))
        body = "".join(dice.choices("abcdefghij klmnop\n", k=dice.randrange(200, 4000)))
        # the greylist lets a sender pass once it knows it: each message has a sender of its own
        sender, line = "traffic@elsewhere.test", ""
        if number % SPAM_EVERY == 0:
            line = antispam.SPAM
        elif number % GREY_EVERY == 0:
            sender, line = f"{key}@elsewhere.test", antispam.GREY
        text = (
            f"From: <{sender}>\r\nTo: <{user}@{site.zone}>\r\nSubject: traffic {number}\r\n"
            f"Message-ID: <{key}@traffic.invalid>\r\n{ledger.HEADER}: {key}\r\n\r\n"
            f"{line}\r\n{body}\r\n"
        )
        return Message(key, user, site.roles.mx[number % len(site.roles.mx)], sender, text.encode())

    def _due(self):
        """A message that was put off and is to be tried again now, or None."""
        now = time.monotonic()
        with self._lock:
            message = next((message for message in self.put_off if message.due <= now), None)
            if message:
                self.put_off.remove(message)
        return message

    def _hand_over(self, message) -> bool:
        """Give a message to its MX. → False when the MX took nothing and did not ask to wait.

        What the MX accepts, or may have accepted, goes into the ledger; what it puts off is kept.
        """
        site, answer, known = self.hosts.site, "", True
        recipients = [f"{message.user}@{site.zone}"]
        try:
            answer = smtp.send(
                site.address(message.mx), 25, message.sender, recipients, message.text, 30
            )
        except smtp.DeliveryUnknown as error:
            answer, known = str(error), False
        except (errors.CutoverError, OSError) as error:
            later = getattr(error, "put_off", False)
            if later or message.times:  # once put off it is its sender's until it is taken
                now = time.monotonic()
                message.began, message.due = message.began or now, now + AGAIN
                message.times += later
                with self._lock:
                    self.put_off.append(message)
            return later
        self.ledger.note({**message.entry(), "known": known, "answer": answer})
        return True
