"""What a command left when it ended."""

import shlex
from collections.abc import Sequence
from dataclasses import dataclass


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
    """The command as one line for a message, shortened: a script in it is not the news, its name
    and arguments are.
    """
    script = list(argv[:2]) == ["sh", "-c"] and len(argv) > 3
    line = shlex.join(argv[3:] if script else argv)
    return line if len(line) <= 300 else line[:297] + "..."
