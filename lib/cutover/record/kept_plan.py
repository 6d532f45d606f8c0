"""A plan as it was kept when it was made: the bytes that an approval is bound to.

The texts in the journal are for reading afterwards. A person who approves is shown the changes
rebuilt from the file whose SHA-256 they sign.
"""

import hashlib
import json

from cutover import model
from cutover.record import statement


def load(run, planned: dict) -> list:
    """The changes of a journaled plan, rebuilt from its file; see read."""
    return changes(read(run, planned))


def changes(plan: dict) -> list:
    """The changes of a plan as read."""
    return [model.change_from_json(change) for change in plan["changes"]]


def read(run, planned: dict) -> dict:
    """A journaled plan: what its hash is bound to.

    `planned`: the journal's event, or an entry of a list of plans made ahead. Raises
    statement.NotApproved if the file is not the one whose hash the journal has, or is the plan of
    another step or run.
    """
    name = planned["file"]
    try:
        data = (run.path / name).read_bytes()
    except OSError as error:
        raise statement.NotApproved(
            f"{run.path / name}: the plan cannot be read: {error.strerror}. Run the step again."
        ) from None
    digest = hashlib.sha256(data).hexdigest()
    if digest != planned["hash"]:
        raise statement.NotApproved(
            f"{run.path / name}: its SHA-256 is {digest[:16]}, the plan's hash is "
            f"{planned['hash'][:16]}. Somebody changed the file or the journal: do not approve. "
            "`cutover record verify` lists what changed."
        )
    plan = json.loads(data)
    bound = (plan["step"], plan["run"], plan.get("run_id", run.id))
    if bound != (planned["step"], run.name, run.id):
        raise statement.NotApproved(
            f"{run.path / name}: it is a plan for {plan['step']} of run {plan['run']} "
            f"({bound[2][:8]}), not for {planned['step']} of {run.name} ({run.id[:8]}). "
            "Do not approve it."
        )
    return plan
