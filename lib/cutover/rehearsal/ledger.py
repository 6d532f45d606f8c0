"""The ledger of live traffic: what was accepted, and how often each server has it at the end.

Every message that an MX accepts is written into `ledger.jsonl` of the run's folder before the next
is sent. So is every copy of sent mail that a user keeps, and every copy that a user removes again.
Keys of an entry: `key` (the message's HEADER), `user`, `known` (False: nobody knows whether it was
taken), and

- of delivered mail `mx`, `at`, `answer`; if the MX put it off, `put_off` (times) and `waited`
  (seconds);
- of mail that was never accepted `waits`;
- of a user's sent mail `sent` ("old" or "new"), and `removed` once it is gone;
- of a move that was cut short `twice`: that message may be there twice.
"""

import collections
import concurrent.futures
import contextlib
import json
import threading
import time

from lab import topology

from cutover import model
from cutover.connect import imap
from cutover.facts import mail_queue, mailboxes, processes
from cutover.model import errors, runbook
from cutover.remote import queue_release
from cutover.report import summary

NAME = "ledger.jsonl"
HEADER = "X-Ledger"
SETTLE = 180  # seconds the queues may take at the end
QUIET = 3  # looks in a row that see no mail under way
NOT_MAIL = {"sent", "removed", "twice", "waits"}  # keys of entries that are no delivered mail


class LedgerFailed(errors.CutoverError):
    """A message that an MX accepted is not there exactly once at the end of a rehearsal."""


class NotDelivered(errors.CutoverError):
    """The queues did not empty at the end of the traffic."""


class Ledger:
    """Appends entries for several threads; `accepted` counts the mail that an MX took."""

    def __init__(self, run):
        self.path = run.path / NAME
        self.accepted = 0
        self._lock = threading.Lock()

    def note(self, entry: dict):
        with self._lock:
            with self.path.open("a") as out:
                out.write(json.dumps(entry, sort_keys=True) + "\n")
            self.accepted += entry["known"] and "mx" in entry


def read(run) -> list:
    """The entries, in the order in which they were written."""
    return [json.loads(line) for line in model.lines((run.path / NAME).read_text())]


def draw_up(hosts, run):
    """Count the ledger's messages; keep the result as `ledger.json` and in the journal.

    Raises LedgerFailed unless every accepted message is there exactly once.
    """
    rolled_back = runbook.states(run.journal.events()).get("rollback") == "passed"
    result = count(hosts, run, both=not rolled_back)
    run.keep("ledger.json", json.dumps(result, indent=1, sort_keys=True).encode())
    run.journal.append("ledger", **result)
    if not result["passed"]:
        lines = "; ".join(summary.ledger(run.journal.events()))
        raise LedgerFailed(
            f"live traffic was lost or duplicated: {lines}. "
            f"{run.path / 'ledger.json'} lists the messages."
        )


def settle(hosts):
    """Wait until no queue holds mail, at QUIET looks in a row. Raises NotDelivered.

    One look is not enough: between two hosts' answers a message may go from the host that is asked
    later to the host that was asked before.
    """
    site = hosts.site
    deadline, quiet = time.monotonic() + SETTLE, 0
    while True:
        hosts.each(site.roles.mx, lambda name: queue_release.release(hosts, name, SETTLE))
        waiting = _under_way(hosts)
        quiet = 0 if waiting else quiet + 1
        if quiet == QUIET:
            return
        if waiting and time.monotonic() > deadline:
            raise NotDelivered(
                f"mail still waits {SETTLE} s after the traffic ended: {waiting}. "
                "Look at the mail queues and logs of these hosts."
            )
        time.sleep(0.5)


def _under_way(hosts):
    """The queues that are not empty, else the mail hosts on which a delivery runs."""
    site = hosts.site
    names = [*site.roles.mx, *site.mail_hosts]
    queues = hosts.each(names, lambda name: mail_queue.read_for(hosts, name, site.mail_domains))
    left = {name: queue.items for name, queue in queues.items() if queue.requests}
    return left or [
        name for name in site.mail_hosts if processes.running(hosts, name, ["procmail", "dmail"])
    ]


def count(hosts, run, both: bool = True) -> dict:
    """Count every message of the ledger on the servers, by IMAP.

    → `{"accepted": n, "unknown": n, "sent": n, "removed": n, "put_off": late(), "old": {"lost":
    [keys], "double": [keys], "back": [keys removed and there again]}, "new": the same or None,
    "passed": bool}`. With `both` false only the old server is asked, as after a rollback; then it
    also has what was done on the new one. A message that is not known to be accepted may be there
    once or not at all.
    """
    entries = read(run)
    settle(hosts)
    delivered = [entry for entry in entries if not NOT_MAIL & set(entry)]
    sent, removed = ([entry for entry in entries if key in entry] for key in ("sent", "removed"))
    result = {
        "accepted": sum(entry["known"] for entry in delivered),
        "unknown": sum(not entry["known"] for entry in delivered),
        "sent": sum(entry["known"] for entry in sent),
        "removed": sum(entry["known"] for entry in removed),
        "put_off": late(entries),
        "old": _side(hosts, "old", entries, apart=both),
        "new": _side(hosts, "new", entries, apart=False) if both else None,
    }
    sides = [side for side in (result["old"], result["new"]) if side]
    result["passed"] = result["accepted"] > 0 and not any(
        keys for side in sides for keys in side.values()
    )
    return result


def _side(hosts, side, entries, apart):
    """`apart`: what was done on the new server since the switch is not on this one."""
    there = keys_on(hosts, side)
    removed = [entry for entry in entries if "removed" in entry]
    gone = {entry["key"] for entry in removed}
    twice = {entry["key"] for entry in entries if "twice" in entry}
    expected = [
        entry["key"]
        for entry in entries
        if entry["known"]
        and not (NOT_MAIL - {"sent"}) & set(entry)
        and (entry["key"] not in gone or apart)
        and not (apart and entry.get("sent") == "new")
    ]
    back = [] if apart else [entry["key"] for entry in removed if entry["known"]]
    return {
        "lost": [key for key in expected if not there[key]],
        "double": sorted(key for key, times in there.items() if times > 1 and key not in twice),
        "back": [key for key in back if there[key]],
    }


def late(entries) -> dict:
    """What the MX put off at first.

    → `{"messages": accepted later, "least", "most": seconds until they were, or None, "waiting":
    [keys of those that were never accepted]}`
    """
    waited = [entry["waited"] for entry in entries if entry.get("put_off") and entry["known"]]
    return {
        "messages": len(waited),
        "least": min(waited, default=None),
        "most": max(waited, default=None),
        "waiting": [entry["key"] for entry in entries if "waits" in entry],
    }


def keys_on(hosts, side) -> collections.Counter:
    """How often a side ("old", "new") has each key, in all folders of all users."""
    open_session = mailboxes.old_session if side == "old" else mailboxes.new_session
    prefix = hosts.site.old_store.imap_prefix

    def keys_of(user):
        keys = collections.Counter()
        with open_session(hosts, user) as session:
            names = (
                mailboxes.old_folders(session, prefix)
                if side == "old"
                else [name for name, _, selectable in session.folders("*") if selectable]
            )
            for name in names:
                with contextlib.suppress(imap.FolderUnreadable):
                    keys.update(key for key in session.headers(name, HEADER).values() if key)
        return keys

    total = collections.Counter()
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        for keys in pool.map(keys_of, sorted(topology.USERS)):
            total.update(keys)
    return total
