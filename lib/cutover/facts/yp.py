"""The yp commands of NIS clients, run on a host."""

PATIENCE = 30  # seconds for the answer to one command


def ask(hosts, name: str, argv):
    """The ssh.Result of one of the yp commands on a host. Root's port is below 1024: others are not given shadow.byname."""
    return hosts.run(
        name,
        ["timeout", str(PATIENCE), *argv],
        sudo=True,
        check=False,
        timeout=PATIENCE + 60,
    )


def reason(result) -> str:
    """Why a yp command failed, in its own words."""
    if result.rc == 124:
        return f"nothing within {PATIENCE} s"
    lines = [
        line.strip() for line in result.err.decode("utf-8", "replace").splitlines() if line.strip()
    ]
    return lines[-1].rpartition("Reason: ")[2].strip() if lines else f"exit {result.rc}"
