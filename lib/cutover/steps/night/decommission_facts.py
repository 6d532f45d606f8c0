"""What decommission rests on: days in production, the backup, mail only the old server has."""

import dataclasses
import datetime

from cutover import model
from cutover.carryback import only_on_old
from cutover.changes import retirement
from cutover.facts import logs, mx_routing, services, users, zone
from cutover.facts.logs import OldHostUse
from cutover.facts.services import Service
from cutover.model import Reading, runbook
from cutover.steps.checks import proofs, stores
from cutover.steps.night import dual_delivery


@dataclasses.dataclass(frozen=True)
class Production:
    """since: when restore-imap last passed; converted: when convert last began; both in seconds
    since the epoch, None if it never did. days: since `since`."""

    since: float | None
    converted: float | None
    days: float | None


@dataclasses.dataclass(frozen=True)
class Facts:
    """begun: this run has begun to switch off.

    off: the old host answers on no port. Then nothing is asked of it: `services` is empty, `logs`
    and `left` are None. backup: None when the parameters declare none.
    """

    run: str
    production: Production
    begun: bool
    off: bool
    servers: dict[str, zone.Server]
    mx: dict[str, mx_routing.Routing]
    backup: proofs.Backup | None = None
    services: list[Service] = dataclasses.field(default_factory=list)
    logs: Reading[OldHostUse] | None = None
    left: Reading[only_on_old.Remainder] | None = None


def probe(ctx) -> Facts:
    hosts, site = ctx.hosts, ctx.site
    facts = Facts(
        run=ctx.run_name,
        production=_production(ctx.history),
        begun=any(
            event["event"] == "intent" and event["step"] == "decommission" for event in ctx.history
        ),
        off=not retirement.answers(hosts, site.roles.old),
        servers=zone.read(hosts),
        mx=dual_delivery.read_mx(ctx),
        backup=proofs.read(hosts) if site.backup else None,
    )
    return facts if facts.off else _with_old_host(ctx, facts)


def _production(history):
    since = runbook.time_of(history, "verified", "restore-imap")
    now = datetime.datetime.now(datetime.UTC).timestamp()
    return Production(
        since=since,
        converted=runbook.time_of(history, "step-begun", "convert"),
        days=None if since is None else (now - since) / 86400,
    )


def _with_old_host(ctx, facts):
    hosts, site, production = ctx.hosts, ctx.site, facts.production
    listed = [*site.services.old.imap, *site.services.old.sendmail]
    facts = dataclasses.replace(facts, services=services.read(hosts, site.roles.old, listed))
    if production.since is None or production.converted is None:
        return facts
    accounts = users.read(hosts, site.roles.new)
    stores.require_still_here(ctx, accounts)
    names = [account.user for account in accounts]
    return dataclasses.replace(
        facts,
        logs=model.read(logs.old_host, hosts, production.since, names),
        left=model.read(only_on_old.read, hosts, accounts, facts.run, production.converted),
    )
