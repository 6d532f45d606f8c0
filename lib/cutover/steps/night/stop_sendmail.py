"""Stop delivery on both mail hosts; the MX queues hold the mail. The delivery outage begins."""

import dataclasses

from cutover import model
from cutover.changes import service
from cutover.changes.mail import AwaitDeliveries, DrainQueue
from cutover.changes.mail_stop import DrainOnceClosed
from cutover.facts import mail_services


@dataclasses.dataclass(frozen=True)
class Facts:
    """hosts: delivery on each mail host."""

    run: str
    hosts: dict[str, mail_services.SendmailHost]


def probe(ctx) -> Facts:
    hosts = ctx.hosts
    return Facts(
        ctx.run_name,
        hosts.each(ctx.site.mail_hosts, lambda name: mail_services.read_sendmail(hosts, name)),
    )


def plan(facts, site):
    stops = {name: service.stop_all(name, host.services) for name, host in facts.hosts.items()}
    old, new, drain = site.roles.old, site.roles.new, site.limits.queue_drain
    changes = list(stops[old])
    if stops[new]:
        # mail the old host has and the MX still hold for the new one would arrive there twice:
        # converted, then delivered
        changes.append(
            DrainOnceClosed(
                list(site.roles.mx),
                drain,
                site.fqdn(old),
                sorted(site.mail_domains),
                closed=old,
                host=new,
            )
        )
        changes += stops[new]
    busy = any(host.delivering or host.queued.requests for host in facts.hosts.values())
    if changes or busy:
        # mail in a mail host's own queue reaches that host only: deliver it before the conversion
        domains = sorted(site.mail_domains)
        changes.append(DrainQueue(list(facts.hosts), drain, only=domains))
        changes += [AwaitDeliveries(name, mail_services.DELIVERING, drain) for name in facts.hosts]
    if not changes:
        return model.Plan(
            reason="sendmail is stopped on both mail hosts and nothing is being delivered"
        )
    return model.Plan(tuple(changes))


def verify(facts, site):
    return [check for name, host in facts.hosts.items() for check in _closed(name, host)]


def _closed(name, host):
    services_on = [service.name for service in host.services if not service.off]
    processes = ", ".join(f"{process.command} {process.pid}" for process in host.delivering[:5])
    return [
        model.holds(
            f"Sendmail on {name} is stopped and stays stopped after a reboot",
            not services_on,
            "stopped",
            f"on: {', '.join(services_on)}",
            "Run this step again.",
            id="sendmail-stopped",
            subject=name,
        ),
        model.holds(
            f"Port 25 of {name} is closed, seen from outside",
            not host.port_25,
            "closed",
            "open",
            f"Run `ss -tlnp` on {name} to see which process listens.",
            id="smtp-port-closed",
            subject=name,
        ),
        model.holds(
            f"Nothing is being delivered on {name}",
            not host.delivering,
            "no process",
            processes,
            "Wait until it ends, then run this step again.",
            id="no-deliveries",
            subject=name,
        ),
        model.holds(
            f"{name}'s own queue holds no mail for the mail hosts",
            host.queued.requests == 0,
            "0 queued",
            str(host.queued),
            "Run `mailq` there for the reason; such mail would reach one host only.",
            id="own-queue-empty",
            subject=name,
            data={"requests": host.queued.requests, "others": host.queued.others},
        ),
    ]


STEP = model.Step(
    id="stop-sendmail",
    title="Stop delivery",
    requires=("stop-imap",),
    probe=probe,
    ahead=model.as_they_are,
    facts=Facts,
    plan=plan,
    verify=verify,
    confirm=model.the_alias,
)
