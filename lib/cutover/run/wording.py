"""What the engine says about checks and plans, for people."""

SHOWN = 5  # changes named in a message


def failures(checks, bullet: str = "- ") -> str:
    """Failed checks, one per line. `checks`: dicts, as the journal has them."""
    return "\n".join(
        f"{bullet}{_before_colon(check['question'])}: expected {check['expected']}; "
        f"found {check['actual']}. What to do: {check['todo']}"
        for check in checks
    )


def _before_colon(question):
    return question.removesuffix("?")


def plan_difference(approved, now) -> str:
    """How two lists of changes differ."""
    parts = []
    for title, changes, others in (
        ("No longer planned", approved, now),
        ("Planned now", now, approved),
    ):
        known = [change.to_json() for change in others]
        only = [
            f"{change.title()} ({change.target})"
            for change in changes
            if change.to_json() not in known
        ]
        if only:
            more = " …" if len(only) > SHOWN else ""
            parts.append(f"{title}: {'; '.join(only[:SHOWN])}{more}.")
    return " ".join(parts) or "The same changes are planned in another order."
