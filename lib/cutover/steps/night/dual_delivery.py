"""Make both MX deliver every mailbox user's mail to the old server and to the new one.

First the new server learns the names under which mail programs know the folders.
"""

import dataclasses

from cutover import model
from cutover.changes.mail import DrainQueue
from cutover.changes.userdb_edit import UserdbEdit
from cutover.facts import dovecot_names, mx_routing, prefixes, recipient, userdb, users
from cutover.steps.checks import old_names, userdb_checks

SHOWN = 8  # names in one check


@dataclasses.dataclass(frozen=True)
class Facts:
    """mx: the routing on each MX. names, asked: None in facts recorded by an earlier version.

    asked: what a test user misses under the old server's names, see prefixes.asked.
    """

    run: str
    mx: dict[str, mx_routing.Routing]
    names: model.Reading[dovecot_names.State] | None = None
    asked: dict[str, model.Reading[list[str]]] | None = model.moving(default=None)


def backup_path(site, run: str) -> str:
    """Where this run keeps the userdb source as it was."""
    return f"{site.userdb.source}.{run}"


def both_hosts(site) -> tuple[str, str]:
    """The full names of the old and of the new server."""
    return site.fqdn(site.roles.old), site.fqdn(site.roles.new)


def rerouted(source: str, site) -> tuple[bytes, list[tuple[str, str]]]:
    """(the userdb with every user of the alias routed to both hosts, [(old line, new line)])"""
    old = site.spellings(site.alias, site.roles.old)
    return userdb.route_to_both(userdb.encode(source), old=old, targets=both_hosts(site))


def probe(ctx) -> Facts:
    hosts, new = ctx.hosts, ctx.site.roles.new
    names = model.read(dovecot_names.read, hosts, new)
    asked = prefixes.asked(hosts, names, users.read(hosts, new))
    return Facts(ctx.run_name, read_mx(ctx), names, asked)


def read_mx(ctx) -> dict[str, mx_routing.Routing]:
    """`{MX: its routing of the new server's mail users}`"""
    hosts, site = ctx.hosts, ctx.site
    names = [account.user for account in users.read(hosts, site.roles.new)]
    backup = backup_path(site, ctx.run_name)
    return hosts.each(site.roles.mx, lambda name: mx_routing.read(hosts, name, backup, names))


def plan(facts, site):
    routing = _routing(facts, site)
    names = old_names.change(facts.names, site)
    changes = [*([names] if names else []), *routing]
    if not changes:
        return model.Plan(
            reason="every user routed to the mailbox already goes to both hosts, on each MX host"
        )
    return model.Plan(tuple(changes))


def _routing(facts, site):
    changes = []
    for name, mx in facts.mx.items():
        _, replacements = rerouted(mx.source, site)
        if replacements or not mx.map_is_current:
            changes.append(
                UserdbEdit(
                    name,
                    site.userdb.source,
                    site.userdb.map,
                    backup_path(site, facts.run),
                    [list(pair) for pair in replacements],
                )
            )
    if changes or any(mx.queued for mx in facts.mx.values()):
        # mail queued earlier goes to the alias alone: it must be gone before the alias moves
        domains = sorted(site.mail_domains)
        changes.append(DrainQueue(list(facts.mx), site.limits.queue_drain, only=domains))
    return changes


def verify(facts, site):
    checks = [check for name, mx in facts.mx.items() for check in _judge(name, mx, facts.run, site)]
    checks.append(userdb_checks.same_everywhere({name: mx.source for name, mx in facts.mx.items()}))
    checks += old_names.after(facts.names, site)
    return [*checks, *old_names.asked(facts.asked, facts.names, site)]


def _judge(name, mx, run, site):
    alias, source = site.fqdn(site.alias), site.userdb.source
    _, replacements = rerouted(mx.source, site)
    yield model.holds(
        f"No user is routed to {alias} alone on {name}",
        not replacements,
        "0 entries",
        f"{len(replacements)} entries",
        f"Look at {source} on {name}, then run this step again.",
        id="routed-to-alias-alone",
        subject=name,
        data={"entries": len(replacements)},
    )
    yield userdb_checks.map_current(name, mx.map_is_current, site)
    if mx.backup is not None:
        same = rerouted(mx.backup, site)[0] == userdb.encode(mx.source)
        yield model.Check(
            f"Every other byte of {source} on {name} is unchanged",
            "identical",
            "identical" if same else "differs",
            True,
            "Look whether somebody changed it since this run changed it first: "
            f"`diff {backup_path(site, run)} {source}`.",
            warning=not same,
            id="userdb-otherwise-unchanged",
            subject=name,
        )
    yield from _odd_entries(name, mx, site)
    yield from _routes(name, mx, site)
    yield model.holds(
        f"No mail for the mail hosts is left in the queue of {name}",
        mx.queued == 0,
        "0 left",
        f"{mx.queued} left",
        "Run `mailq` there, then run this step again.",
        id="mx-queue-clear",
        subject=name,
        data={"requests": mx.queued},
    )


def _odd_entries(name, mx, site):
    alias, old = site.fqdn(site.alias), site.spellings(site.alias, site.roles.old)
    entries = userdb.left_alone(userdb.encode(mx.source), old, both_hosts(site))
    odd = [entry.key for entry, reason in entries if reason is userdb.Reason.ODD_ADDRESS]
    if odd:
        yield model.Check(
            f"Entries on {name} name {alias} in a form that is not a plain address",
            "none",
            ", ".join(odd[:SHOWN]),
            True,
            "They stay as they are. Check where their mail goes.",
            warning=True,
            id="userdb-odd-entries",
            subject=name,
            data={"entries": odd},
        )


def _routes(name, mx, site):
    old, new = (site.spellings(name, name) for name in site.mail_hosts)
    routed = _routed_users(mx.source, both_hosts(site))
    # and whoever is routed to the old server alone, by whatever entry
    wrong = [
        user
        for user, addresses in sorted(mx.routes.items())
        if not routed.get(user, set()) <= set(addresses) or recipient.only_at(addresses, old, new)
    ]
    count = len(routed) - len(routed.keys() & wrong)
    yield model.Check(
        f"`sendmail -bv` on {name} routes each of these users to both hosts",
        f"{len(routed)} users to both",
        f"{count} users to both" + (f"; not {', '.join(wrong[:5])}" if wrong else ""),
        not wrong and bool(routed),
        f"Run `sendmail -bv USER` on {name}; check that sendmail.cf names this map.",
        id="sendmail-routes-to-both",
        subject=name,
        data={"users": len(routed), "wrong": wrong},
    )
    elsewhere = sorted(set(mx.routes) - set(routed))
    if elsewhere:
        yield model.Check(
            f"Mail users that {name} routes elsewhere are known forwards",
            "none, or known forwards",
            ", ".join(elsewhere[:SHOWN]),
            True,
            "Check that each is intended.",
            warning=True,
            id="users-routed-elsewhere",
            subject=name,
            data={"users": elsewhere},
        )


def _routed_users(source, both):
    """`{user: addresses at both hosts}` of the users whose maildrop names both."""
    routed = {}
    for user, addresses in userdb.recipients(userdb.encode(source)).items():
        hosts = [{part for part in addresses if part.endswith("@" + host)} for host in both]
        if all(hosts):
            routed[user] = set().union(*hosts)
    return routed


STEP = model.Step(
    id="dual-delivery",
    title="Deliver to both servers",
    requires=("dns-rename",),
    probe=probe,
    facts=Facts,
    plan=plan,
    verify=verify,
)
