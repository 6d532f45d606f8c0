"""A mail to every user: the announcement, or the page that a run wrote for the user.

The pages are files that the operator has read, perhaps in a copy that was edited. Who was sent one
is in the journal; when the journal does not say, the log of the MX does.
"""

import dataclasses
import os

from cutover import model
from cutover.changes.user_page import SendPage
from cutover.facts import user_pages, users
from cutover.model import errors

SHOWN = 5


@dataclasses.dataclass(frozen=True)
class Facts:
    """pages: `{user: [file, SHA-256 of its text]}`. sent: `{user: queue id}`, by this run.

    refused: `{user: the reply}`, of those not sent since.
    """

    run: str
    pages: dict[str, list[str]]
    sent: dict[str, str]
    refused: dict[str, str]


def probe(ctx) -> Facts:
    """Which pages there are, and who was sent one."""
    site = ctx.site
    parameters = site.maintenance.pages
    if parameters is None:
        raise errors.CutoverError(
            "maintenance.pages is not in the parameters: it says which pages are sent, and from "
            "which address."
        )
    folder = parameters.folder
    if parameters.send == "announcement":
        name = f"{user_pages.ANNOUNCEMENT}.txt"
        names = {account.user: name for account in users.read(ctx.hosts, site.roles.new)}
    else:
        names = user_pages.of_users(folder)
    digests = {
        name: user_pages.digest(user_pages.read(folder, name)) for name in set(names.values())
    }
    pages = {user: [os.path.join(folder, name), digests[name]] for user, name in names.items()}
    return Facts(ctx.run_name, pages, *_sent(ctx))


def _sent(ctx):
    """`{user: queue id}` and `{user: reply}`, of this run's mails."""
    results = {
        event["intent"]: event
        for event in ctx.history
        if event["event"] == "result" and event["outcome"] != "failed"
    }
    sent, refused, unknown = {}, {}, {}
    for event in ctx.history:
        if event["event"] != "intent" or event["change"]["kind"] != SendPage.kind:
            continue
        change, result = event["change"], results.get(event["seq"])
        figures = result["figures"] if result and result["outcome"] == "done" else {}
        refused.pop(change["user"], None)
        if "queue_id" in figures:
            sent[change["user"]] = figures["queue_id"]
        elif "refused" in figures:
            refused[change["user"]] = figures["refused"]
        else:  # the process or the link ended before the MX's reply
            unknown[change["message_id"]] = event
    for msgid in _accepted(ctx.hosts, unknown):
        sent[unknown[msgid]["change"]["user"]] = msgid
    return sent, {user: reply for user, reply in refused.items() if user not in sent}


def _accepted(hosts, unknown):
    """The Message-IDs, of these intents, that the MX has logged as accepted."""
    if not unknown:
        return []
    first = min(unknown.values(), key=lambda event: event["seq"])
    return sorted(user_pages.accepted(hosts, first["change"]["host"], first["time"], unknown))


def plan(facts: Facts, site) -> model.Plan:
    """One mail per user who was not sent one by this run."""
    parameters = site.maintenance.pages
    changes = [
        SendPage(
            site.roles.mx[0],
            site.production_test.smtp_port,
            user,
            parameters.sender,
            f"{user}@{site.zone}",
            file,
            digest,
            f"<{parameters.send}.{facts.run}.{user}@{site.zone}>",
        )
        for user, (file, digest) in sorted(facts.pages.items())
        if user not in facts.sent
    ]
    if not changes:
        return model.Plan(reason=f"this run has sent mail to all {len(facts.pages)} users")
    return model.Plan(tuple(changes))


def stable(facts: Facts) -> dict:
    """What the plan rests on."""
    return {"pages": facts.pages}


def verify(facts: Facts, site) -> list[model.Check]:
    """Whether the MX took all of them."""
    unsent = sorted(facts.pages.keys() - facts.sent.keys())
    replies = [f"{user}: {facts.refused.get(user, 'not sent')}" for user in unsent]
    more = f" and {len(unsent) - SHOWN} more" if len(unsent) > SHOWN else ""
    total = f"{len(facts.pages) - len(unsent)} of {len(facts.pages)} users"
    return [
        model.holds(
            f"The MX took the mail to every user ({site.maintenance.pages.send})",
            not unsent,
            f"{len(facts.pages)} users",
            f"{total}; {'; '.join(replies[:SHOWN])}{more}",
            "fix the cause, or name a copy of the folder without their pages; then run this step "
            "again, which sends only what was not sent",
            id="pages-sent",
            data={"unsent": unsent},
        )
    ]


STEP = model.Step(
    id="user-pages",
    title="Pages for users",
    requires=(),
    probe=probe,
    plan=plan,
    verify=verify,
    stable=stable,
    facts=Facts,
)
