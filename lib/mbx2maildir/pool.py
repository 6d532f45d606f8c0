"""A small pool of worker processes that outlives the death of any of them.

A worker serves one user and is that user (switch.py), or serves nobody and is what we are. The task
a killed worker held fails, a new worker takes its place, and the others go on. So it is with one
that gives no sign of life: its user may have stopped it. We never wait for a single worker, neither
to take its task nor to give its answer, and of its answer we take plain values only.

Tasks are (tag, function, arguments); a function may report progress by the callable it is given.
Made of fork and pipes alone: `multiprocessing` would take longer to import than a pass over a store
in which nothing changed takes.
"""

import collections
import contextlib
import os
import select
import signal
import sys
import time

from mbx2maildir import errors, files, pace, pipes, switch

PROGRESS_SECONDS = 0.2
SILENCE_SECONDS = 900  # a worker that is not heard of for so long is ended
# Processes without a task that are kept. To become a user costs more than most tasks: where groups
# come from NIS, all of them are read each time. A user's next task comes a few others later.
KEPT = 16


class Reporter:
    """Progress callback of a worker: adds up, pays, sends every PROGRESS_SECONDS. 0 is a sign of
    life. pace: of pace.py; the seconds it slept are sent too."""

    def __init__(self, pipe, pace):
        self.pipe, self.pace, self.messages, self.bytes, self.sent = pipe, pace, 0, 0, 0.0

    def __call__(self, messages, size):
        self.messages, self.bytes = self.messages + messages, self.bytes + size
        self.send_now_and_then()
        self.pace.pay(size, self.send_now_and_then)

    def send_now_and_then(self):
        if time.monotonic() - self.sent > PROGRESS_SECONDS:
            self.send()

    def send(self):
        numbers = (self.messages, self.bytes, self.pace.asleep)
        files.write_all(self.pipe, pipes.packed(("progress", *numbers)))
        self.messages = self.bytes = self.pace.asleep = 0
        self.sent = time.monotonic()

    def flush(self):
        self.pace.settle(self.send_now_and_then)
        if self.messages or self.pace.asleep:
            self.send()


def work(user, tasks, answers, governor):
    """Main loop of a worker process, until its caller is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    claim = {user["lock"]} if user and "lock" in user else ()  # held as long as we may write
    switch.close_others((0, 1, 2, tasks, answers, *governor.kept, *claim))
    fault = None
    try:
        switch.limit()
        switch.become(user)
    except Exception as error:
        fault = errors.describe(error)
    report = Reporter(answers, governor.pace())
    with contextlib.suppress(EOFError, BrokenPipeError):
        while True:
            function, arguments = pipes.receive(tasks)
            report.pace.begin()
            try:
                done = ("failed", fault) if fault else ("done", function(*arguments, report))
                answer = pipes.packed(done)
            except Exception as error:
                answer = pipes.packed(("failed", errors.describe(error)))
            report.flush()
            files.write_all(answers, answer)


class Worker:
    """A forked process. user: whom it serves, or None. tasks and answers: our ends of its pipes.
    tag: of the task it holds."""

    def __init__(self, user, governor):
        theirs, self.tasks = os.pipe()
        self.answers, to_us = os.pipe()
        self.key = key_of(user)
        self.tag, self.heard, self.began = None, 0.0, 0.0
        self.output, self.input = bytearray(), bytearray()
        self.process = os.fork()
        if not self.process:
            code = 1
            try:
                work(user, theirs, to_us, governor)
                code = 0
            except Exception:
                sys.excepthook(*sys.exc_info())
            finally:
                os._exit(code)
        os.close(theirs)
        os.close(to_us)
        os.set_blocking(self.tasks, False)
        os.set_blocking(self.answers, False)

    def give(self, tag, function, arguments):
        """Hand over a task, as far as the pipe takes it now."""
        self.tag, self.heard = tag, time.monotonic()
        self.began = self.heard
        self.output = bytearray(pipes.packed((function, arguments)))
        self.write()

    def write(self):
        # when it is gone, wait() sees the end of its answers
        try:
            while self.output:
                del self.output[: os.write(self.tasks, self.output[: pipes.PIECE])]
        except BlockingIOError:
            pass
        except BrokenPipeError:
            self.output = bytearray()

    def read(self):
        """→ the answers that are complete; None at the end of the pipe. Errors: those of an answer
        that is none."""
        try:
            piece = os.read(self.answers, pipes.PIECE)
        except BlockingIOError:
            return []
        if not piece:
            return None
        self.heard = time.monotonic()
        self.input += piece
        return pipes.whole(self.input)

    def kill(self):
        """End it, whatever it does. Whoever calls waits for its end, now or later."""
        os.close(self.tasks)
        os.close(self.answers)
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.process, signal.SIGKILL)

    def ended(self):
        status = os.waitpid(self.process, 0)[1]
        return (
            "signal {}".format(os.WTERMSIG(status))
            if os.WIFSIGNALED(status)
            else "exit code {}".format(os.WEXITSTATUS(status))
        )


def key_of(user):
    return None if user is None else (user.get("user"), user.get("uid"), user.get("gid"))


def died(what, todo="Look in the kernel log (out of memory?), then run the same command again."):
    return {"kind": "WorkerDied", "file": "", "offset": None, "what": what, "todo": todo}


class Pool:
    """As many worker processes at work for users as jobs, and as many for nobody, which wait for
    the disk most of the time; started as they are needed. silence: seconds after which one that is
    not heard of is ended. governor: of their pace, or None; closed with the pool."""

    def __init__(self, jobs, silence=None, governor=None):
        self.jobs, self.governor = max(1, jobs), governor or pace.Free()
        self.silence = SILENCE_SECONDS if silence is None else silence
        # busy: by each of their two descriptors. idle: the one that worked last at the end.
        # ending: killed, not yet waited for: the kernel takes its time to clear a process away
        self.idle, self.busy, self.ending, self.refused = [], {}, [], []
        self.poll = select.poll()
        self.own, self.urgent, self.waiting = (collections.deque() for _ in range(3))
        switch.preload()

    def submit(self, tag, function, *arguments, user=None, urgent=False, first=False):
        """user: whom the task is for: its worker is that user. urgent: before the users' tasks that
        are not; first: before all of theirs."""
        try:
            switch.needed(user)
        except ValueError as error:
            self.refused.append((tag, "failed", errors.BadPlan(str(error), user["user"]).as_dict()))
            return
        task = (tag, function, arguments, user)
        if user is None:
            self.own.append(task)
        elif first:
            self.urgent.appendleft(task)
        else:
            (self.urgent if urgent else self.waiting).append(task)

    def pending(self):
        tasks = len(self.own) + len(self.urgent) + len(self.waiting)
        return tasks + len(self.busy) // 2 + len(self.refused)

    def feed(self):
        while self.own and self.at_work(for_users=False) < self.jobs:
            self.start(*self.own.popleft())
        while (self.urgent or self.waiting) and self.at_work(for_users=True) < self.jobs:
            self.start(*(self.urgent or self.waiting).popleft())
        self.governor.tell(self.at_work(for_users=True))
        self.ending = [
            worker for worker in self.ending if not os.waitpid(worker.process, os.WNOHANG)[0]
        ]

    def at_work(self, for_users):
        """How many workers are at work for users, or for nobody."""
        return sum((worker.key is not None) == for_users for worker in self.busy.values()) // 2

    def start(self, tag, function, arguments, user):
        worker = self.worker_for(user)
        self.busy[worker.answers] = self.busy[worker.tasks] = worker
        worker.give(tag, function, arguments)
        self.poll.register(worker.answers, select.POLLIN)
        if worker.output:
            self.poll.register(worker.tasks, select.POLLOUT)

    def worker_for(self, user):
        """An idle worker of this user, else a new one."""
        key = key_of(user)
        for worker in self.idle:
            if worker.key == key:
                self.idle.remove(worker)
                return worker
        while len(self.idle) > KEPT:
            self.end(self.idle.pop(0))
        return Worker(user, self.governor)

    def end(self, worker):
        worker.kill()
        self.ending.append(worker)

    def wait(self, timeout):
        """Feed the workers and wait. → list of (tag, "progress" | "done" | "failed", value)."""
        self.feed()
        happened, self.refused = self.refused, []
        for pipe, _event in self.poll.poll(0 if happened else 1000 * timeout):
            worker = self.busy.get(pipe)
            if worker is None:
                continue  # it was ended meanwhile
            if pipe == worker.tasks:
                worker.write()
                if not worker.output:
                    self.poll.unregister(pipe)
            else:
                happened += self.hear(worker)
        for worker in set(self.busy.values()):
            now = time.monotonic()
            if now - worker.heard > self.silence:
                what = "its process gave no sign of life for {:g} seconds".format(self.silence)
            elif now - worker.began > self.governor.longest:
                what = "its process needed more than {:g} seconds".format(self.governor.longest)
            else:
                continue
            happened.append((worker.tag, "failed", self.give_up(worker, what)))
        self.feed()
        return happened

    def hear(self, worker):
        """A worker's message → as wait()."""
        try:
            answers = worker.read()
        except Exception as error:  # no answer of ours
            self.release(worker)
            self.end(worker)
            return [(worker.tag, "failed", died("its answer cannot be used: {}".format(error)))]
        if answers is None:
            self.release(worker)
            os.close(worker.tasks)
            os.close(worker.answers)
            what = "the worker process ended ({})".format(worker.ended())
            return [(worker.tag, "failed", died(what))]
        happened = []
        for answer in answers:
            if answer[0] == "progress":
                happened.append((worker.tag, "progress", answer[1:]))
            else:
                self.release(worker)
                self.idle.append(worker)
                happened.append((worker.tag, answer[0], answer[1]))
        return happened

    def give_up(self, worker, what):
        self.release(worker)
        self.end(worker)
        return died(
            what + " and was ended",
            "See what is special about this user's mail, and whether the user stopped the process. "
            "Then run the same command again, or leave the user out (--without).",
        )

    def release(self, worker):
        self.poll.unregister(worker.answers)
        if worker.output:
            self.poll.unregister(worker.tasks)
            worker.output = bytearray()
        del self.busy[worker.answers], self.busy[worker.tasks]

    def close(self):
        """End idle workers, and those at work too (after an interrupt)."""
        for worker in {*self.idle, *self.busy.values()}:
            self.end(worker)
        for worker in self.ending:
            worker.ended()
        self.idle, self.busy, self.ending = [], {}, []
        self.governor.close()


def ask(user, function, *arguments, silence=None):
    """Have function(*arguments, report) done by a process that is the user → its value. Errors:
    errors.Reported."""
    workers = Pool(1, silence)
    try:
        workers.submit("", function, *arguments, user=user)
        while True:
            for _tag, kind, value in workers.wait(1.0):
                if kind == "done":
                    return value
                if kind == "failed":
                    raise errors.Reported(value)
    finally:
        workers.close()
