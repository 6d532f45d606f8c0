"""The live system, as a user meets it: log in by the alias, read, receive through each MX, find spam in SPAM."""

import posixpath

from cutover import model
from cutover.changes.mail import SendTestMail
from cutover.facts import alias_service as live
from cutover.facts import spool, users
from cutover.steps.checks import systems


def tokens(site, run):
    """`[(token, mx, user, spam)]`: one ham and one spam message for each test user through each MX."""
    return [
        (f"{run}-{mx}-{each.user}-{kind}", mx, each.user, kind == "spam")
        for each in site.production_test.users
        for mx in site.roles.mx
        for kind in ("ham", "spam")
    ]


def probe(ctx):
    """`{"users": {user: live.look}, "spooled": {user: bytes in the new host's spool}, "systems": systems.probe}`"""
    hosts, site = ctx.hosts, ctx.site
    wanted = systems.wanted(site, ctx.run_name)
    for token, _, user, spam in tokens(site, ctx.run_name):
        wanted.setdefault(user, []).append((token, spam))
    new, names = site.roles.new, {account.user for account in users.read(hosts, site.roles.new)}
    lying = spool.files(hosts, new, posixpath.dirname(site.old_store.spool))
    seen = {user: model.attempt(live.look, hosts, user, wanted[user]) for user in wanted}
    shut_out = "error" in seen[site.production_test.users[0].user]
    return {
        "users": seen,
        "spooled": {user: size for user, size in sorted(lying.items()) if user in names},
        "systems": systems.probe(hosts, site, tokens(site, ctx.run_name)[0][0], shut_out),
    }


def plan(found, site):
    listed = []
    for token, mx, user, spam in tokens(site, found["run"]):
        seen = found["users"][user].get("value", {}).get("found", {})
        if not seen.get(token):
            listed.append(
                SendTestMail(
                    mx,
                    site.production_test.smtp_port,
                    site.production_test.sender,
                    f"{user}@{site.zone}",
                    user,
                    token,
                    spam,
                    line=site.production_test.spam_line if spam else "",
                )
            )
    if "systems" in found:  # not in facts that an earlier version recorded
        listed += systems.plan(found, site)
    if not listed:
        return model.Plan(reason="every test message of this run has already arrived")
    return model.Plan(tuple(listed))


def stable(found):
    """Where each user is, and which test messages there are: what else is in a mailbox changes as mail comes."""
    return {
        user: {key: result["value"][key] for key in ("address", "found")}
        if "value" in result
        else result
        for user, result in found["users"].items()
    }


def verify(found, site):
    alias = site.fqdn(site.alias)
    checks = []
    for user, result in found["users"].items():
        if "error" in result:
            checks.append(
                model.Check(
                    f"Can {user} log in at {alias} by TLS?",
                    "yes",
                    result["error"],
                    False,
                    "try it by hand: `openssl s_client -connect` and LOGIN; look at Dovecot's log",
                )
            )
            continue
        seen = result["value"]
        checks += [
            model.equal(
                f"Which address did {user} reach by {alias}?",
                site.address(site.roles.new),
                seen["address"],
                "does every name server give the new alias? run switch-alias again",
            ),
            model.Check(
                f"Can {user} list folders?",
                "INBOX and more",
                f"{len(seen['folders'])} folders",
                "INBOX" in seen["folders"],
                "look at Dovecot's log",
            ),
            model.Check(
                f"Can {user} read a message?",
                "a whole message",
                f"{seen['read']} bytes",
                seen["read"] > 0,
                "look at Dovecot's log and at the Maildir's permissions",
            ),
        ]
        for token, mx, of, spam in tokens(site, found["run"]):
            if of == user:
                folder = "SPAM" if spam else "INBOX"
                checks.append(
                    model.equal(
                        f"Did {'spam' if spam else 'mail'} for {user} through {mx} arrive?",
                        folder,
                        seen["found"].get(token) or "not found",
                        f"`mailq` on {mx}; procmail's log on {site.roles.new}"
                        + (
                            "; does the antispam mark what has production_test.spam_line?"
                            if spam
                            else ""
                        ),
                    )
                )
    # where procmail puts what the store would not take, unless its last recipe says otherwise
    new, place = site.roles.new, posixpath.dirname(site.old_store.spool)
    lying = ", ".join(f"{user} ({size} bytes)" for user, size in found["spooled"].items())
    checks.append(
        model.equal(
            f"Does no user's mail lie in {place} of {new}, where Dovecot does not look?",
            "none",
            lying or "none",
            f"give it to sendmail once more (`formail -s sendmail -oi USER < {place}/USER` there), set the file aside, and see "
            "why the store did not take it: full?",
        )
    )
    if "systems" in found:
        checks += systems.verify(found, site)
    return checks


STEP = model.Step(
    id="production-test",
    title="Test the live service",
    requires=("restore-imap",),
    probe=probe,
    plan=plan,
    verify=verify,
    stable=stable,
)
