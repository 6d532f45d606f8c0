"""The facts a plan depends on: the part that must be the same when the plan is applied.

A step may name it: `Step.stable(facts) -> JSON`. By default it is everything except what moves by
itself while nothing is wrong (model.moving): sizes, serials, process ids, seconds, sessions,
queues, open ports, and texts that describe a state which is also a yes or no.
"""

from cutover import model


def stable(step, facts):
    """The facts an approval is bound to, as plain JSON."""
    return step.stable(facts) if step.stable else model.lasting(facts)


def differences(before, after, path="") -> list:
    """The paths at which two such parts differ."""
    if isinstance(before, dict) and isinstance(after, dict):
        return [
            place
            for key in sorted({*before, *after}, key=str)
            for place in differences(
                before.get(key), after.get(key), f"{path} › {key}" if path else str(key)
            )
        ]
    return [] if before == after else [path or "everything"]
