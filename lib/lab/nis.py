"""The lab's NIS, from which the mail hosts have their users: ypserv on ns1 (the master) and on ns2 (its slave), ypbind on both
mail hosts. The maps are made of a host's own sources when it is prepared; the slave takes them from the master when it starts.
"""

from lab import resources, topology

SOURCES = "var/yp/src"  # passwd, group and shadow of the master; the hashes come from prepare.sh
SWITCH = (
    "passwd:         files nis",
    "group:          files nis",
    "shadow:         files nis",
    # an account of the host itself is let in while NIS is silent: its groups are looked for in files first
    "initgroups:     files [SUCCESS=return] nis",
)


def files(host):
    """{path below the root: text} of what a host's part in NIS needs; empty when it has none."""
    found = {}
    if host.name in topology.NIS_SERVERS:
        network = topology.NETWORK.partition("/")[0]
        # a server is bound to itself: yppush and ypxfr ask for the map of servers
        found["etc/yp.conf"] = "ypserver 127.0.0.1\n"
        found["var/yp/securenets"] = f"255.0.0.0 127.0.0.0\n255.255.255.0 {network}\n"
    if host.name == topology.NIS_SERVERS[0]:
        found |= {
            f"{SOURCES}/passwd": "".join(
                f"{user}:x:{number}:{number}::/home/{user}:/bin/bash\n"
                for user, number in topology.ACCOUNTS.items()
            ),
            f"{SOURCES}/group": "".join(
                f"{user}:x:{number}:\n" for user, number in topology.ACCOUNTS.items()
            ),
            "var/yp/ypservers": "".join(
                f"{name}.{topology.DOMAIN}\n" for name in topology.NIS_SERVERS
            ),
        }
    elif host.name in topology.NIS_SERVERS:
        found["etc/systemd/system/nis-copy.service"] = resources.read(
            "files/nis-copy.service",
            master=topology.HOSTS[topology.NIS_SERVERS[0]].fqdn,
            domain=topology.NIS_DOMAIN,
        )
    if host.has_users:
        found["etc/yp.conf"] = "".join(
            f"ypserver {topology.HOSTS[name].address}\n" for name in topology.NIS_SERVERS
        )
        found["etc/systemd/system/nis-bound.service"] = resources.read("files/nis-bound.service")
    if found:
        found["etc/defaultdomain"] = f"{topology.NIS_DOMAIN}\n"
    return found


def switch(text):
    """nsswitch.conf with NIS after the host's own files."""
    names = {line.partition(":")[0] for line in SWITCH}
    others = [line for line in text.splitlines() if line.partition(":")[0] not in names]
    return "".join(f"{line}\n" for line in [*others, *SWITCH])
