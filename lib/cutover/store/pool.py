"""A small pool of worker processes that outlives the death of any of them.

concurrent.futures gives up altogether when a worker is killed; here the task it held fails, a new worker takes its place,
and the others go on. Tasks are (tag, function, arguments); a function may report progress by the callable it is given.
"""

import collections
import contextlib
import multiprocessing
import multiprocessing.connection
import os
import signal
import time
import traceback

from . import errors

PROGRESS_SECONDS = 0.2


class TaskError(Exception):
    """What a task raised, as plain values: {"kind", "file", "offset", "what", "todo"} (and a traceback for our faults)."""

    def __init__(self, values):
        super().__init__(values["what"])
        self.values = values


def describe(error):
    if isinstance(error, errors.StoreError):
        return error.as_dict()
    if isinstance(error, OSError):
        return {"kind": "OSError", "file": errors.printable(error.filename or ""), "offset": None,
                "what": error.strerror or str(error), "todo": "See why, then run the same command again."}
    return {"kind": type(error).__name__, "file": "", "offset": None, "what": "fault of the converter: {}".format(error),
            "todo": "Report this with the traceback.", "traceback": traceback.format_exc()}


class Reporter:
    """Progress callback of a worker: adds up, sends at most every PROGRESS_SECONDS."""

    def __init__(self, pipe):
        self.pipe, self.messages, self.bytes, self.sent = pipe, 0, 0, 0.0

    def __call__(self, messages, size):
        self.messages += messages
        self.bytes += size
        now = time.monotonic()
        if now - self.sent > PROGRESS_SECONDS:
            self.flush()
            self.sent = now

    def flush(self):
        if self.messages:
            self.pipe.send(("progress", self.messages, self.bytes))
            self.messages = self.bytes = 0


def work(pipe):
    """Main loop of a worker process."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.umask(0o077)
    report = Reporter(pipe)
    while True:
        try:
            task = pipe.recv()
        except EOFError:
            return
        if task is None:
            return
        function, arguments = task
        try:
            answer = ("done", function(*arguments, report))
        except Exception as error:
            answer = ("failed", describe(error))
        report.flush()
        pipe.send(answer)


class Pool:
    """jobs worker processes, started as they are needed."""

    def __init__(self, jobs):
        self.jobs = max(1, jobs)
        self.context = multiprocessing.get_context("fork")
        self.idle, self.busy = [], {}
        self.urgent, self.waiting = collections.deque(), collections.deque()

    def submit(self, tag, function, *arguments, urgent=False):
        (self.urgent if urgent else self.waiting).append((tag, function, arguments))

    def pending(self):
        return len(self.urgent) + len(self.waiting) + len(self.busy)

    def start(self):
        ours, theirs = self.context.Pipe()
        inherited = [pipe for _process, pipe in self.idle] + list(self.busy) + [ours]
        process = self.context.Process(target=run_worker, args=(theirs, inherited), daemon=True)
        process.start()
        theirs.close()
        return process, ours

    def feed(self):
        while (self.urgent or self.waiting) and len(self.busy) < self.jobs:
            tag, function, arguments = (self.urgent or self.waiting).popleft()
            process, pipe = self.idle.pop() if self.idle else self.start()
            self.busy[pipe] = (process, tag)
            with contextlib.suppress(OSError):  # it died while idle; wait() sees the end of the pipe
                pipe.send((function, arguments))

    def wait(self, timeout):
        """Feed the workers and wait. → list of (tag, "progress" | "done" | "failed", value)."""
        self.feed()
        happened = []
        for pipe in multiprocessing.connection.wait(list(self.busy), timeout):
            process, tag = self.busy[pipe]
            try:
                answer = pipe.recv()
            except (EOFError, OSError):
                del self.busy[pipe]
                pipe.close()
                process.join()
                code = process.exitcode
                happened.append((tag, "failed", {
                    "kind": "WorkerDied", "file": "", "offset": None,
                    "what": "the worker process ended ({})".format(
                        "signal {}".format(-code) if code is not None and code < 0 else "exit code {}".format(code)),
                    "todo": "See the kernel's log (out of memory?), then run the same command again."}))
                continue
            if answer[0] == "progress":
                happened.append((tag, "progress", answer[1:]))
            else:
                del self.busy[pipe]
                self.idle.append((process, pipe))
                happened.append((tag, answer[0], answer[1]))
        self.feed()
        return happened

    def close(self):
        """End idle workers, and those at work too (after an interrupt)."""
        for _process, pipe in self.idle:
            with contextlib.suppress(OSError):
                pipe.send(None)
        for process, _tag in self.busy.values():
            process.terminate()
        for process in [process for process, _pipe in self.idle] + [process for process, _tag in self.busy.values()]:
            process.join()
        self.idle, self.busy = [], {}


def run_worker(pipe, inherited):
    for other in inherited:  # else the death of a worker would not close its pipe
        other.close()
    work(pipe)
