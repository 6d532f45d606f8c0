"""What the engine says about checks and plans, for people."""

import json

SHOWN = 5  # changes named in a message
CHECKS = 60  # failed checks named in a message


def failures(checks, bullet: str = "- ") -> str:
    """Failed checks, one per line. `checks`: dicts, as the journal has them."""
    more = len(checks) - CHECKS
    lines = [
        f"{bullet}{_before_colon(check['question'])}: expected {check['expected']}; "
        f"found {check['actual']}. What to do: {check['todo']}"
        for check in checks[:CHECKS]
    ]
    return "\n".join(lines + ([f"{bullet}and {more} more, in the journal"] if more > 0 else []))


def _before_colon(question):
    return question.removesuffix("?")


def plan_difference(approved, now) -> str:
    """How two lists of changes differ."""
    parts = []
    for title, changes, others in (
        ("No longer planned", approved, now),
        ("Planned now", now, approved),
    ):
        known = {_key(change) for change in others}
        only = [
            f"{change.title()} ({change.target})" for change in changes if _key(change) not in known
        ]
        if only:
            more = " …" if len(only) > SHOWN else ""
            parts.append(f"{title}: {'; '.join(only[:SHOWN])}{more}.")
    return " ".join(parts) or "The same changes are planned in another order."


def _key(change):
    return json.dumps(change.to_json(), sort_keys=True)
