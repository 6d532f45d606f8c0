"""MBX folders become Maildir++ on the new server.

Each user's tree is published atomically; the tree it replaces is set aside.
"""

import dataclasses

from cutover import model
from cutover.changes import conversion
from cutover.facts import clock, users
from cutover.model import runbook
from cutover.remote import converter, units
from cutover.steps.checks import left_out, same_users, stores


@dataclasses.dataclass(frozen=True)
class Facts:
    """users: those of the new host. strangers: how the hosts' users differ, as text.

    again: see users_to_convert_again(). state: what this run has staged and published.
    without: logins of users to leave out, as the operator chose.
    zone: seconds east of Greenwich of the old host, whose server reads dates without a zone so.
    sizes: bytes of users' old mail as preflight saw them, if several hosts convert.
    """

    run: str
    users: list[users.Account]
    state: converter.State
    strangers: list[str] = dataclasses.field(default_factory=list)
    again: list[str] = dataclasses.field(default_factory=list)
    without: list[str] = dataclasses.field(default_factory=list)
    zone: int | None = None
    sizes: dict[str, int] = dataclasses.field(default_factory=dict)


def confirmation(_site, chosen) -> str:
    """What a person types to approve it: the step's name, and the users to continue without."""
    without = model.logins(chosen.get("without", ""))
    return "convert" + (f" without {', '.join(without)}" if without else "")


def probe(ctx) -> Facts:
    hosts, site = ctx.hosts, ctx.site
    sides = hosts.each(site.mail_hosts, lambda name: users.read(hosts, name))
    accounts = sides[site.roles.new]
    stores.require_still_here(ctx, accounts)
    plan_file = converter.plan(site, ctx.run_name, accounts, site.new_store.jobs)
    return Facts(
        run=ctx.run_name,
        users=accounts,
        state=converter.state(hosts, site.roles.new, plan_file),
        strangers=same_users.differences(sides),
        again=users_to_convert_again(ctx.history),
        without=model.logins(ctx.chosen.get("without", "")),
        zone=clock.east(hosts, site.roles.old),
        sizes=_sizes(ctx) if site.convert.engine == "dask" else {},
    )


def _sizes(ctx):
    before = ctx.kept("preflight")
    survey = before.value.survey if before and before.ok else model.Reading(error="not read")
    return {name: user.bytes for name, user in survey.value.users.items()} if survey.ok else {}


def plan(facts: Facts, site) -> model.Plan:
    if facts.strangers:
        raise model.CannotPlan(
            "the mail hosts do not know the same users: "
            + "; ".join(facts.strangers)
            + ". Mail of a user missing on one host would be left behind or get the wrong owner. "
            "Make the users equal (passwd, NIS or LDAP), then run this step again."
        )
    published = facts.state.names(published=True)
    _refuse_unknown(facts, published)
    out = {user.user: user for user in facts.users if user.user in facts.without}
    todo = [user for user in facts.users if user.user not in {*published, *out}]
    again = [user for user in facts.users if user.user in {*published}.intersection(facts.again)]
    changes = []
    if todo or set(out) - set(facts.state.left_out()):
        without = change(conversion.Convert, facts, site, list(out.values())).users
        first = change(conversion.Convert, facts, site, todo)
        changes.append(dataclasses.replace(first, without=without))
    if again:
        changes.append(change(conversion.ConvertAgain, facts, site, again))
    if not changes:
        count = len(facts.state.users) - len(out)
        return model.Plan(reason=f"all {count} users are published by this run")
    return model.Plan(tuple(changes), notes=tuple(_notes(out, site)))


def _refuse_unknown(facts, published):
    known = {user.user for user in facts.users}
    for wrong, why in (
        (set(facts.without) - known, "there is no mail user"),
        (set(facts.without).intersection(published), "this run has already published the mail of"),
    ):
        if wrong:
            raise model.CannotPlan(
                f"{why} {', '.join(sorted(wrong))}. Check the spelling of `without` (logins, "
                "separated by commas)."
            )


def _notes(out, site):
    if out:
        yield (
            ", ".join(sorted(out)),
            "the conversion CONTINUES WITHOUT these users: their mail stays on "
            f"{site.roles.old}, and on {site.roles.new} they have only what was delivered there",
        )


def change(kind: type, facts: Facts, site, chosen: list[users.Account]) -> model.Change:
    """The change of this kind that the converter makes for the users chosen."""
    store = converter.plan(site, facts.run, chosen, site.new_store.jobs, facts.zone)
    return kind(
        site.roles.new,
        facts.run,
        store["work"],
        store["jobs"],
        store["users"],
        conversion.salvaged(site, store["users"]),
        engine(facts, site, [user.user for user in chosen]),
    )


def engine(facts: Facts, site, names: list[str]) -> dict:
    """Which hosts convert which users together, largest first; {} if the new host does it alone."""
    section = site.convert
    if section.engine != "dask":
        return {}
    sizes = {name: facts.sizes.get(name, 0) for name in names}
    return {
        "workers": section.workers,
        "units": units.divide(sizes, len(section.workers)),
        "ports": list(section.ports),
        "place": section.place,
        "cores": section.cores,
        "address": str(section.address or ""),
    }


def users_to_convert_again(events) -> list[str]:
    """Users whose mail the last verify found different and whose trees nobody can have used since.

    Once delivery or reading was resumed, a published tree holds what exists nowhere else, and this
    step never takes it back: whatever verify says afterwards.
    """
    different, resumed = [], False
    for event in events:
        if event["event"] == "verified" and event["step"] == "verify" and not resumed:
            different = [
                check["subject"]
                for check in event["checks"]
                if not check["passed"] and check.get("id") == "user-mail-equal"
            ]
        elif event["event"] == "applied" and event["step"] == "convert":
            different = []
        elif event["event"] == "intent" and event["step"] in (*runbook.RESUMING, "rollback"):
            different, resumed = [], True
        elif event["event"] == "verified" and event["step"] == "rollback" and event["passed"]:
            resumed = False
    return different


def stable(facts: Facts) -> dict:
    """What the plan rests on: the users and who is published, not how much mail there is."""
    return {
        "users": model.to_json(facts.users),
        "published": {name: user.published for name, user in sorted(facts.state.users.items())},
        "without": facts.without,
    }


def verify(facts: Facts, site) -> list[model.Check]:
    published, absent = facts.state.names(published=True), facts.state.left_out()
    missing = [user.user for user in facts.users if user.user not in {*published, *absent}]
    wanted = len(facts.users) - len(absent)
    messages = sum(user.messages for user in facts.state.users.values())
    return [
        model.Check(
            "Is every user's mail published on the new server?",
            f"{wanted} users",
            f"{wanted - len(missing)} users, {messages} messages"
            + (f"; missing: {', '.join(missing[:10])}" if missing else ""),
            not missing,
            "run this step again: it resumes with the missing users",
            id="mail-published",
            data={"users": wanted, "missing": missing, "messages": messages},
        ),
        *left_out.checks(absent, site),
        *(
            check
            for name, user in sorted(facts.state.users.items())
            for check in _remarks(name, user, f"{site.new_store.work}/{facts.run}/salvage/{name}")
        ),
    ]


def _remarks(name, user, salvage):
    """What the conversion reports, and damaged files: checks that only warn. A user whose trees
    cannot be looked at fails."""
    if user.error:
        yield model.Check(
            f"Can the converter look at {name}'s trees?",
            "yes",
            f"{user.error['file']}: {user.error['what']}".removeprefix(": "),
            False,
            user.error["todo"],
            id="user-trees-readable",
            subject=name,
        )
    if user.warnings:
        yield model.Check(
            f"Does the conversion report anything about {name}'s mail?",
            "nothing",
            "; ".join(user.warnings),
            True,
            "no message of the folders is lost; tell the user if it matters to them",
            warning=True,
            id="conversion-warnings",
            subject=name,
        )
    if user.damage:
        yield model.Check(
            f"Was any of {name}'s files damaged?",
            "none",
            "; ".join(
                f"{damage.file} at byte {damage.offset}: {damage.what}" for damage in user.damage
            ),
            True,
            f"the damaged bytes are set aside in {salvage}",
            warning=True,
            id="damaged-files",
            subject=name,
            data={"damage": len(user.damage)},
        )


STEP = model.Step(
    id="convert",
    title="Convert the folders",
    requires=("stop-imap", "stop-sendmail"),
    probe=probe,
    ahead=model.as_they_are,
    plan=plan,
    verify=verify,
    facts=Facts,
    confirm=confirmation,
    choices=("without",),
    stable=stable,
)
