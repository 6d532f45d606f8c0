"""Servers that misbehave on purpose, each on a loopback port of its own, in a thread."""

import contextlib
import socket
import threading
import time

import paramiko


@contextlib.contextmanager
def listening(serve, backlog=8):
    """Call serve(socket) in a thread for each connection.

    Yields the port. What serve raises is the peer's affair.
    """
    listener = socket.create_server(("127.0.0.1", 0), backlog=backlog)
    links = []

    def serve_one(link):
        with contextlib.suppress(OSError, EOFError, paramiko.SSHException), link:
            serve(link)

    def accept():
        with contextlib.suppress(OSError):
            while True:
                link, _ = listener.accept()
                links.append(link)
                threading.Thread(target=serve_one, args=(link,), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    try:
        yield listener.getsockname()[1]
    finally:
        listener.close()
        for link in links:
            with contextlib.suppress(OSError):
                link.shutdown(socket.SHUT_RDWR)


class _Ssh(paramiko.ServerInterface):
    def __init__(self, key, behave, transport, sessions):
        self.key, self.behave, self.transport, self.sessions = key, behave, transport, sessions

    def check_auth_publickey(self, username, key):
        good = username == "operator" and key.asbytes() == self.key.asbytes()
        return paramiko.AUTH_SUCCESSFUL if good else paramiko.AUTH_FAILED

    def get_allowed_auths(self, username):
        return "publickey"

    def check_channel_request(self, kind, chanid):
        if len(self.sessions) and not self.sessions.pop(0):
            return paramiko.OPEN_FAILED_ADMINISTRATIVELY_PROHIBITED
        return paramiko.OPEN_SUCCEEDED

    def check_channel_exec_request(self, channel, command):
        if command.endswith(b"hang-exec"):
            time.sleep(5)
        threading.Thread(target=self._run, args=(channel, command), daemon=True).start()
        return True

    def _run(self, channel, command):
        time.sleep(0.05)  # paramiko answers the request only after this thread was started
        with contextlib.suppress(OSError, EOFError, paramiko.SSHException):
            self.behave(self.transport, channel, command)


@contextlib.contextmanager
def ssh_server(host_key, client_key, behave, kex=None, sessions=None):
    """behave(transport, channel, command) plays each command.

    `sessions`: False for each request to refuse.
    """

    def serve(link):
        transport = paramiko.Transport(link)
        if kex:
            transport.get_security_options().kex = kex
        transport.add_server_key(host_key)
        try:
            transport.start_server(server=_Ssh(client_key, behave, transport, sessions or []))
            while transport.is_active():
                time.sleep(0.02)
        finally:
            transport.close()

    with listening(serve) as port:
        yield port


def scripted(lines):
    """A serve() for `listening`: b"…" is sent.

    A str must begin the next line received (without its tag); None hangs.
    """

    def serve(link):
        with link.makefile("rwb") as file:
            tag = b""
            for step in lines:
                if step is None:
                    time.sleep(5)
                elif isinstance(step, bytes):
                    file.write(step.replace(b"TAG", tag))
                    file.flush()
                else:
                    received = file.readline()
                    tag, _, rest = received.partition(b" ")
                    if not (
                        rest.upper().startswith(step.encode())
                        or received.upper().startswith(step.encode())
                    ):
                        file.write(
                            b"* BYE the script expected " + step.encode() + b" and got " + received
                        )
                        return

    return serve
