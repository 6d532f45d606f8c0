"""A mail to each user that lists what went to the SPAM folder of late: sender, subject, date.

It tells of whole days that are over, so that a plan stays what it was while more SPAM comes in. What users were sent is read
when the mail is made, and stands in no facts, plan or journal.
"""

from cutover import model
from cutover.changes import sieve
from cutover.changes.spam_digest import SendDigest
from cutover.facts import spam_folders as spam
from cutover.facts import users


def probe(ctx):
    """`{"since", "until": "YYYY-MM-DD", "asked": users, "users": {user: {"count": messages, "sent": this run's digest is in a
    folder, "away": the user's Sieve script sends mail on}} of those to whom there is something to tell}`"""
    hosts, site = ctx.hosts, ctx.site
    new, wanted = site.roles.new, site.maintenance.digest
    script = 'date -d "$1 days ago" +%Y-%m-%d; date +%Y-%m-%d'
    since, until = hosts.run(new, ["sh", "-c", script, "days", str(wanted.days)]).text.split()
    accounts, found = model.to_json(users.read(hosts, new)), {}
    for user in accounts:
        name = user["user"]
        uids = spam.between(hosts, new, name, wanted.folder, since, until)
        if uids:
            found[name] = {
                "count": len(uids),
                "sent": spam.has_id(hosts, new, name, message_id(ctx.run_name, name, site)),
                "away": "redirect" in (sieve.script(hosts, new, user["home"]) or ""),
            }
    return {"since": since, "until": until, "asked": len(accounts), "users": found}


def message_id(run, user, site):
    """One digest a user and run, however often it is tried."""
    return f"<spam-digest.{run}.{user}@{site.zone}>"


def plan(found, site):
    wanted, test = site.maintenance.digest, site.production_test
    unsent = {user: each for user, each in sorted(found["users"].items()) if not each["sent"]}
    listed = [
        SendDigest(
            site.roles.mx[0],
            test.smtp_port,
            site.roles.new,
            user,
            wanted.sender,
            f"{user}@{site.zone}",
            wanted.folder,
            found["since"],
            found["until"],
            message_id(found["run"], user, site),
            test.wait,
        )
        for user in unsent
    ]
    if not listed:
        return model.Plan(
            reason=f"nothing came to {wanted.folder} of {found['asked']} users since {found['since']} of which "
            "this run has not told"
        )
    told = ", ".join(f"{user} {each['count']}" for user, each in unsent.items())
    return model.Plan(tuple(listed), notes=(("Messages of each user", told),))


def stable(found):
    return {"since": found["since"], "until": found["until"], "users": sorted(found["users"])}


def verify(found, site):
    users = found["users"]
    late = sorted(user for user, each in users.items() if not each["sent"] and not each["away"])
    checks = [
        model.equal(
            "Has each user who has SPAM of late got the digest?",
            f"{len(users)} users",
            f"{len(users) - len(late)} users" + (f"; not {', '.join(late[:5])}" if late else ""),
            "is it on its way, or filtered? `mailq` on the MX; run this step again",
        )
    ]
    away = sorted(user for user, each in users.items() if each["away"] and not each["sent"])
    if away:
        checks.append(
            model.Check(
                "Who keeps no mail here, so that it cannot be seen?",
                "none, or known",
                ", ".join(away),
                True,
                "their own Sieve script sends it on",
                warning=True,
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
)
