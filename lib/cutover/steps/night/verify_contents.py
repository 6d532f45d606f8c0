"""How much of the messages' contents verify reads, and what it says of it."""

import concurrent.futures
import dataclasses
import datetime

from cutover import model
from cutover.comparison import carried
from cutover.model import runbook


@dataclasses.dataclass(frozen=True)
class ContentsRead:
    """Whose contents were read: a share of the messages, in so many minutes at most.

    late: the time was over before the end. again: the seed by which messages of carried folders
    were read again; empty without `verify.ahead`. void: why nothing at all was carried.
    """

    seed: str = ""
    share: float = 1.0
    minutes: float = 0.0
    late: bool = False
    again: str = ""
    void: str = ""


def share(site, events, left: float = 1.0) -> float:
    """The part of the messages whose contents can be read in the time allowed.

    By what presync measured; all, where it measured nothing. left: the part of all messages that is
    to be read.
    """
    prediction = runbook.latest(events, "predicted")
    seconds = prediction and prediction.get("contents")
    allowed = site.verify.content_minutes * 60
    return min(1.0, allowed / (seconds * left)) if seconds and left else 1.0


def proofs(ctx, converted, accounts):
    """({user: what presync proved and still holds}, why nothing may be carried or "")."""
    last = runbook.latest(runbook.since_rollback(ctx.history), "verified", step="verify")
    kept = ctx.kept("presync")
    if last and not last["passed"]:
        return {}, "the last verify failed"
    if kept is None:
        return {}, "presync has not passed in this run"
    if not kept.ok:
        return {}, kept.error
    proven = kept.value.proofs or {}
    users = [accounts[name] for name in proven if name in converted and name in accounts]
    new = model.read(carried.of_new, ctx.hosts, ctx.run_name, users)
    if not new.ok:
        return {}, new.error

    def unchanged(user):
        return carried.unchanged(ctx.hosts, user, proven[user.user], new.value[user.user])

    with concurrent.futures.ThreadPoolExecutor(ctx.site.verify.parallel) as pool:
        readings = pool.map(lambda user: model.read(unchanged, user), users)
        holding = {
            user.user: reading.value
            for user, reading in zip(users, readings, strict=True)
            if reading.ok and reading.value
        }
    return holding, ""


def left(state, proofs):
    """The part of all messages that is not carried over."""
    proven = sum(proof.messages for user in proofs.values() for proof in user.values())
    messages = sum(user.messages for user in state.users.values())
    return max(0.0, 1 - proven / messages) if messages else 1.0


def contents_check(contents: ContentsRead, total) -> model.Check:
    """Of how many messages the contents were compared, and if not of all, of which."""
    part = total.contents < total.old
    actual = f"{total.contents} of {total.old} messages"
    if part:
        sample = f"a sample of {contents.share:.1%}, seed {contents.seed}"
        actual += f": {sample if contents.share < 1 else 'as many as there was time for'}"
        actual += "; time ran out before the end" if contents.late else ""
    return model.Check(
        "How many messages had their contents compared?",
        f"as many as {contents.minutes:g} min allow",
        actual,
        True,
        "the metadata of all messages was compared; for more contents, raise "
        "verify.content_minutes and run this step again",
        warning=part,
        id="contents-compared",
        data={
            "compared": total.contents,
            "messages": total.old,
            "share": contents.share,
            "seed": contents.seed,
            "late": contents.late,
        },
    )


def carried_check(users, contents: ContentsRead, total) -> model.Check:
    """Which part was compared before the outage, when, and how much of it was read again."""
    rows = [row for mail in users.values() for row in mail.rows if row.proven]
    times = sorted(row.proven for row in rows)
    actual = f"{total.carried} messages in {total.carried_folders} of {total.folders} folders"
    if times:
        first, last = (
            datetime.datetime.fromtimestamp(at, datetime.UTC).strftime("%Y-%m-%d %H:%M:%S")
            for at in (times[0], times[-1])
        )
        actual += f", between {first} and {last} UTC; {total.again} of the messages read again now "
        actual += f"(seed {contents.again})"
    if contents.void:
        actual += f": {contents.void}"
    return model.Check(
        "How much was compared before the outage?",
        "what neither side has changed since",
        actual,
        True,
        "verify read all the other folders; production-test reads these once more",
        warning=bool(contents.void),
        id="contents-carried",
        data={
            "messages": total.carried,
            "folders": total.carried_folders,
            "again": total.again,
            "seed": contents.again,
            "sample": [f"{row.user}: {row.name}" for row in rows if row.again],
        },
    )
