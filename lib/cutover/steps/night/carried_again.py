"""The second reading of what verify carried over, and its check."""

from cutover import model
from cutover.comparison import second_reading
from cutover.model import runbook

FIGURES = ("carried", "folders", "removed", "messages", "gone")


def read(ctx, now: bool) -> second_reading.Second | None:
    """All that verify carried over when it passed last, compared. None if it carried nothing.

    now: whether to read it; else it counts as not compared. What passed is not read another time.
    """
    verified = runbook.passed(ctx.history, "verify")
    journaled = _data(verified, "contents-carried")
    if not (journaled and journaled["folders"]):
        return None
    for event in ctx.history[ctx.history.index(verified) :]:
        earlier = _data(event, "carried-read-again")
        if earlier and earlier["passed"]:
            figures = {name: earlier[name] for name in FIGURES}
            return second_reading.Second(**figures, expired=earlier.get("expired", 0))
    if not now:
        return second_reading.Second(journaled["folders"])
    kept = ctx.kept("verify")
    if not kept.ok:
        return second_reading.Second(journaled["folders"], unread={"all folders": kept.error})
    folders = {
        name: {row.old_name: (row.new_name, row.old) for row in mail.rows if row.proven}
        for name, mail in kept.value.users.items()
    }
    result = second_reading.read(
        ctx.hosts, {name: names for name, names in folders.items() if names}
    )
    result.carried = journaled["folders"]
    return result


def _data(event, check_id):
    """The figures of a check, and whether it passed; None if the event has no such check."""
    for check in event.get("checks", ()) if event else ():
        if check.get("id") == check_id:
            return {**check["data"], "passed": check["passed"]}
    return None


def check(second: second_reading.Second, site) -> model.Check:
    """Whether every carried folder was read, without a difference."""
    problems = [*second.differences, *(f"{name}: {why}" for name, why in second.unread.items())]
    left = second.carried - second.folders - second.removed
    if left:
        problems.append(f"{left} of {second.carried} folders were not compared")
    actual = f"{second.messages} messages in {second.folders} folders: "
    actual += "; ".join(problems[:10]) if problems else "equal"
    if second.gone:
        actual += f"; {second.gone} are gone since, of them {second.removed} whole folders"
    if second.expired:
        actual += f"; {site.roles.old} has lost {second.expired} since, which were not compared"
    return model.Check(
        "The contents that verify carried over are equal in a full reading",
        "the same text and date for each UID",
        actual,
        not problems,
        "If verify's facts cannot be used, restore their file in the run's folder from a copy and "
        "run this step again. Otherwise compare the folders named by hand: "
        f"{site.roles.old} still has the mail.",
        warning=bool(second.removed or second.expired),
        id="carried-read-again",
        data={
            **{name: getattr(second, name) for name in FIGURES},
            "differences": len(second.differences),
            "unread": len(second.unread),
            "expired": second.expired,
        },
    )
