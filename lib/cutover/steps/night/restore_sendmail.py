"""Start sendmail on both mail hosts and release the MX queues. The delivery outage ends.

Once a test message of each MX is in a mailbox on both hosts and each queue falls, the steps that
bring reading back may run: the MX deliver the rest meanwhile, and production-test waits for the
last of it. Mail that an MX cannot deliver elsewhere, such as a bounce to a false sender, keeps
nobody from reading.
"""

import concurrent.futures
import dataclasses

from cutover import model
from cutover.changes import service
from cutover.changes.delivery_proof import ProveDelivery
from cutover.changes.mail import ReleaseQueue
from cutover.facts import arrivals, mail_queue, mail_services
from cutover.steps.checks import service_checks


@dataclasses.dataclass(frozen=True)
class Facts:
    """hosts: delivery on each mail host. token: of this night's test messages.

    mx: each MX's queue; empty while delivery is stopped, except in facts recorded by an earlier
    version. arrived: `{mail host: [MX whose test message it delivered]}`; None while delivery is
    stopped, and in facts recorded by an earlier version.
    """

    run: str
    hosts: dict[str, mail_services.SendmailHost]
    mx: dict[str, mail_queue.Watched]
    token: str = ""
    arrived: dict[str, list[str]] | None = None


def probe(ctx) -> Facts:
    hosts, site = ctx.hosts, ctx.site
    delivery = hosts.each(site.mail_hosts, lambda name: mail_services.read_sendmail(hosts, name))
    running = all(service.running for host in delivery.values() for service in host.services)
    mark = token(ctx)
    if not running:
        # the queues hold mail, and to list thousands takes seconds of the outage: the release does
        return Facts(ctx.run_name, delivery, {}, mark)
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        arrived = pool.submit(arrivals.read, hosts, _account(site), mark, site.roles.mx)
        queues = hosts.each(
            site.roles.mx, lambda name: mail_queue.watched(hosts, name, site.mail_domains)
        )
    return Facts(ctx.run_name, delivery, queues, mark, arrived.result())


def ahead(facts):
    """Once delivery has stopped: then nobody asks for queues and test messages."""
    hosts = mail_services.stopped(facts.hosts)
    return dataclasses.replace(facts, hosts=hosts, mx={}, arrived=None)


def token(ctx) -> str:
    """What this night's test messages are known by.

    Another one after a rollback: mail that was delivered before it proves nothing now.
    """
    rollbacks = sum(
        event["event"] == "verified" and event["step"] == "rollback" for event in ctx.history
    )
    return f"{ctx.run_name}-delivery" + (f"-{rollbacks + 1}" if rollbacks else "")


def _account(site):
    """Who is sent the test messages."""
    return (site.outage.probe or site.production_test.users[0]).user


def plan(facts, site):
    changes = [
        change
        for name, host in facts.hosts.items()
        for change in service.start_all(name, host.services)
    ]
    queued = any(queue.requests for queue in facts.mx.values())
    if changes or queued or not _proved(facts):
        # both, whatever arrives until the plan is applied
        mx, hosts, test = list(site.roles.mx), list(facts.hosts), site.production_test
        domains, drain = sorted(site.mail_domains), site.limits.queue_drain
        changes += [
            ProveDelivery(mx, hosts, test.sender, _account(site), facts.token, test.wait),
            ReleaseQueue(mx, drain, only=domains),
        ]
    if not changes:
        return model.Plan(reason="sendmail runs on both mail hosts and the MX queues are empty")
    return model.Plan(tuple(changes))


def _proved(facts):
    """Whether each host delivered a message from each MX."""
    return facts.arrived is None or all(
        facts.mx.keys() <= set(listed) for listed in facts.arrived.values()
    )


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
        if facts.arrived is not None:
            checks.append(_arrived(name, facts.arrived[name], facts.mx))
    todo = "`mailq` shows the reason next to each message. Fix it, then run this step again."
    return checks + [
        service_checks.queue_falls(name, queue, todo) for name, queue in facts.mx.items()
    ]


def _arrived(name, arrived, mx):
    return model.holds(
        f"{name} delivers mail from each MX",
        mx.keys() <= set(arrived),
        f"a test message from {', '.join(mx)}",
        f"from {', '.join(arrived) or 'none'}",
        f"Run `mailq` on each MX and on {name}; see {name}'s mail log. Run this step again.",
        id="mail-delivered",
        subject=name,
        data={"from": list(arrived)},
    )


STEP = model.Step(
    id="restore-sendmail",
    title="Resume delivery",
    requires=("verify",),
    probe=probe,
    ahead=ahead,
    facts=Facts,
    plan=plan,
    verify=verify,
    needs_fresh_verify=True,
)
