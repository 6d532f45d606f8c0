"""Old SPAM in users' SPAM folders: set aside, not deleted; a rollback of the run puts it back.

A set-aside message is in a Maildir of its user below `maintenance.old_spam.aside`, which no client
sees. The step reports what is older than the grace time: people decide whether it goes, and the
check names the command. With `maintenance.old_spam.expunge` the step deletes it, by a plan of its
own and so with an approval of its own, once nothing is left to be set aside. What the same run set
aside stays.
"""

import dataclasses
import datetime

from cutover import model
from cutover.changes.old_spam import Expunge, SetAside
from cutover.facts import spam_folders, users

SHOWN = 5


@dataclasses.dataclass(frozen=True)
class Facts:
    """before: the first day that is not old, "YYYY-MM-DD". users: those who have old messages.

    asked: number of users. kept: what earlier runs set aside.
    """

    run: str
    before: str
    users: dict[str, spam_folders.OldMessages]
    asked: int = model.moving()
    kept: dict[str, spam_folders.Kept] = dataclasses.field(default_factory=dict)

    @property
    def messages(self) -> int:
        """How many old messages there are."""
        return sum(user.count for user in self.users.values())


def probe(ctx) -> Facts:
    """The old messages in users' SPAM folders, and what is set aside already."""
    hosts, new, parameters = ctx.hosts, ctx.site.roles.new, ctx.site.maintenance.old_spam
    oldest = spam_folders.today(hosts, new) - datetime.timedelta(days=parameters.days)
    before = oldest.isoformat()
    names = [account.user for account in users.read(hosts, new)]
    old = {user: spam_folders.old(hosts, new, user, parameters.folder, before) for user in names}
    return Facts(
        run=ctx.run_name,
        before=before,
        users={user: messages for user, messages in old.items() if messages},
        asked=len(names),
        kept=spam_folders.kept(hosts, new, parameters.aside),
    )


def plan(facts: Facts, site) -> model.Plan:
    """Set old messages aside; once there are none, delete what is older than the grace time."""
    new, parameters = site.roles.new, site.maintenance.old_spam
    if not facts.users:
        return _plan_deletion(facts, site)
    changes = [
        SetAside(
            new,
            user,
            parameters.folder,
            messages.uidvalidity,
            messages.old,
            messages.count,
            f"{parameters.aside}/{facts.run}/{user}",
        )
        for user, messages in sorted(facts.users.items())
    ]
    total = (
        f"{facts.messages} messages of {len(changes)} users, which arrived before {facts.before}"
    )
    return model.Plan(tuple(changes), notes=(("In total", total),))


def _plan_deletion(facts, site):
    parameters = site.maintenance.old_spam
    over = {
        run: kept
        for run, kept in sorted(facts.kept.items())
        if kept.days >= parameters.grace and run != facts.run
    }
    changes = [
        Expunge(
            site.roles.new, user, run, f"{parameters.aside}/{run}/{user}", count, parameters.grace
        )
        for run, kept in over.items()
        for user, count in sorted(kept.users.items())
    ]
    if not changes or not parameters.expunge:
        grace = ", and nothing set aside is older than its grace time" if parameters.expunge else ""
        return model.Plan(
            reason=f"no message in {parameters.folder} of {facts.asked} users arrived before "
            f"{facts.before}{grace}"
        )
    irreversible = (
        f"{sum(change.count for change in changes)} messages that {', '.join(over)} set aside at "
        f"least {parameters.grace} days ago are deleted for good. No rollback brings them back."
    )
    return model.Plan(tuple(changes), notes=(("Irreversible", irreversible),))


def verify(facts: Facts, site) -> list[model.Check]:
    """Whether old messages are left, and what is older than its grace time."""
    parameters, left = site.maintenance.old_spam, facts.messages
    first = f" of {', '.join(sorted(facts.users)[:SHOWN])}" if left else ""
    old = model.holds(
        f"Users' {parameters.folder} has no message that arrived before {facts.before}",
        left == 0,
        "0 messages",
        f"{left} messages{first}",
        "run this step again",
        id="old-spam-left",
        data={"messages": left, "users": sorted(facts.users)},
    )
    return [old, *(_grace(run, kept, site) for run, kept in sorted(facts.kept.items()))]


def _grace(run, kept, site):
    parameters = site.maintenance.old_spam
    over = kept.days >= parameters.grace
    todo = (
        "run this step again, in a run of its own: it then plans to delete it for good"
        if parameters.expunge
        else f"if nobody missed it, `rm -r {parameters.aside}/{run}` on {site.roles.new} deletes "
        "it, and so does this step with maintenance.old_spam.expunge"
    )
    return model.Check(
        f"What run {run} set aside is within its grace time",
        f"less than {parameters.grace} days old",
        f"{kept.days} days old: {kept.messages} messages of {len(kept.users)} users",
        True,
        f"{todo}; until then `cutover rollback` puts it back" if over else "",
        warning=over,
        id="old-spam-grace",
        subject=run,
        data={"days": kept.days, "messages": kept.messages},
    )


STEP = model.Step(
    id="old-spam",
    title="Old SPAM, set aside",
    requires=(),
    probe=probe,
    plan=plan,
    verify=verify,
    facts=Facts,
)
