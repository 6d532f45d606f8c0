"""A mail to every user that lists what recently went to the SPAM folder: sender, subject, date.

It covers whole past days, so that a plan stays the same while more SPAM arrives. What users were
sent is read when the mail is made, and is in no facts, plan or journal.
"""

import dataclasses
import datetime

from cutover import model
from cutover.changes.spam_digest import SendDigest
from cutover.facts import sieve, spam_folders, users

SHOWN = 5


@dataclasses.dataclass(frozen=True)
class Recent:
    """A user's recent SPAM. sent: this run's digest is in a folder of the user.

    away: the user's Sieve script sends mail on.
    """

    count: int
    sent: bool
    away: bool


@dataclasses.dataclass(frozen=True)
class Facts:
    """since: the first day, until: the day after the last, both "YYYY-MM-DD".

    asked: number of users. users: those with recent SPAM.
    """

    run: str
    since: str
    until: str
    asked: int
    users: dict[str, Recent]


def probe(ctx) -> Facts:
    """Who has recent SPAM, and who has this run's digest already."""
    hosts, site = ctx.hosts, ctx.site
    new, parameters = site.roles.new, site.maintenance.digest
    today = spam_folders.today(hosts, new)
    since = (today - datetime.timedelta(days=parameters.days)).isoformat()
    until = today.isoformat()
    accounts, recent = users.read(hosts, new), {}
    for account in accounts:
        user = account.user
        uids = spam_folders.between(hosts, new, user, parameters.folder, since, until)
        if uids:
            sent = spam_folders.has_id(hosts, new, user, message_id(ctx.run_name, user, site))
            script = sieve.script(hosts, new, user, account.home) or ""
            recent[user] = Recent(len(uids), sent, "redirect" in script)
    return Facts(ctx.run_name, since, until, len(accounts), recent)


def message_id(run: str, user: str, site) -> str:
    """The Message-ID of a user's digest: one per run, however often it is tried."""
    return f"<spam-digest.{run}.{user}@{site.zone}>"


def plan(facts: Facts, site) -> model.Plan:
    """One mail per user who has recent SPAM and no digest of this run."""
    parameters, test = site.maintenance.digest, site.production_test
    unsent = {user: recent for user, recent in sorted(facts.users.items()) if not recent.sent}
    changes = [
        SendDigest(
            site.roles.mx[0],
            test.smtp_port,
            site.roles.new,
            user,
            parameters.sender,
            f"{user}@{site.zone}",
            parameters.folder,
            facts.since,
            facts.until,
            message_id(facts.run, user, site),
            test.wait,
        )
        for user in unsent
    ]
    if not changes:
        return model.Plan(
            reason=f"every message that arrived in {parameters.folder} of {facts.asked} users "
            f"since {facts.since} is in a digest of this run"
        )
    counts = ", ".join(f"{user} {recent.count}" for user, recent in unsent.items())
    return model.Plan(tuple(changes), notes=(("Messages per user", counts),))


def stable(facts: Facts) -> dict:
    """What the plan rests on."""
    return {"since": facts.since, "until": facts.until, "users": sorted(facts.users)}


def verify(facts: Facts, site) -> list[model.Check]:
    """Whether the digests arrived, as far as that can be seen."""
    unsent = {user: recent for user, recent in facts.users.items() if not recent.sent}
    late = sorted(user for user, recent in unsent.items() if not recent.away)
    away = sorted(user for user, recent in unsent.items() if recent.away)
    first = f"; not {', '.join(late[:SHOWN])}" if late else ""
    checks = [
        model.holds(
            "Every user with recent SPAM got the digest",
            not late,
            f"{len(facts.users)} users",
            f"{len(facts.users) - len(late)} users{first}",
            "is it on its way, or filtered? `mailq` on the MX; then run this step again",
            id="digest-arrived",
            data={"late": late},
        )
    ]
    if away:
        checks.append(
            model.Check(
                "Users who keep no mail here, so that their digest cannot be seen, are known",
                "none, or known",
                ", ".join(away),
                True,
                "their own Sieve script sends it on",
                warning=True,
                id="digest-sent-on",
                data={"users": away},
            )
        )
    return checks


STEP = model.Step(
    id="spam-digest",
    title="SPAM digest",
    requires=(),
    probe=probe,
    plan=plan,
    verify=verify,
    stable=stable,
    facts=Facts,
)
