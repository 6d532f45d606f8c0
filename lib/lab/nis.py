"""The lab's NIS, where the mail hosts get their users.

ypserv runs on ns1 (the master) and on ns2 (its slave), ypbind on the mail hosts. The maps are made
from the master's sources when it is prepared; the slave copies them when it starts.
"""

from lab import resources, topology

SOURCES = "var/yp/src"  # the master's passwd, group, shadow; prepare.sh makes the hashes
SWITCH = (
    "passwd:         files nis",
    "group:          files nis",
    "shadow:         files nis",
    # while NIS is silent the host's own accounts can log in: their groups are in files
    "initgroups:     files [SUCCESS=return] nis",
)


def files(host, accounts):
    """{path below the root: text} of a host's NIS configuration; empty if it has none.

    accounts: login → uid.
    """
    texts = {}
    if host.name in topology.NIS_SERVERS:
        network = topology.NETWORK.partition("/")[0]
        # a server binds to itself: yppush and ypxfr read the map of servers
        texts["etc/yp.conf"] = "ypserver 127.0.0.1\n"
        texts["var/yp/securenets"] = f"255.0.0.0 127.0.0.0\n255.255.255.0 {network}\n"
    if host.name == topology.NIS_SERVERS[0]:
        texts |= {
            f"{SOURCES}/passwd": "".join(
                f"{user}:x:{number}:{number}::/home/{user}:/bin/bash\n"
                for user, number in accounts.items()
            ),
            f"{SOURCES}/group": "".join(
                f"{user}:x:{number}:\n" for user, number in accounts.items()
            ),
            "var/yp/ypservers": "".join(
                f"{name}.{topology.DOMAIN}\n" for name in topology.NIS_SERVERS
            ),
        }
    elif host.name in topology.NIS_SERVERS:
        texts["etc/systemd/system/nis-copy.service"] = resources.read(
            "files/nis-copy.service",
            master=topology.HOSTS[topology.NIS_SERVERS[0]].fqdn,
            domain=topology.NIS_DOMAIN,
        )
    if host.has_users:
        texts["etc/yp.conf"] = "".join(
            f"ypserver {topology.HOSTS[name].address}\n" for name in topology.NIS_SERVERS
        )
        texts["etc/systemd/system/nis-bound.service"] = resources.read("files/nis-bound.service")
    if texts:
        texts["etc/defaultdomain"] = f"{topology.NIS_DOMAIN}\n"
    return texts


def switch(text):
    """The text of an nsswitch.conf, with NIS after the host's own files."""
    names = {line.partition(":")[0] for line in SWITCH}
    others = [line for line in text.split("\n") if line and line.partition(":")[0] not in names]
    return "".join(f"{line}\n" for line in [*others, *SWITCH])
