"""What decommission changes: routing, the old host's services, its name, its power."""

from cutover.changes import retirement
from cutover.changes.mail import DrainQueue
from cutover.connect import dns
from cutover.facts import userdb
from cutover.steps.night import dual_delivery
from cutover.steps.night.decommission_facts import Facts

POWER_OFF = 180  # seconds


def changes(facts: Facts, site) -> list:
    """In the order of application; empty when everything is done."""
    old = site.roles.old
    listed = _routing(facts, site)
    if (listed or any(mx.queued for mx in facts.mx.values())) and not facts.off:
        # mail queued for a host that is about to disappear would stay until it bounces; what the
        # old host itself still has for anybody would be lost with it
        drain, domains = site.limits.queue_drain, sorted(site.mail_domains)
        listed.append(DrainQueue(list(facts.mx), drain, only=domains))
        listed.append(DrainQueue([old], drain))
    listed += [
        retirement.RetireService(old, service.manager, service.name, "stop", service.starts_at_boot)
        for service in facts.services
        if not service.off
    ]
    listed += _name(facts, site)
    if not facts.off:
        listed.append(retirement.PowerOff(old, POWER_OFF))
    return listed


def _routing(facts, site):
    listed = []
    for name, mx in facts.mx.items():
        _, replacements = single_delivery(mx, site)
        if replacements or not mx.map_is_current:
            listed.append(
                retirement.SingleDelivery(
                    name,
                    site.userdb.source,
                    site.userdb.map,
                    backup_path(site, facts.run),
                    [list(pair) for pair in replacements],
                )
            )
    return listed


def _name(facts, site):
    """Remove the old host's name from the zone, if the parameters say so."""
    primary, name = site.roles.nameservers[0], site.fqdn(site.roles.old)
    records = sorted(facts.servers[primary].records[name].items())
    if site.decommission.dns != "remove" or not records:
        return []
    before = [("exists", name, kind, rrset.values) for kind, rrset in records]
    back = [(name, rrset.ttl, kind, value) for kind, rrset in records for value in rrset.values]
    forward = dns.Update(site.zone, before, [(name, "ANY")], [])
    backward = dns.Update(site.zone, [("unused", name)], [], back)
    return [
        retirement.RemoveName(
            primary,
            site.roles.nameservers,
            forward.to_json(),
            backward.to_json(),
            site.limits.dns_spread,
        )
    ]


def backup_path(site, run: str) -> str:
    """Where the userdb's source is kept as it was."""
    return f"{site.userdb.source}.{run}.decommission"


def single_delivery(mx, site) -> tuple[bytes, list[tuple[str, str]]]:
    """The userdb with the users' name in place of both hosts, and `[(old line, new line)]`.

    Each line is spelled as it was before dual delivery.
    """
    before = [] if mx.backup is None else dual_delivery.rerouted(mx.backup, site)[1]
    both = dual_delivery.both_hosts(site)
    return userdb.route_back(userdb.encode(mx.source), site.fqdn(site.alias), both, before)
