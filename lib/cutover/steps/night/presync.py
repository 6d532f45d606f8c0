"""Convert while users still work, as often as wanted: the outage then pays only for what changed since."""

import datetime

from cutover import model
from cutover.changes import conversion
from cutover.comparison import sample as staged
from cutover.remote import converter
from cutover.steps.night import convert


def probe(ctx):
    """As convert's; once a pass was made, with `"sample"`, what staged.sample says of what it staged."""
    hosts, site = ctx.hosts, ctx.site
    found = convert.probe(ctx)
    mine = [event["event"] for event in ctx.history if event.get("step") == "presync"]
    if site.verify.staged and mine[-1:] == ["applied"]:
        state = found["state"]["users"]
        there = [
            user
            for user in found["users"]
            if state[user["user"]]["staged"]["folders"]
            and not state[user["user"]]["published"]
            and state[user["user"]]["live"] != "none"
        ]
        found["sample"] = staged.sample(hosts, there, site.verify.staged, ctx.run_name)
    return found


def plan(found, site):
    state = found["state"]["users"]
    todo = [user for user in found["users"] if not state[user["user"]]["published"]]
    if not todo:
        return model.Plan(reason=f"all {len(state)} users are already published by this run")
    store = converter.plan(site, found["run"], todo, site.new_store.jobs)
    return model.Plan(
        (
            conversion.Presync(
                site.roles.new,
                found["run"],
                store["work"],
                store["jobs"],
                store["users"],
                conversion.salvaged(site, store["users"]),
            ),
        )
    )


stable = convert.stable


def verify(found, site):
    state = found["state"]["users"]
    missing = [
        user
        for user, each in sorted(state.items())
        if not each["published"] and not each["staged"]["folders"]
    ]
    folders = sum(each["staged"]["folders"] for each in state.values())
    times = [each["staged"]["at"] for each in state.values() if each["staged"]["at"]]
    last = (
        datetime.datetime.fromtimestamp(max(times), datetime.UTC).strftime("%H:%M:%S UTC")
        if times
        else "never"
    )
    checks = [
        model.Check(
            "Is every user's mail staged?",
            f"{len(state)} users",
            f"{len(state) - len(missing)} users, {folders} "
            f"folders, last pass {last}"
            + (f"; missing {', '.join(missing[:10])}" if missing else ""),
            len(missing) < len(state) or not state,
            "run this step again: it goes on with those that are missing; "
            "what is still missing in the outage is converted then",
            warning=bool(missing),
        )
    ]
    return checks + ([sample_check(found["sample"])] if "sample" in found else [])


def sample_check(sample):
    """Whether Dovecot shows of the staged mail what c-client shows of the old."""
    read = f"{sample['messages']} messages in {sample['folders']} folders of {len(sample['users'])} users (seed {sample['seed']})"
    wrong = [
        *sample["differences"],
        *(f"{user}: {text}" for user, text in sorted(sample["errors"].items())),
    ]
    said = f"{read}: " + ("; ".join(wrong[:10]) if wrong else "equal")
    if sample["changed"]:
        said += f"; {sample['changed']} changed by their users since"
    return model.Check(
        "Does a sample of what is staged agree with the old server?",
        "the same text and date for each UID",
        said,
        not wrong,
        "do not go on: find the cause; remove the staging area of the users named, and run this step "
        "again",
        warning=not sample["messages"],
    )


STEP = model.Step(
    id="presync",
    title="Convert ahead, while users work",
    requires=("dual-delivery",),
    probe=probe,
    plan=plan,
    verify=verify,
    predicts=True,
    stable=stable,
)
