"""A small pool of worker processes that outlives the death of any of them.

The task a killed worker held fails, a new worker takes its place, and the others go on. Tasks are
(tag, function, arguments); a function may report progress by the callable it is given. Made of fork
and pipes alone: `multiprocessing` would take longer to import than a pass over a store in which
nothing changed takes.
"""

import collections
import contextlib
import os
import pickle
import select
import signal
import sys
import time

from mbx2maildir import errors, files

PROGRESS_SECONDS = 0.2
LENGTH = 8  # bytes of the length before each pickle in a pipe


def send(pipe, value):
    data = pickle.dumps(value)
    files.write_all(pipe, len(data).to_bytes(LENGTH, "little") + data)


def receive(pipe):
    """Errors: EOFError when the other side is gone."""
    return pickle.loads(exactly(pipe, int.from_bytes(exactly(pipe, LENGTH), "little")))


def exactly(pipe, size):
    data = bytearray()
    while len(data) < size:
        piece = os.read(pipe, size - len(data))
        if not piece:
            raise EOFError
        data += piece
    return bytes(data)


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
            send(self.pipe, ("progress", self.messages, self.bytes))
            self.messages = self.bytes = 0


def work(tasks, answers):
    """Main loop of a worker process, until its caller is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.umask(0o077)
    report = Reporter(answers)
    with contextlib.suppress(EOFError, BrokenPipeError):
        while True:
            function, arguments = receive(tasks)
            try:
                answer = ("done", function(*arguments, report))
            except Exception as error:
                answer = ("failed", errors.describe(error))
            report.flush()
            send(answers, answer)


class Worker:
    """A forked process; tasks and answers: our ends of its pipes. tag: of the task it holds."""

    def __init__(self, others):
        theirs, self.tasks = os.pipe()
        self.answers, to_us = os.pipe()
        self.tag = None
        self.process = os.fork()
        if not self.process:
            code = 1
            try:
                for other in [
                    *others,
                    self,
                ]:  # else the death of a worker would not close its pipes
                    other.hang_up()
                work(theirs, to_us)
                code = 0
            except Exception:
                sys.excepthook(*sys.exc_info())
            finally:
                os._exit(code)
        os.close(theirs)
        os.close(to_us)

    def hang_up(self):
        os.close(self.tasks)
        os.close(self.answers)

    def end(self):
        """Wait for it → how it ended, in words. A worker that is hung up on ends when its task is
        done."""
        status = os.waitpid(self.process, 0)[1]
        return (
            "signal {}".format(os.WTERMSIG(status))
            if os.WIFSIGNALED(status)
            else "exit code {}".format(os.WEXITSTATUS(status))
        )


class Pool:
    """jobs worker processes, started as they are needed."""

    def __init__(self, jobs):
        self.jobs = max(1, jobs)
        self.idle, self.busy = [], {}
        self.poll = select.poll()
        self.urgent, self.waiting = collections.deque(), collections.deque()

    def submit(self, tag, function, *arguments, urgent=False):
        (self.urgent if urgent else self.waiting).append((tag, function, arguments))

    def pending(self):
        return len(self.urgent) + len(self.waiting) + len(self.busy)

    def feed(self):
        while (self.urgent or self.waiting) and len(self.busy) < self.jobs:
            tag, function, arguments = (self.urgent or self.waiting).popleft()
            worker = self.idle.pop() if self.idle else Worker(self.busy.values())
            worker.tag = tag
            self.busy[worker.answers] = worker
            self.poll.register(worker.answers, select.POLLIN)
            with contextlib.suppress(
                BrokenPipeError
            ):  # it died while idle; wait() sees the end of the pipe
                send(worker.tasks, (function, arguments))

    def wait(self, timeout):
        """Feed the workers and wait. → list of (tag, "progress" | "done" | "failed", value)."""
        self.feed()
        happened = []
        for pipe, _event in self.poll.poll(1000 * timeout):
            worker = self.busy[pipe]
            try:
                answer = receive(pipe)
            except EOFError:
                self.release(worker)
                worker.hang_up()
                happened.append(
                    (
                        worker.tag,
                        "failed",
                        {
                            "kind": "WorkerDied",
                            "file": "",
                            "offset": None,
                            "what": "the worker process ended ({})".format(worker.end()),
                            "todo": "Look in the kernel log (out of memory?), "
                            "then run the same command again.",
                        },
                    )
                )
                continue
            if answer[0] == "progress":
                happened.append((worker.tag, "progress", answer[1:]))
            else:
                self.release(worker)
                self.idle.append(worker)
                happened.append((worker.tag, answer[0], answer[1]))
        self.feed()
        return happened

    def release(self, worker):
        self.poll.unregister(worker.answers)
        del self.busy[worker.answers]

    def close(self):
        """End idle workers, and those at work too (after an interrupt)."""
        for worker in self.busy.values():
            os.kill(worker.process, signal.SIGTERM)
        workers = [*self.idle, *self.busy.values()]
        for worker in workers:
            worker.hang_up()
        for worker in workers:
            worker.end()
        self.idle, self.busy = [], {}
