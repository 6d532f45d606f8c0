"""The zone on each authoritative server."""


def read(hosts) -> dict:
    """What each authoritative server says of the names the cutover touches.

    `{server: {"serial": n, "records": {fqdn: {type: {"ttl": s, "values": [...]}}}}}`
    """
    site = hosts.site
    names = [site.fqdn(name) for name in (site.alias, site.roles.old, site.roles.new)]

    def of(server_name):
        server = hosts.dns(server_name)
        records = {
            name: {
                kind: {"ttl": rrset.ttl, "values": list(rrset.values)}
                for kind, rrset in server.all_types(name).items()
            }
            for name in names
        }
        return {"serial": server.serial(site.zone), "records": records}

    return hosts.each(site.roles.nameservers, of)
