"""What a ManageSieve service (RFC 5804) says when it is called."""

import socket

from cutover.model import errors


class NoManageSieve(errors.TemplatedError):
    """No ManageSieve service answers at the address."""

    template = "{server}: no ManageSieve answer: {reason}"


def capabilities(address: str, port: int, timeout: float = 10.0) -> dict:
    """`{"SIEVE": "fileinto vacation …", "STARTTLS": "", …}` as the service greets. Raises NoManageSieve."""
    found, server = {}, f"{address}:{port}"
    try:
        with (
            socket.create_connection((address, port), timeout) as link,
            link.makefile("rb") as lines,
        ):
            for _ in range(50):
                line = lines.readline(4096).decode("utf-8", "replace").strip()
                if line.startswith("OK"):
                    return found
                if not line or not line.startswith('"'):
                    raise NoManageSieve(server=server, reason=line or "it hung up")
                parts = line.split('"')
                found[parts[1].upper()] = parts[3] if len(parts) > 3 else ""
    except OSError as error:
        raise NoManageSieve(server=server, reason=error) from error
    raise NoManageSieve(server=server, reason="no end of its greeting")
