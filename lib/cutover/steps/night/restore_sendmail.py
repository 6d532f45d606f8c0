"""Sendmail back on both mail hosts; the MX queues are flushed and drained. The delivery outage ends."""

from cutover import model
from cutover.changes.mail import DrainQueue
from cutover.changes.service import ServiceAction
from cutover.facts import mail_queue
from cutover.steps.night import stop_sendmail


def probe(ctx):
    """`{"hosts": as stop-sendmail, "mx": {host: {"requests", "items"}}}`"""
    hosts, site = ctx.hosts, ctx.site
    found = hosts.each(site.mail_hosts, lambda name: stop_sendmail.read_host(hosts, site, name))
    # as long as delivery is stopped the queues hold mail: to wait whether it goes out would only prolong the outage
    running = all(service["running"] for host in found.values() for service in host["services"])
    return {
        "hosts": found,
        "mx": hosts.each(
            site.roles.mx,
            lambda name: (mail_queue.waiting if running else mail_queue.read)(hosts, name),
        ),
    }


def plan(found, site):
    listed = start_services(found["hosts"], found["hosts"])
    if listed or any(queue["requests"] for queue in found["mx"].values()):
        listed.append(DrainQueue(list(found["mx"]), site.limits.queue_drain))
    if not listed:
        return model.Plan(reason="sendmail runs on both mail hosts and the MX queues are empty")
    return model.Plan(tuple(listed))


def start_services(hosts, names):
    """The changes that start what is off, last stopped first."""
    return [
        ServiceAction(name, service["manager"], service["name"], "start", True)
        for name in names
        for service in reversed(hosts[name]["services"])
        if not (service["running"] and service["starts_at_boot"])
    ]


def verify(found, site):
    checks = []
    for name, host in found["hosts"].items():
        off = [service["name"] for service in host["services"] if not service["running"]]
        checks += [
            model.equal(
                f"Does sendmail run on {name}?",
                "running",
                "running" if not off else f"off: {', '.join(off)}",
                f"`journalctl -u sendmail` on {name}",
            ),
            model.equal(
                f"Is port 25 of {name} open, seen from outside?",
                "open",
                "open" if host["port_25"] else "closed",
                f"`ss -tlnp` on {name}; a firewall?",
            ),
        ]
    for name, queue in found["mx"].items():
        left = "; ".join(queue["items"][:3])
        checks.append(
            model.Check(
                f"Does no mail stay in the queue of {name}?",
                "0 stay",
                f"{queue['requests']} stay" + (f": {left}" if left else ""),
                queue["requests"] == 0,
                "the reason stands beside each message in `mailq`; run this step again",
            )
        )
    return checks


STEP = model.Step(
    id="restore-sendmail",
    title="Resume delivery",
    requires=("verify",),
    probe=probe,
    plan=plan,
    verify=verify,
)
