"""The lab's hosts, addresses and users: constants that the rest of the lab uses."""

import dataclasses

DOMAIN = "lab.test"
NETWORK = "10.77.0.0/24"
CONTROL_ADDRESS = "10.77.0.1"
OUTSIDE_ADDRESS = "10.77.1.1"  # the control side's second address: outside, for the submission host
ALIAS = f"mailbox.{DOMAIN}"
TSIG_NAME = "cutover-lab"
OPERATOR = "operator"
OPERATOR_ID = 1500
NIS_DOMAIN = DOMAIN  # many sites give the NIS domain the zone's name
NIS_SERVERS = ("ns1", "ns2")  # the master first


@dataclasses.dataclass(frozen=True)
class Host:
    """One machine of the lab.

    ports: those that answer once it is up. units: its services. aliases: its names in the zone.
    """

    name: str
    address: str
    role: str
    ports: tuple
    units: tuple
    aliases: tuple = ()

    @property
    def fqdn(self):
        return f"{self.name}.{DOMAIN}"

    @property
    def has_users(self):
        return self.role in ("old", "new")

    @property
    def certified(self):
        """The names in its certificate, its own first. Empty without a certificate."""
        if self.has_users:
            return [self.fqdn, ALIAS]
        return (
            [self.fqdn, *(f"{alias}.{DOMAIN}" for alias in self.aliases)]
            if self.role in ("submission", "webmail")
            else []
        )


HOSTS = {
    host.name: host
    for host in (
        Host("ns1", "10.77.0.11", "primary", (22, 53), ("ssh", "named", "ypserv")),
        Host("ns2", "10.77.0.12", "secondary", (22, 53), ("ssh", "named", "ypserv", "nis-copy")),
        Host(
            "postino3", "10.77.0.13", "mx", (22, 25), ("ssh", "sendmail", "redis-server", "rspamd")
        ),
        Host(
            "postino4", "10.77.0.14", "mx", (22, 25), ("ssh", "sendmail", "redis-server", "rspamd")
        ),
        Host(
            "mailboxold",
            "10.77.0.15",
            "old",
            (22, 25, 143, 993, 110),
            ("ssh", "nis-bound", "sendmail", "xinetd", "stunnel4"),
        ),
        Host(
            "mailboxvm",
            "10.77.0.16",
            "new",
            (22, 25, 143, 993, 110),
            ("ssh", "nis-bound", "sendmail", "dovecot"),
        ),
        Host(
            "sanbackup",
            "10.77.0.17",
            "backup",
            (22,),
            ("ssh", "bacula-fd", "bacula-sd", "bacula-director"),
        ),
        Host(
            "postinoauth1",
            "10.77.0.18",
            "submission",
            (22, 25, 587),
            ("ssh", "sendmail", "saslauthd", "stunnel4"),
            ("smtp",),
        ),
        Host(
            "webmail",
            "10.77.0.19",
            "webmail",
            (22, 25, 443),
            ("ssh", "sendmail", "apache2"),
            ("lists",),
        ),
    )
}

# shares mailboxvm's store, in a lab brought up with `shared`; see shared_store.py
SECOND = Host(
    "mailboxvm2",
    "10.77.0.20",
    "new",
    (22, 25, 143, 993, 110),
    ("ssh", "nis-bound", "sendmail", "dovecot"),
)
EVER = {**HOSTS, SECOND.name: SECOND}  # all hosts that a lab may have
ROLES = sorted({host.role for host in HOSTS.values()})


def of(marker):
    """name → Host of the lab that a marker describes."""
    return {name: EVER[name] for name in marker["hosts"]}


# login → uid (and gid, of a group of the same name)
USERS = {
    name: 2001 + index
    for index, name in enumerate(
        (
            "alice",
            "bruno",
            "carla",
            "davide",
            "elena",
            "fabio",
            "giulia",
            "hugo",
            "irene",
            "jacopo",
            "katia",
            "luca",
            "marta",
            "nicola",
            "olga",
            "paolo",
            "quinto",
            "rita",
            "sergio",
            "teresa",
            "ugo",
            "vera",
            "walter",
            "zoe",
        )
    )
}
# gets probe mail, which measures the delivery outage; excluded from the migration by the parameters
PROBE = "sonda"
ACCOUNTS = {**USERS, PROBE: 3001}
