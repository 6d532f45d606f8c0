"""Convert while users still work, as often as wanted.

The outage then pays only for what changed since.
"""

import dataclasses
import datetime
import time

from cutover import model
from cutover.changes import conversion
from cutover.comparison import carried, carried_users, proving, staged_sample
from cutover.facts import mail_program, mailboxes, prefixes
from cutover.steps.checks import old_names, program_checks
from cutover.steps.night import convert


@dataclasses.dataclass(frozen=True)
class Facts(convert.Facts):
    """As convert's. After a pass, of what it staged: sample; names: of test users, see prefixes.

    program: None in facts recorded by an earlier version.
    proofs: by user, the folders whose contents are equal; None where the parameters ask for none.
    wholes: the users of whom all else is equal too.
    """

    sample: staged_sample.Sample | None = None
    names: dict[str, model.Reading[list[str]]] | None = None
    program: mail_program.State | None = None
    proofs: dict[str, dict[str, carried.Proof]] | None = None
    wholes: dict[str, carried_users.Whole] = dataclasses.field(default_factory=dict)


def probe(ctx) -> Facts:
    facts = convert.probe(ctx)
    staged = _staged(ctx, facts)
    count, site = ctx.site.verify.staged, ctx.site
    tests = {account.user for account in site.production_test.users}
    seen = Facts(
        **vars(facts),
        sample=staged_sample.read(ctx.hosts, staged, count, ctx.run_name)
        if count and staged is not None
        else None,
        names=prefixes.staged_of(ctx.hosts, [user for user in staged if user.user in tests])
        if site.new_store.compatibility and staged is not None
        else None,
        program=mail_program.read(ctx.aside),
    )
    if not carried.is_wanted(site) or staged is None:
        return seen
    return dataclasses.replace(seen, **_proved(ctx, staged)._asdict())  # last: it waits for times


def _proved(ctx, staged):
    before, deadline = ctx.kept(STEP.id), time.monotonic() + ctx.site.verify.content_minutes * 60
    known = proving.Proved({}, {})
    if before and before.ok:
        known = proving.Proved(before.value.proofs or {}, before.value.wholes)
    return proving.prove(ctx.hosts, ctx.run_name, staged, known, deadline)


def _staged(ctx, facts):
    """The users whose staged mail can be read, once a pass was made; else None."""
    own_events = [event["event"] for event in ctx.history if event.get("step") == "presync"]
    if own_events[-1:] != ["applied"]:
        return None
    state = facts.state.users
    return [
        user
        for user in facts.users
        if state[user.user].staged.folders
        and not state[user.user].published
        and (state[user.user].live != "none" or mailboxes.may_lack_maildir(ctx.site))
    ]


def plan(facts: Facts, site) -> model.Plan:
    published = facts.state.names(published=True)
    todo = [user for user in facts.users if user.user not in published]
    if not todo:
        return model.Plan(
            reason=f"all {len(facts.state.users)} users are already published by this run"
        )
    staging = dataclasses.replace(
        convert.change(conversion.Presync, facts, site, todo), pace=site.presync.model_dump()
    )
    # staging comes last: a prediction takes its seconds for those of a pass
    return model.Plan((*program_checks.start(facts.program, site), staging))


def verify(facts: Facts, site) -> list[model.Check]:
    state = facts.state.users
    missing = [
        name
        for name, user in sorted(state.items())
        if not user.published and not user.staged.folders
    ]
    folders = sum(user.staged.folders for user in state.values())
    times = [user.staged.at for user in state.values() if user.staged.at]
    last = (
        datetime.datetime.fromtimestamp(max(times), datetime.UTC).strftime("%H:%M:%S UTC")
        if times
        else "never"
    )
    staged = model.Check(
        "Is every user's mail staged?",
        f"{len(state)} users",
        f"{len(state) - len(missing)} users, {folders} folders, last pass {last}"
        + (f"; missing: {', '.join(missing[:10])}" if missing else ""),
        len(missing) < len(state) or not state,
        "run this step again: it resumes with the missing users; the outage converts those that "
        "are still missing then",
        warning=bool(missing),
        id="mail-staged",
        data={"users": len(state), "missing": missing, "folders": folders},
    )
    return [
        staged,
        *([sample_check(facts.sample, site)] if facts.sample else []),
        *([proofs_check(facts)] if facts.proofs is not None else []),
        *([old_names.led(facts.names, site)] if facts.names is not None else []),
        *program_checks.started(facts.program, site),
    ]


def sample_check(sample: staged_sample.Sample, site) -> model.Check:
    """Whether Dovecot shows of the staged mail what c-client shows of the old mail."""
    differences = [
        *sample.differences,
        *(f"{user}: {text}" for user, text in sorted(sample.errors.items())),
    ]
    actual = (
        f"{sample.messages} messages in {sample.folders} folders of {len(sample.users)} users "
        f"(seed {sample.seed}): " + ("; ".join(differences[:10]) if differences else "equal")
    )
    if sample.changed:
        actual += f"; {sample.changed} changed by their users since"
    return model.Check(
        "Does a sample of what is staged agree with the old server?",
        "the same text and date for each UID",
        actual,
        not differences,
        "stop here and find the cause. Then, for each user listed, on "
        f"{site.roles.new}: `mv {site.new_store.work}/staging/USER "
        f"{site.new_store.work}/staging-USER.wrong`, and run this step again",
        warning=not sample.messages,
        id="sample-equal",
        data={
            "messages": sample.messages,
            "folders": sample.folders,
            "users": len(sample.users),
            "seed": sample.seed,
            "differences": len(differences),
            "changed": sample.changed,
        },
    )


def proofs_check(facts: Facts) -> model.Check:
    """How much verify need not read, if nobody touches it until then."""
    proofs = [proof for user in facts.proofs.values() for proof in user.values()]
    folders = sum(user.staged.folders for user in facts.state.users.values())
    messages = sum(proof.messages for proof in (*proofs, *facts.wholes.values()))
    return model.Check(
        "How many folders are equal, with their contents?",
        "those nobody has used lately",
        f"{len(proofs) + len(facts.wholes)} of {folders} folders, {messages} messages; all mail of "
        f"{len(facts.wholes)} users",
        True,
        "verify reads the others. If there is time, run this step again",
        id="contents-ahead",
        data={
            "folders": folders,
            "proven": len(proofs) + len(facts.wholes),
            "messages": messages,
            "users": len(facts.wholes),
        },
    )


STEP = model.Step(
    id="presync",
    title="Convert ahead, while users work",
    requires=("dual-delivery",),
    probe=probe,
    plan=plan,
    verify=verify,
    facts=Facts,
    predicts=True,
    stable=convert.stable,
)
