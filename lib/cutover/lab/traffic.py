"""Live traffic for a rehearsal: mail through both MX, and users who read, flag and move on the old server.

Each message that an MX accepts is written into a ledger (`ledger.jsonl` of the run folder) before the next is sent. At the
end both servers are asked, by IMAP, how often each accepted message is there.
"""

import collections
import concurrent.futures
import contextlib
import itertools
import json
import random
import threading
import time

from cutover import errors
from cutover.changes import mail
from cutover.hosts import facts as host_facts
from cutover.hosts import imap, mailboxes, smtp
from cutover.lab import hosts as lab_hosts
from cutover.lab import keys

LEDGER = "ledger.jsonl"
SENDERS = 4             # connections at a time
SETTLE = 180            # seconds the queues may take at the end
HEADER = "X-Ledger"
READ_EVERY = 0.5        # seconds between two acts of a reading user
READERS = ("alice", "carla", "davide", "fabio")
MOVED_TO = "mail/spostati"


class NotDelivered(errors.CutoverError):
    """The queues did not empty at the end of the traffic."""


class Traffic:
    """Sends `rate` messages a second from start to stop, but never fewer than `least` in all; a context manager.

    `reached`: cutover.hosts.Hosts of the lab; `run`: the run's folder.
    """

    def __init__(self, reached, run, rate: float, least: int = 0):
        self.hosts, self.path, self.rate, self.least = reached, run.path / LEDGER, rate, least
        self._numbers = itertools.count(1)
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self._threads = [threading.Thread(target=self._send, args=(number,), daemon=True) for number in range(SENDERS)]
        self._threads += [threading.Thread(target=self._use, args=(user,), daemon=True) for user in READERS]
        self.accepted = self.acts = 0
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

    # --- mail

    def _send(self, worker):
        """Hand over one message after the other, in turns through each MX; what is not accepted is not in the ledger."""
        site = self.hosts.site
        rng = random.Random(worker)
        users = sorted(lab_hosts.USERS)
        while not self._stop.is_set():
            began = time.monotonic()
            with self._lock:
                number = next(self._numbers)
            key, user, mx = f"{self._mark}-{number}", rng.choice(users), site.roles.mx[number % len(site.roles.mx)]
            body = "".join(rng.choices("abcdefghij klmnop\n", k=rng.randrange(200, 4000)))
            spam = "X-Spam-Flag: YES\r\n" if number % 9 == 0 else ""
            text = (f"From: <traffic@elsewhere.test>\r\nTo: <{user}@{site.zone}>\r\nSubject: traffic {number}\r\n"
                    f"Message-ID: <{key}@traffic.invalid>\r\n{HEADER}: {key}\r\n{spam}\r\n{body}\r\n")
            answer, known = "", True
            try:
                answer = smtp.send(site.address(mx), 25, "traffic@elsewhere.test", [f"{user}@{site.zone}"], text.encode(), 30)
            except smtp.DeliveryUnknown as error:
                answer, known = str(error), False
            except (errors.CutoverError, OSError):
                time.sleep(0.5)
                continue
            self._note({"key": key, "user": user, "mx": mx, "known": known, "answer": answer, "at": round(time.time(), 3)})
            self._stop.wait(max(0.0, SENDERS / self.rate - (time.monotonic() - began)))

    def _note(self, entry):
        with self._lock:
            with self.path.open("a") as out:
                out.write(json.dumps(entry, sort_keys=True) + "\n")
            self.accepted += entry["known"]

    # --- users

    def _use(self, user):
        """Read, flag and move on the old server as long as it lets the user in; then try again until the end."""
        rng = random.Random(user)
        while not self._stop.is_set():
            with contextlib.suppress(errors.CutoverError, OSError, imap.imapclient.exceptions.IMAPClientError):
                self._session(user, rng)
            self._stop.wait(1.0)

    def _session(self, user, rng):
        site = self.hosts.site
        session = imap.login(site.address(site.roles.old), 993, site.fqdn(site.roles.old), keys.CA, user,
                             (keys.SECRETS / user).read_text().strip(), 10)
        client = session.client
        try:
            if not client.folder_exists(MOVED_TO):
                client.create_folder(MOVED_TO)
            while not self._stop.is_set():
                client.select_folder("INBOX")
                uids = client.search("ALL")
                if uids:
                    uid = rng.choice(uids[-50:])
                    act = rng.choice(("read", "flag", "unflag", "move"))
                    if act == "read":
                        client.fetch([uid], ["BODY[]"])
                    elif act == "move":
                        client.copy([uid], MOVED_TO)
                        client.delete_messages([uid])
                        client.expunge()
                    else:
                        change = client.add_flags if act == "flag" else client.remove_flags
                        change([uid], [b"\\Flagged", b"\\Answered"][: rng.randrange(1, 3)])
                    with self._lock:
                        self.acts += 1
                self._stop.wait(READ_EVERY)
        finally:
            with contextlib.suppress(OSError, errors.CutoverError):
                session.logout()


# --- the ledger


def settle(reached):
    """Wait until no queue holds mail any more. Raises NotDelivered with what is left."""
    site = reached.site
    names = [*site.roles.mx, *site.mail_hosts]
    deadline = time.monotonic() + SETTLE
    while True:
        reached.each(site.roles.mx, lambda name: mail.flush(reached, name))
        left = {name: queue["items"] for name, queue in reached.each(names, lambda name: host_facts.queue(reached, name)).items()
                if queue["requests"]}
        busy = [name for name in site.mail_hosts if host_facts.processes(reached, name, ["procmail", "dmail"])]
        if not left and not busy:
            return
        if time.monotonic() > deadline:
            raise NotDelivered(f"after {SETTLE} s mail still waits: {left or busy}")
        time.sleep(0.5)


def count(reached, run, both: bool = True) -> dict:
    """Ask the servers how often each accepted message is there.

    → `{"accepted": n, "unknown": n, "old": {"lost": [keys], "double": [keys]}, "new": the same or None, "passed": bool}`. With
    `both` false only the old server is asked, as after a rollback. A message whose fate at the MX is unknown may be there once
    or not at all.
    """
    entries = [json.loads(line) for line in (run.path / LEDGER).read_text().splitlines()]
    settle(reached)
    result = {"accepted": sum(entry["known"] for entry in entries), "unknown": sum(not entry["known"] for entry in entries)}
    sides = {"old": mailboxes.old_session, "new": mailboxes.new_session if both else None}
    for side, session in sides.items():
        result[side] = None if session is None else _side(reached, session, entries, side)
    result["passed"] = result["accepted"] > 0 and not any(
        found["lost"] or found["double"] for found in (result["old"], result["new"]) if found)
    return result


def _side(reached, session, entries, side):
    prefix = reached.site.old_store.imap_prefix

    def keys_of(user):
        found = collections.Counter()
        with session(reached, user) as reader:
            names = (mailboxes.old_folders(reader, prefix) if side == "old"
                     else [name for name, _, selectable in reader.folders("*") if selectable])
            for name in names:
                with contextlib.suppress(imap.FolderUnreadable):
                    found.update(value for value in reader.headers(name, HEADER).values() if value)
        return found

    total = collections.Counter()
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        for found in pool.map(keys_of, sorted(lab_hosts.USERS)):
            total.update(found)
    return {"lost": [entry["key"] for entry in entries if entry["known"] and not total[entry["key"]]],
            "double": sorted(key for key, times in total.items() if times > 1)}
