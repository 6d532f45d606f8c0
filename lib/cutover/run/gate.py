"""The gate before users meet the new server: a verify that passed recently, of what was converted.

It applies to steps that declare `needs_fresh_verify`. How long ago verify passed counts until
delivery is resumed: verify cannot be repeated after that. The facts it compares are kept in the
run's folder, and count only if they are the file whose digest the journal holds.
"""

import datetime

from cutover.facts import mailboxes
from cutover.model import runbook
from cutover.record import journal, step_facts

LISTED = 5  # differences in a message
FOLDERS = 3  # folders of one difference


def check(run, site, step) -> None:
    """Raises runbook.NotYet when the step needs a fresh verify and there is none."""
    if not step.needs_fresh_verify:
        return
    events = run.journal.events()
    resumed = runbook.resumed(events)
    if resumed:
        events = events[: events.index(resumed)]
    verified = _passed(events, "verify")
    if verified is None:
        raise runbook.NotYet(f"{step.id} may not run yet: verify has not passed. Run that first.")
    age = (_at(journal.now()) - _at(verified["time"])).total_seconds()
    if not resumed and not 0 <= age <= site.limits.verify_age:
        raise runbook.NotYet(
            f"{step.id} may not run: verify passed at {verified['time'][11:19]} UTC, "
            f"{age / 60:.0f} minutes ago; limits.verify_age allows "
            f"{site.limits.verify_age / 60:.0f}. Run verify again."
        )
    compared = _facts(run, events, verified, "verify", step)
    converted = _facts(run, events, _passed(events, "convert"), "convert", step)
    wrong = differences(site, compared, converted)
    if wrong:
        raise runbook.NotYet(
            f"{step.id} may not run: verify did not compare what was converted: "
            f"{'; '.join(wrong[:LISTED])}. Run verify again."
        )


def differences(site, verified, converted) -> list[str]:
    """Users and folders that verify's facts and convert's facts do not share, in words."""
    wrong = []
    compared = {user: {row.new_name for row in mail.rows} for user, mail in verified.users.items()}
    made = {name: _folders(site, user) for name, user in converted.state.users.items()}
    for user in sorted({*compared, *made}):
        if user not in compared:
            wrong.append(f"user {user} was converted and not compared")
        elif user not in made:
            wrong.append(f"user {user} was compared and not converted")
        else:
            missing = sorted(made[user] - compared[user])
            if missing:
                wrong.append(f"{user}: {', '.join(missing[:FOLDERS])} was not compared")
    return wrong


def _folders(site, user):
    """The names of a user's converted folders on the new side, as IMAP says them."""
    return {mailboxes.shown(site, folder.name) for folder in user.folders}


def _passed(events, name):
    """The event of the step's last verify, None unless it passed."""
    last = runbook.latest(events, "verified", step=name)
    return last if last is not None and last["passed"] else None


def _facts(run, events, verified, name, step):
    try:
        return step_facts.judged(run, events, name, verified)
    except step_facts.FactsUnusable as error:
        raise runbook.NotYet(f"{step.id} may not run: {error}. Run {name} again.") from None


def _at(time):
    return datetime.datetime.fromisoformat(time)
