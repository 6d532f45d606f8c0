"""How a fact is read from, and a change reaches, a machine. No policy lives here.

`Hosts` is the one door: it opens connections when first used, keeps them, and closes them. For a
site of kind `rehearsal` it refuses to open any connection unless the lab made every host of the
site.
"""

import concurrent.futures
import socket
import threading
from pathlib import Path

from cutover.connect import dns, ssh
from cutover.site import lab_hosts


class Hosts:
    """The machines of one site.

    Parameters: `site` (cutover.site.Site). Use as a context manager, or call close().
    """

    def __init__(self, site):
        self.site = site
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
                site, host = self.site, self.site.hosts[name]
                self._connections[name] = ssh.Connection(
                    name,
                    site.address(name),
                    host.ssh_port,
                    site.ssh.user,
                    Path(host.ssh_key or site.ssh.key),
                    Path(site.ssh.known_hosts),
                    old_algorithms=host.legacy_ssh,
                    old_sudo=host.legacy_sudo,
                )
            return self._connections[name]

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

    def prove(self):
        """Raise NotTheLab, before anything is sent, unless the lab made a rehearsal's hosts."""
        if not self._proved:
            lab_hosts.require(self.site)
            self._proved = True
