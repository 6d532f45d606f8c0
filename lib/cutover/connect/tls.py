"""The certificate a server presents, verified as a client would."""

import dataclasses
import socket
import ssl

from cutover.model import errors


class BadCertificate(errors.CutoverError):
    """A server's certificate is not valid for the name users know, or TLS to it fails."""


@dataclasses.dataclass(frozen=True)
class Certificate:
    """names: its DNS names; expires: as OpenSSL prints it."""

    names: list[str]
    expires: str


def certificate(
    address: str, port: int, server_name: str, ca: str | None, timeout: float = 10
) -> Certificate:
    """The certificate at an address, valid for `server_name`. Raises BadCertificate.

    ca: CA file, or None for the system's.
    """
    server = f"{address}:{port}"
    try:
        context = ssl.create_default_context(cafile=ca)
    except (OSError, ssl.SSLError) as error:
        raise BadCertificate(f"the CA file {ca} cannot be used: {error}") from error
    try:
        with (
            socket.create_connection((address, port), timeout) as plain,
            context.wrap_socket(plain, server_hostname=server_name) as secure,
        ):
            peer = secure.getpeercert()
    except ssl.SSLCertVerificationError as error:
        raise BadCertificate(
            f"{server}: certificate not valid for {server_name}: {error.verify_message}"
        ) from error
    except OSError as error:
        raise BadCertificate(f"{server}: TLS connection failed: {error}") from error
    return Certificate(
        [value for kind, value in peer.get("subjectAltName", ()) if kind == "DNS"],
        peer["notAfter"],
    )
