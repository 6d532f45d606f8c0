"""Sessions: by TLS with a password, or over a remote command that is logged in already."""

import imaplib
import re
import socket
import ssl

import imapclient

from cutover.connect.imap import replies
from cutover.connect.imap.errors import (
    CertificateRefused,
    LoginRefused,
    NoImap,
    NotPreauthenticated,
    SessionLost,
)
from cutover.connect.imap.session import Session

# what announces a literal (RFC 3501 §4.3). imaplib takes a status text that ends in a folder's name
# such as {2008} for it, and waits; such a text begins with its code in brackets (§7.1).
LITERAL = re.compile(rb"(?!\[).*{(?P<size>\d+)}$", re.ASCII)


class _Tls(imaplib.IMAP4):
    """TLS to an address, with the certificate checked against a name of its own."""

    def __init__(
        self, address: str, port: int, hostname: str, context: ssl.SSLContext, timeout: float
    ):
        self._context, self._hostname = context, hostname
        super().__init__(address, port, timeout)

    def _create_socket(self, timeout):
        plain = socket.create_connection((self.host, self.port), timeout)
        try:
            return self._context.wrap_socket(plain, server_hostname=self._hostname)
        except BaseException:
            plain.close()
            raise


class _OverStream(imaplib.IMAP4):
    """imaplib over the two directions of a remote command (ssh.Stream)."""

    def __init__(self, stream):
        self._stream, self._line = stream, b""
        super().__init__("")

    def open(self, host="", port=0, timeout=None):
        self.host, self.port, self.sock = host, port, self

    def _get_capabilities(self):
        """From the greeting, where it lists them (RFC 3501 §7.1): that saves a round trip."""
        if listed := re.search(rb"\[CAPABILITY ([^\]]+)\]", self.welcome):
            self.capabilities = tuple(listed[1].decode("latin-1").upper().split())
        else:
            super()._get_capabilities()

    def settimeout(self, seconds):
        self._stream.timeout = seconds

    def read(self, size):
        return self._stream.read(size)

    def readline(self):
        return self._stream.readline()

    def send(self, data):
        # IMAPClient sends a line in pieces, each of which would be a packet. It waits for an answer
        # only after a line's end.
        self._line = self._line + data if self._line else data
        if self._line.endswith(b"\r\n"):
            line, self._line = self._line, b""
            self._stream.write(line)

    def shutdown(self):
        self._stream.close()


class _Client(imapclient.IMAPClient):
    """IMAPClient around a connection that is made already."""

    def __init__(self, made: imaplib.IMAP4, timeout: float):
        self._made = made
        super().__init__("", ssl=False, timeout=timeout)
        self.normalise_times = False
        # IMAPClient turns imaplib's trace on, which formats every line of every message
        made.debug = 0
        made.Literal = LITERAL

    def _create_IMAP4(self):
        return self._made


def login(
    host_address: str,
    port: int,
    server_hostname: str,
    ca_file,
    user: str,
    password: str,
    timeout: float,
) -> "Session":
    """Log in over TLS.

    The certificate must carry `server_hostname` and descend from `ca_file` (None: the system's).

    `timeout`: seconds for connecting and for each answer. Raises NoImap, CertificateRefused,
    LoginRefused.
    """
    server = f"{server_hostname} ({host_address}:{port})"
    try:
        context = ssl.create_default_context(cafile=str(ca_file) if ca_file else None)
    except OSError as error:
        raise CertificateRefused(
            server=server, hostname=server_hostname, reason=f"{ca_file}: {error}"
        ) from error
    try:
        client = _Client(_Tls(host_address, port, server_hostname, context, timeout), timeout)
    except ssl.SSLCertVerificationError as error:
        raise CertificateRefused(
            server=server, hostname=server_hostname, reason=error.verify_message
        ) from error
    except (OSError, imaplib.IMAP4.error) as error:
        raise NoImap(server=server, reason=error) from error
    try:
        client.login(user, password)
    except imaplib.IMAP4.abort as error:
        client.shutdown()
        raise SessionLost(server=server, doing=f"logging in as {user}", reason=error) from error
    except imaplib.IMAP4.error as error:
        client.shutdown()
        raise LoginRefused(server=server, user=user, reason=replies.plain(error)) from error
    except OSError as error:
        client.shutdown()
        raise SessionLost(server=server, doing=f"logging in as {user}", reason=error) from error
    return Session(client, server)


def preauth(stream, timeout: float, server: str | None = None) -> "Session":
    """A session over a remote command that starts logged in, such as `imapd` run as the user (RFC
    3501 §7.1.4).

    `stream`: ssh.Connection.open's result; `timeout`: seconds for each answer. The session closes
    the stream.
    """
    connection = getattr(stream, "connection", None)
    server = (
        server
        or f"{connection.host if connection else 'stream'}: "
        f"{' '.join(getattr(stream, 'argv', ['']))}"
    )
    stream.timeout = timeout
    try:
        made = _OverStream(stream)
        if made.state != "AUTH":
            raise imaplib.IMAP4.error(made.welcome)
        client = _Client(made, timeout)
        # or IMAPClient asks before the first command
        client._cached_capabilities = tuple(name.encode() for name in made.capabilities)
        return Session(client, server)
    except imaplib.IMAP4.error as error:
        stderr = getattr(stream, "stderr_text", str)()
        stream.close()
        raise NotPreauthenticated(
            server=server, reason=f"{replies.plain(error)} {stderr.strip()}".strip()
        ) from error
    except BaseException:
        stream.close()
        raise
