"""Whether the lab is up, according to its hosts."""

import socket
import time

import dns.exception
import dns.message
import dns.query

from lab import container, disk, errors, inside, state, topology

# seconds until a host must be ready
PATIENCE = 120
# seconds after which a secondary without its zone is restarted: if its primary was not up yet, it
# asks again only after minutes
NUDGE = 10
NO_ZONE = f"no zone {topology.DOMAIN} yet"


def answers(host, port, timeout=1.0):
    """True if a host's port accepts a connection and, if its protocol has one, sends a greeting."""
    try:
        with socket.create_connection((host.address, port), timeout) as connection:
            return port in (53, 443, 993) or bool(connection.recv(1))
    except OSError:
        return False


def wait(host):
    """Return once all services of a new host are active and all its ports answer."""
    silent = list(host.ports)
    _until(host, lambda host: _not_ready(host, silent))


def wait_booted(host):
    """Return once a restarted host has booted; which services it runs does not matter."""
    _until(host, _booting)


def _until(host, check):
    until, nudge = time.monotonic() + PATIENCE, time.monotonic() + NUDGE
    while True:
        missing = check(host)
        if not missing:
            return
        if missing == NO_ZONE and time.monotonic() > nudge:
            inside.run(host.name, ["systemctl", "restart", "named"], check=False)
            nudge = time.monotonic() + NUDGE
        if not container.running(host.name):
            log = disk.directory(host.name) / "console.log"
            raise errors.LabError(f"the lab's {host.name} ended while it booted. See {log}.")
        if time.monotonic() > until:
            raise errors.LabError(
                f"the lab's {host.name} is not ready after {PATIENCE} s: {missing}. "
                f"Log in to look: cutover lab shell {host.name}"
            )
        time.sleep(0.1)


def _booting(host):
    """What a booting host still misses, in words. Empty once it has booted."""
    if container.leader(host.name) is None:
        return "no init yet"
    shown = inside.run(host.name, ["systemctl", "is-system-running"], check=False).stdout.strip()
    if shown not in ("running", "degraded"):
        return f"its systemd is {shown or 'silent'}"
    return "" if answers(host, 22) else "no answer on port 22"


def _not_ready(host, silent):
    """What a new host still misses, in words. Empty once it is ready.

    silent: the ports that have not answered yet; those that answer now are removed. They are asked
    first, since to ask systemd takes a hundred times the processor time.
    """
    if container.leader(host.name) is None:
        return "no init yet"
    while silent:
        if not answers(host, silent[0]):
            return f"no answer on port {silent[0]}"
        del silent[0]
    shown = inside.run(
        host.name, ["systemctl", "is-active", *host.units], check=False
    ).stdout.split()
    if shown != ["active"] * len(host.units):
        return "services " + ", ".join(
            f"{unit} {word}" for unit, word in zip(host.units, shown, strict=False)
        )
    return "" if 53 not in host.ports or serial(host) is not None else NO_ZONE


def serial(host):
    """Serial of the lab's zone on a name server. None without an authoritative answer."""
    query = dns.message.make_query(topology.DOMAIN, "SOA")
    try:
        answer = dns.query.udp(query, host.address, timeout=1)
        return answer.find_rrset(answer.answer, query.question[0].name, "IN", "SOA")[0].serial
    except (OSError, KeyError, dns.exception.DNSException):
        return None


def status():
    """{"lab", "phase", "seed", "hosts": name → {"address", "pid", "up", "ports": port → answers}}.

    Without a lab the phase is "down".
    """
    marker = state.read()
    if marker is None:
        return {"lab": None, "phase": "down", "seed": None, "hosts": {}}
    states = {}
    for name, host in topology.of(marker).items():
        identity = container.process(name)
        live = container.running(name)
        states[name] = {
            "address": host.address,
            "pid": identity[0] if live else None,
            "up": live,
            "ports": {port: live and answers(host, port) for port in host.ports},
        }
    return {"lab": marker["lab"], "phase": marker["phase"], "seed": marker["seed"], "hosts": states}
