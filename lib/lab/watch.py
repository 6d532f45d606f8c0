"""Is the lab up? Asked of its hosts, not of what was written down."""

import socket
import time

import dns.exception
import dns.message
import dns.query

from lab import container, disk, errors, inside, state, topology

# seconds until a host must be ready
PATIENCE = 60
# seconds after which a secondary without its zone is started again: one that found its primary not up yet asks it again only
# minutes later, and a busy machine starts them in any order
NUDGE = 10
NO_ZONE = f"no zone {topology.DOMAIN} yet"


def answers(host, port, timeout=1.0):
    """True when a host's port accepts a connection, and greets where its protocol greets."""
    try:
        with socket.create_connection((host.address, port), timeout) as connection:
            return port in (53, 443, 993) or bool(connection.recv(1))
    except OSError:
        return False


def wait(host):
    """Return when all of a new host's services are active and all of its ports answer."""
    _until(host, _lacking)


def wait_booted(host):
    """Return when a host that was started again has booted; which services it runs is its own affair."""
    _until(host, _booting)


def _until(host, lacks):
    until, nudge = time.monotonic() + PATIENCE, time.monotonic() + NUDGE
    while True:
        lacking = lacks(host)
        if not lacking:
            return
        if lacking == NO_ZONE and time.monotonic() > nudge:
            inside.run(host.name, ["systemctl", "restart", "named"], check=False)
            nudge = time.monotonic() + NUDGE
        if not container.running(host.name):
            log = disk.directory(host.name) / "console.log"
            raise errors.LabError(f"{host.name} ended while it started; see {log}")
        if time.monotonic() > until:
            raise errors.LabError(
                f"{host.name} is not ready after {PATIENCE} s: {lacking}. Look inside with: "
                f"cutover lab shell {host.name}"
            )
        time.sleep(0.1)


def _booting(host):
    """What a starting host still lacks, in words; empty when its boot is over."""
    if container.leader(host.name) is None:
        return "no init yet"
    shown = inside.run(host.name, ["systemctl", "is-system-running"], check=False).stdout.strip()
    if shown not in ("running", "degraded"):
        return f"its systemd is {shown or 'silent'}"
    return "" if answers(host, 22) else "no answer on port 22"


def _lacking(host):
    """What a new host still lacks, in words; empty when it is ready."""
    if container.leader(host.name) is None:
        return "no init yet"
    shown = inside.run(
        host.name, ["systemctl", "is-active", *host.units], check=False
    ).stdout.split()
    if shown != ["active"] * len(host.units):
        return "services " + ", ".join(
            f"{unit} {word}" for unit, word in zip(host.units, shown, strict=False)
        )
    silent = [str(port) for port in host.ports if not answers(host, port)]
    if silent:
        return f"no answer on port {', '.join(silent)}"
    return "" if 53 not in host.ports or serial(host) is not None else NO_ZONE


def serial(host):
    """Serial of the lab's zone as a name server has it; None when it does not answer with authority."""
    query = dns.message.make_query(topology.DOMAIN, "SOA")
    try:
        answer = dns.query.udp(query, host.address, timeout=1)
        return answer.find_rrset(answer.answer, query.question[0].name, "IN", "SOA")[0].serial
    except (OSError, KeyError, dns.exception.DNSException):
        return None


def status():
    """{"lab", "phase", "seed", "hosts": name → {"address", "pid", "up", "ports": port → answers}}; phase "down" without a lab."""
    marker = state.read()
    if marker is None:
        return {"lab": None, "phase": "down", "seed": None, "hosts": {}}
    found = {}
    for name, host in topology.of(marker).items():
        identity = container.process(name)
        live = container.running(name)
        found[name] = {
            "address": host.address,
            "pid": identity[0] if live else None,
            "up": live,
            "ports": {port: live and answers(host, port) for port in host.ports},
        }
    return {"lab": marker["lab"], "phase": marker["phase"], "seed": marker["seed"], "hosts": found}
