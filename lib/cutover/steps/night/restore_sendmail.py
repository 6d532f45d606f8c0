"""Start sendmail on both mail hosts and release the MX queues. The delivery outage ends.

Once each queue falls, the steps that bring reading back may run: the MX deliver the rest meanwhile,
and production-test waits for the last of it. Mail that an MX cannot deliver elsewhere, such as a
bounce to a false sender, keeps nobody from reading.
"""

import dataclasses

from cutover import model
from cutover.changes import service
from cutover.changes.mail import ReleaseQueue
from cutover.facts import mail_queue, mail_services
from cutover.steps.checks import service_checks


@dataclasses.dataclass(frozen=True)
class Facts:
    """hosts: delivery on each mail host. mx: each MX's queue."""

    run: str
    hosts: dict[str, mail_services.SendmailHost]
    mx: dict[str, mail_queue.Watched]


def probe(ctx) -> Facts:
    hosts, site = ctx.hosts, ctx.site
    delivery = hosts.each(site.mail_hosts, lambda name: mail_services.read_sendmail(hosts, name))
    running = all(service.running for host in delivery.values() for service in host.services)

    def queue(name):
        # while delivery is stopped the queues hold mail: watching them would prolong the outage
        if not running:
            return mail_queue.read(hosts, name)
        return mail_queue.watched(hosts, name, site.mail_domains)

    queues = hosts.each(site.roles.mx, queue)
    return Facts(ctx.run_name, delivery, queues)


def plan(facts, site):
    changes = [
        change
        for name, host in facts.hosts.items()
        for change in service.start_all(name, host.services)
    ]
    if changes or any(queue.requests for queue in facts.mx.values()):
        domains = sorted(site.mail_domains)
        changes.append(ReleaseQueue(list(facts.mx), site.limits.queue_drain, only=domains))
    if not changes:
        return model.Plan(reason="sendmail runs on both mail hosts and the MX queues are empty")
    return model.Plan(tuple(changes))


def verify(facts, site):
    checks = []
    for name, host in facts.hosts.items():
        services_off = [service.name for service in host.services if not service.running]
        checks += [
            model.holds(
                f"Sendmail runs on {name}",
                not services_off,
                "running",
                f"off: {', '.join(services_off)}",
                f"Run `journalctl -u sendmail` on {name}.",
                id="sendmail-runs",
                subject=name,
            ),
            service_checks.port_open(name, 25, host.port_25, "smtp-port-open"),
        ]
    todo = "`mailq` shows the reason next to each message. Fix it, then run this step again."
    return checks + [
        service_checks.queue_falls(name, queue, todo) for name, queue in facts.mx.items()
    ]


STEP = model.Step(
    id="restore-sendmail",
    title="Resume delivery",
    requires=("verify",),
    probe=probe,
    facts=Facts,
    plan=plan,
    verify=verify,
)
