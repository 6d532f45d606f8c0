"""What would be copied back now, and what was copied already; reads only."""

import concurrent.futures
import dataclasses
import time

from cutover.carryback import notes, published, user_plan
from cutover.carryback.notes import Note
from cutover.facts import mailboxes
from cutover.model import errors

TRIES, PAUSE = 3, 1  # of an estimate while the user is at work; seconds


@dataclasses.dataclass(frozen=True)
class Estimate:
    """What is missing on the old side of one user now.

    counts: as UserPlan.counts gives them. left: what cannot be copied. notes: what stays on
    purpose. error: why the two sides could not be compared; then the rest is empty.
    """

    counts: dict[str, int] = dataclasses.field(default_factory=dict)
    left: list[str] = dataclasses.field(default_factory=list)
    notes: list[str] = dataclasses.field(default_factory=list)
    error: str | None = None

    @property
    def empty(self) -> bool:
        return not (self.counts or self.left or self.notes or self.error)


@dataclasses.dataclass(frozen=True)
class State:
    """How far copying back is, for all users of a run.

    users: estimates of those who are not done. told: their notes on the old server.
    trees: the id of each user's published tree, None when none was published.
    """

    users: dict[str, Estimate] = dataclasses.field(default_factory=dict)
    told: dict[str, Note] = dataclasses.field(default_factory=dict)
    trees: dict[str, str | None] = dataclasses.field(default_factory=dict)


def state(ctx, entries: list[dict], run: str) -> State:
    """Compare both sides of the users who are not done. entries: theirs in the store's plan."""
    done, trees = notes.read(ctx.hosts, run), published.trees(ctx.hosts, entries, run)
    listed = waiting(ctx.hosts, run, entries, done, trees)
    with concurrent.futures.ThreadPoolExecutor(ctx.site.verify.parallel) as pool:
        estimates = pool.map(lambda entry: estimate(ctx, entry, trees[entry["user"]]), listed)
        return State(
            {entry["user"]: row for entry, row in zip(listed, estimates, strict=True)},
            done,
            {user: tree.tree for user, tree in trees.items()},
        )


def waiting(
    hosts,
    run: str,
    entries: list[dict],
    done: dict[str, Note],
    trees: dict[str, published.PublishedTree],
) -> list[dict]:
    """The entries of published users without a note on this very tree as it is, or with a pending
    one. Whoever has worked since a rollback that did not pass is compared again."""
    noted = [entry for entry in entries if _is_noted(entry["user"], done, trees)]
    try:
        now = published.signatures(hosts, noted, run)
        kept = notes.read_trees(hosts, run) if noted else {}
    except (errors.CutoverError, ValueError):  # then each is compared again
        now, kept = {}, {}
    untouched = {user for user, folders in now.items() if folders == kept.get(user)}
    return [
        entry
        for entry in entries
        if trees[entry["user"]].published
        and (entry["user"] not in untouched or done[entry["user"]].pending)
    ]


def _is_noted(user, done, trees):
    """Whether a user's note is on the tree that is published."""
    return trees[user].published and user in done and done[user].tree == trees[user].tree


def estimate(ctx, entry: dict, tree: published.PublishedTree) -> Estimate:
    """What would be copied for one user now."""
    for attempt in range(TRIES):
        time.sleep(PAUSE * attempt)
        try:
            with (
                mailboxes.old_session(ctx.hosts, entry["user"]) as old,
                mailboxes.new_session(ctx.hosts, entry["user"]) as new,
            ):
                plan = user_plan.work_out(ctx, entry, tree, old, new, spool=True)
            return Estimate(plan.counts(), plan.problems, plan.notes)
        except errors.CutoverError as failed:
            error = failed  # the user may be at work: what was listed a moment ago is moved
    return Estimate(error=str(error))
