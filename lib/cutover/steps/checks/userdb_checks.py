"""Whether the MX's user databases are consistent."""

from collections.abc import Mapping

from cutover import model
from cutover.facts import mx_routing
from cutover.steps.checks import listing


def map_current(name: str, current: bool, site) -> model.Check:
    """Whether the map on an MX is made from its source."""
    return model.Check(
        f"{site.userdb.map} on {name} is built from its source",
        "same entries",
        "same entries" if current else "other entries",
        current,
        f"Run `makemap btree {site.userdb.map} < {site.userdb.source}` on {name}.",
        id="userdb-map-current",
        subject=name,
    )


def still_to_both(name: str, reading: model.Reading[mx_routing.OneServer], site) -> model.Check:
    """Whether an MX still routes as dual-delivery left it, which may have been days ago."""
    entries, wrong = reading.value.entries if reading.ok else [], []
    if entries:
        wrong.append(f"not {listing.listed(entries)}")
    if reading.ok and not reading.value.map_is_current:
        wrong.append(f"{site.userdb.map} has other entries than {site.userdb.source}")
    return model.Check(
        f"{name} routes every user to both servers",
        "every entry",
        reading.error or "; ".join(wrong) or "every entry",
        reading.ok and not wrong,
        "Run dual-delivery again: mail that is held during the outage would reach the old server "
        f"alone. If a program writes {site.userdb.source}, have it write both servers, or stop it.",
        id="still-routed-to-both",
        subject=name,
        data={"entries": entries},
    )


def same_everywhere(sources: Mapping[str, str]) -> model.Check:
    """Whether every MX has the same userdb; `{MX: text of its source}`."""
    same = len(set(sources.values())) == 1
    return model.Check(
        f"The userdb is the same on {', '.join(sources)}",
        "identical",
        "identical" if same else "differs",
        same,
        "Copy one to the other.",
        id="userdb-same",
    )
