"""Whether sendmail is ready: names it accepts, the userdb of the MX."""

from collections.abc import Iterator, Mapping

from cutover import model
from cutover.facts import mx_routing, userdb, userdb_view
from cutover.steps.checks import listing


def names(accepted: Mapping[str, model.Reading[list[str]]], site) -> Iterator[model.Check]:
    """Each mail host accepts mail for its own name and for the alias."""
    for name in site.mail_hosts:
        needed, reading = [site.fqdn(name), site.fqdn(site.alias)], accepted[name]
        missing = [] if not reading.ok else [fqdn for fqdn in needed if fqdn not in reading.value]
        actual = f"not {', '.join(missing)}" if missing else "all"
        yield model.Check(
            f"sendmail on {name} accepts mail for all its names",
            ", ".join(needed),
            actual if reading.ok else reading.error,
            reading.ok and not missing,
            f"Add them to local-host-names on {name} and restart sendmail.",
            id="sendmail-names",
            subject=name,
            data={"missing": missing},
        )


def source(name: str, reading: model.Reading[str], site) -> Iterator[model.Check]:
    """Only a userdb source that cannot be read is worth a check."""
    if not reading.ok:
        yield model.Check(
            f"{site.userdb.source} on {name} can be read",
            "yes",
            reading.error,
            False,
            "Correct userdb.source: without the source no routing can be changed.",
            id="userdb-readable",
            subject=name,
        )


def routing(text: str, users: int, site) -> Iterator[model.Check]:
    """The userdb source can be edited as dual-delivery will; users: how many the old host has."""
    alias, names = site.fqdn(site.alias), site.spellings(site.alias, site.roles.old)
    both = (site.fqdn(site.roles.old), site.fqdn(site.roles.new))
    data = text.encode("utf-8", "surrogateescape")
    after, routed = userdb.route_to_both(data, old=names, targets=both)
    wrong = [f"line {number} {what}" for number, what in userdb.problems(after)]
    wrong += [
        f"{key} occurs on lines {', '.join(map(str, lines))}"
        for key, lines in userdb.duplicates(after)
    ]
    yield model.Check(
        "makemap will accept the userdb that routes each user to both hosts",
        "every line",
        "every line" if not wrong else listing.listed(wrong),
        not wrong,
        f"Fix these lines of {site.userdb.source} on every MX.",
        id="userdb-lines",
        data={"wrong": wrong},
    )
    yield from _old_server_only(after, site)
    yield from _of_two_stores(data, site)
    done = userdb.route_back(data, old=alias, targets=both)[1]
    entries = len(routed) + len(done)
    yield model.Check(
        f"The userdb routes each user's mail to {alias}",
        f"about {users} entries, one per user",
        f"{len(routed)}" + (f", and {len(done)} already to both" if done else ""),
        entries > 0,
        "Check that userdb.source is the file that sendmail's map is built from.",
        warning=entries != users,
        id="userdb-entries",
        data={"to alias": len(routed), "to both": len(done)},
    )


def _of_two_stores(data, site):
    """Only entries that the nights of two stores would both change are worth a check."""
    if mixed := userdb_view.of_two_stores(data, site):
        yield model.Check(
            f"No entry of {site.userdb.source} names mailboxes of two stores",
            "none",
            listing.listed(mixed),
            False,
            "Each store moves, and rolls back, for itself. Give other users as "
            f"USER@{site.zone}, on every MX: then each user's own entry decides, which may name "
            "one store only.",
            id="userdb-two-stores",
            data={"entries": mixed},
        )


def _old_server_only(data, site):
    """Only entries that dual-delivery would leave with the old server alone are worth a check."""
    old, new = (site.spellings(name, name) for name in site.mail_hosts)
    alias = site.spellings(site.alias, site.roles.old)
    alone = mx_routing.only_at(data, old, new)
    alone += [
        entry.key
        for entry, reason in userdb.left_alone(data, alias, (old[0], new[0]))
        if reason is userdb.Reason.ODD_ADDRESS
    ]
    if alone:
        yield model.Check(
            f"No entry of {site.userdb.source} names the old server alone",
            "none",
            listing.listed(alone),
            False,
            f"Their mail would not reach {new[0]}. Give each as USER@{alias[0]}, on every MX.",
            id="userdb-old-server-only",
            data={"entries": alone},
        )
