"""Start Dovecot, on the new server only. The reading outage ends."""

import dataclasses

from cutover import model
from cutover.changes import service
from cutover.facts import mail_services
from cutover.steps.checks import service_checks


@dataclasses.dataclass(frozen=True)
class Facts:
    """hosts: IMAP and POP3 on each mail host."""

    run: str
    hosts: dict[str, mail_services.ImapHost]


def probe(ctx) -> Facts:
    hosts = ctx.hosts
    return Facts(
        ctx.run_name,
        hosts.each(ctx.site.mail_hosts, lambda name: mail_services.read_imap(hosts, name)),
    )


def ahead(facts):
    """Once reading has stopped: stop-imap leaves no service on."""
    return dataclasses.replace(facts, hosts=mail_services.stopped(facts.hosts))


def plan(facts, site):
    new = site.roles.new
    changes = service.start_all(new, facts.hosts[new].services)
    if not changes:
        return model.Plan(reason=f"the IMAP services of {new} already run")
    return model.Plan(tuple(changes))


def verify(facts, site):
    old, new = site.roles.old, site.roles.new
    services_off = [service.name for service in facts.hosts[new].services if not service.on]
    unit = services_off[0] if services_off else "dovecot"
    return [
        model.holds(
            f"IMAP services of {new} run and start at boot",
            not services_off,
            "all",
            f"not {', '.join(services_off)}",
            f"Run `journalctl -u {unit}` there.",
            id="imap-services-run",
            subject=new,
        ),
        service_checks.port_open(new, 993, facts.hosts[new].ports["993"], "imap-port-open"),
        *service_checks.reading_closed(
            old,
            facts.hosts[old],
            f"See who started them on {old}, and stop and disable them there. Then run this step "
            "again.",
        ),
    ]


STEP = model.Step(
    id="restore-imap",
    title="Resume reading, on the new server",
    requires=("verify", "restore-sendmail", "switch-alias"),
    probe=probe,
    ahead=ahead,
    facts=Facts,
    plan=plan,
    verify=verify,
    needs_fresh_verify=True,
)
