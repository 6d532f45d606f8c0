"""The ssh links to one host, and channels on them with a command started."""

import threading
import time

import paramiko

from cutover.connect.ssh import errors
from cutover.connect.ssh.channel import close_channel
from cutover.connect.ssh.login import Login

# links next to the first, made when abandoned commands still occupy the sessions of the others
LINKS = 4


def _is_refusal(error: Exception, transport: paramiko.Transport) -> bool:
    """Whether the host refused a channel.

    When it refuses two at the same moment, paramiko has the reason for one thread only and raises
    a bare SSHException in the other.
    """
    if isinstance(error, paramiko.ChannelException):
        return True
    bare = type(error) is paramiko.SSHException and str(error) == "Unable to open channel."
    return bare and transport.is_active()


class Links:
    """One link, made when first needed and made again after it was lost.

    More where sessions ran out.
    """

    def __init__(self, login: Login):
        self.login = login
        self._client: paramiko.SSHClient | None = None
        self._full: list[paramiko.SSHClient] = []  # all sessions taken; commands still run there
        self._connecting = threading.Lock()

    def close(self) -> None:
        """Drop the link; the next call makes a new one."""
        with self._connecting:
            for client in [self._client, *self._full]:
                if client:
                    client.close()
            self._client, self._full = None, []

    def start(self, line: str, timeout: float) -> paramiko.Channel:
        """A channel with the command started on it.

        Asking for the channel sends nothing, so it may be tried again.
        """
        channel = self._session(line)
        transport = channel.transport
        # paramiko waits for the answer to exec without a limit; closing the channel ends that wait
        began = time.monotonic()  # before the timer starts, or a late answer passes for a lost link
        watchdog = threading.Timer(timeout, close_channel, [channel])
        watchdog.daemon = True
        watchdog.start()
        try:
            channel.exec_command(line)
        except (paramiko.SSHException, OSError, EOFError):
            close_channel(channel)
            if time.monotonic() - began >= timeout:
                late = {"what": "start", "seconds": timeout, "command": line[:300]}
                raise errors.TimedOut(host=self.login.host, out=b"", err=b"", **late) from None
            self.raise_lost(line[:300], transport)
        finally:
            watchdog.cancel()
        return channel

    def raise_lost(self, command: str, transport: paramiko.Transport):
        transport.join(0.5)  # the transport tells its channels a moment before it calls itself dead
        if transport.is_active():
            reason = "the host closed the session without an exit status"
        else:
            error = transport.get_exception()
            closed = error is None or isinstance(error, EOFError)
            reason = "connection closed" if closed else str(error) or type(error).__name__
        raise errors.LinkLost(host=self.login.host, reason=reason, command=command)

    def _session(self, line: str) -> paramiko.Channel:
        """A new channel. A refusal is retried briefly, then on a fresh link: sshd frees a session
        only when its command has ended, so commands that were given up occupy theirs.
        """
        lost, refused, deadline = 0, None, time.monotonic() + self.login.connect_timeout
        while time.monotonic() < deadline:
            transport = self.transport()
            try:
                return transport.open_session(timeout=self.login.connect_timeout)
            except (paramiko.SSHException, OSError, EOFError) as error:
                if not _is_refusal(error, transport):
                    lost += 1
                    if lost > 1 or transport.is_active():
                        # a link that is alive is left to the other threads' commands
                        raise self.login.unreachable(error) from error
                elif refused is not transport:
                    refused, since = transport, time.monotonic()
                elif time.monotonic() - since > 1:
                    self._retire(transport)
                time.sleep(0.05)
        raise errors.TooManySessions(
            host=self.login.host, seconds=self.login.connect_timeout, command=line[:300]
        )

    def _retire(self, transport: paramiko.Transport) -> None:
        with self._connecting:
            self._full = [
                client
                for client in self._full
                if client.get_transport() and client.get_transport().is_active()
            ]
            if (
                self._client
                and self._client.get_transport() is transport
                and len(self._full) < LINKS
            ):
                self._full.append(self._client)
                self._client = None

    def transport(self) -> paramiko.Transport:
        """The link, made if there is none."""
        with self._connecting:
            transport = self._client.get_transport() if self._client else None
            if transport is None or not transport.is_active():
                if self._client:
                    self._client.close()
                self._client = None
                self._client = self.login.connect()
            return self._client.get_transport()
