"""The verbs on one host: run, stream, open, put, get, close."""

import logging
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from cutover.connect.ssh import legacy
from cutover.connect.ssh.command import MIB, remote_line
from cutover.connect.ssh.errors import CommandFailed, NoSuchFile, TooManySessions, TooMuchOutput
from cutover.connect.ssh.links import Links
from cutover.connect.ssh.login import Login
from cutover.connect.ssh.result import Result, shown
from cutover.connect.ssh.runner import Runners
from cutover.connect.ssh.stream import Output, Stream

# sshd's MaxSessions is 10 by default and refuses the eleventh; stay below
SESSIONS = 8

# what matters is raised; the rest is not for the operator
logging.getLogger("paramiko").addHandler(logging.NullHandler())

_PUT = """
set -e
target=$(readlink -f -- "$1") || { echo "the directory of $1 does not exist" >&2; exit 73; }
beside=$(mktemp "$(dirname -- "$target")/.cutover.XXXXXX")
trap 'rm -f -- "$beside"' EXIT
cat > "$beside"
if [ "$(wc -c < "$beside")" -ne "$2" ]; then echo "only part of the data arrived" >&2; exit 75; fi
if [ -n "$3" ]; then chmod "$3" "$beside"
elif [ -e "$target" ]; then
    chmod --reference="$target" "$beside"
    chown --reference="$target" "$beside"
else chmod 0600 "$beside"; fi
sync "$beside" 2>/dev/null || sync
mv -f -- "$beside" "$target"
trap - EXIT
"""

_NO_FILE = 44

_GET = f'[ -e "$1" ] || exit {_NO_FILE}; exec cat -- "$1"'


class Writes:
    """The verb that writes, for what has run()."""

    def put(
        self,
        data: bytes,
        path: str,
        *,
        mode: int | None = 0o600,
        sudo: bool = False,
        timeout: float = 60,
    ) -> None:
        """Write a file whole or not at all: next to it, counted, synced, then renamed over it.

        A link is followed.

        `mode` None keeps owner and mode of an existing file (0600 for a new one); else the writer
        owns the file.
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


class Connection(Writes):
    """One host over one ssh link, made at the first call and made again at the next call after it
    was lost.

    Threads may share a connection: their commands run side by side, at most `SESSIONS` at once
    (others wait). `host` is the name in messages and the first name looked up in `known_hosts`;
    `address` the second.
    """

    def __init__(
        self,
        host: str,
        address: str,
        port: int,
        user: str,
        key_file: Path,
        known_hosts: Path,
        old_algorithms: bool = False,
        old_sudo: bool = False,
        connect_timeout: float = 10.0,
        keepalive: int = 5,
    ):
        limits = (connect_timeout, keepalive)
        login = Login(host, address, port, user, key_file, known_hosts, *limits, old_algorithms)
        self.host, self.address, self.user, self.old_sudo = host, address, user, old_sudo
        self.links, self.login = Links(login), login
        self.slots = threading.BoundedSemaphore(SESSIONS)
        self.runners = Runners(self)

    # -- the verbs

    def connect(self) -> None:
        """Make the link now, if there is none, so that the first command need not wait for it."""
        self.links.transport()

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
        """Run a command to its end.

        `timeout` seconds in all; `max_output` bytes of stdout and stderr each.

        Raises CommandFailed when `check` and the status is not 0; NoSudo, TimedOut, TooMuchOutput,
        LinkLost always.
        """
        began = time.monotonic()
        with self._open(argv, sudo, as_user, timeout) as stream:
            stream.err_limit = max_output + 1
            stream.feed(input)
            while stream.pump(began + timeout, "end"):
                if len(stream.out) > max_output or len(stream.err) > max_output:
                    where = "on stdout" if len(stream.out) > max_output else "on stderr"
                    raise TooMuchOutput(
                        host=self.host, limit=max_output, where=where, command=shown(argv)
                    )
            return stream.result(began, check)

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

        `idle_timeout`: seconds without a byte on either output. The Result's `out` is empty, `err`
        its last 64 KiB.
        """
        began = time.monotonic()
        with self._open(argv, sudo, as_user, idle_timeout) as stream:
            stream.feed(input)
            looked = 0
            while stream.pump(time.monotonic() + idle_timeout, "output"):
                end = stream.out.rfind(b"\n", looked) + 1
                lines = bytes(stream.out[:end]).split(b"\n")[:-1] if end else []
                del stream.out[:end]
                looked = len(stream.out)
                for line in lines:
                    on_line(line)
                if looked > max_line:
                    raise TooMuchOutput(
                        host=self.host, limit=max_line, where="in one line", command=shown(argv)
                    )
            if stream.out:
                on_line(bytes(stream.out))
                stream.out.clear()
            return stream.result(began, check)

    def open(
        self,
        argv: Sequence[str],
        *,
        sudo: bool = False,
        as_user: str | None = None,
        timeout: float = 60,
    ) -> Output:
        """Start a command and talk to it.

        Close it when done, since it occupies one of the connection's sessions.
        """
        return self._open(argv, sudo, as_user, timeout)

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

    def pinned(self) -> list[str]:
        """The host's pinned keys, `TYPE BASE64` each, for another host that must know it."""
        return self.login.pinned()

    def old_algorithms(self) -> list[str]:
        """The old algorithms that the link uses; empty for a host without legacy_ssh."""
        return legacy.agreed(self.links.transport())

    def close(self) -> None:
        """Drop the links; the next call makes a new one."""
        self.runners.close()
        self.links.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def _open(self, argv, sudo, as_user, timeout) -> Output:
        line = remote_line(argv, sudo=sudo, as_user=as_user, old_sudo=self.old_sudo)
        if as_user is not None and (command := self.runners.open(argv, as_user, timeout)):
            return command
        return self.start(argv, line, sudo or as_user is not None, timeout)

    def start(self, argv: Sequence[str], line: str, sudo: bool, timeout: float) -> Stream:
        """A channel of its own with a line for the host's shell. argv: the command in messages."""
        if not self.slots.acquire(blocking=False):
            with self.runners.making_room():
                if not self.slots.acquire(timeout=timeout):
                    raise TooManySessions(host=self.host, seconds=timeout, command=shown(argv))
        try:
            return Stream(self, argv, line, sudo, timeout)
        except BaseException:
            self.slots.release()
            raise
