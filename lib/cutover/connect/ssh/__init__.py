"""Commands and files on a host over ssh: connect, run, stream, open, put, get, close; no policy.

Host keys come from one pinned known_hosts file and an unknown one is refused; the only credential
is one key file. There is no pty. A link lost while a command ran leaves its outcome *unknown*
(LinkLost), which is not *failed* (CommandFailed): the caller has to look at the host before it
goes on.
"""

from cutover.connect.ssh.command import remote_line
from cutover.connect.ssh.connection import SESSIONS, Connection
from cutover.connect.ssh.errors import (
    CommandFailed,
    HostKeyChanged,
    KeyRefused,
    KeyUnusable,
    KnownHostsUnusable,
    LinkLost,
    NoAlgorithm,
    NoSuchFile,
    NoSudo,
    OldAlgorithms,
    OldSudo,
    SshError,
    SudoNeedsTerminal,
    TimedOut,
    TooManySessions,
    TooMuchOutput,
    UnknownHostKey,
    Unreachable,
    UnsendableCommand,
)
from cutover.connect.ssh.locked import HELD, Locked
from cutover.connect.ssh.result import Result
from cutover.connect.ssh.stream import DRAIN_GRACE, ERR_KEPT, Stream

__all__ = [
    "DRAIN_GRACE",
    "ERR_KEPT",
    "HELD",
    "SESSIONS",
    "CommandFailed",
    "Connection",
    "HostKeyChanged",
    "KeyRefused",
    "KeyUnusable",
    "KnownHostsUnusable",
    "LinkLost",
    "Locked",
    "NoAlgorithm",
    "NoSuchFile",
    "NoSudo",
    "OldAlgorithms",
    "OldSudo",
    "Result",
    "SshError",
    "Stream",
    "SudoNeedsTerminal",
    "TimedOut",
    "TooManySessions",
    "TooMuchOutput",
    "UnknownHostKey",
    "Unreachable",
    "UnsendableCommand",
    "remote_line",
]
