"""Commands and files on a host over ssh: connect, run, stream, open, put, get, close; no policy.

Host keys come from one pinned known_hosts file and an unknown one is refused; the only credential is one key file.
There is no pty. A link lost while a command ran leaves its outcome *unknown* (`LinkLost`), which is not *failed*
(`CommandFailed`): the caller has to look at the host before it goes on.
"""

import contextlib
import logging
import re
import shlex
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import paramiko
from cryptography.exceptions import UnsupportedAlgorithm
from paramiko.common import MSG_CHANNEL_CLOSE, MSG_CHANNEL_REQUEST

from cutover.model.errors import TemplatedError

MIB = 1024 * 1024
ERR_KEPT = (
    64 * 1024
)  # bytes of stderr kept of a stream or an open channel; a flood beyond that is read and dropped
SESSIONS = (
    8  # sshd's MaxSessions is 10 by default and answers the eleventh with a refusal; stay below
)
LINKS = 4  # links beside the first, made when commands that were given up still occupy the sessions of the others
DRAIN_GRACE = 2.0  # seconds to wait for end of file once the exit status is known: a daemon may hold the pipe for ever

logging.getLogger("paramiko").addHandler(
    logging.NullHandler()
)  # what matters is raised; the rest is not the operator's


class SshError(TemplatedError):
    """Something about reaching or using a host over ssh; the data of each kind are attributes."""

    template = "{host}: ssh failed"


class Unreachable(SshError):
    """No usable ssh service answered at the address; no command was sent."""

    template = (
        "{host}: no ssh at {address} port {port}: {reason}. Is the host up and the address right?"
    )


class KnownHostsUnusable(SshError):
    """The file of pinned host keys cannot be read, so no host can be trusted."""

    template = "{host}: cannot read the host keys in {known_hosts}: {reason}"


class UnknownHostKey(SshError):
    """The known_hosts file has no key for this host."""

    template = (
        "{host}: {known_hosts} has no host key for {names}; the host shows {key_type} {fingerprint}. Compare it with "
        "`ssh-keygen -lf /etc/ssh/ssh_host_*_key.pub` on the host's console, then add the line: {line}"
    )


class HostKeyChanged(SshError):
    """The host shows another key than the pinned one."""

    template = (
        "{host}: the host key is not the one in {known_hosts}: {key_type} {fingerprint} shown, {pinned} pinned. "
        "Either another machine answers at {address}, or the host was reinstalled: find out which, then change the file"
    )


class KeyUnusable(SshError):
    """The operator's private key file cannot be used on this side."""

    template = "{host}: the private key {key_file} cannot be used: {reason}"


class KeyRefused(SshError):
    """The host does not accept the operator's key for this account."""

    template = "{host}: {user} may not log in with the key {key_file}: add {key_file}.pub to ~{user}/.ssh/authorized_keys there"


class NoAlgorithm(SshError):
    """The host's sshd and this side have no algorithm in common."""

    template = (
        "{host}: the sshd at {address} offers only algorithms this program no longer speaks ({reason}). An sshd that "
        "knows nothing but SHA-1 cannot be reached: run a newer sshd beside it on another port, or update it"
    )


class TooManySessions(SshError):
    """Every session this connection may have at once was in use for too long; no command was sent."""

    template = (
        "{host}: no session came free within {seconds:g} s, so this was not started: {command}. "
        "Commands given up earlier may still be running there; see also MaxSessions in its sshd_config"
    )


class UnsendableCommand(SshError):
    """An argument holds a NUL byte, which ends it for the host's shell: nothing was sent."""

    template = "{host}: an argument holds a NUL byte, so this was not sent: {command}"


class LinkLost(SshError):
    """The link went away after the command was sent: its outcome is unknown."""

    outcome_unknown = True

    template = "{host}: the link was lost ({reason}) while running: {command}. Whether it ran to its end is UNKNOWN: look at the host"


class NoSudo(SshError):
    """sudo on the host refused without asking, so the command did not run."""

    template = "{host}: sudo -n refused ({reason}) for: {command}. {user} needs a NOPASSWD rule in sudoers there"


class CommandFailed(SshError):
    """The command ran and ended with a status other than 0, or by a signal."""

    template = "{host}: {how} from: {command}{tail}"

    @classmethod
    def of(cls, result: "Result", **more) -> "CommandFailed":
        how = f"signal {result.signal}" if result.signal else f"status {result.rc}"
        if result.rc - 128 in set(signal.Signals):  # a shell in between says it this way
            how += f" (signal {signal.Signals(result.rc - 128).name[3:]})"
        said = result.err.strip() or result.out.strip()
        tail = (
            (": " + said[-800:].decode("utf-8", "backslashreplace"))
            if said
            else " (it said nothing)"
        )
        command = shown(result.argv)
        return cls(
            host=result.host,
            command=command,
            how=how,
            tail=tail,
            rc=result.rc,
            result=result,
            **more,
        )


class NoSuchFile(CommandFailed):
    """The file to be fetched does not exist on the host."""

    template = "{host}: there is no file {path}"


class TimedOut(SshError):
    """The command did not end, or said nothing, for as long as it was given; it may still be running."""

    outcome_unknown = True

    template = (
        "{host}: no {what} within {seconds:g} s from: {command}. It may still be running there"
    )


class TooMuchOutput(SshError):
    """The command wrote more than it may; it was cut off and may still be running."""

    outcome_unknown = True

    template = "{host}: more than {limit} bytes {where} from: {command}"


@dataclass(frozen=True)
class Result:
    """What a finished command left: exit status, bytes of both outputs, wall-clock seconds.

    `rc` is -1 when the command was ended by `signal` (its name without SIG, RFC 4254 §6.10).
    """

    host: str
    argv: tuple[str, ...]
    rc: int
    out: bytes
    err: bytes
    seconds: float
    signal: str = ""

    @property
    def text(self) -> str:
        """stdout as text; bytes that are no UTF-8 appear as \\xNN."""
        return self.out.decode("utf-8", "backslashreplace")


def shown(argv: Sequence[str]) -> str:
    """The command as one line for a message, shortened: a script in it is not the news, its name and arguments are."""
    script = list(argv[:2]) == ["sh", "-c"] and len(argv) > 3
    line = shlex.join(argv[3:] if script else argv)
    return line if len(line) <= 300 else line[:297] + "..."


def remote_line(argv: Sequence[str], *, sudo: bool = False, as_user: str | None = None) -> str:
    """The line handed to the host's shell. The only place where anything is quoted."""
    if any("\0" in each for each in argv):
        raise UnsendableCommand(
            host="ssh", command=shown([each.replace("\0", "\\0") for each in argv])
        )
    prefix = (
        ["sudo", "-n", "-u", as_user, "-H", "--"]
        if as_user
        else ["sudo", "-n", "--"]
        if sudo
        else []
    )
    return shlex.join([*prefix, *argv])


# What sudo itself says when it declines (sudo 1.8 and 1.9); "sudo: x: command not found" is the command's own fault.
_SUDO_REFUSED = re.compile(
    rb"^(sudo: (?:a password is required|a terminal is required|no tty present|sorry, you must have a tty"
    rb"|.*may not run sudo|.*is not allowed|.*not in the sudoers).*|Sorry, user .*|.* is not in the sudoers file.*"
    rb"|[^\n]*sudo: (?:command )?not found)",
    re.MULTILINE,
)


def _note_signal(channel: paramiko.Channel, message: paramiko.Message) -> None:
    """Keep the signal that ended a command (RFC 4254 §6.10), which paramiko drops, then do as paramiko does."""
    if message.get_text() == "exit-signal":
        message.get_boolean()
        channel.exit_signal = message.get_text()
    message.rewind()
    message.get_int()  # the channel's number, which the caller had consumed
    paramiko.Channel._handle_request(channel, message)


def _note_close(channel: paramiko.Channel, message: paramiko.Message) -> None:
    """The host is done with the channel. Unlike paramiko's own, this answers nothing: the Stream closes it.

    paramiko's transport thread answers at once, while the thread that owns the channel may be about to send data or
    an end of file. sshd takes whatever follows the answer as a protocol error and ends the whole link, with every
    other command on it.
    """
    with channel.lock:
        channel.closed_by_host = True
        if channel.closed:
            channel.transport._unlink_channel(channel.chanid)
            return
        channel.eof_received = True
        channel.in_buffer.close()
        channel.in_stderr_buffer.close()
        channel.out_buffer_cv.notify_all()
        channel.event.set()
        channel.status_event.set()


def _close_channel(channel: paramiko.Channel) -> None:
    """Close from this side, and forget the channel if the host has closed it already."""
    channel.close()
    with channel.lock:
        if getattr(channel, "closed_by_host", False):
            channel.transport._unlink_channel(channel.chanid)


class _Transport(paramiko.Transport):
    """paramiko's transport with two of its handlers replaced."""

    _channel_handler_table = {
        **paramiko.Transport._channel_handler_table,
        MSG_CHANNEL_REQUEST: _note_signal,
        MSG_CHANNEL_CLOSE: _note_close,
    }


class _Arrival:
    """What paramiko's buffers call when bytes arrive or the end does; the Stream itself clears the event."""

    def __init__(self, event: threading.Event):
        self.set = event.set

    def clear(self):
        pass


class Stream:
    """Both directions of one running command. Reads and writes raise TimedOut after `timeout` seconds of silence."""

    def __init__(self, connection: "Connection", argv: Sequence[str], line: str, timeout: float):
        self.connection, self.argv, self.timeout = connection, tuple(argv), timeout
        self.err_limit = ERR_KEPT
        self._line, self._out, self._err = line, bytearray(), bytearray()
        self._pending, self._end_input = memoryview(b""), False
        self._ended_at = None
        self._released = threading.Lock()
        self._channel = connection._start(line, timeout)
        # not channel.fileno(): paramiko's transport thread writes into that pipe after the channel has closed it, which
        # ends the whole link (EBADF) or, once the number is in use again, puts a byte into somebody else's socket
        self._arrived = threading.Event()
        for buffer in (self._channel.in_buffer, self._channel.in_stderr_buffer):
            buffer.set_event(_Arrival(self._arrived))

    def _take(self) -> bool:
        """Move what has arrived into the buffers and what waits out of them; True if anything moved."""
        channel, moved = self._channel, False
        if channel.recv_stderr_ready():
            self._err += channel.recv_stderr(256 * 1024)
            del self._err[: -self.err_limit]
            moved = True
        if channel.recv_ready():
            self._out += channel.recv(256 * 1024)
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

    def _pump(self, deadline: float, what: str) -> bool:
        """Wait for something to happen and take it in; False once the command and its output have ended."""
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
                    out=bytes(self._out),
                    err=bytes(self._err),
                )
            # the event tells of arrivals and of the end, not of room to write nor of a bare exit status
            wait = min(deadline - now, 0.01 if self._pending else 0.1)
            if channel.eof_received:  # from then on only the exit status is awaited
                channel.status_event.wait(wait)
            else:
                self._arrived.wait(wait)

    def _outcome(self) -> tuple[int, str]:
        """(exit status, signal name) of the ended command; LinkLost if the host never said."""
        channel = self._channel
        if channel.exit_status != -1:
            return channel.exit_status, ""
        signal = getattr(channel, "exit_signal", "")
        if not signal:
            self.connection._lost(shown(self.argv), channel.transport)
        return -1, signal

    def _refused(self, rc: int) -> None:
        if (
            self._line.startswith("sudo ")
            and rc in (1, 127)
            and (said := _SUDO_REFUSED.search(self._err))
        ):
            reason = said.group(1).decode("utf-8", "backslashreplace").strip()
            user, host = self.connection.user, self.connection.host
            raise NoSudo(host=host, reason=reason, command=shown(self.argv), user=user)

    def _more(self) -> bool:
        if self._pump(time.monotonic() + self.timeout, "answer"):
            return True
        rc, _ = self._outcome()
        self._refused(rc)
        return False

    def read(self, n: int) -> bytes:
        """n bytes; fewer only when the command has ended its output."""
        while len(self._out) < n and self._more():
            pass
        data = bytes(self._out[:n])
        del self._out[:n]
        return data

    def readline(self, limit: int = MIB) -> bytes:
        """The next line with its line end; fewer bytes than a line only at the end of output or at `limit`."""
        looked = 0
        while (at := self._out.find(b"\n", looked)) < 0 and len(self._out) < limit:
            looked = len(self._out)
            if not self._more():
                break
        return self.read(min(limit, at + 1 if at >= 0 else len(self._out)))

    def write(self, data: bytes) -> None:
        """Send data; output that arrives meanwhile is kept for the next read."""
        self._pending = memoryview(bytes(data))
        deadline = time.monotonic() + self.timeout
        while self._pending:
            if not self._pump(deadline, "room for input"):
                self._outcome()
                raise LinkLost(
                    host=self.connection.host, reason="the command ended", command=shown(self.argv)
                )

    def finish(self) -> "Result":
        """Say that no input follows, wait for the end, and take what output is left. → Result; never raises for its status."""
        began, self._end_input = time.monotonic(), True
        while self._more():
            pass
        return self.connection._result(self, began, check=False)

    def stderr_text(self) -> str:
        """What the command has written to stderr so far, its last 64 KiB."""
        with contextlib.suppress(OSError):
            self._take()
        return self._err.decode("utf-8", "backslashreplace")

    def close(self) -> None:
        """Close the channel. The command sees end of input and, if it writes, a broken pipe; it is not killed."""
        if self._released.acquire(blocking=False):
            _close_channel(self._channel)
            self.connection._slots.release()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


_PUT = """
set -e
target=$(readlink -f -- "$1") || { echo "there is no folder for $1" >&2; exit 73; }
beside=$(mktemp "$(dirname -- "$target")/.cutover.XXXXXX")
trap 'rm -f -- "$beside"' EXIT
cat > "$beside"
if [ "$(wc -c < "$beside")" -ne "$2" ]; then echo "only part of the data arrived" >&2; exit 75; fi
if [ -n "$3" ]; then chmod "$3" "$beside"
elif [ -e "$target" ]; then chmod --reference="$target" "$beside"; chown --reference="$target" "$beside"
else chmod 0600 "$beside"; fi
sync "$beside" 2>/dev/null || sync
mv -f -- "$beside" "$target"
trap - EXIT
"""

_NO_FILE = 44
_GET = f'[ -e "$1" ] || exit {_NO_FILE}; exec cat -- "$1"'


class Connection:
    """One host over one ssh link, made at the first call and made again at the next call after it was lost.

    Threads may share a connection: their commands run side by side, at most `SESSIONS` at once (others wait).
    `host` is the name in messages and the first name looked up in `known_hosts`; `address` the second.
    """

    def __init__(
        self,
        host: str,
        address: str,
        port: int,
        user: str,
        key_file: Path,
        known_hosts: Path,
        connect_timeout: float = 10.0,
        keepalive: int = 5,
    ):
        self.host, self.address, self.port, self.user = host, address, port, user
        self.key_file, self.known_hosts = Path(key_file), Path(known_hosts)
        self.connect_timeout, self.keepalive = connect_timeout, keepalive
        self._client: paramiko.SSHClient | None = None
        self._full: list[
            paramiko.SSHClient
        ] = []  # links whose sessions are all taken; commands still run on them
        self._connecting = threading.Lock()
        self._slots = threading.BoundedSemaphore(SESSIONS)

    # -- the verbs

    def run(
        self,
        argv: Sequence[str],
        *,
        sudo: bool = False,
        as_user: str | None = None,
        input: bytes = b"",
        timeout: float = 60,
        check: bool = True,
        max_output: int = 64 * MIB,
    ) -> Result:
        """Run a command to its end. `timeout` seconds in all; `max_output` bytes of stdout and stderr each.

        Raises CommandFailed when `check` and the status is not 0; NoSudo, TimedOut, TooMuchOutput, LinkLost always.
        """
        began = time.monotonic()
        with self._open(argv, sudo, as_user, timeout) as stream:
            stream.err_limit = max_output + 1
            stream._pending, stream._end_input = memoryview(input), True
            while stream._pump(began + timeout, "end"):
                if len(stream._out) > max_output or len(stream._err) > max_output:
                    where = "on stdout" if len(stream._out) > max_output else "on stderr"
                    raise TooMuchOutput(
                        host=self.host, limit=max_output, where=where, command=shown(argv)
                    )
            return self._result(stream, began, check)

    def stream(
        self,
        argv: Sequence[str],
        *,
        sudo: bool = False,
        as_user: str | None = None,
        on_line: Callable[[bytes], None],
        input: bytes = b"",
        idle_timeout: float = 60,
        check: bool = True,
        max_line: int = MIB,
    ) -> Result:
        """Run a command and hand over each line of stdout, without its line end, as it comes.

        `idle_timeout`: seconds without a byte on either output. The Result's `out` is empty, `err` its last 64 KiB.
        """
        began = time.monotonic()
        with self._open(argv, sudo, as_user, idle_timeout) as stream:
            stream._pending, stream._end_input = memoryview(input), True
            looked = 0
            while stream._pump(time.monotonic() + idle_timeout, "output"):
                end = stream._out.rfind(b"\n", looked) + 1
                lines = bytes(stream._out[:end]).split(b"\n")[:-1] if end else []
                del stream._out[:end]
                looked = len(stream._out)
                for line in lines:
                    on_line(line)
                if looked > max_line:
                    raise TooMuchOutput(
                        host=self.host, limit=max_line, where="in one line", command=shown(argv)
                    )
            if stream._out:
                on_line(bytes(stream._out))
                stream._out.clear()
            return self._result(stream, began, check)

    def open(
        self,
        argv: Sequence[str],
        *,
        sudo: bool = False,
        as_user: str | None = None,
        timeout: float = 60,
    ) -> Stream:
        """Start a command and talk to it; close it when done, since it occupies one of the connection's sessions."""
        return self._open(argv, sudo, as_user, timeout)

    def put(
        self,
        data: bytes,
        path: str,
        *,
        mode: int | None = 0o600,
        sudo: bool = False,
        timeout: float = 60,
    ) -> None:
        """Write a file whole or not at all: beside it, counted, synced, then renamed over it. A link is followed.

        `mode` None keeps owner and mode of an existing file (0600 for a new one); else the writer owns the file.
        """
        argv = [
            "sh",
            "-c",
            _PUT,
            "put",
            path,
            str(len(data)),
            "" if mode is None else f"{mode:04o}",
        ]
        self.run(argv, sudo=sudo, input=data, timeout=timeout)

    def get(
        self, path: str, *, sudo: bool = False, max_bytes: int = 64 * MIB, timeout: float = 60
    ) -> bytes:
        """The bytes of a file. NoSuchFile if there is none; CommandFailed if it may not be read."""
        argv = ["sh", "-c", _GET, "get", path]
        result = self.run(argv, sudo=sudo, timeout=timeout, check=False, max_output=max_bytes)
        if result.rc == _NO_FILE:
            raise NoSuchFile.of(result, path=path)
        if result.rc:
            raise CommandFailed.of(result)
        return result.out

    def close(self) -> None:
        """Drop the link; the next call makes a new one."""
        with self._connecting:
            for client in [self._client, *self._full]:
                if client:
                    client.close()
            self._client, self._full = None, []

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def pinned(self) -> list[str]:
        """The host's keys as pinned here, `TYPE BASE64` each, for another host that is to know it as well."""
        client = paramiko.SSHClient()
        filed = self._pin(client)
        keys = client.get_host_keys().lookup(self._filed(filed)) or {}
        return sorted(f"{kind} {key.get_base64()}" for kind, key in keys.items())

    # -- the link

    def _open(self, argv, sudo, as_user, timeout) -> Stream:
        if not self._slots.acquire(timeout=timeout):
            raise TooManySessions(host=self.host, seconds=timeout, command=shown(argv))
        try:
            return Stream(self, argv, remote_line(argv, sudo=sudo, as_user=as_user), timeout)
        except BaseException:
            self._slots.release()
            raise

    def _result(self, stream: Stream, began: float, check: bool) -> Result:
        rc, signal = stream._outcome()
        stream._refused(rc)
        seconds = time.monotonic() - began
        result = Result(
            self.host, stream.argv, rc, bytes(stream._out), bytes(stream._err), seconds, signal
        )
        if check and rc != 0:
            raise CommandFailed.of(result)
        return result

    def _start(self, line: str, timeout: float) -> paramiko.Channel:
        """A channel with the command started on it. Asking for the channel sends nothing, so it may be tried again."""
        channel = self._session(line)
        transport = channel.transport
        # paramiko waits for the answer to exec without a limit; closing the channel ends that wait
        watchdog = threading.Timer(timeout, _close_channel, [channel])
        watchdog.daemon = True
        watchdog.start()
        began = time.monotonic()
        try:
            channel.exec_command(line)
        except (paramiko.SSHException, OSError, EOFError):
            _close_channel(channel)
            if time.monotonic() - began >= timeout:
                late = {"what": "start", "seconds": timeout, "command": line[:300]}
                raise TimedOut(host=self.host, out=b"", err=b"", **late) from None
            self._lost(line[:300], transport)
        finally:
            watchdog.cancel()
        return channel

    def _session(self, line: str) -> paramiko.Channel:
        """A new channel. A refusal is retried briefly, then on a fresh link: sshd frees a session only when its
        command has ended, so commands that were given up occupy theirs."""
        lost, refused, deadline = 0, None, time.monotonic() + self.connect_timeout
        while time.monotonic() < deadline:
            transport = self._transport()
            try:
                return transport.open_session(timeout=self.connect_timeout)
            except paramiko.ChannelException:
                if refused is not transport:
                    refused, since = transport, time.monotonic()
                elif time.monotonic() - since > 1:
                    self._retire(transport)
                time.sleep(0.05)
            except (paramiko.SSHException, OSError, EOFError) as error:
                lost += 1
                if (
                    lost > 1 or transport.is_active()
                ):  # a link that is alive is left to the other threads' commands
                    raise self._unreachable(error) from error
        raise TooManySessions(host=self.host, seconds=self.connect_timeout, command=line[:300])

    def _retire(self, transport: paramiko.Transport) -> None:
        with self._connecting:
            self._full = [
                client
                for client in self._full
                if client.get_transport() and client.get_transport().is_active()
            ]
            if (
                self._client
                and self._client.get_transport() is transport
                and len(self._full) < LINKS
            ):
                self._full.append(self._client)
                self._client = None

    def _lost(self, command: str, transport: paramiko.Transport):
        transport.join(0.5)  # the transport tells its channels a moment before it calls itself dead
        if transport.is_active():
            reason = "the host closed the session without an exit status"
        else:
            error = transport.get_exception()
            reason = str(error) or type(error).__name__ if error else "connection closed"
        raise LinkLost(host=self.host, reason=reason, command=command)

    def _unreachable(self, error) -> Unreachable:
        reason = str(error) or type(error).__name__
        return Unreachable(host=self.host, address=self.address, port=self.port, reason=reason)

    def _transport(self) -> paramiko.Transport:
        with self._connecting:
            transport = self._client.get_transport() if self._client else None
            if transport is None or not transport.is_active():
                if self._client:
                    self._client.close()
                self._client = None
                self._client = self._connect()
            return self._client.get_transport()

    def _pin(self, client: paramiko.SSHClient) -> str:
        """Load the pinned keys; return the name this host's are filed under: its own, else its address."""
        try:
            client.load_host_keys(str(self.known_hosts))
        except (OSError, UnicodeDecodeError, paramiko.hostkeys.InvalidHostKey) as error:
            raise KnownHostsUnusable(
                host=self.host, known_hosts=self.known_hosts, reason=error
            ) from error
        filed = [
            name
            for name in (self.host, self.address)
            if client.get_host_keys().lookup(self._filed(name))
        ]
        return (filed or [self.host])[0]

    def _filed(self, name: str) -> str:
        return name if self.port == 22 else f"[{name}]:{self.port}"

    def _key(self) -> paramiko.PKey:
        """The operator's key. Read here: paramiko tries each type in turn and tells of the wrong one's trouble."""
        try:
            return paramiko.PKey.from_path(self.key_file)
        except OSError as error:
            reason = error.strerror
        except (
            TypeError,
            paramiko.PasswordRequiredException,
        ):  # the former is what `cryptography` raises for it
            reason = "it is protected by a passphrase, which an unattended run cannot give"
        except (ValueError, paramiko.SSHException, UnsupportedAlgorithm) as error:
            reason = f"it is no private key this program knows ({error})"
        raise KeyUnusable(host=self.host, key_file=self.key_file, reason=reason)

    def _connect(self) -> paramiko.SSHClient:
        key = self._key()
        client = paramiko.SSHClient()
        name = self._pin(client)
        client.set_missing_host_key_policy(_Refuse(self))
        with self._meaning(), contextlib.ExitStack() as undo:
            undo.callback(client.close)
            # connected here, not by paramiko: it would look the name up, and this program goes to given addresses only
            sock = socket.create_connection((self.address, self.port), self.connect_timeout)
            undo.callback(sock.close)
            sock.setsockopt(
                socket.IPPROTO_TCP, socket.TCP_NODELAY, 1
            )  # else each command waits 40 ms for an ack
            # without it a peer that vanished is noticed after a quarter of an hour: keepalives ask for no answer
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, 4 * self.keepalive * 1000)
            client.connect(
                name,
                self.port,
                self.user,
                pkey=key,
                sock=sock,
                allow_agent=False,
                look_for_keys=False,
                timeout=self.connect_timeout
                + 1,  # for the key exchange; longer, so that a missing banner is told first
                banner_timeout=self.connect_timeout,
                auth_timeout=self.connect_timeout,
                transport_factory=_Transport,
            )
            client.get_transport().set_keepalive(self.keepalive)
            undo.pop_all()
        return client

    @contextlib.contextmanager
    def _meaning(self) -> Iterator[None]:
        """Turn what paramiko and the socket raise while connecting into errors that say what to do."""
        mine = {"host": self.host, "address": self.address, "port": self.port}
        try:
            yield
        except paramiko.BadHostKeyException as error:
            raise HostKeyChanged(
                **mine,
                known_hosts=self.known_hosts,
                key_type=error.key.get_name(),
                fingerprint=error.key.fingerprint,
                pinned=f"{error.expected_key.get_name()} {error.expected_key.fingerprint}",
            ) from error
        except paramiko.AuthenticationException as error:
            if "timeout" in str(error).lower():
                raise self._unreachable(error) from error
            raise KeyRefused(**mine, user=self.user, key_file=self.key_file) from error
        except paramiko.ssh_exception.IncompatiblePeer as error:
            raise NoAlgorithm(**mine, reason=error) from error
        except (paramiko.SSHException, OSError, EOFError) as error:
            if "No existing session" in str(
                error
            ):  # what paramiko says when the key exchange does not end
                raise self._unreachable(
                    f"no key exchange within {self.connect_timeout + 1:g} s"
                ) from error
            raise self._unreachable(error) from error


class _Refuse(paramiko.MissingHostKeyPolicy):
    """RejectPolicy, with an error that names the key and what to do."""

    def __init__(self, connection: Connection):
        self.connection = connection

    def missing_host_key(self, client, hostname, key):
        mine = self.connection
        names = list(dict.fromkeys([mine._filed(mine.host), mine._filed(mine.address)]))
        raise UnknownHostKey(
            host=mine.host,
            known_hosts=mine.known_hosts,
            names=" or ".join(names),
            key_type=key.get_name(),
            fingerprint=key.fingerprint,
            line=f"{','.join(names)} {key.get_name()} {key.get_base64()}",
        )
