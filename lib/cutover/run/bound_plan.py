"""What the hash of a plan is taken of: the bytes that the run's folder `plans/` keeps."""

import hashlib
import json

from cutover.model import errors
from cutover.record import approval_ahead, code, kept_plan
from cutover.run import evidence, wording
from cutover.site import secrets

SHOWN = 8  # facts named in a message


def of(site, run, step, plan, facts) -> bytes:
    """The changes, the facts the plan depends on (evidence.stable), run, step, code, parameters."""
    content = {
        "step": step.id,
        "run": run.name if run else "",
        "run_id": run.id if run else "",
        "site": site.name,
        "code": code.digest(),
        "parameters": site.digest,
        "changes": [change.to_json() for change in plan.changes],
        "facts": evidence.stable(step, facts) if plan.changes else None,
    }
    return canonical(secrets.redact_value(content))


def changed(site, run, step, approved, facts, again, facts_now) -> str:
    """How an approved plan and its facts differ from those of now, in words; "" if they do not."""
    if [change.to_json() for change in again.changes] != [
        change.to_json() for change in approved.changes
    ]:
        difference = wording.plan_difference(approved.changes, again.changes)
        return f"the live state changed since the plan was approved. {difference}"
    if of(site, run, step, again, facts_now) == of(site, run, step, approved, facts):
        return ""
    places = evidence.differences(evidence.stable(step, facts), evidence.stable(step, facts_now))
    return f"the facts behind the approved plan changed: {'; '.join(places[:SHOWN])}."


def canonical(value) -> bytes:
    """The one JSON form of a value that a hash is taken of."""
    return json.dumps(value, sort_keys=True, ensure_ascii=True, separators=(",", ":")).encode()


def keep(run, step, data: bytes):
    """Keep these bytes. Returns (name within the run, SHA-256)."""
    digest = hashlib.sha256(data).hexdigest()
    return run.keep(f"plans/{step.id}.{digest[:16]}.json", data)


def difference(run, given: dict, data: bytes) -> str:
    """How the plan in `data` differs from one approved ahead, in words.

    `given`: the journal's event of the approval.
    """
    try:
        approved = kept_plan.read(run, approval_ahead.plan_of(run.journal.events(), given))
    except errors.CutoverError as error:
        return str(error)
    now = json.loads(data)
    if approved["changes"] != now["changes"]:
        return wording.plan_difference(kept_plan.changes(approved), kept_plan.changes(now))
    different = evidence.differences(approved, now)
    return f"these differ: {'; '.join(different[:SHOWN])}."
