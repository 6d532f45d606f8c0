"""The gate before users meet the new server: a verify that passed, not long ago, of the very users and folders converted.

A step that must not run on older evidence declares `needs_fresh_verify`. What is compared is kept in the run's folder, and counts
only as the file that the journal names by its digest.
"""

import datetime
import hashlib
import json

from cutover.facts import mailboxes
from cutover.model import runbook
from cutover.record import journal


def check(run, site, step) -> None:
    """Raises runbook.NotYet, saying what is missing; nothing for a step that needs no fresh evidence."""
    if not step.needs_fresh_verify:
        return
    events = run.journal.events()
    passed = _last(events, "verify")
    if passed is None:
        raise runbook.NotYet(f"{step.id} may not run yet: verify has not passed. Run that first.")
    age = (_at(journal.now()) - _at(passed["time"])).total_seconds()
    if not 0 <= age <= site.limits.verify_age:
        raise runbook.NotYet(
            f"{step.id} may not run: verify passed at {passed['time'][11:19]} UTC, {age / 60:.0f} minutes ago; "
            f"limits.verify_age allows {site.limits.verify_age / 60:.0f}. Run verify again."
        )
    seen = _facts(run, events, passed, "verify", step)
    made = _facts(run, events, _last(events, "convert"), "convert", step)
    wrong = differences(seen, made)
    if wrong:
        raise runbook.NotYet(
            f"{step.id} may not run: verify did not look at what was converted: {'; '.join(wrong[:5])}. "
            "Run verify again."
        )


def differences(seen, made) -> list:
    """Users and folders that verify's facts and convert's facts do not share, in words."""
    wrong = []
    compared = {
        user: {row["new_name"] for row in each["rows"]} for user, each in seen["users"].items()
    }
    converted = {
        user: {
            mailboxes.name(folder["name"].replace(".", "/")) or "INBOX"
            for folder in state["folders"]
        }
        for user, state in made["state"]["users"].items()
    }
    for user in sorted({*compared, *converted}):
        if user not in compared or user not in converted:
            wrong.append(
                f"user {user} was {'converted and not compared' if user in converted else 'compared and not converted'}"
            )
            continue
        missing = sorted(converted[user] - compared[user])
        if missing:
            wrong.append(f"{user}: {', '.join(missing[:3])} was not compared")
    return wrong


def _last(events, name):
    last = next(
        (
            event
            for event in reversed(events)
            if event["event"] == "verified" and event["step"] == name
        ),
        None,
    )
    return last if last is not None and last["passed"] else None


def _facts(run, events, verified, name, step):
    try:
        probed = [
            event
            for event in events
            if event["event"] == "probed" and event["attempt"] == verified["attempt"]
        ][-1]
        data = (run.path / probed["facts"]).read_bytes()
        if hashlib.sha256(data).hexdigest() != probed["sha256"]:
            raise ValueError("they are not those that were journaled")
        return json.loads(data)
    except (TypeError, IndexError, OSError, ValueError) as error:
        raise runbook.NotYet(
            f"{step.id} may not run: the facts of the last {name} cannot be used ({error}). "
            f"Run {name} again."
        ) from None


def _at(time):
    return datetime.datetime.fromisoformat(time)
