"""The yp commands of a NIS client, run on a host."""

from collections.abc import Sequence

from cutover import model
from cutover.facts import time_limit

PATIENCE = 30  # seconds for the reply to one command


def ask(hosts, name: str, argv: Sequence[str]):
    """The ssh.Result of one yp command on a host.

    It runs as root, whose source port is below 1024: others do not get shadow.byname.
    """
    return hosts.run(
        name,
        time_limit.limited(PATIENCE, argv),
        sudo=True,
        check=False,
        timeout=PATIENCE + 60,
    )


def reason(result) -> str:
    """Why a yp command failed, in its own words."""
    if result.rc == time_limit.ENDED:
        return f"nothing within {PATIENCE} s"
    stderr = result.err.decode("utf-8", "replace")
    lines = [line.strip() for line in model.lines(stderr) if line.strip()]
    return lines[-1].rpartition("Reason: ")[2].strip() if lines else f"exit {result.rc}"
