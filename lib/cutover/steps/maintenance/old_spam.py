"""Old SPAM out of users' SPAM folders: set aside, not deleted, and put back by a rollback of the run.

A set-aside message lies in a Maildir of its user below `maintenance.old_spam.aside`, which no client sees. What has lain there
for longer than the grace time is told: whether it goes is for people to decide, and the command is said. With
`maintenance.old_spam.expunge` the step deletes it, by a plan that holds nothing else, so that it has an approval of its own:
planned once nothing is left to be set aside. What the same run set aside stays.
"""

from cutover import model
from cutover.changes.old_spam import Expunge, SetAside
from cutover.connect.imap import fetch
from cutover.facts import spam_folders as spam
from cutover.facts import users


def probe(ctx):
    """`{"before": "YYYY-MM-DD", "users": {user: {"uidvalidity", "old": "1:7,9", "count"}} of those who have any, "asked": users,
    "kept": spam.kept}`"""
    hosts, site = ctx.hosts, ctx.site
    new, wanted = site.roles.new, site.maintenance.old_spam
    before = hosts.run(new, ["date", "-d", f"{wanted.days} days ago", "+%Y-%m-%d"]).text.strip()
    names = [account.user for account in users.read(hosts, new)]
    found = {}
    for user in names:
        uids = spam.old(hosts, new, user, wanted.folder, before)
        if uids:
            found[user] = {
                "uidvalidity": spam.uidvalidity(hosts, new, user, wanted.folder),
                "count": len(uids),
                "old": fetch.number_set(uids).decode(),
            }
    return {
        "before": before,
        "users": found,
        "asked": len(names),
        "kept": spam.kept(hosts, new, wanted.aside),
    }


def plan(found, site):
    new, wanted = site.roles.new, site.maintenance.old_spam
    if not found["users"]:
        return _end(found, site)
    listed = [
        SetAside(
            new,
            user,
            wanted.folder,
            each["uidvalidity"],
            each["old"],
            each["count"],
            f"{wanted.aside}/{found['run']}/{user}",
        )
        for user, each in sorted(found["users"].items())
    ]
    total = sum(each["count"] for each in found["users"].values())
    return model.Plan(
        tuple(listed),
        notes=(
            (
                "In all",
                f"{total} messages of {len(listed)} users, which arrived before {found['before']}",
            ),
        ),
    )


def _over(found, site):
    """What may go for good: `{run: {"users", "days"}}` of earlier runs, past the grace time."""
    return {
        run: each
        for run, each in sorted(found["kept"].items())
        if each["days"] >= site.maintenance.old_spam.grace and run != found["run"]
    }


def _end(found, site):
    """The plan once nothing is left to be set aside."""
    wanted, over = site.maintenance.old_spam, _over(found, site)
    listed = [
        Expunge(site.roles.new, user, run, f"{wanted.aside}/{run}/{user}", count, wanted.grace)
        for run, each in over.items()
        for user, count in sorted(each["users"].items())
    ]
    if not listed or not wanted.expunge:
        return model.Plan(
            reason=f"no message in {wanted.folder} of {found['asked']} users arrived before {found['before']}"
            + (", and none that was set aside is past its grace time" if wanted.expunge else "")
        )
    return model.Plan(
        tuple(listed),
        notes=(
            (
                "Irreversible",
                f"{sum(change.count for change in listed)} messages that {', '.join(over)} set aside "
                f"{wanted.grace} days ago or earlier are deleted for good. No rollback brings them back.",
            ),
        ),
    )


def verify(found, site):
    wanted = site.maintenance.old_spam
    left = sum(each["count"] for each in found["users"].values())
    checks = [
        model.equal(
            f"Is no message in users' {wanted.folder} that arrived before {found['before']}?",
            "0 messages",
            f"{left} messages" + (f" of {', '.join(sorted(found['users'])[:5])}" if left else ""),
            "run this step again",
        )
    ]
    for run, each in sorted(found["kept"].items()):
        over = each["days"] >= wanted.grace
        todo = (
            "run this step again, in a run of its own: its plan is then to delete it for good"
            if wanted.expunge
            else f"did nobody miss it? `rm -r {wanted.aside}/{run}` on {site.roles.new} deletes it, and so does this step with "
            "maintenance.old_spam.expunge"
        )
        checks.append(
            model.Check(
                f"Is what the run {run} set aside within its grace time?",
                f"less than {wanted.grace} days old",
                f"{each['days']} days old: {sum(each['users'].values())} messages of {len(each['users'])} users",
                True,
                f"{todo}; until then `cutover rollback` puts it back" if over else "",
                warning=over,
            )
        )
    return checks


STEP = model.Step(
    id="old-spam",
    title="Old SPAM, set aside",
    requires=(),
    probe=probe,
    plan=plan,
    verify=verify,
)
