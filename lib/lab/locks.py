"""Locks between lab commands.

Helpers that a command starts hold its lock too. If the command is killed, the next command waits
until the helper's copy or mount is over, instead of cleaning up under it.
"""

import contextlib
import fcntl

from lab import paths

_held = []


@contextlib.contextmanager
def lab():
    """Hold the lab's lock: one `up`, `down`, `reset` or `reboot` at a time."""
    with _locked(paths.LOCK):
        yield


@contextlib.contextmanager
def cache(suite):
    """Hold the lock of a suite's cached base."""
    with _locked(paths.CACHE / f".lock-{suite}"):
        yield


@contextlib.contextmanager
def _locked(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "a") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        _held.append(handle.fileno())
        try:
            yield
        finally:
            _held.remove(handle.fileno())


def held():
    """File descriptors of the locks held: `pass_fds` of every helper that ends, never of a host."""
    return tuple(_held)
