"""Whether the MX's user databases are consistent."""

from collections.abc import Mapping

from cutover import model


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
