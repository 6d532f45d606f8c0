"""Commands of root on a host that run only while a lock is held there.

A shell on the host takes the lock by flock(1), then runs one command at a time. A command has the
lock until it ends, whatever becomes of the link, and after a lost link none is begun: the lock can
pass to another only when nothing more is written under it.
"""

import secrets
import shlex
import time
from collections.abc import Sequence

from cutover.connect.ssh.command import remote_line
from cutover.connect.ssh.connection import Connection, Writes
from cutover.connect.ssh.errors import CommandFailed, LinkLost
from cutover.connect.ssh.result import Result

HELD = 90  # seconds after which the shell ends: a control host that lost its power says nothing

# $1: the lock's file, root's alone: whoever may read it could lock it. $2: seconds to wait for it.
_SHELL = """
( umask 077; : >> "$1" ) && exec 9>> "$1" || exit
flock -w "$2" 9 || { echo busy; exit; }
{ sleep "$3"; kill $$; } < /dev/null > /dev/null 2>&1 9>&- &
trap "kill $!" EXIT
echo held
while IFS= read -r line; do
    err=$(eval "$line" 2>&1 > /dev/null)
    printf '%s %s\\n' $? "$(printf %s "$err" | tail -c 800 | tr '\\n' ' ')"
done
"""


class Locked(Writes):
    """The lock and the commands under it. Close it to end the lock.

    path: a file in a directory that only root can write to; made where there is none. held: whether
    the lock was free within `patience` seconds. Raises as Connection.run.
    """

    def __init__(self, connection: Connection, path: str, patience: float):
        self._connection, self.path = connection, path
        argv = ["sh", "-c", _SHELL, "lock", path, str(patience), str(HELD)]
        self._shell = connection.open(argv, sudo=True, timeout=patience + 30)
        try:
            answer = self._shell.readline()
            if answer not in (b"held\n", b"busy\n"):
                raise CommandFailed.of(self._shell.finish())
        except BaseException:
            self.close()
            raise
        self.held = answer == b"held\n"

    def run(
        self,
        argv: Sequence[str],
        *,
        sudo: bool = True,
        input: bytes = b"",
        timeout: float = 60,
        check: bool = True,
    ) -> Result:
        """Run a command, as root in any case. The Result has no stdout.

        Raises CommandFailed when `check`, LinkLost if the lock ended.
        """
        began, line, source = time.monotonic(), remote_line(argv), "/dev/null"
        if input:
            source = f"{self.path}.{secrets.token_hex(8)}"
            self._connection.put(input, source, sudo=True)
            line = f"rm -f {shlex.quote(source)}; {line}"
        self._shell.timeout = timeout
        try:
            self._shell.write(f"{{ {line}; }} < {shlex.quote(source)}\n".encode())
            rc, _, err = self._shell.readline().partition(b" ")
        except BaseException:
            self.close()  # or the next command would take this one's answer for its own
            raise
        if not err.endswith(b"\n"):
            raise LinkLost(
                host=self._connection.host, reason=f"the lock {self.path} ended", command=line[:300]
            )
        seconds = time.monotonic() - began
        result = Result(self._connection.host, tuple(argv), int(rc), b"", err.strip(), seconds)
        if check and result.rc:
            raise CommandFailed.of(result)
        return result

    def close(self) -> None:
        self._shell.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()
