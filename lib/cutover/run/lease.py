"""One operator at a time: a lease on the new mail host, held while changes are made.

It is renewed in the background. A lease that was not renewed for STALE seconds is called stale, but
is still refused: its holder may have left work half done. A run takes back its own lease if the
process that held it is gone from this machine. Any other lease must be broken by
`cutover lease break`, which is approved and journaled.
"""

import contextlib
import os
import secrets
import socket
import threading

from cutover.model import errors
from cutover.record import journal
from cutover.remote import lease_file

EVERY = 20.0  # seconds between renewals
STALE = 120.0  # seconds without renewal
# environment variable: the processes of a run share the token of the one that began them
PASSED_ON = "CUTOVER_LEASE"


class LeaseHeld(errors.CutoverError):
    """Somebody else holds the lease. The message says who, where, since when and for which run."""


class LeaseLost(errors.CutoverError):
    """The lease was broken or taken while this process held it: change nothing more."""


def place(site) -> str:
    """The path of the lease on the new mail host."""
    return f"{site.new_store.work}/lease"


def _started(pid: int):
    """Start time of a process in clock ticks since boot; None if there is no such process."""
    try:
        return int(open(f"/proc/{pid}/stat", "rb").read().rpartition(b")")[2].split()[19])
    except (OSError, ValueError, IndexError):
        return None


def described(reply) -> str:
    """Who holds a lease, in words. `reply`: see remote/lease_file.py."""
    holder, age = reply["holder"], reply["age"]
    process = f"process {holder.get('pid')} on {holder.get('host')}"
    renewed, stale = f"renewed {max(age, 0):.0f} s ago", f"stale: not renewed for {age:.0f} s"
    return (
        f"{holder.get('owner')} ({process}) since {holder.get('since')}, run {holder.get('run')}; "
        f"{stale if age > STALE else renewed}"
    )


def shown(holder) -> dict:
    """What the journal has about a holder: everything except the token."""
    return {key: str(value)[:200] for key, value in holder.items() if key != "token"}


class Lease:
    """The lease of one run. `record(event, **fields)` writes to the journal.

    kept: this process or one that it shares the lease with had it already when it was last taken.
    """

    def __init__(self, hosts, run, record):
        self.hosts, self.run, self.record = hosts, run, record
        self.host, self.path = hosts.site.roles.new, place(hosts.site)
        self.shared = PASSED_ON in os.environ  # then the process that began the run releases it
        token, _, pid = os.environ.get(PASSED_ON, "").partition(":")
        self.token, self.pid = token or secrets.token_hex(8), int(pid or os.getpid())
        self.held, self.kept, self.trouble = False, False, None
        self._stop, self._thread = threading.Event(), None

    def take(self):
        """Take the lease, unless this process holds it already.

        Raises LeaseHeld, or lease_file.LeaseUnusable if the host cannot keep it.
        """
        if self.held:
            self.kept = True
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
        reply = self._ask("take", token=self.token, holder=holder)
        if not reply["done"] and self._left_behind(reply["holder"]):
            before = reply["holder"]
            reply = self._ask("take", token=self.token, holder=holder, instead_of=before["token"])
            if reply["done"]:
                self.record("lease-taken-back", host=self.host, before=shown(before))
        if not reply["done"]:
            raise LeaseHeld(
                f"{self.host}: another operator is at work: {described(reply)}. Wait, or talk to "
                "them. If you are certain that nobody is at work any more: "
                "`./cutover lease break --run DIR`."
            )
        self.held, self.kept, self.trouble = True, reply["kept"], None
        self.record("lease-taken", host=self.host, owner=holder["owner"], pid=holder["pid"])
        self._stop.clear()
        self._thread = threading.Thread(target=self._renew, daemon=True, name="lease")
        self._thread.start()
        return None

    def check(self):
        """Raises LeaseLost if this process no longer holds the lease."""
        if self.trouble:
            raise LeaseLost(
                f"{self.host}: the lease was lost while this run held it: {self.trouble}. Nothing "
                "more was changed. Find out who is at work, then run this step again."
            )

    def release(self):
        """Release the lease. If that fails, it becomes stale."""
        if not self.held:
            return
        self._stop.set()
        self._thread.join(5)
        self.held = False
        if self.shared:
            return
        with contextlib.suppress(errors.CutoverError, OSError):
            self._ask("release", token=self.token)

    def _ask(self, verb, **fields):
        return lease_file.ask(self.hosts, self.host, self.path, verb, **fields)

    def _left_behind(self, holder) -> bool:
        """Whether the holder is this process, or was one of this run that is gone from here."""
        if holder.get("run") != self.run.name or holder.get("host") != socket.gethostname():
            return False
        if holder.get("boot") != journal.boot():
            return True
        if holder.get("pid") == self.pid:
            return True  # this process: an earlier page of its notebook
        return (
            _started(holder.get("pid") or 0) != holder.get("started")
            or holder.get("started") is None
        )

    def _renew(self):
        while not self._stop.wait(EVERY):
            try:
                reply = self._ask("renew", token=self.token)
            except (errors.CutoverError, OSError):
                continue  # a connection that is down for a while loses nothing: the host remembers
            if not reply["done"]:
                held = reply["holder"]
                self.trouble = f"{described(reply)} holds it now" if held else "it was broken"
                return


@contextlib.contextmanager
def passed_on():
    """Processes begun within share one token: whichever takes the lease, the run keeps it.

    Yields a function that releases the lease; call it at the end with `hosts`.
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
