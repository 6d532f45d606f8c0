"""The greeting of a ManageSieve service (RFC 5804)."""

import socket

from cutover.model import errors

MAX_LINES = 50  # of a greeting


class NoManageSieve(errors.TemplatedError):
    """No ManageSieve service answers at the address."""

    template = "{server}: no ManageSieve answer: {reason}"


def capabilities(address: str, port: int, timeout: float = 10.0) -> dict[str, str]:
    """`{"SIEVE": "fileinto vacation …", "STARTTLS": "", …}`, as greeted. Raises NoManageSieve."""
    capability, server = {}, f"{address}:{port}"
    try:
        with (
            socket.create_connection((address, port), timeout) as link,
            link.makefile("rb") as lines,
        ):
            for _ in range(MAX_LINES):
                line = lines.readline(4096).decode("utf-8", "replace").strip()
                if line.startswith("OK"):
                    return capability
                if not line or not line.startswith('"'):
                    raise NoManageSieve(server=server, reason=line or "the server hung up")
                parts = line.split('"')
                capability[parts[1].upper()] = parts[3] if len(parts) > 3 else ""
    except OSError as error:
        raise NoManageSieve(server=server, reason=error) from error
    raise NoManageSieve(server=server, reason=f"no OK within {MAX_LINES} lines")
