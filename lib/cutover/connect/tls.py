"""The certificate a server shows, checked as a client would."""

import socket
import ssl

from cutover.model import errors


class BadCertificate(errors.CutoverError):
    """A server's certificate is not valid for the name users know."""


def names(address: str, port: int, server_name: str, ca, timeout: float = 10) -> dict:
    """Connect, check the certificate for `server_name`. → `{"names": [...], "expires": text}`; raises BadCertificate."""
    try:
        context = ssl.create_default_context(cafile=ca)
    except (OSError, ssl.SSLError) as error:
        raise BadCertificate(f"the CA file {ca} cannot be used: {error}") from error
    try:
        with (
            socket.create_connection((address, port), timeout) as plain,
            context.wrap_socket(plain, server_hostname=server_name) as secure,
        ):
            certificate = secure.getpeercert()
    except ssl.SSLCertVerificationError as error:
        raise BadCertificate(
            f"{address}:{port}: not valid for {server_name}: {error.verify_message}"
        ) from error
    except OSError as error:
        raise BadCertificate(f"{address}:{port}: no TLS connection: {error}") from error
    return {
        "names": [value for kind, value in certificate.get("subjectAltName", ()) if kind == "DNS"],
        "expires": certificate["notAfter"],
    }
