"""Whether the hosts' clocks and time zones agree."""

from collections.abc import Iterator, Mapping

from cutover import model
from cutover.facts import clock


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


def same_zone(zones: Mapping[str, model.Reading[clock.Zone]], site) -> Iterator[model.Check]:
    """What time zones mean for dates without one; nothing where the zones were not asked.

    The conversion is given the old server's offset, so another zone of the new one moves no date.
    """
    old, new = (zones.get(name) for name in site.mail_hosts)
    if old is None or new is None:
        return
    names = [zone.value.name if zone.ok else zone.error for zone in (old, new)]
    same = old.ok and new.ok and old.value.offsets == new.value.offsets
    shift = old.value.shift if old.ok else 0
    actual = ", ".join(
        f"{zone} on {host}" for zone, host in zip(names, site.mail_hosts, strict=True)
    )
    if shift:
        actual += f"; within a day {site.roles.old}'s clock moves by {shift // 60:+} min"
    yield model.Check(
        f"{' and '.join(site.mail_hosts)} are in the same time zone",
        f"{names[0]} on both",
        actual,
        old.ok and new.ok,
        f"Mail files and the spool hold dates without a zone. {site.roles.old} shows them by its "
        "present offset from UTC, and so they are converted: another zone of "
        f"{site.roles.new} moves none. If that offset changes between convert and verify, run "
        "convert again.",
        warning=not same or bool(shift),
        id="time-zones-same",
        data={"zones": dict(zip(site.mail_hosts, names, strict=True)), "shift": shift},
    )
