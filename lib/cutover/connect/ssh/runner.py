"""Commands as users over channels that stay: a channel and a sudo per command cost more than most
of the commands.

A runner is a channel to on_host.py, run by root with the host's python3. It runs one command at a
time; the next one, of any user, may use it afterwards.
"""

import contextlib
import json
import pathlib
import signal
import threading
import time
from collections.abc import Sequence

from cutover.connect.ssh import on_host
from cutover.connect.ssh.command import remote_line
from cutover.connect.ssh.errors import LinkLost, SshError
from cutover.connect.ssh.result import shown
from cutover.connect.ssh.stream import ERR_KEPT, Output, Stream

# the argument: the length of the program that comes on stdin; nothing follows until it answers
_LOAD = "import sys; exec(sys.stdin.buffer.read(int(sys.argv[1])))"
LEAVING = 1.0  # seconds for a command that is given up to end, before its channel is given up too


class Runners:
    """Those of one connection.

    An idle one keeps its session of sshd until another command needs that.
    """

    def __init__(self, connection):
        self._connection = connection
        self._idle: list[Stream] = []
        self._lock = threading.Lock()
        self._waiting = 0  # for a session
        self._none = False  # the host has no python3 for it

    def open(self, argv: Sequence[str], user: str, timeout: float) -> "UserCommand | None":
        """Start a command as a user; None where the host has nothing to run it with."""
        link = self._take(argv, timeout)
        return link and UserCommand(self, link, argv, user, timeout)

    def _take(self, argv, timeout):
        while True:
            with self._lock:
                link = self._idle.pop() if self._idle else None
            if link is None:
                return None if self._none else self._start(argv, timeout)
            if link.alive():
                return link
            link.close()

    def _start(self, argv, timeout):
        program = pathlib.Path(on_host.__file__).read_bytes()
        command = ["python3", "-I", "-S", "-c", _LOAD, str(len(program))]
        line = remote_line(command, sudo=True, old_sudo=self._connection.old_sudo)
        link = self._connection.start(argv, line, True, timeout)
        try:
            link.offer(program)
            ready = link.read(on_host.HEAD.size)
        except BaseException:
            link.close()
            raise
        if ready != on_host.HEAD.pack(b"r", 0):
            link.close()
            self._none = True
            return None
        return link

    def give_back(self, link: Stream, usable: bool) -> None:
        """A command has ended; its runner serves the next one unless a session is waited for."""
        with self._lock:
            if usable and not self._waiting:
                self._idle.append(link)
                return
        link.close()

    @contextlib.contextmanager
    def making_room(self):
        """While somebody waits for a session, no runner is idle."""
        with self._lock:
            self._waiting += 1
            links, self._idle = self._idle, []
        try:
            for link in links:
                link.close()
            yield
        finally:
            with self._lock:
                self._waiting -= 1

    def close(self) -> None:
        """End the idle ones."""
        with self.making_room():
            pass


class UserCommand(Output):
    """One running command of a user: as Stream."""

    def __init__(self, runners, link, argv, user, timeout):
        self.connection, self.argv, self.timeout = link.connection, tuple(argv), timeout
        self.err_limit, self.out, self.err = ERR_KEPT, bytearray(), bytearray()
        self._runners, self._link, self._closing = runners, link, threading.Lock()
        self._rc, self._input = None, None
        link.argv, link.timeout = self.argv, timeout
        try:
            self._send(b"c", json.dumps({"user": user, "argv": list(argv)}).encode())
        except BaseException:
            link.close()
            raise

    def _send(self, kind, content=b""):
        self._link.timeout = self.timeout
        self._link.write(on_host.HEAD.pack(kind, len(content)) + content)

    def feed(self, data: bytes) -> None:
        """Input for the command, followed by the end of input; sent while it is pumped."""
        self._input = memoryview(data)

    def write(self, data: bytes) -> None:
        """Send data; output that arrives meanwhile is kept for the next read."""
        for start in range(0, len(data), on_host.PIECE):
            self._take()
            if self._rc is not None:
                raise LinkLost(
                    host=self.connection.host, reason="the command ended", command=shown(self.argv)
                )
            self._send(b"i", data[start : start + on_host.PIECE])

    def _offer(self):
        """Give the link the next piece of what feed() left."""
        if self._input is None or self._link.unsent:
            return
        piece, self._input = self._input[: on_host.PIECE], self._input[on_host.PIECE :]
        frame = on_host.HEAD.pack(b"i", len(piece)) + piece
        if not self._input:
            frame, self._input = frame + on_host.HEAD.pack(b"z", 0), None
        self._link.offer(frame)

    def _take(self) -> bool:
        """Move what has arrived into the buffers. True if anything moved."""
        moved = False
        while True:
            kind, content = on_host.frame(self._link.out)
            if kind is None:
                return moved
            moved = True
            if kind == b"o":
                self.out += content
            elif kind == b"e":
                self.err += content
                del self.err[: -self.err_limit]
            else:
                self._rc, self._input = int(content), None

    def pump(self, deadline: float, what: str) -> bool:
        """As Stream.pump()."""
        self._link.timeout = self.timeout
        while not self._take():
            if self._rc is not None:
                return False
            self._offer()
            if not self._link.pump(deadline, what):
                self._link.outcome()
                raise LinkLost(
                    host=self.connection.host,
                    reason="what runs commands as users there ended",
                    command=shown(self.argv),
                )
        return True

    def outcome(self) -> tuple[int, str]:
        """(exit status, signal name) of the ended command."""
        if self._rc >= 0:
            return self._rc, ""
        number = -self._rc
        names = {member.value: member.name for member in signal.Signals}
        return -1, names.get(number, f"SIG{number}").removeprefix("SIG")

    def raise_if_refused(self, rc: int) -> None:
        """The runner ran already: whatever the command says, it is not sudo's refusal."""

    def stderr_text(self) -> str:
        """What the command has written to stderr so far, its last 64 KiB."""
        with contextlib.suppress(SshError):
            while self.pump(time.monotonic(), "more"):
                pass
        return self.err.decode("utf-8", "backslashreplace")

    def close(self) -> None:
        """The command sees end of input and, if it goes on and writes, a broken pipe."""
        if not self._closing.acquire(blocking=False):
            return
        usable = False
        with contextlib.suppress(SshError):
            deadline = time.monotonic() + LEAVING
            if self._rc is None:
                self.feed(b"")
            while self.pump(deadline, "end"):
                self.out.clear()
            usable = not self._link.unsent
        self._runners.give_back(self._link, usable)
