"""How a fact is read from, and a change reaches, a machine. No policy lives here.

`Hosts` is the one door: it opens connections when first used, keeps them, and closes them. For a
site of kind `rehearsal` it refuses to open any connection unless the lab made every host of the
site.
"""

import concurrent.futures
import contextlib
import socket
import threading
from pathlib import Path

from cutover.connect import dns, ssh
from cutover.model import errors
from cutover.site import lab_hosts

LOCK = "/var/run/cutover-userdb.lock"  # on an MX
PATIENCE = ssh.HELD + 30  # seconds for what runs of other stores do alone
_ahead = {}  # by all that a login depends on: connections opened before a step asks for them


def open_ahead(site) -> None:
    """Connect to every host of a site, for the first Hosts in this process that asks for the same.

    Raises the first error after all have ended.
    """
    hosts = Hosts(site)
    connections = {name: hosts.ssh(name) for name in site.hosts}
    _ahead.update({hosts.login(name): connections[name] for name in connections})
    hosts.each(connections, lambda name: connections[name].connect())


class StillBusy(errors.CutoverError):
    """A run of another store has been at work on the userdb for too long."""


class Hosts:
    """The machines of one site.

    Parameters: `site` (cutover.site.Site). Use as a context manager, or call close(). kept: what a
    reader of facts leaves for another meanwhile.
    """

    def __init__(self, site):
        self.site = site
        self.kept = {}
        self._connections = {}
        self._lock = threading.Lock()
        self._proved = site.kind != "rehearsal"

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        with self._lock:
            for connection in self._connections.values():
                connection.close()
            self._connections.clear()

    # --- ssh

    def ssh(self, name: str) -> "ssh.Connection":
        """The connection to a host, opened on its first command."""
        self.prove()
        with self._lock:
            if name not in self._connections:
                login = self.login(name)
                self._connections[name] = _ahead.pop(login, None) or ssh.Connection(*login)
            return self._connections[name]

    def login(self, name: str) -> tuple:
        """The arguments of ssh.Connection for a host."""
        site, host = self.site, self.site.hosts[name]
        return (
            name,
            site.address(name),
            host.ssh_port,
            site.ssh.user,
            Path(host.ssh_key or site.ssh.key),
            Path(site.ssh.known_hosts),
            host.legacy_ssh,
            host.legacy_sudo,
        )

    def run(self, name: str, argv, **options) -> "ssh.Result":
        return self.ssh(name).run(argv, **options)

    # --- the rest of the network, as an outsider sees it

    def dns(self, name: str) -> "dns.Server":
        self.prove()
        return dns.Server(name, self.site.address(name))

    def dns_key(self) -> "dns.Key":
        return dns.Key.load(self.site.dns.tsig_key)

    def port_open(self, name: str, port: int, timeout: float = 3.0) -> bool:
        """Whether a TCP connection to host:port is accepted, tried from this machine."""
        self.prove()
        try:
            with socket.create_connection((self.site.address(name), port), timeout):
                return True
        except OSError:
            return False

    def each(self, names, function) -> dict:
        """`{name: function(name)}`, all at once; the first error is raised after all have ended."""
        names = list(names)
        if not names:
            return {}
        self.prove()
        with concurrent.futures.ThreadPoolExecutor(len(names)) as pool:
            futures = {name: pool.submit(function, name) for name in names}
        return {name: future.result() for name, future in futures.items()}

    @contextlib.contextmanager
    def alone(self, name: str):
        """Keep runs of the file's other stores from the userdb of an MX meanwhile.

        They take turns by a lock on the MX, whichever machine they run on. Yields what to write
        with, put() and run() of ssh.Locked: nothing is written once the lock has ended. Where the
        file has one store, nothing is locked, and it is the connection. Raises StillBusy.
        """
        connection = self.ssh(name)
        if not self.site.others:
            yield connection
            return
        with ssh.Locked(connection, LOCK, PATIENCE) as turn:
            if not turn.held:
                raise StillBusy(
                    f"{name}: another store's run has held the lock {LOCK} for {PATIENCE} s, so "
                    f"the userdb was left alone. `lslocks` on {name} lists the process that holds "
                    "it. See what it waits for, then run this step again."
                )
            yield turn

    def prove(self):
        """Raise NotTheLab, before anything is sent, unless the lab made a rehearsal's hosts."""
        if not self._proved:
            lab_hosts.require(self.site)
            self._proved = True
