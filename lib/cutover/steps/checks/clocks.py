"""Whether the hosts' clocks agree."""

from collections.abc import Mapping

from cutover import model


def agree(offsets: Mapping[str, model.Reading[float]], limit: float) -> model.Check:
    """Judge the offsets in seconds of hosts' clocks; unread clocks do not count.

    limit: seconds by which any two clocks may differ.
    """
    seconds = {name: offset.value for name, offset in offsets.items() if offset.ok}
    spread = max(seconds.values()) - min(seconds.values()) if seconds else None
    passed = spread is not None and spread <= limit
    if spread is None:
        actual = "unknown"
    elif passed:
        actual = f"within {limit:g} s"
    else:
        worst = (
            f"{name} {offset:+.1f} s" for name, offset in seconds.items() if abs(offset) > limit / 2
        )
        actual = f"{spread:.1f} s apart: {', '.join(worst)}"
    return model.Check(
        "The hosts' clocks agree",
        f"within {limit:g} s",
        actual,
        passed,
        "Set the clocks (chrony, ntpd): dates and TSIG depend on them.",
        id="clocks-agree",
        data={"spread": spread, "offsets": seconds},
    )
