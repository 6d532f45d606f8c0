"""How fast presync may go, so that it does not hurt the users who work meanwhile.

A plan's "pace" has "nice", "io_class", "bytes_per_second" and "control"; each may be missing. A
worker pays for its work between two messages: the work must have taken as long as its bytes need at
the worker's share of the rate, and no more than `speed` of the time. What is missing, it sleeps.

Nobody waits for one that sleeps: the converter takes no lock on old mail, and the only lock it
holds is its own, on the work directory. A mailbox that changes meanwhile is read again as always
(in_use.py).

control: a file with the speed, above 0 and at most 1. Whoever watches the users writes it again and
again. When it is missing, cannot be read or was not written for STALE seconds, nobody knows how the
users fare, and the speed is SLOWEST.
"""

import math
import os
import struct
import time

SLOWEST = 0.05
STALE = 15.0  # seconds
LOOK_SECONDS = 0.2  # between looks at the control file
TICK = 0.005  # seconds of work, or
PIECE = 1 << 16  # bytes, that are paid for at once
SLICE = 1.0  # seconds of sleep between signs of life
SHARE = struct.Struct("<dd")
IO_CLASSES = {"best-effort": ("-c2", "-n7"), "idle": ("-c3",)}


def lower(settings):
    """Lower this process's priority, and that of processes it starts → {setting: why it could not
    be done}."""
    refused = {}
    if settings.get("nice"):
        try:
            os.nice(settings["nice"])
        except OSError as error:
            refused["nice"] = error.strerror
    if settings.get("io_class") in IO_CLASSES:
        argv = ["ionice", *IO_CLASSES[settings["io_class"]], "-p", str(os.getpid())]
        status = os.spawnvp(os.P_WAIT, argv[0], argv)
        if status:
            refused["io_class"] = "ionice: exit status {}".format(status)
    return refused


class Free:
    """In the place of a Governor and of a Pace: all go as fast as they can."""

    kept, longest, asleep = (), 7200, 0.0

    def pace(self):
        return self

    def nothing(self, *_):
        pass

    tell = begin = pay = settle = close = nothing


class Governor:
    """Tells the workers how fast to go. What they read they cannot change.

    Those at work share the rate evenly, and each has the speed. longest: seconds after which a
    worker that is still at its task is ended. kept: descriptors that a worker needs.
    """

    def __init__(self, settings, clock=time.monotonic):
        self.limit, self.control = settings.get("bytes_per_second") or 0, settings.get("control")
        self.clock, self.looked, self.written, self.changed = clock, -math.inf, None, -math.inf
        self.longest = 86400 if self.limit or self.control else Free.longest
        self.known, self.last = 1.0, None
        self.fd = os.memfd_create("pace")
        os.fchmod(self.fd, 0o600)  # a worker is its user: it may not open it again to write
        self.kept = (os.open("/proc/self/fd/{}".format(self.fd), os.O_RDONLY | os.O_CLOEXEC),)
        self.tell(1)

    def speed(self):
        """As the control file says."""
        if not self.control or self.clock() - self.looked < LOOK_SECONDS:
            return self.known
        self.looked = self.clock()
        try:
            with open(self.control, "rb") as file:
                written = os.fstat(file.fileno())
                self.known = min(1.0, max(SLOWEST, float(file.read(32))))
        except (OSError, ValueError):
            self.known = SLOWEST
            return self.known
        if (written.st_ino, written.st_mtime_ns) != self.written:
            self.written, self.changed = (written.st_ino, written.st_mtime_ns), self.looked
        if self.looked - self.changed > STALE:
            self.known = SLOWEST
        return self.known

    def tell(self, busy):
        """Set the share of each of `busy` workers."""
        share = (self.speed(), self.limit / max(1, busy))
        if share != self.last:
            self.last = share
            os.pwrite(self.fd, SHARE.pack(*share), 0)

    def share(self):
        """A worker's own look → (speed, bytes per second; 0.0: no limit)."""
        return SHARE.unpack(os.pread(self.kept[0], SHARE.size, 0))

    def pace(self):
        """A new worker's."""
        return Pace(self.share)

    def close(self):
        for descriptor in (self.fd, *self.kept):
            os.close(descriptor)


class Pace:
    """What a worker did since it paid last. share(): as Governor's. asleep: seconds, in all."""

    def __init__(self, share, clock=time.monotonic, sleep=time.sleep):
        self.share, self.clock, self.sleep = share, clock, sleep
        self.since, self.worked, self.bytes, self.asleep = clock(), 0.0, 0, 0.0

    def begin(self):
        """Work begins; before, the worker waited for it."""
        self.since = self.clock()

    def count(self, size):
        now = self.clock()
        self.worked, self.since, self.bytes = self.worked + now - self.since, now, self.bytes + size

    def pay(self, size, alive):
        """Between two messages: sleep for what was done, if it is enough. size: bytes since."""
        self.count(size)
        if self.worked >= TICK or self.bytes >= PIECE:
            self.settle(alive)

    def settle(self, alive):
        """Sleep for all that was done. alive(): a sign of life, given every SLICE."""
        self.count(0)
        slept = 0.0
        while True:
            speed, rate = self.share()  # what it becomes meanwhile counts
            due = max(self.worked, self.bytes / rate if rate else 0.0) / speed
            left = due - self.worked - slept
            if left <= 0:
                break
            began = self.clock()
            self.sleep(min(left, SLICE))
            slept += self.clock() - began
            alive()
        self.asleep += slept
        self.since, self.worked, self.bytes = self.clock(), 0.0, 0
