"""Whether the primary name server would accept the operator's DNS updates."""

from cutover.connect import dns


def permitted(hosts) -> bool:
    """True; raises CutoverError when the TSIG key may not update the records of the cutover.

    Nothing is changed: the update that is tried writes what is already there.
    """
    site = hosts.site
    alias, old = site.fqdn(site.alias), site.fqdn(site.roles.old)
    # an update-policy judges record by record, so ask about the records that the cutover writes
    records = [(alias, "A"), (alias, "CNAME"), (old, "A")]
    server = hosts.dns(site.roles.nameservers[0])
    dns.update_permitted(server, site.zone, hosts.dns_key(), records)
    return True
