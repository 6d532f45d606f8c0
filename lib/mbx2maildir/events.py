"""Events of a conversion: one JSON object per line.

Each has "event" and "time" (seconds since the epoch). A full disk does not stop a conversion
because of its events: they wait until there is room. What still waits at the end goes to stderr.
"""

import json
import os
import sys
import time

from mbx2maildir import errors


class Events:
    """Writes events to a file (appended), or to stdout for "-"."""

    def __init__(self, target):
        self.stdout = target in (None, "-")
        self.waiting = b""
        self.fd = (
            1
            if self.stdout
            else os.open(target, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        )

    def __call__(self, event, **values):
        line = (
            json.dumps(dict(values, event=event, time=round(time.time(), 3)), sort_keys=True) + "\n"
        )
        if self.stdout:
            sys.stdout.write(line)
            sys.stdout.flush()
        else:
            self.waiting += line.encode("ascii")
            try:
                while self.waiting:
                    self.waiting = self.waiting[os.write(self.fd, self.waiting) :]
            except OSError as error:
                if error.errno not in errors.NO_SPACE:
                    raise

    def close(self):
        if not self.stdout:
            if self.waiting:
                sys.stderr.write(self.waiting.decode("ascii"))
            os.fsync(self.fd)
            os.close(self.fd)


class Collected:
    """Keeps events in a list, for callers that print a summary instead."""

    def __init__(self):
        self.all = []

    def __call__(self, event, **values):
        self.all.append(dict(values, event=event))

    def close(self):
        pass
