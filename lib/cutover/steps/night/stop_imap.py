"""Stop reading on both mail hosts: services, live sessions, ports. The reading outage begins.

First comes go or no-go: the predicted outage against the announced one, and whatever would make it
longer.
"""

import dataclasses

from cutover import model
from cutover.changes import service
from cutover.facts import mail_services
from cutover.steps.checks import go_no_go, service_checks


@dataclasses.dataclass(frozen=True)
class Facts:
    """hosts: IMAP and POP3 on each mail host.

    go: what gate() judges. None once this run has begun to stop reading: every second counts then.
    """

    run: str
    hosts: dict[str, mail_services.ImapHost]
    go: go_no_go.Go | None = model.gated(default=None)


def probe(ctx) -> Facts:
    hosts = ctx.hosts
    return Facts(
        ctx.run_name,
        hosts.each(ctx.site.mail_hosts, lambda name: mail_services.read_imap(hosts, name)),
        None if begun(ctx.history) else go_no_go.read(ctx),
    )


def begun(events) -> bool:
    """Whether this run has begun to stop reading, and has not been rolled back since."""
    started = False
    for event in events:
        if event["event"] == "intent" and event["step"] == "stop-imap":
            started = True
        elif event["event"] == "verified" and event["step"] == "rollback" and event["passed"]:
            started = False
    return started


def plan(facts, site):
    changes = []
    for name, host in facts.hosts.items():
        stops = service.stop_all(name, host.services)
        changes += stops
        if stops or host.sessions:
            commands = mail_services.session_commands(site, name)
            changes.append(service.EndSessions(name, commands))
    if not changes:
        return model.Plan(reason="nothing that serves IMAP or POP3 runs on either mail host")
    return model.Plan(tuple(changes))


def gate(facts, site) -> list[model.Check]:
    """Go or no-go: the outage must not begin unless every check passes."""
    if facts.go is not None:
        return go_no_go.judge(facts.go, site)
    return [
        model.Check(
            "The outage has not begun",
            "yes",
            "no: this run has begun it",
            True,
            "Continue, or roll back: either ends the outage.",
            warning=True,
            id="outage-not-begun",
        )
    ]


def verify(facts, site):
    return [
        check
        for name, host in facts.hosts.items()
        for check in service_checks.reading_closed(name, host)
    ]


STEP = model.Step(
    id="stop-imap",
    title="Stop reading",
    requires=("dual-delivery",),
    probe=probe,
    ahead=model.as_they_are,
    facts=Facts,
    plan=plan,
    verify=verify,
    confirm=model.the_alias,
    signers=2,
    gate=gate,
)
