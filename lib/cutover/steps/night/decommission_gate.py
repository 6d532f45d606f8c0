"""What has to be so before the old server may be switched off."""

import datetime
import math

from cutover import model
from cutover.facts import userdb
from cutover.steps.checks import proofs, zone_checks
from cutover.steps.night import decommission_plan
from cutover.steps.night.decommission_facts import Facts

SHOWN = 5  # messages, logins or entries in one check
SHOWN_USERS = 20


def gate(facts: Facts, site) -> list[model.Check]:
    """The checks that have to pass first; none once this run has begun and the host is off."""
    if facts.off:
        return [] if facts.begun else [_answers(site)]
    return [
        *_production(facts, site),
        *_routed_to_both(facts, site),
        *_backed_up(facts, site),
        *_unused(facts, site),
        *_nothing_left(facts, site),
    ]


def _answers(site):
    return model.Check(
        f"{site.roles.old} answers, so that it can be checked",
        "yes",
        "no port answers",
        False,
        "this run did not switch it off: start it, or ask who did; then run this step again",
        id="old-host-answers",
        subject=site.roles.old,
    )


def _production(facts, site):
    days, needed = facts.production.days, site.decommission.days
    actual = "unknown: this run has not passed restore-imap" if days is None else f"{days:.1f} days"
    yield model.Check(
        "Users have worked on the new server long enough",
        f"at least {needed} days",
        actual,
        days is not None and days >= needed,
        "wait; or continue with the run of the night, `--run DIR`",
        id="days-in-production",
        data={"days": days, "needed": needed},
    )
    yield from zone_checks.aliases(facts.servers, site, site.fqdn(site.roles.new))


def _routed_to_both(facts, site):
    old = site.fqdn(site.roles.old)
    for name, mx in facts.mx.items():
        source, _ = decommission_plan.single_delivery(mx, site)
        alone = sorted(
            {entry.key for entry in userdb.parse(source) if f"@{old}" in entry.value.lower()}
        )
        yield model.Check(
            f"No entry of {name}'s userdb routes to {old} alone",
            "0 entries",
            _counted(len(alone), "entries", alone),
            not alone,
            f"that mail would bounce: name {site.fqdn(site.alias)} in these entries of "
            f"{site.userdb.source}, on every MX, and run `makemap btree {site.userdb.map} < "
            f"{site.userdb.source}` there (dual-delivery would make all later steps stale)",
            id="routed-to-old-alone",
            subject=name,
            data={"entries": alone},
        )


def _backed_up(facts, site):
    if facts.backup is None:
        yield model.Check(
            "The new store is backed up",
            "yes",
            "the parameters declare no backup",
            False,
            "declare one under `backup` and run the step backup: without the old server there is "
            "no second copy",
            id="backup-declared",
        )
        return
    yield from proofs.copy_checks(facts.backup, site)
    yield from proofs.checks(facts.backup, site)


def _unused(facts, site):
    old, reading = site.roles.old, facts.logs
    if reading is None or not reading.ok:
        yield model.Check(
            f"Nobody has used {old} since restore-imap",
            "nobody",
            reading.error if reading else "its log was not read",
            False,
            f"`journalctl SYSLOG_FACILITY=2`, or /var/log/maillog, on {old}",
            id="old-host-log-read",
            subject=old,
        )
        return
    use, since = reading.value, facts.production.since
    yield model.Check(
        f"The log of {old} reaches back to restore-imap",
        f"to {_time(since)}",
        f"to {_time(use.first)}",
        use.first <= since,
        "the log does not cover the whole time: wait until it covers the days needed",
        id="old-host-log-covers",
        subject=old,
    )
    yield model.Check(
        f"Nobody has logged in on {old} since restore-imap",
        "0 logins",
        _counted(use.logins, "logins", use.shown.logins),
        use.logins == 0,
        "find out who, with which mail program; move them to the new server; then run restore-imap "
        "again: the days and the log count from then",
        id="old-host-logins",
        subject=old,
        data={"logins": use.logins},
    )
    yield model.Check(
        f"Mail reaches {old} only by dual delivery",
        "0 direct deliveries",
        f"{_counted(use.direct, 'direct deliveries', use.shown.direct)}; {use.dual} through the MX",
        use.direct == 0,
        f"find the sender and have it send to {site.fqdn(site.alias)}; then run restore-imap "
        "again: the days and the log count from then",
        id="old-host-deliveries",
        subject=old,
        data={"direct": use.direct, "dual": use.dual},
    )


def _nothing_left(facts, site):
    old, reading = site.roles.old, facts.left
    question = f"No message is only on {old}"
    if reading is None or not reading.ok:
        yield model.Check(
            question,
            "0 messages",
            reading.error if reading else "its mail was not read",
            False,
            "run this step again",
            id="old-mail-read",
            subject=old,
        )
        return
    tallies = dict(sorted(reading.value.users.items()))
    for user, error in sorted(reading.value.errors.items()):
        yield model.Check(
            f"The mail of {user} can be read on both sides",
            "yes",
            error,
            False,
            "fix the cause, then run this step again",
            id="mail-readable",
            subject=user,
        )
    for user, tally in tallies.items():
        yield from _user(user, tally, old)
    only, messages = (
        sum(getattr(tally, field) for tally in tallies.values()) for field in ("only", "old")
    )
    yield model.Check(
        question,
        "0 messages",
        f"{only} of {messages}",
        only == 0 and messages > 0,
        "see the users above",
        id="only-on-old",
        subject=old,
        data={"only": only, "messages": messages},
    )
    yield _removed(tallies)


def _user(user, tally, old):
    if tally.only:
        yield model.Check(
            f"No message of {user} is only on {old}",
            "0 messages",
            _counted(tally.only, "messages", tally.first),
            False,
            f"copy it to {user} on the new server (`doveadm save`), then run this step again",
            id="user-only-on-old",
            subject=user,
            data={"only": tally.only},
        )
    elif tally.notes:
        yield model.Check(
            f"The old mail of {user} needs no attention",
            "nothing to note",
            "; ".join(tally.notes),
            True,
            "check it before the server is switched off",
            warning=True,
            id="old-mail-notes",
            subject=user,
        )


def _removed(tallies):
    """Which messages are gone from the new server because users removed them; never fails."""
    removed = {user: tally.removed + tally.delivered for user, tally in tallies.items()}
    removed = {user: count for user, count in removed.items() if count}
    same, moved, twice = (
        sum(getattr(tally, field) for tally in tallies.values())
        for field in ("same", "moved", "twice")
    )
    users = ", ".join(f"{user} {count}" for user, count in [*removed.items()][:SHOWN_USERS])
    return model.Check(
        "Messages missing on the new server were removed by users",
        "known as removed",
        f"{sum(removed.values())}, of {len(removed)} users{': ' if users else ''}{users}; "
        f"{same} are where they were, {moved} were moved, {twice} came to both",
        True,
        "according to the conversion's record and the new server's log",
        id="removed-by-users",
        data={"removed": removed, "same": same, "moved": moved, "twice": twice},
    )


def _counted(number, what, shown):
    return f"{number} {what}" + (f": {'; '.join(shown[:SHOWN])}" if shown else "")


def _time(seconds):
    if seconds is None or math.isinf(seconds):
        return "never"
    time = datetime.datetime.fromtimestamp(seconds, datetime.UTC)
    return time.strftime("%Y-%m-%d %H:%M:%S UTC")
