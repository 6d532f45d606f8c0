"""No reading on either mail host: services stopped, live sessions ended, ports closed. The reading outage begins."""

from cutover import changes, steps
from cutover.changes.service import EndSessions, ServiceAction
from cutover.hosts import facts

ID = "stop-imap"
TITLE = "Stop reading"
REQUIRES = ["dual-delivery"]
REVERSIBLE = True
CONFIRM = True
SIGNERS = 2     # people, at a production site

PORTS = (143, 993, 110, 995)
SESSIONS = {"old": ["imapd", "ipop3d"], "new": ["imap", "imap-login", "pop3", "pop3-login"]}


def probe(hosts, site):
    """`{"hosts": {host: {"services": [...], "sessions": [...], "ports": {port: open}}}}`"""
    return {"hosts": hosts.each(site.mail_hosts, lambda name: read_host(hosts, site, name))}


def read_host(hosts, site, name):
    services = [service.model_dump() for service in site.services_of(name).imap]
    return {"services": [{**service, **facts.service(hosts, name, service)} for service in services],
            "sessions": facts.processes(hosts, name, sessions(site, name)), "ports": facts.ports(hosts, name, PORTS)}


def sessions(site, name):
    return SESSIONS["old" if name == site.roles.old else "new"]


def stop_services(name, services):
    """The changes that stop what runs, or would run after a reboot."""
    return [ServiceAction(name, service["manager"], service["name"], "stop", service["starts_at_boot"])
            for service in services if service["running"] or service["starts_at_boot"]]


def plan(found, site):
    listed = []
    for name, host in found["hosts"].items():
        stops = stop_services(name, host["services"])
        listed += stops
        if stops or host["sessions"]:
            listed.append(EndSessions(name, sessions(site, name)))
    if not listed:
        return changes.Plan(reason="nothing that serves IMAP or POP3 runs on either mail host")
    return changes.Plan(tuple(listed))


def verify(found, site):
    return [check for name, host in found["hosts"].items() for check in closed_checks(name, host)]


def closed_checks(name, host):
    """Whether one host serves nobody: services, sessions, ports."""
    up = [service["name"] for service in host["services"] if service["running"]]
    boot = [service["name"] for service in host["services"] if service["starts_at_boot"]]
    open_ports = [port for port, is_open in host["ports"].items() if is_open]
    live = [f"{each['user']} ({each['command']} {each['pid']})" for each in host["sessions"]]
    return [
        steps.equal(f"Are the IMAP services of {name} stopped?", "none running", _none(up, "running"),
                    f"stop them on {name}, or run this step again"),
        steps.equal(f"Do they stay stopped if {name} reboots?", "none starts at boot", _none(boot, "starts at boot"),
                    "run this step again"),
        steps.equal(f"Has every session on {name} ended?", "none alive", _none(live, "alive"),
                    "run this step again; if one stays, look at what its process waits for"),
        steps.equal(f"Are the ports of {name} closed, seen from outside?", "none open", _none(open_ports, "open"),
                    f"`ss -tlnp` on {name}: which process still listens?"),
    ]


def _none(items, what):
    return f"none {what}" if not items else f"{what}: {', '.join(items[:10])}"
