"""One operator at a time: a lease on the new mail host, held while changes are made and renewed in the background.

A lease that was not renewed for STALE seconds is called stale, and is refused all the same: whoever held it may have left
work half done. A run takes back its own lease when the process that held it is gone from this machine; any other is broken
only by `cutover lease break`, which is approved and journaled.
"""

import contextlib
import hashlib
import json
import os
import secrets
import socket
import threading

from cutover.model import errors
from cutover.record import journal
from cutover.remote import lease_file

EVERY = 20.0  # seconds between renewals
STALE = 120.0  # seconds without renewal
PASSED_ON = "CUTOVER_LEASE"  # environment variable: a run's processes share the token of the one that began them


class LeaseHeld(errors.CutoverError):
    """Somebody else holds the lease; the message says who, where, since when and for which run."""


class LeaseLost(errors.CutoverError):
    """The lease was broken or taken while this process held it: nothing more may be changed."""


def place(site) -> str:
    return f"{site.new_store.work}/lease"


def _started(pid: int):
    """Start time of a process in clock ticks since boot; None if there is none."""
    try:
        return int(open(f"/proc/{pid}/stat", "rb").read().rpartition(b")")[2].split()[19])
    except (OSError, ValueError, IndexError):
        return None


def described(answer) -> str:
    """Who holds a lease, in words."""
    holder, age = answer["holder"], answer["age"]
    said = (
        f"{holder.get('owner')} (process {holder.get('pid')} on {holder.get('host')}) since {holder.get('since')}, "
        f"run {holder.get('run')}"
    )
    return said + (
        f"; stale: not renewed for {age:.0f} s"
        if age > STALE
        else f"; renewed {max(age, 0):.0f} s ago"
    )


def shown(holder) -> dict:
    """What the journal says of a holder: all but the token."""
    return {key: str(value)[:200] for key, value in holder.items() if key != "token"}


def digest(holder) -> str:
    """What an approval to break a lease is bound to."""
    return hashlib.sha256(json.dumps(holder, sort_keys=True).encode()).hexdigest()


class Lease:
    """The lease of one run. Parameters: `hosts`, `run`, `record(event, **fields)` (writes to the journal)."""

    def __init__(self, hosts, run, record):
        self.hosts, self.run, self.record = hosts, run, record
        self.host, self.path = hosts.site.roles.new, place(hosts.site)
        self.shared = (
            PASSED_ON in os.environ
        )  # then it is given back by the process that passed it on
        token, _, pid = os.environ.get(PASSED_ON, "").partition(":")
        self.token, self.pid = token or secrets.token_hex(8), int(pid or os.getpid())
        self.held, self.trouble = False, None
        self._stop, self._thread = threading.Event(), None

    def take(self):
        """Raises LeaseHeld; hosts.lease.LeaseUnusable when the host cannot keep it. Taking what is held does nothing."""
        if self.held:
            return self.check()
        holder = {
            "owner": journal.who(),
            "host": socket.gethostname(),
            "boot": journal.boot(),
            "pid": self.pid,
            "started": _started(self.pid),
            "since": journal.now(),
            "run": self.run.name,
            "token": self.token,
        }
        answer = self._ask("take", token=self.token, holder=holder)
        if not answer["done"] and self._left_behind(answer["holder"]):
            before = answer["holder"]
            answer = self._ask("take", token=self.token, holder=holder, instead_of=before["token"])
            if answer["done"]:
                self.record("lease-taken-back", host=self.host, before=shown(before))
        if not answer["done"]:
            raise LeaseHeld(
                f"{self.host}: another operator is at work: {described(answer)}. Wait, or speak with them. If it is "
                "certain that nobody works there any more: `cutover lease break`."
            )
        self.held, self.trouble = True, None
        self.record("lease-taken", host=self.host, owner=holder["owner"], pid=holder["pid"])
        self._stop.clear()
        self._thread = threading.Thread(target=self._renew, daemon=True, name="lease")
        self._thread.start()
        return None

    def check(self):
        """Raises LeaseLost when the lease is no longer this process's."""
        if self.trouble:
            raise LeaseLost(
                f"{self.host}: the lease was lost while this run held it: {self.trouble}. Nothing more was changed; "
                "find out who works there, then run this step again."
            )

    def release(self):
        """Give it back; what cannot be given back becomes stale."""
        if not self.held:
            return
        self._stop.set()
        self._thread.join(5)
        self.held = False
        if self.shared:
            return
        with contextlib.suppress(errors.CutoverError, OSError):
            self._ask("release", token=self.token)

    def _ask(self, verb, **wanted):
        return lease_file.ask(self.hosts, self.host, self.path, verb, **wanted)

    def _left_behind(self, holder) -> bool:
        """Whether the holder was a process of this very run on this machine, which is gone; or is this process itself."""
        if holder.get("run") != self.run.name or holder.get("host") != socket.gethostname():
            return False
        if holder.get("boot") != journal.boot():
            return True
        if holder.get("pid") == self.pid:
            return True  # this process, by an earlier page of it
        return (
            _started(holder.get("pid") or 0) != holder.get("started")
            or holder.get("started") is None
        )

    def _renew(self):
        while not self._stop.wait(EVERY):
            try:
                answer = self._ask("renew", token=self.token)
            except (errors.CutoverError, OSError):
                continue  # a link that is down for a while is no loss: the host remembers
            if not answer["done"]:
                self.trouble = (
                    described(answer) + " holds it now" if answer["holder"] else "it was broken"
                )
                return


@contextlib.contextmanager
def passed_on():
    """Processes begun within share one token; whichever of them takes the lease, it stays with this run until the end.

    → a function to call at the end with `hosts`: it gives the lease back.
    """
    before = os.environ.get(PASSED_ON)
    token = secrets.token_hex(8)
    os.environ[PASSED_ON] = before or f"{token}:{os.getpid()}"

    def give_back(hosts):
        if before is None:
            with contextlib.suppress(errors.CutoverError, OSError):
                lease_file.ask(
                    hosts, hosts.site.roles.new, place(hosts.site), "release", token=token
                )

    try:
        yield give_back
    finally:
        if before is None:
            del os.environ[PASSED_ON]
