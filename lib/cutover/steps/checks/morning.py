"""Whether the first morning goes well: what the watch has seen, judged."""

from collections.abc import Iterator

from cutover import model
from cutover.facts import dovecot_activity
from cutover.facts.first_morning import Morning
from cutover.steps.checks import listing

REASONS = {
    dovecot_activity.FAILED: "wrong name or password",
    dovecot_activity.TLS: "no common TLS",
    dovecot_activity.LIMIT: "too many connections of one user from one address",
    dovecot_activity.TEMPORARY: "the login service had a fault",
    dovecot_activity.OTHER: "ended before the login",
}
BUSY = 2.0  # load per processor


def checks(morning: Morning, site) -> list[model.Check]:
    """Every check, the sharpest sign first."""
    return [
        _folders(morning, site),
        _limits(morning, site),
        *_logins(morning, site),
        _load(morning, site),
        *_queues(morning, site),
        *_unread(morning),
    ]


def _folders(morning, site):
    """A name that means a folder of the user is a folder that a program has lost."""
    lost = [missing for missing in morning.missing if missing.folder is not None]
    other = [missing for missing in morning.missing if missing.folder is None]
    actual = "every folder"
    if morning.missing:
        lines = [f"{entry.user}: {entry.asked} is {entry.folder}" for entry in lost]
        lines += [f"{entry.user}: {entry.asked}, which leads to no folder" for entry in other]
        actual = f"{len(lines)} do not exist: {listing.listed(lines)}"
    return model.Check(
        f"Every folder that mail programs ask {site.roles.new} for exists",
        "every folder",
        actual,
        not lost,
        f"These programs have lost their folders. Declare a namespace for "
        f"{', '.join(_prefixes(lost))} in a file of its own beside {site.new_store.names_file} "
        '(docs/site.md, "A prefix that was forgotten", has the text), then run `doveadm reload`. '
        "After a rollback remove the file by hand. Running dual-delivery again would make later "
        "steps stale."
        if lost
        else "Programs ask for folders that may never have existed, such as Drafts. Look at the "
        "names.",
        warning=bool(other),
        id="morning-folders",
        subject=site.roles.new,
        data={
            "lost": [[entry.user, entry.asked, entry.folder] for entry in lost],
            "other": len(other),
        },
    )


def _prefixes(lost):
    """What stands before the folder in the names that were asked for."""
    whole = [entry for entry in lost if dovecot_activity.CUT not in entry.asked]
    return sorted({entry.asked[: len(entry.asked) - len(entry.folder)] for entry in whole or lost})


def _limits(morning, site):
    reached = [f"{number} × {text}" for text, number in morning.limits.items()]
    dropped = sum(
        entry.count for entry in morning.refused if entry.reason == dovecot_activity.LIMIT
    )
    if dropped:
        reached.append(f"{dropped} × {REASONS[dovecot_activity.LIMIT]}")
    return model.Check(
        f"Dovecot on {site.roles.new} reaches none of its limits",
        "none",
        listing.listed(reached) or "none",
        not reached,
        "Raise the limit that it names, then reload Dovecot.",
        id="morning-limits",
        subject=site.roles.new,
        data={"reached": len(morning.limits), "dropped": dropped},
    )


def _logins(morning, site) -> Iterator[model.Check]:
    users, logins = len(morning.users), sum(morning.users.values())
    yield model.Check(
        f"Users log in on {site.roles.new}",
        "at least one",
        f"{logins} logins of {users} users",
        True,
        f"Nobody has logged in yet. Does {site.fqdn(site.alias)} lead to {site.roles.new} for "
        "users, too?",
        warning=not users,
        id="morning-logins",
        subject=site.roles.new,
        data={"users": users, "logins": logins},
    )
    out = [entry for entry in morning.refused if entry.account and not entry.later]
    lines = [_refused(entry) for entry in [*out, *(e for e in morning.refused if e not in out)]]
    shut = len({entry.account for entry in out} - morning.users.keys())
    yield model.Check(
        "No user is refused",
        "no refused login that is not followed by a good one",
        f"{sum(entry.count for entry in morning.refused)} refused: {listing.listed(lines)}"
        if lines
        else "none refused",
        shut <= users,
        "Compare the passwords of these users on both servers, and the form of the name that their "
        "programs send.",
        warning=bool(out),
        id="morning-refused",
        subject=site.roles.new,
        data={
            "reasons": _reasons(morning),
            "users": sorted({entry.account for entry in out}),
            "other_names": sorted({entry.name for entry in out if entry.name != entry.account}),
        },
    )


def _refused(entry):
    meaning = ""
    if entry.account and entry.account != entry.name:
        meaning = f", a name of {entry.account}"
    elif not entry.account:
        meaning = ", no user"
    later = ", logged in later" if entry.later else ""
    return f"{entry.name} {entry.count} × {REASONS[entry.reason]}{meaning}{later}"


def _reasons(morning):
    counts = {}
    for entry in morning.refused:
        counts[entry.reason] = counts.get(entry.reason, 0) + entry.count
    return counts


def _load(morning, site):
    known = morning.load is not None and morning.processors
    busy = known and morning.load > BUSY * morning.processors
    return model.Check(
        f"{site.roles.new} is not overloaded",
        f"a load of at most {BUSY:.0f} per processor",
        f"{morning.load} with {morning.processors} processors" if known else "not read",
        True,
        "Look at `top` and at the disk. Programs that ask for all folders at once settle within "
        "minutes.",
        warning=bool(busy) or not known,
        id="morning-load",
        subject=site.roles.new,
        data={"load": morning.load, "processors": morning.processors},
    )


def _queues(morning, site) -> Iterator[model.Check]:
    for name in site.roles.mx:
        waiting = morning.waiting.get(name)
        yield model.Check(
            f"No message waits for minutes in the queue of {name}",
            "0 messages",
            "not read" if waiting is None else f"{waiting} messages",
            True,
            f"Run `mailq` on {name}; it shows the reason.",
            warning=waiting != 0,
            id="morning-queue",
            subject=name,
            data={"waiting": waiting},
        )


def _unread(morning) -> Iterator[model.Check]:
    """What is not watched is not fine."""
    for what, error in sorted(morning.unread.items()):
        yield model.Check(
            f"The watch can read: {what}",
            "yes",
            error,
            False,
            "Nothing is known about this until it can be read again.",
            id="morning-readable",
            subject=what,
        )
