"""Live traffic for a rehearsal: mail through both MX, and users at work on the server to which the alias leads.

Each message that an MX accepts is written into a ledger (`ledger.jsonl` of the run folder) before the next is sent; so is each
copy of sent mail that a user keeps, and each of those he removes again. At the end the servers are asked, by IMAP, how often
each message is there.

One message in GREY_EVERY is of the kind that the MX put off. As a mail server would, its sender keeps it and tries again; the
ledger has how often it was put off, and for how long. One that still waits at the end was never accepted, so it is not lost.
"""

import collections
import concurrent.futures
import contextlib
import dataclasses
import itertools
import json
import random
import threading
import time

from lab import antispam, keys, topology

from cutover.changes import mail
from cutover.connect import imap, smtp
from cutover.facts import alias_service as live
from cutover.facts import mail_queue, mailboxes, processes
from cutover.model import errors

LEDGER = "ledger.jsonl"
SENDERS = 4  # connections at a time
SETTLE = 180  # seconds the queues may take at the end
QUIET = 3  # looks in a row that find nothing
HEADER = "X-Ledger"
SPAM_EVERY, GREY_EVERY = 9, 11  # messages; odd, so that each MX has its share
AGAIN = 1.5  # seconds after which a message that was put off is tried again
READ_EVERY = 0.5  # seconds between two acts of a reading user
READERS = (
    "carla",
    "davide",
    "fabio",
    "marta",
)  # none whose INBOX production-test looks into: they move what they find
MOVED_TO, SENT, MADE = (
    "spostati",
    "sent-mail",
    "nuovi/lavori",
)  # folders; the last is made on the new server alone
ACTS = {
    "old": ("read", "flag", "unflag", "move", "send"),
    "new": ("read", "flag", "unflag", "move", "send", "remove", "file"),
}


class NotDelivered(errors.CutoverError):
    """The queues did not empty at the end of the traffic."""


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

    def told(self) -> dict:
        """What the ledger has of it in any case."""
        late = (
            {"put_off": self.times, "waited": round(time.monotonic() - self.began, 1)}
            if self.times
            else {}
        )
        return {
            "key": self.key,
            "user": self.user,
            "mx": self.mx,
            "at": round(time.time(), 3),
            **late,
        }


class Traffic:
    """Sends `rate` messages a second from start to stop, but never fewer than `least` in all; a context manager.

    `reached`: cutover.connect.hosts.Hosts of the lab; `run`: the run's folder.
    """

    def __init__(self, reached, run, rate: float, least: int = 0):
        self.hosts, self.path, self.rate, self.least = reached, run.path / LEDGER, rate, least
        self._numbers = itertools.count(1)
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self._threads = [
            threading.Thread(target=self._send, args=(number,), daemon=True)
            for number in range(SENDERS)
        ]
        self._threads += [
            threading.Thread(target=self._use, args=(user,), daemon=True) for user in READERS
        ]
        self.accepted = self.acts = 0
        self._put_off = []  # Messages
        self._sent = {user: [] for user in READERS}  # keys of the copies that a user has in SENT
        self._mark = run.name

    def __enter__(self):
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, kind, *_):
        deadline = time.monotonic() + (SETTLE if kind is None else 0)
        while self.accepted < self.least and time.monotonic() < deadline:
            time.sleep(0.1)
        self._stop.set()
        for thread in self._threads:
            thread.join(60)
        while self._put_off and time.monotonic() < deadline:
            if message := self._due():
                self._hand_over(message)
            time.sleep(0.1)
        for message in self._put_off:
            self._note({**message.told(), "waits": True, "known": False})

    # --- mail

    def _send(self, worker):
        """Hand over one message after the other, in turns through each MX; what is not accepted is not in the ledger."""
        rng = random.Random(worker)
        while not self._stop.is_set():
            began = time.monotonic()
            if not self._hand_over(self._due() or self._next(rng)):
                time.sleep(0.5)
                continue
            self._stop.wait(max(0.0, SENDERS / self.rate - (time.monotonic() - began)))

    def _next(self, rng):
        """A new message: for any user, of any length."""
        site = self.hosts.site
        with self._lock:
            number = next(self._numbers)
        key, user = f"{self._mark}-{number}", rng.choice(sorted(topology.USERS))
        body = "".join(rng.choices("abcdefghij klmnop\n", k=rng.randrange(200, 4000)))
        # the greylist knows a sender it has let pass: each has one of his own
        sender, line = "traffic@elsewhere.test", ""
        if number % SPAM_EVERY == 0:
            line = antispam.SPAM
        elif number % GREY_EVERY == 0:
            sender, line = f"{key}@elsewhere.test", antispam.GREY
        text = (
            f"From: <{sender}>\r\nTo: <{user}@{site.zone}>\r\nSubject: traffic {number}\r\n"
            f"Message-ID: <{key}@traffic.invalid>\r\n{HEADER}: {key}\r\n\r\n{line}\r\n{body}\r\n"
        )
        return Message(key, user, site.roles.mx[number % len(site.roles.mx)], sender, text.encode())

    def _due(self):
        """A message that was put off and is to be tried again now, or None."""
        with self._lock:
            found = next(
                (message for message in self._put_off if message.due <= time.monotonic()), None
            )
            if found:
                self._put_off.remove(found)
        return found

    def _hand_over(self, message) -> bool:
        """Give it to its MX: accepted or unknown goes to the ledger, "later" to those put off. → False when it took nothing."""
        site, answer, known = self.hosts.site, "", True
        try:
            answer = smtp.send(
                site.address(message.mx),
                25,
                message.sender,
                [f"{message.user}@{site.zone}"],
                message.text,
                30,
            )
        except smtp.DeliveryUnknown as error:
            answer, known = str(error), False
        except (errors.CutoverError, OSError) as error:
            later = getattr(error, "put_off", False)
            if later or message.times:  # once put off it is its sender's until it is taken
                now = time.monotonic()
                message.began, message.due, message.times = (
                    message.began or now,
                    now + AGAIN,
                    message.times + later,
                )
                with self._lock:
                    self._put_off.append(message)
            return later
        self._note({**message.told(), "known": known, "answer": answer})
        return True

    def _note(self, entry):
        with self._lock:
            with self.path.open("a") as out:
                out.write(json.dumps(entry, sort_keys=True) + "\n")
            self.accepted += entry["known"] and "mx" in entry

    # --- users

    def _use(self, user):
        """Work on the server to which the alias leads as long as it lets the user in; then try again until the end."""
        rng = random.Random(user)
        while not self._stop.is_set():
            with contextlib.suppress(
                errors.CutoverError, OSError, imap.imapclient.exceptions.IMAPClientError
            ):
                self._session(user, rng)
            self._stop.wait(1.0)

    def _session(self, user, rng):
        site = self.hosts.site
        alias = site.fqdn(site.alias)
        address = live.resolve(self.hosts, alias)
        side = "new" if address == site.address(site.roles.new) else "old"
        session = imap.login(
            address, 993, alias, keys.CA, user, (keys.SECRETS / user).read_text().strip(), 10
        )
        prefix = site.old_store.imap_prefix if side == "old" else ""
        try:
            for name in (MOVED_TO, SENT, *([MADE] if side == "new" else [])):
                if not session.client.folder_exists(prefix + name):
                    session.create(prefix + name)
                    session.subscribe(prefix + name)
            while not self._stop.is_set():
                self._act(session, user, side, prefix, rng)
                with self._lock:
                    self.acts += 1
                self._stop.wait(READ_EVERY)
        finally:
            with contextlib.suppress(OSError, errors.CutoverError):
                session.logout()

    def _act(self, session, user, side, prefix, rng):
        client, act = session.client, rng.choice(ACTS[side])
        if act == "send":
            return self._keep_sent(session, user, prefix + SENT)
        if act == "remove":
            return self._remove_sent(session, user, prefix + SENT)
        client.select_folder("INBOX")
        uids = client.search("ALL")
        if not uids:
            return None
        uid = rng.choice(uids[-50:])
        if act == "read":
            client.fetch([uid], ["BODY[]"])
        elif act in ("move", "file"):
            self._move(session, uid, side, prefix + (MOVED_TO if act == "move" else MADE))
        else:
            change = client.add_flags if act == "flag" else client.remove_flags
            change([uid], [b"\\Flagged", b"\\Answered", b"$Traffic"][: rng.randrange(1, 4)])
        return None

    def _move(self, session, uid, side, target):
        client = session.client
        if side == "new":
            client.move([uid], target)
            return
        # cut between the two, as by stop-imap, the user is left with both
        header = f"BODY[HEADER.FIELDS ({HEADER.upper()})]".encode()
        key = (
            client.fetch([uid], [header.replace(b"BODY", b"BODY.PEEK")])[uid][header]
            .partition(b":")[2]
            .strip()
            .decode()
        )
        client.copy([uid], target)
        try:
            client.delete_messages([uid])
            client.expunge()
        except BaseException:
            self._note({"key": key, "twice": True, "known": False})
            raise

    def _keep_sent(self, session, user, folder):
        key = f"{self._mark}-sent-{user}-{len(self._sent[user])}-{time.time_ns()}"
        text = (
            f"From: <{user}@{self.hosts.site.zone}>\r\nTo: <anna@elsewhere.test>\r\nSubject: sent\r\n{HEADER}: {key}\r\n\r\n"
            f"Sent by {user}.\r\n"
        )
        entry = {"key": key, "user": user, "sent": "new" if folder == SENT else "old"}
        try:
            session.append(folder, text.encode(), ["\\Seen"])
        except BaseException:
            self._note({**entry, "known": False})
            raise
        self._note({**entry, "known": True})
        self._sent[user].append(key)

    def _remove_sent(self, session, user, folder):
        if not self._sent[user]:
            return
        key = self._sent[user].pop(0)
        known = False
        try:
            session.delete(folder, session.find(folder, HEADER, key))
            known = True
        finally:
            self._note({"key": key, "user": user, "removed": True, "known": known})


# --- the ledger


def settle(reached):
    """Wait until no queue holds mail any more, at some looks in a row: between two hosts' answers a message may have gone from
    the one that was asked later to the one that was asked before. Raises NotDelivered with what is left."""
    site = reached.site
    names = [*site.roles.mx, *site.mail_hosts]
    deadline, quiet = time.monotonic() + SETTLE, 0
    while True:
        reached.each(site.roles.mx, lambda name: mail.flush(reached, name))
        left = {
            name: queue["items"]
            for name, queue in reached.each(
                names, lambda name: mail_queue.read(reached, name)
            ).items()
            if queue["requests"]
        }
        busy = [
            name
            for name in site.mail_hosts
            if processes.running(reached, name, ["procmail", "dmail"])
        ]
        quiet = 0 if left or busy else quiet + 1
        if quiet == QUIET:
            return
        if (left or busy) and time.monotonic() > deadline:
            raise NotDelivered(f"after {SETTLE} s mail still waits: {left or busy}")
        time.sleep(0.5)


def count(reached, run, both: bool = True) -> dict:
    """Ask the servers how often each message of the ledger is there.

    → `{"accepted": n, "unknown": n, "sent": n, "removed": n, "put_off": late(), "old": {"lost": [keys], "double": [keys], "back":
    [removed and there again]}, "new": the same or None, "passed": bool}`. With `both` false only the old server is asked, as
    after a rollback; it then has what was done on the new one. A message whose fate is unknown may be there once or not at all.
    """
    entries = [json.loads(line) for line in (run.path / LEDGER).read_text().splitlines()]
    settle(reached)
    sent, removed = ([entry for entry in entries if what in entry] for what in ("sent", "removed"))
    mail = [entry for entry in entries if not {"sent", "removed", "twice", "waits"} & set(entry)]
    result = {
        "accepted": sum(entry["known"] for entry in mail),
        "unknown": sum(not entry["known"] for entry in mail),
        "sent": sum(entry["known"] for entry in sent),
        "removed": sum(entry["known"] for entry in removed),
        "put_off": late(entries),
    }
    gone = {entry["key"] for entry in removed}
    twice = {entry["key"] for entry in entries if "twice" in entry}
    for side, session in {
        "old": mailboxes.old_session,
        "new": mailboxes.new_session if both else None,
    }.items():
        if session is None:
            result[side] = None
            continue
        apart = both and side == "old"  # what was done on the new server since is not there
        there = _keys(reached, session, side)
        wanted = [
            entry["key"]
            for entry in [*mail, *sent]
            if entry["known"]
            and (entry["key"] not in gone or apart)
            and not (apart and entry.get("sent") == "new")
        ]
        result[side] = {
            "lost": [key for key in wanted if not there[key]],
            "double": sorted(key for key, times in there.items() if times > 1 and key not in twice),
            "back": []
            if apart
            else [entry["key"] for entry in removed if entry["known"] and there[entry["key"]]],
        }
    result["passed"] = result["accepted"] > 0 and not any(
        keys for found in (result["old"], result["new"]) if found for keys in found.values()
    )
    return result


def late(entries) -> dict:
    """What was put off at first: `{"messages": accepted later, "least", "most": seconds until they were, or None, "waiting":
    [keys of those that were not accepted until the end]}`"""
    waited = [entry["waited"] for entry in entries if entry.get("put_off") and entry["known"]]
    return {
        "messages": len(waited),
        "least": min(waited, default=None),
        "most": max(waited, default=None),
        "waiting": [entry["key"] for entry in entries if "waits" in entry],
    }


def _keys(reached, session, side):
    """How often each key of the ledger is there, in all folders of all users."""
    prefix = reached.site.old_store.imap_prefix

    def keys_of(user):
        found = collections.Counter()
        with session(reached, user) as reader:
            names = (
                mailboxes.old_folders(reader, prefix)
                if side == "old"
                else [name for name, _, selectable in reader.folders("*") if selectable]
            )
            for name in names:
                with contextlib.suppress(imap.FolderUnreadable):
                    found.update(value for value in reader.headers(name, HEADER).values() if value)
        return found

    total = collections.Counter()
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        for found in pool.map(keys_of, sorted(topology.USERS)):
            total.update(found)
    return total
