"""How one host is logged in to: pinned host keys, one key file, no pty, no agent."""

import contextlib
import socket
from collections.abc import Iterator
from pathlib import Path

import paramiko
from cryptography.exceptions import UnsupportedAlgorithm

from cutover.connect.ssh import channel, errors, legacy


class Login:
    """An account on a host. Parameters as of connection.Connection."""

    def __init__(
        self,
        host: str,
        address: str,
        port: int,
        user: str,
        key_file: Path,
        known_hosts: Path,
        connect_timeout: float,
        keepalive: int,
        old_algorithms: bool,
    ):
        self.host, self.address, self.port, self.user = host, address, port, user
        self.key_file, self.known_hosts = Path(key_file), Path(known_hosts)
        self.connect_timeout, self.keepalive = connect_timeout, keepalive
        self.old_algorithms = old_algorithms

    def pinned(self) -> list[str]:
        """The host's keys as pinned here, `TYPE BASE64` each, for another host that is to know it
        as well.
        """
        client = paramiko.SSHClient()
        filed = self._pin(client)
        keys = client.get_host_keys().lookup(self.filed(filed)) or {}
        return sorted(f"{kind} {key.get_base64()}" for kind, key in keys.items())

    def connect(self) -> paramiko.SSHClient:
        key, transport = self._key(), channel.Transport
        if self.old_algorithms:
            key, transport = legacy.user_key(key), legacy.Transport
        client = paramiko.SSHClient()
        name = self._pin(client)
        client.set_missing_host_key_policy(_Refuse(self))
        with self._meaning(), contextlib.ExitStack() as undo:
            undo.callback(client.close)
            # connected here, not by paramiko: it would look the name up, and this program goes to
            # given addresses only
            sock = socket.create_connection((self.address, self.port), self.connect_timeout)
            undo.callback(sock.close)
            sock.setsockopt(
                socket.IPPROTO_TCP, socket.TCP_NODELAY, 1
            )  # else each command waits 40 ms for an ack
            # without it a peer that vanished is noticed after a quarter of an hour: keepalives ask
            # for no answer
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, 4 * self.keepalive * 1000)
            client.connect(
                name,
                self.port,
                self.user,
                pkey=key,
                sock=sock,
                allow_agent=False,
                look_for_keys=False,
                timeout=self.connect_timeout
                + 1,  # for the key exchange; longer, so that a missing banner is told first
                banner_timeout=self.connect_timeout,
                auth_timeout=self.connect_timeout,
                transport_factory=transport,
            )
            client.get_transport().set_keepalive(self.keepalive)
            undo.pop_all()
        return client

    def unreachable(self, error) -> errors.Unreachable:
        reason = str(error) or type(error).__name__
        return errors.Unreachable(
            host=self.host, address=self.address, port=self.port, reason=reason.rstrip(".")
        )

    def _pin(self, client: paramiko.SSHClient) -> str:
        """Load the pinned keys.

        Return the name this host's are filed under: its own, else its address.
        """
        try:
            client.load_host_keys(str(self.known_hosts))
        except (OSError, UnicodeDecodeError, paramiko.hostkeys.InvalidHostKey) as error:
            raise errors.KnownHostsUnusable(
                host=self.host,
                known_hosts=self.known_hosts,
                reason=getattr(error, "strerror", None) or error,
            ) from error
        filed = [
            name
            for name in (self.host, self.address)
            if client.get_host_keys().lookup(self.filed(name))
        ]
        return (filed or [self.host])[0]

    def filed(self, name: str) -> str:
        return name if self.port == 22 else f"[{name}]:{self.port}"

    def _key(self) -> paramiko.PKey:
        """The operator's key.

        Read here: paramiko tries each type in turn and tells of the wrong one's trouble.
        """
        try:
            return paramiko.PKey.from_path(self.key_file)
        except OSError as error:
            reason = error.strerror
        except (
            TypeError,
            paramiko.PasswordRequiredException,
        ):  # the former is what `cryptography` raises for it
            reason = "it is protected by a passphrase, which an unattended run cannot give"
        except (ValueError, paramiko.SSHException, UnsupportedAlgorithm) as error:
            reason = f"it is no private key this program knows ({error})"
        raise errors.KeyUnusable(host=self.host, key_file=self.key_file, reason=reason)

    @contextlib.contextmanager
    def _meaning(self) -> Iterator[None]:
        """Turn what paramiko and the socket raise into errors that say what to do."""
        mine = {"host": self.host, "address": self.address, "port": self.port}
        try:
            yield
        except paramiko.BadHostKeyException as error:
            raise errors.HostKeyChanged(
                **mine,
                known_hosts=self.known_hosts,
                key_type=error.key.get_name(),
                fingerprint=error.key.fingerprint,
                pinned=f"{error.expected_key.get_name()} {error.expected_key.fingerprint}",
            ) from error
        except paramiko.AuthenticationException as error:
            if "timeout" in str(error).lower():
                raise self.unreachable(error) from error
            raise errors.KeyRefused(**mine, user=self.user, key_file=self.key_file) from error
        except paramiko.ssh_exception.IncompatiblePeer as error:
            cause = errors.NoAlgorithm if self.old_algorithms else errors.OldAlgorithms
            raise cause(**mine, reason=error) from error
        except (paramiko.SSHException, OSError, EOFError) as error:
            if "No existing session" in str(
                error
            ):  # what paramiko says when the key exchange does not end
                raise self.unreachable(
                    f"no key exchange within {self.connect_timeout + 1:g} s"
                ) from error
            raise self.unreachable(error) from error


class _Refuse(paramiko.MissingHostKeyPolicy):
    """RejectPolicy, with an error that names the key and what to do."""

    def __init__(self, login: Login):
        self.login = login

    def missing_host_key(self, client, hostname, key):
        mine = self.login
        names = list(dict.fromkeys([mine.filed(mine.host), mine.filed(mine.address)]))
        raise errors.UnknownHostKey(
            host=mine.host,
            known_hosts=mine.known_hosts,
            names=" or ".join(names),
            key_type=key.get_name(),
            fingerprint=key.fingerprint,
            line=f"{','.join(names)} {key.get_name()} {key.get_base64()}",
        )
