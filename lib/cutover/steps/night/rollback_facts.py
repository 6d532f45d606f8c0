"""What a rollback rests on: the journal's changes, the old service, the mail to copy back."""

import dataclasses

from cutover import model
from cutover.carryback import estimate, left_behind
from cutover.carryback.notes import Note
from cutover.facts import (
    alias_service,
    mail_queue,
    mail_services,
    userdb,
    userdb_map,
    zone,
)
from cutover.model import Reading, runbook

# steps from which on the new server may have what the old one is missing
RESUMED = ("restore-sendmail", "restore-imap")


@dataclasses.dataclass(frozen=True)
class Intent:
    """A change of the run, by the journal.

    seq: the intent's number in the journal. inverse: the JSON of the change that undoes it; None
    if there is none, and `no_inverse` says why. undone: whether a rollback undid it.
    settled: whether its resource is as it was before the run; None unless this intent is the last
    to be undone of its resource. seen: what the host shows of it.
    """

    seq: int
    step: str
    title: str
    target: str
    inverse: dict | None
    no_inverse: str | None
    undone: bool
    settled: bool | None = None
    seen: str = model.moving(default="")


@dataclasses.dataclass(frozen=True)
class Carry(estimate.State):
    """How far copying back is. why: why something, or nothing, has to be copied."""

    why: str = ""


@dataclasses.dataclass(frozen=True)
class Mx:
    """source: the userdb's text, with surrogates for bytes that are not UTF-8."""

    source: str
    map: list[userdb_map.Record]
    queue: mail_queue.Queue


@dataclasses.dataclass(frozen=True)
class World:
    """The old service: the zone by server, and both mail hosts and the MX by host."""

    servers: dict[str, zone.Server]
    imap: dict[str, mail_services.ImapHost]
    sendmail: dict[str, mail_services.SendmailHost]
    mx: dict[str, Mx]


@dataclasses.dataclass(frozen=True)
class Facts:
    """without: users whose refused mail may stay on the new server.

    behind: notes of users whose mail an earlier rollback of this run left behind.
    world, login: None for a run of maintenance, which does not touch the old service.
    """

    run: str
    intents: list[Intent]
    without: list[str]
    carry: Carry
    behind: dict[str, Note] = dataclasses.field(default_factory=dict)
    world: World | None = None
    login: Reading[alias_service.Visit] | None = None


def probe(ctx) -> Facts:
    intents = _settled(ctx, open_intents(ctx.history))
    facts = Facts(
        run=ctx.run_name,
        intents=intents,
        without=model.logins(ctx.chosen.get("without", "")),
        carry=_carry(ctx, intents),
    )
    if runbook.apart(ctx.history):  # maintenance is undone alone; the old service may be gone
        return facts
    user = ctx.site.production_test.users[0].user
    return dataclasses.replace(
        facts,
        behind=left_behind.read(ctx.hosts, ctx.run_name),
        world=_world(ctx),
        login=model.read(alias_service.look, ctx.hosts, user, []),
    )


def open_intents(events) -> list[Intent]:
    """Journaled changes since the last rollback that passed, the latest first."""
    closed = max(
        (
            event["seq"]
            for event in events
            if event["event"] == "verified" and event["step"] == "rollback" and event["passed"]
        ),
        default=-1,
    )
    done = {
        event["intent"]
        for event in events
        if event["event"] == "result" and event["outcome"] == "done"
    }
    intents = [event for event in events if event["event"] == "intent"]
    undone = {
        event["undoes"]
        for event in intents
        if event.get("undoes") is not None and event["seq"] in done
    }
    return [
        Intent(
            seq=event["seq"],
            step=event["step"],
            title=event["title"],
            target=event["target"],
            inverse=event["inverse"],
            no_inverse=event["no_inverse"],
            undone=event["seq"] in undone,
        )
        for event in reversed(intents)
        if event["step"] != "rollback" and event["seq"] > closed
    ]


def _settled(ctx, intents):
    """The intents, and of each resource's last undo whether the host is as it was."""
    last = {}
    for place, intent in enumerate(intents):
        if intent.inverse is not None:
            last[model.change_from_json(intent.inverse).resource] = place
    intents = list(intents)
    for place in last.values():
        settled = model.change_from_json(intents[place].inverse).settled(ctx)
        intents[place] = dataclasses.replace(
            intents[place], settled=settled.done, seen=settled.detail
        )
    return intents


def _world(ctx):
    hosts, site = ctx.hosts, ctx.site

    def read_mx(name):
        source, records = userdb_map.with_source(hosts, name)
        return Mx(userdb.decode(source), records, mail_queue.read(hosts, name))

    return World(
        servers=zone.read(hosts),
        imap=hosts.each(site.mail_hosts, lambda name: mail_services.read_imap(hosts, name)),
        sendmail=hosts.each(site.mail_hosts, lambda name: mail_services.read_sendmail(hosts, name)),
        mx=hosts.each(site.roles.mx, read_mx),
    )


def _carry(ctx, intents) -> Carry:
    entries = published_entries(intents)
    why = reason(intents)
    if not (entries and was_resumed(intents)):
        return Carry(why=why)
    state = estimate.state(ctx, entries, ctx.run_name)
    return Carry(state.users, state.told, state.trees, why)


def was_resumed(intents) -> bool:
    """Whether delivery or reading was resumed, so that the new server may have mail of its own."""
    return any(intent.step in RESUMED for intent in intents)


def reason(intents) -> str:
    """Why something, or nothing, has to be copied back to the old server."""
    if not published_entries(intents):
        return "nothing was published on the new server"
    if not was_resumed(intents):
        return (
            "neither delivery nor reading was resumed since the mail was published, so the old "
            "server has everything"
        )
    if any(intent.step == "restore-imap" for intent in intents):
        return "users have worked on the new server"
    return (
        "nobody could work on the new server yet; mail was delivered there, and to the old server "
        "too"
    )


def published_entries(intents) -> list[dict]:
    """The users' entries, in the store's plan, of the conversions to be undone; each user once."""
    entries = {}
    for intent in intents:
        if intent.inverse is not None and intent.inverse["kind"] == "unpublish":
            entries.update({entry["user"]: entry for entry in intent.inverse["users"]})
    return [entry for _, entry in sorted(entries.items())]
