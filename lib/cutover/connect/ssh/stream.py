"""Both directions of one running command."""

import contextlib
import threading
import time
from collections.abc import Sequence

from cutover.connect.ssh.channel import Arrival, close_channel
from cutover.connect.ssh.command import MIB, NO_OPTION, NO_TERMINAL, SUDO_REFUSED
from cutover.connect.ssh.errors import (
    CommandFailed,
    LinkLost,
    NoSudo,
    OldSudo,
    SudoNeedsTerminal,
    TimedOut,
)
from cutover.connect.ssh.result import Result, shown

# bytes of stderr kept of a stream or an open channel; what exceeds that is read and dropped
ERR_KEPT = 64 * 1024
# seconds to wait for end of file once the exit status is known: a daemon may hold the pipe open
DRAIN_GRACE = 2.0


class Output:
    """What a running command writes, and how it ends: the verbs that need only pump().

    A subclass has connection, argv, timeout, out and err, and pump(), feed(), outcome(),
    raise_if_refused() and close().
    """

    def _more(self, deadline: float) -> bool:
        if self.pump(deadline, "answer"):
            return True
        rc, _ = self.outcome()
        self.raise_if_refused(rc)
        return False

    def _fill(self, n: float) -> None:
        """Take in n bytes, or all there are. Only what comes on stdout counts against silence: what
        runs as a user may write to stderr for ever."""
        before = -1
        while len(self.out) < n:
            if len(self.out) > before:
                before, deadline = len(self.out), time.monotonic() + self.timeout
            if not self._more(deadline):
                break

    def read(self, n: int) -> bytes:
        """n bytes; fewer only when the command has ended its output."""
        self._fill(n)
        data = bytes(self.out[:n])
        del self.out[:n]
        return data

    def readline(self, limit: int = MIB) -> bytes:
        """The next line with its line end.

        Fewer bytes than a line only at the end of output or at `limit`. The whole line must come
        within the timeout.
        """
        looked, deadline = 0, time.monotonic() + self.timeout
        while (at := self.out.find(b"\n", looked)) < 0 and len(self.out) < limit:
            looked = len(self.out)
            if not self._more(deadline):
                break
        return self.read(min(limit, at + 1 if at >= 0 else len(self.out)))

    def finish(self) -> "Result":
        """Say that no input follows, wait for the end, and take what output is left.

        → Result; never raises for its status.
        """
        began = time.monotonic()
        self.feed(b"")
        self._fill(float("inf"))
        return self.result(began, check=False)

    def result(self, began: float, check: bool) -> Result:
        """What the ended command left.

        Raises CommandFailed when `check` and its status is not 0.
        """
        rc, signal = self.outcome()
        self.raise_if_refused(rc)
        seconds = time.monotonic() - began
        result = Result(
            self.connection.host, self.argv, rc, bytes(self.out), bytes(self.err), seconds, signal
        )
        if check and rc != 0:
            raise CommandFailed.of(result)
        return result

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


class Stream(Output):
    """One running command on a connection.Connection.

    Reads and writes raise TimedOut after `timeout` seconds of silence.
    """

    def __init__(self, connection, argv: Sequence[str], line: str, sudo: bool, timeout: float):
        self.connection, self.argv, self.timeout = connection, tuple(argv), timeout
        self.err_limit = ERR_KEPT
        self._sudo, self.out, self.err = sudo, bytearray(), bytearray()
        self._pending, self._end_input = memoryview(b""), False
        self._ended_at = None
        self._released = threading.Lock()
        self._channel = connection.links.start(line, timeout)
        # not channel.fileno(): paramiko's transport thread writes into that pipe after the channel
        # has closed it, which
        # ends the whole link (EBADF) or, once the number is in use again, puts a byte into somebody
        # else's socket
        self._arrived = threading.Event()
        for buffer in (self._channel.in_buffer, self._channel.in_stderr_buffer):
            buffer.set_event(Arrival(self._arrived))

    def feed(self, data: bytes) -> None:
        """Input for the command, followed by the end of input; sent while it is pumped."""
        self._pending, self._end_input = memoryview(data), True

    def offer(self, data: bytes) -> None:
        """Input for the command; sent while it is pumped."""
        self._pending = memoryview(data)

    @property
    def unsent(self) -> int:
        """Bytes of input not yet sent."""
        return len(self._pending)

    def alive(self) -> bool:
        """Whether the command can still be talked to, as far as this side knows."""
        channel = self._channel
        ended = channel.closed or channel.eof_received or channel.exit_status_ready()
        return not ended and channel.transport.is_active()

    def _take(self) -> bool:
        """Move what has arrived into the buffers and what waits out of them.

        True if anything moved.
        """
        channel, moved = self._channel, False
        if channel.recv_stderr_ready():
            self.err += channel.recv_stderr(256 * 1024)
            del self.err[: -self.err_limit]
            moved = True
        if channel.recv_ready():
            self.out += channel.recv(256 * 1024)
            moved = True
        while self._pending and channel.send_ready() and not channel.closed:
            try:
                self._pending = self._pending[channel.send(bytes(self._pending[: 32 * 1024])) :]
            except (
                OSError
            ):  # the command closed its input, as `head` does; how it ended will tell the rest
                self._pending = memoryview(b"")
            moved = True
        if self._end_input and not self._pending:
            self._end_input = False
            with contextlib.suppress(OSError, EOFError):
                channel.shutdown_write()
        return moved

    def pump(self, deadline: float, what: str) -> bool:
        """Wait for something to happen and take it in.

        False once the command and its output have ended.
        """
        channel = self._channel
        while True:
            # "ended" is asked before taking: what arrives in between is then found by the next turn
            ended = (channel.closed or channel.eof_received) and channel.exit_status_ready()
            self._arrived.clear()
            if self._take():
                self._ended_at = None
                return True
            if ended:
                return False
            now = time.monotonic()
            if channel.exit_status_ready():
                self._ended_at = self._ended_at or now
                if now - self._ended_at > DRAIN_GRACE:
                    return False
            if now >= deadline:
                raise TimedOut(
                    host=self.connection.host,
                    what=what,
                    seconds=self.timeout,
                    command=shown(self.argv),
                    out=bytes(self.out),
                    err=bytes(self.err),
                )
            # the event tells of arrivals and of the end, not of room to write nor of a bare exit
            # status
            wait = min(deadline - now, 0.01 if self._pending else 0.1)
            if channel.eof_received:  # from then on only the exit status is awaited
                channel.status_event.wait(wait)
            else:
                self._arrived.wait(wait)

    def outcome(self) -> tuple[int, str]:
        """(exit status, signal name) of the ended command; LinkLost if the host never said."""
        channel = self._channel
        if channel.exit_status != -1:
            return channel.exit_status, ""
        signal = getattr(channel, "exit_signal", "")
        if not signal:
            self.connection.links.raise_lost(shown(self.argv), channel.transport)
        return -1, signal

    def raise_if_refused(self, rc: int) -> None:
        if self._sudo and rc in (1, 127) and (refusal := SUDO_REFUSED.search(self.err)):
            reason = refusal.group(1).decode("utf-8", "backslashreplace").strip()
            cause = NoSudo
            if NO_TERMINAL in reason:
                cause = SudoNeedsTerminal
            elif NO_OPTION.match(reason) and not self.connection.old_sudo:
                cause = OldSudo
            user, host = self.connection.user, self.connection.host
            raise cause(host=host, reason=reason, command=shown(self.argv), user=user)

    def write(self, data: bytes) -> None:
        """Send data; output that arrives meanwhile is kept for the next read."""
        self._pending = memoryview(bytes(data))
        deadline = time.monotonic() + self.timeout
        while self._pending:
            if not self.pump(deadline, "room for input"):
                self.outcome()
                raise LinkLost(
                    host=self.connection.host, reason="the command ended", command=shown(self.argv)
                )

    def stderr_text(self) -> str:
        """What the command has written to stderr so far, its last 64 KiB."""
        with contextlib.suppress(OSError):
            self._take()
        return self.err.decode("utf-8", "backslashreplace")

    def close(self) -> None:
        """Close the channel.

        The command sees end of input and, if it writes, a broken pipe; it is not killed.
        """
        if self._released.acquire(blocking=False):
            close_channel(self._channel)
            self.connection.slots.release()
