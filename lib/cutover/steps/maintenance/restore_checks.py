"""How a restore is judged: folder by folder, the live mailbox against what was brought beside."""

from cutover import model
from cutover.comparison import restored


def contents(beside: dict[str, restored.Beside], empty: bool) -> model.Check:
    """Whether there is anything to restore. `empty`: the folders have no messages at all."""
    messages = sum(folder.copy for folder in beside.values())
    return model.Check(
        "The copy has messages that were asked for",
        "messages",
        f"{messages} messages",
        messages > 0 or empty,
        "check the folder's name and the Message-ID",
        id="restore-contents",
        data={"messages": messages},
    )


def folder(name: str, beside: restored.Beside, user: str, host: str) -> list[model.Check]:
    """The checks of one folder; the last three only where the restore added messages."""
    first = f": {'; '.join(beside.first[:3])}" if beside.missing else ""
    complete = model.Check(
        f"Dovecot shows every message of the copy in {name}",
        "0 missing",
        f"{beside.missing} of {beside.copy} missing{first}; {beside.added} were added",
        beside.missing == 0,
        "run this step again",
        id="restore-complete",
        subject=name,
        data={"copy": beside.copy, "missing": beside.missing, "added": beside.added},
    )
    if beside.before is None:
        return [complete]
    return [
        complete,
        model.holds(
            f"Messages added to {name} have their flags and dates, and ascending UIDs",
            not beside.wrong,
            "yes",
            "; ".join(beside.wrong),
            "`cutover rollback --run DIR` takes them out again",
            id="restore-metadata",
            subject=name,
        ),
        model.equal(
            f"{name} kept its UIDVALIDITY",
            beside.before.uidvalidity,
            beside.uidvalidity,
            f"look at Dovecot's log on {host}",
            id="restore-uidvalidity",
            subject=name,
        ),
        _kept(name, beside, user, host),
    ]


def _kept(name, beside, user, host):
    before = beside.before.exists
    fewer = before - beside.kept
    removed = f"; {user} removed {fewer} meanwhile" if fewer > 0 else ""
    return model.Check(
        f"{name} still has the messages it had before",
        f"{before} messages",
        f"{beside.kept} messages{removed}",
        fewer >= 0,
        f"look at Dovecot's log on {host}",
        warning=fewer > 0,
        id="restore-kept",
        subject=name,
        data={"before": before, "kept": beside.kept},
    )


def leftovers(scratch: list[str], host: str) -> model.Check:
    """Users' mail that Bacula restored does not stay on the backup host."""
    return model.holds(
        f"Nothing that Bacula restored is left on {host}",
        not scratch,
        "nothing",
        ", ".join(scratch),
        "run this step again: it removes it",
        id="restore-leftovers",
        subject=host,
        data={"directories": list(scratch)},
    )
