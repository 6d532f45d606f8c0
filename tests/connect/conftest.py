"""The rehearsal lab for tests of single modules: connections made from the parameters, whatever
started the lab.
"""

from pathlib import Path

import pytest
from cutover import site
from cutover.connect import dns, ssh
from lab import state

PARAMETERS = Path(__file__).resolve().parents[2] / "parameters" / "lab.yaml"


class Lab:
    """`ssh(name, **other)`: a connection, with other constructor arguments where given.

    All closed at the end.
    """

    def __init__(self):
        self.site = site.load(PARAMETERS)
        self.opened = []

    def ssh(self, name, **other):
        given = {
            "host": name,
            "address": self.site.address(name),
            "port": self.site.hosts[name].ssh_port,
            "user": self.site.ssh.user,
            "key_file": Path(self.site.ssh.key),
            "known_hosts": Path(self.site.ssh.known_hosts),
        }
        self.opened.append(ssh.Connection(**{**given, **other}))
        return self.opened[-1]

    def dns(self, name):
        return dns.Server(name, self.site.address(name))

    def key(self):
        return dns.Key.load(self.site.dns.tsig_key)


@pytest.fixture
def real(request):
    """The lab's hosts, begun afresh by the suite's `lab` fixture.

    With `pytest --confcutdir=tests/hosts` that fixture is unknown, and a lab that is up already is
    used as it is: these tests put back what they change.
    """
    try:
        request.getfixturevalue("lab")
    except pytest.FixtureLookupError:
        marker = state.read()
        if marker is None or marker["phase"] != "up":
            pytest.skip("the rehearsal lab is not up: `./cutover lab up`")
    made = Lab()
    yield made
    for connection in made.opened:
        connection.close()
