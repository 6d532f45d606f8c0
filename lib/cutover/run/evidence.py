"""What of a step's facts its plan rests on: the part that has to be the same when the plan is applied.

A step may name it: `Step.stable(facts) -> JSON`. For the others it is everything but what moves by itself while
nothing is wrong: figures (sizes, serials, process ids, seconds), live sessions, queues, open ports, texts that describe a
state which also stands there as yes or no.
"""

from cutover import model

VOLATILE = {
    "run",
    "serial",
    "sessions",
    "ports",
    "port_25",
    "delivering",
    "queue",
    "queued",
    "items",
    "detail",
    "clock",
    "read",
    "folders",
    "login",
    "seen",
    "undoes",
    "go",
}
FIGURES = {"uid", "gid", "ttl"}  # figures that somebody has set


def stable(step, facts):
    """The facts an approval is bound to, as plain JSON."""
    if step.stable:
        return step.stable(facts)
    return _lasting(facts) if step.facts is dict else model.lasting(facts)


def _lasting(value, name=""):
    if isinstance(value, dict):
        return {
            key: _lasting(each, key)
            for key, each in value.items()
            if key not in VOLATILE
            and not (
                isinstance(each, int | float) and not isinstance(each, bool) and key not in FIGURES
            )
        }
    if isinstance(value, list):
        return [_lasting(each, name) for each in value]
    return value


def differences(before, after, path="") -> list:
    """Where two such parts differ, as paths."""
    if isinstance(before, dict) and isinstance(after, dict):
        return [
            found
            for key in sorted({*before, *after}, key=str)
            for found in differences(
                before.get(key), after.get(key), f"{path} › {key}" if path else str(key)
            )
        ]
    return [] if before == after else [path or "everything"]
