"""The first morning as tables: the verdict, its checks and the last minutes."""

from cutover.facts.first_morning import Morning
from cutover.record import history
from cutover.report import step_tables, tables
from cutover.steps.checks import morning

LAST = 15  # minutes shown


def shown(seen: Morning, site) -> tables.Stack:
    """The verdict, for how long it was watched, and everything it rests on."""
    checks = morning.checks(seen, site)
    word, sentence = verdict(seen, checks)
    return tables.Stack(tables.Banner(word, sentence), step_tables.checks(checks), _minutes(seen))


def verdict(seen: Morning, checks) -> tuple[str, str]:
    """(word of a badge, sentence)"""
    marks = [check.mark for check in checks]
    failed, warned = marks.count("FAIL"), marks.count("warn")
    if failed:
        word, judged = "failed", f"ACT NOW: {tables.count(failed, 'check')} failed."
    elif warned:
        word, judged = "begun", f"Look at {tables.count(warned, 'warning')}."
    else:
        word, judged = "passed", "Good: no program has lost a folder, and nobody is shut out."
    users = tables.count(len(seen.users), "user")
    return word, (
        f"{judged} {'Watched' if seen.over else 'Watching'} for {lasted(seen)} of "
        f"{seen.minutes_asked:g} minutes ({history.clock(seen.began)} to "
        f"{history.clock(seen.until)} UTC{'; over' if seen.over else ''}): "
        f"{tables.count(sum(seen.users.values()), 'login')} of {users} since reading was "
        f"resumed at {history.clock(seen.opened)} UTC."
    )


def lasted(seen: Morning) -> str:
    return history.duration(seen.until - seen.began)


def line(seen: Morning) -> str:
    """One look in one line."""
    lost = sum(entry.folder is not None for entry in seen.missing)
    refused = sum(entry.count for entry in seen.refused)
    return (
        f"{history.clock(seen.until)} UTC: "
        f"{tables.count(sum(seen.users.values()), 'login')} of "
        f"{tables.count(len(seen.users), 'user')}, {refused} refused, "
        f"{tables.count(len(seen.missing), 'missing folder')} asked for ({lost} lost), "
        f"load {'?' if seen.load is None else seen.load}"
        + "".join(f"; {what} cannot be read" for what in seen.unread)
    )


def _minutes(seen):
    rows = [
        [
            history.clock(minute.at)[:5],
            minute.logins,
            minute.refused,
            minute.missing,
            "" if minute.load is None else minute.load,
            "" if minute.queued is None else minute.queued,
        ]
        for minute in seen.minutes[-LAST:]
    ]
    columns = ["minute (UTC)", "logins", "refused", "missing folders", "load", "queued"]
    hidden = len(seen.minutes) - len(rows)
    note = f"{tables.count(hidden, 'earlier minute')} not shown" if hidden > 0 else ""
    return tables.Table(columns, rows, "Minute by minute", note) if rows else None
