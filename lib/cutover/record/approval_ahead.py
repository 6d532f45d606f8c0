"""Plans of the outage, approved before it begins, so that nobody types while users wait.

run/plans_ahead.py works out each step's plan as the step will make it, and journals the list. A
person signs a statement for each of these plans, by its hash, and each is journaled. When the step
makes its own plan, the statement counts if the hash is the same. It never counts for more than
that: `void` says why it no longer does.
"""

import hashlib
import json

from cutover.model import runbook
from cutover.record import statement

APPROVES = "plan-ahead"  # what such a statement approves
PLANNED, GIVEN = "planned-ahead", "approved-ahead"  # kinds of events


def confirmation(site) -> str:
    """What a person types to approve the list."""
    return f"{site.fqdn(site.alias)} ahead"


def latest(events) -> dict | None:
    """The event of the latest list of plans; None if none was made."""
    return runbook.latest(events, PLANNED)


def plan_of(events, given: dict) -> dict:
    """The entry of a list, `{"step", "hash", "file"}`, that an approval is for.

    Raises statement.NotApproved.
    """
    for event in events:
        for plan in event["plans"] if event["event"] == PLANNED else ():
            if (plan["step"], plan["hash"]) == (given["of"], given["hash"]):
                return plan
    raise statement.NotApproved(f"no list made ahead has the plan {given['hash'][:16]}.")


def digest(plans) -> str:
    """What a list of plans is named by: SHA-256 over its steps and their plans' hashes."""
    content = json.dumps([[plan["step"], plan["hash"]] for plan in plans])
    return hashlib.sha256(content.encode()).hexdigest()


def void(events, step: str, sha256: str) -> str:
    """Why a statement given ahead does not count now for this step's plan; "" if it counts.

    `sha256`: of the statement.
    """
    for number, event in enumerate(events):
        given = event["event"] == GIVEN and event["of"] == step
        if given and sha256 in [signer["sha256"] for signer in event["signers"]]:
            return _void(event, events[number + 1 :])
    return "the journal does not have it: it was not given with `cutover approve --ahead`"


def standing(events, step: str) -> list:
    """The journal's events of the approvals given ahead for a step that still count."""
    return [
        event
        for number, event in enumerate(events)
        if event["event"] == GIVEN
        and event["of"] == step
        and not _void(event, events[number + 1 :])
    ]


def _void(given, later):
    """It is for the first attempt that makes a plan, and for that plan alone."""
    by, attempts = given["by"], set()
    for event in later:
        if event["event"] == "drift":
            return f"{by}: code, notebooks, parameters or signers changed since"
        if event["event"] == "step-begun" and event["step"] == "rollback":
            return f"{by}: a rollback was begun since"
        if event["event"] == "planned" and event["step"] == given["of"]:
            attempts.add(event["attempt"])
            if event["hash"] != given["hash"]:
                return f"{by}: the step made another plan since"
            if len(attempts) > 1:
                return f"{by}: it was for an earlier attempt"
    return ""
