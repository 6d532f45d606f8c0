"""Greetings of a ManageSieve service, and of services that are something else."""

import contextlib
import socket
import threading

import pytest
from cutover.connect import managesieve

GREETING = (
    b'"IMPLEMENTATION" "Dovecot"\r\n"SIEVE" "fileinto vacation"\r\n"STARTTLS"\r\nOK "ready"\r\n'
)


@contextlib.contextmanager
def greeting(data):
    """The port of a service that sends `data` and closes the connection."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve():
            with contextlib.suppress(OSError):
                link, _ = server.accept()
                with link:
                    link.sendall(data)

        thread = threading.Thread(target=serve)
        thread.start()
        yield server.getsockname()[1]
        thread.join()


def test_capabilities():
    with greeting(GREETING) as port:
        capabilities = managesieve.capabilities("127.0.0.1", port)
    assert capabilities == {
        "IMPLEMENTATION": "Dovecot",
        "SIEVE": "fileinto vacation",
        "STARTTLS": "",
    }


@pytest.mark.parametrize(
    "data, reason",
    [
        (b"", "the server hung up"),
        (b"* OK IMAP4rev1\r\n", "IMAP4rev1"),
        (b'"SIEVE" "vacation"\r\n', "the server hung up"),
        (b'"X" "y"\r\n' * 60, "no OK within 50 lines"),
    ],
    ids=["silent", "imap", "cut short", "endless"],
)
def test_anything_else_is_refused_with_the_reason(data, reason):
    with greeting(data) as port, pytest.raises(managesieve.NoManageSieve, match=reason):
        managesieve.capabilities("127.0.0.1", port)


def test_a_closed_port_is_named():
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    with pytest.raises(managesieve.NoManageSieve, match=rf"127\.0\.0\.1:{port}: .*refused"):
        managesieve.capabilities("127.0.0.1", port)
