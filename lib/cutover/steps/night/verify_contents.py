"""How much of the messages' contents verify reads, and what it says of it."""

import dataclasses
import datetime

from cutover import model
from cutover.comparison import carried, carried_users, elsewhere, folders
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


@dataclasses.dataclass(frozen=True)
class Carry:
    """What presync proved and still holds. proofs, wholes: as presync.Facts has them.

    void: why nothing may be carried, or "".
    """

    proofs: dict[str, carried.Proofs] = dataclasses.field(default_factory=dict)
    wholes: dict[str, carried_users.Whole] = dataclasses.field(default_factory=dict)
    void: str = ""

    def compared(self, name: str) -> tuple[list[folders.Row], elsewhere.Elsewhere]:
        """(folders, what is listed besides) of a user of `wholes`, as presync found them."""
        whole = self.wholes[name]
        return carried_users.rows(name, whole, self.proofs.get(name, {})), whole.besides

    def covers(
        self, name: str, known: list[folders.Converted], again: carried.Again, uidls: bool
    ) -> bool:
        """Whether a user need not be opened, and what presync compared is what was converted.

        known: the folders as converted, none of a user who is not published. again: of whom some
        is read again. uidls: whether POP3 identifiers are asked for.
        """
        whole, read = self.wholes.get(name), any(user == name for user, _ in again.folders)
        if read or not (whole and known) or uidls and whole.uidls is None:
            return False
        rows, _ = self.compared(name)
        proven = {row.old_name: folders.Converted(row.old_name, row.new_name) for row in rows}
        return len(known) == len(proven) and proven == {item.old: item for item in known}


def carry(ctx, converted, accounts) -> Carry:
    """What need not be read now. converted: the users whom this run has converted."""
    last = runbook.latest(runbook.since_rollback(ctx.history), "verified", step="verify")
    kept = ctx.kept("presync")
    if last and not last["passed"]:
        return Carry(void="the last verify failed")
    if kept is None:
        return Carry(void="presync has not passed in this run")
    if not kept.ok:
        return Carry(void=kept.error)
    proven, wholes = kept.value.proofs or {}, {}
    users = [accounts[name] for name in proven if name in converted and name in accounts]
    new = model.read(carried.of_new, ctx.hosts, ctx.run_name, users)
    if not new.ok:
        return Carry(void=new.error)

    def unchanged(user):
        known, whole = proven[user.user], kept.value.wholes.get(user.user)
        if whole and carried_users.is_unchanged(ctx.hosts, user, whole, new.value[user.user]):
            wholes[user.user] = whole
            return known
        return carried.unchanged(ctx.hosts, user, known, new.value[user.user])

    holding = carried.of_each(ctx.hosts, users, unchanged)
    return Carry({user: proofs for user, proofs in holding.items() if proofs}, wholes)


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
    unopened = [name for name, mail in users.items() if mail.unopened]
    times = sorted(row.proven for row in rows)
    actual = f"{total.carried} messages in {total.carried_folders} of {total.folders} folders"
    if times:
        first, last = (
            datetime.datetime.fromtimestamp(at, datetime.UTC).strftime("%Y-%m-%d %H:%M:%S")
            for at in (times[0], times[-1])
        )
        actual += f", between {first} and {last} UTC; {total.again} of the messages read again now "
        actual += f"(seed {contents.again}); mail of {len(unopened)} users was not opened now"
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
            "users": len(unopened),
            "again": total.again,
            "seed": contents.again,
            "sample": [f"{row.user}: {row.name}" for row in rows if row.again],
        },
    )
