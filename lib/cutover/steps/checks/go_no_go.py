"""Go or no-go: whether the outage may begin, judged right before reading stops."""

import dataclasses

from cutover import model
from cutover.facts import (
    clock,
    dovecot,
    dovecot_names,
    free_space,
    mail_queue,
    mx_routing,
    pop3,
    users,
    zone,
)
from cutover.model import runbook
from cutover.steps.checks import (
    clocks,
    free_space_checks,
    new_server,
    old_names,
    same_users,
    service_checks,
    userdb_checks,
    zone_checks,
)

MISSING_PRESYNC = "Run presync: without it all mail is converted during the outage."


@dataclasses.dataclass(frozen=True)
class Window:
    """A predicted outage, in seconds."""

    low: float
    likely: float
    high: float


@dataclasses.dataclass(frozen=True)
class Staged:
    """What presync has staged."""

    messages: int
    bytes: int


@dataclasses.dataclass(frozen=True)
class Prediction:
    """The run's last prediction, from its journal."""

    time: str
    reading: Window
    delivery: Window
    staged: Staged


@dataclasses.dataclass(frozen=True)
class PresyncCheck:
    """A check as journaled; its id is "" in journals of earlier versions."""

    question: str
    expected: str
    actual: str
    passed: bool
    todo: str = ""
    warning: bool = False
    id: str = ""
    subject: str = ""


@dataclasses.dataclass(frozen=True)
class Presync:
    """How the run's last presync ended, from its journal; passed is None when it broke off."""

    time: str
    passed: bool | None = None
    checks: list[PresyncCheck] | None = None


@dataclasses.dataclass(frozen=True)
class Go:
    """What the decision rests on.

    prediction, presync: None when the run has none. space: free on the new server, for staging.
    clock: `{host: seconds ahead of this machine}`. queue: `{host: what stays in its queue}`.
    names, store, pop3: of Dovecot, see preflight. routing: of each MX. accounts: of both mail
    hosts. preflight: whether the run's last one passed. These are None or empty in facts recorded
    by an earlier version.
    """

    prediction: Prediction | None
    presync: Presync | None
    space: model.Reading[free_space.FreeSpace]
    clock: dict[str, model.Reading[float]]
    servers: model.Reading[dict[str, zone.Server]]
    queue: dict[str, model.Reading[mail_queue.Watched]]
    names: model.Reading[dovecot_names.State] | None = None
    store: model.Reading[dovecot.Store] | None = None
    pop3: model.Reading[bool] | None = None
    routing: dict[str, model.Reading[mx_routing.OneServer]] = dataclasses.field(
        default_factory=dict
    )
    accounts: dict[str, model.Reading[list[users.Account]]] = dataclasses.field(
        default_factory=dict
    )
    preflight: bool | None = None


def read(ctx) -> Go:
    hosts, site = ctx.hosts, ctx.site
    predicted = runbook.latest(ctx.history, "predicted")
    ended = runbook.latest(ctx.history, "verified", "step-failed", step="presync")
    looked = runbook.latest(ctx.history, "verified", "step-failed", step="preflight")

    def on_each(names, function):
        return hosts.each(names, lambda name: model.read(function, hosts, name))

    def waiting(hosts, name):
        return mail_queue.waiting(hosts, name, site.mail_domains)

    return Go(
        prediction=predicted and model.from_json(Prediction, predicted),
        presync=ended and model.from_json(Presync, ended),
        space=model.read(free_space.read, hosts, site.roles.new, site.new_store.work),
        clock=on_each(site.cutover_hosts, clock.offset),
        servers=model.read(zone.read, hosts),
        queue=on_each(site.cutover_hosts, waiting),
        names=model.read(dovecot_names.read, hosts, site.roles.new),
        store=model.read(dovecot.store, hosts, site.roles.new),
        pop3=model.read(pop3.served, hosts, site.roles.new),
        routing=on_each(site.roles.mx, mx_routing.to_one_server),
        accounts=on_each(site.mail_hosts, users.read),
        preflight=looked and looked.get("passed", False),
    )


def judge(go: Go, site) -> list[model.Check]:
    """The outage must not begin unless every check passes."""
    todo = (
        "stop-sendmail and restore-sendmail wait until it is delivered. Run `mailq` there for the "
        "reason."
    )
    return [
        *_predicted(go.prediction, site),
        _staged(go.presync),
        *([_looked(go.preflight)] if go.preflight is not None else []),
        clocks.agree(go.clock, site.limits.clock),
        *_zone(go.servers, site),
        *(userdb_checks.still_to_both(name, mx, site) for name, mx in go.routing.items()),
        *(same_users.check(go.accounts, site.mail_hosts) if go.accounts else ()),
        *(service_checks.nothing_waits(name, queue, todo) for name, queue in go.queue.items()),
        *_room(go, site),
        *old_names.after(go.names, site),
        *([new_server.uidl(go.store, go.pop3, site)] if go.pop3 else []),
    ]


def _predicted(prediction, site):
    for kind, minutes in (
        ("reading", site.outage.reading_minutes),
        ("delivery", site.outage.delivery_minutes),
    ):
        statement = f"{kind.capitalize()} will be back within the announced time"
        limit = f"at most {minutes:g} min"
        if prediction is None:
            yield model.Check(
                statement,
                limit,
                "not predicted: presync has not passed in this run",
                True,
                MISSING_PRESYNC,
                warning=True,
                id="predicted-outage",
                subject=kind,
            )
            continue
        window = getattr(prediction, kind)
        low, likely, high = (seconds / 60 for seconds in (window.low, window.likely, window.high))
        yield model.Check(
            statement,
            limit,
            f"{low:.1f} to {high:.1f} min, likely {likely:.1f}",
            high <= minutes,
            f"Run presync again, or announce a longer outage and set outage.{kind}_minutes.",
            id="predicted-outage",
            subject=kind,
            data=dataclasses.asdict(window),
        )


def _looked(passed):
    return model.holds(
        "The last preflight of this run passed",
        passed,
        "yes",
        "no",
        "Run preflight again: its table says what to do about each FAIL.",
        id="preflight-passed",
    )


def _staged(presync):
    statement = "The last presync passed"
    if presync is None:
        return model.Check(
            statement,
            "yes",
            "it has not run in this run",
            True,
            MISSING_PRESYNC,
            warning=True,
            id="presync-passed",
        )
    checks = presync.checks or []
    failed = [f"{check.question}: {check.actual}" for check in checks if not check.passed]
    warned = [
        f"{check.question}: {check.actual}" for check in checks if check.passed and check.warning
    ]
    at = f"{presync.time[11:19]} UTC"
    passed = "; ".join([f"yes, at {at}", *warned])
    broken = f"no, at {at}: {'; '.join(failed) or 'it failed'}"
    return model.Check(
        statement,
        "yes",
        passed if presync.passed else broken,
        bool(presync.passed),
        "Fix what it reports, then run presync again.",
        warning=bool(warned),
        id="presync-passed",
        data={"failed": len(failed), "warnings": len(warned)},
    )


def _zone(servers, site):
    if servers.ok:
        old = site.fqdn(site.roles.old)
        return [
            zone_checks.same_serial(servers.value),
            *zone_checks.aliases(servers.value, site, old),
            *zone_checks.new_server(servers.value, site),
        ]
    return [
        model.Check(
            "Zone serial is the same on every name server",
            "one serial",
            servers.error,
            False,
            "Fix this first: the alias could not be switched.",
            id="zone-serial-same",
        )
    ]


def _room(go, site):
    """After staging, the part by which limits.space_factor exceeds the mail must still be free."""
    new, work = site.roles.new, site.new_store.work
    if not go.space.ok:
        yield model.Check(
            f"{new} has room for the rest of the mail",
            "enough",
            go.space.error,
            False,
            f"Check that {work} is reachable.",
            id="room-for-the-rest",
            subject=new,
        )
        return
    staged = go.prediction.staged if go.prediction else Staged(0, 0)
    free = go.space.value
    for unit, used, available in (
        ("bytes", staged.bytes, free.bytes),
        ("inodes", staged.messages, free.inodes),
    ):
        needed = round(used * (site.limits.space_factor - 1))
        yield free_space_checks.enough(
            f"free-{unit}-for-the-rest", unit, available, needed, site, " for the rest of the mail"
        )
