"""MBX folders become Maildir++ on the new server; each user's tree is published atomically, the earlier one set aside."""

import re

from cutover import model
from cutover.changes import conversion
from cutover.facts import users
from cutover.remote import converter
from cutover.steps.night import preflight

RESUMING = ("restore-sendmail", "restore-imap", "rollback")


def probe(ctx):
    """`{"users": getent's on the new host, "strangers": users the hosts differ in, "again": unequal(), "state": what `store
    state` says}`"""
    hosts, site = ctx.hosts, ctx.site
    sides = hosts.each(site.mail_hosts, lambda name: users.read(hosts, name))
    accounts = sides[site.roles.new]
    plan_json = converter.plan(site, ctx.run_name, accounts, site.new_store.jobs)
    return {
        "users": accounts,
        "strangers": preflight.strangers(sides, site),
        "again": unequal(ctx.history),
        "state": converter.read(hosts, site.roles.new, plan_json, "state"),
    }


def plan(found, site):
    if found.get("strangers"):
        raise model.CannotPlan(
            "the mail hosts do not know the same users: "
            + "; ".join(found["strangers"])
            + ". Mail of a user whom one host "
            "does not know would be left behind or lie with the wrong owner. Make them equal (passwd, NIS or LDAP), then run "
            "this step again."
        )
    state = found["state"]["users"]
    published = {name for name, each in state.items() if each["published"]}
    listed = []
    for kind, accounts in (
        (conversion.Convert, [user for user in found["users"] if user["user"] not in published]),
        (
            conversion.ConvertAgain,
            [
                user
                for user in found["users"]
                if user["user"] in published.intersection(found.get("again", []))
            ],
        ),
    ):
        if accounts:
            store = converter.plan(site, found["run"], accounts, site.new_store.jobs)
            listed.append(
                kind(
                    site.roles.new,
                    found["run"],
                    store["work"],
                    store["jobs"],
                    store["users"],
                    conversion.salvaged(site, store["users"]),
                )
            )
    if not listed:
        return model.Plan(reason=f"all {len(state)} users are published by this run")
    return model.Plan(tuple(listed))


def unequal(events) -> list:
    """Users whose mail the last verify found different, and whose trees nobody can have used since; see plan.

    Once delivery or reading was resumed, a published tree holds what exists nowhere else, and is never taken back here.
    """
    unequal_users = []
    for event in events:
        if event["event"] == "verified" and event["step"] == "verify":
            found = [
                re.fullmatch(r"Is (\S+)'s mail the same on both sides\?", check["question"])
                for check in event["checks"]
                if not check["passed"]
            ]
            unequal_users = [match[1] for match in found if match]
        elif (
            event["event"] == "applied"
            and event["step"] == "convert"
            or event["event"] == "intent"
            and event["step"] in RESUMING
        ):
            unequal_users = []
    return unequal_users


def stable(found):
    """What the plan rests on: the users, and who is published; not how much mail there is."""
    return {
        "users": found["users"],
        "published": {
            user: each["published"] for user, each in sorted(found["state"]["users"].items())
        },
    }


def verify(found, site):
    state = found["state"]["users"]
    missing = [
        user["user"] for user in found["users"] if not state.get(user["user"], {}).get("published")
    ]
    messages = sum(each.get("messages", 0) for each in state.values())
    checks = [
        model.Check(
            "Is every user's mail published on the new server?",
            f"{len(found['users'])} users",
            f"{len(found['users']) - len(missing)} users, {messages} messages"
            + (f"; missing {', '.join(missing[:10])}" if missing else ""),
            not missing,
            "run this step again: it goes on with those that are missing",
        )
    ]
    for user, each in sorted(state.items()):
        if each.get("warnings"):
            checks.append(
                model.Check(
                    f"Is there something to know about {user}'s mail?",
                    "nothing",
                    "; ".join(each["warnings"]),
                    True,
                    "no message is lost; tell the user if it matters to them",
                    warning=True,
                )
            )
        damage = [item for folder in each.get("folders", []) for item in folder["damage"]]
        if damage:
            checks.append(
                model.Check(
                    f"Was any of {user}'s files damaged?",
                    "none",
                    "; ".join(
                        f"{item.get('file')} at byte {item.get('offset')}: {item.get('what')}"
                        for item in damage
                    ),
                    True,
                    f"the bytes are set aside in {site.new_store.work}/{found['run']}/salvage/{user}",
                    warning=True,
                )
            )
    return checks


STEP = model.Step(
    id="convert",
    title="Convert the folders",
    requires=("stop-imap", "stop-sendmail"),
    probe=probe,
    plan=plan,
    verify=verify,
    stable=stable,
)
