"""The lab's hosts, addresses and users: constants that the rest of the lab uses."""

import dataclasses

DOMAIN = "lab.test"
NETWORK = "10.77.0.0/24"
CONTROL_ADDRESS = "10.77.0.1"
OUTSIDE_ADDRESS = "10.77.1.1"  # the control side's second address: outside, for the submission host
STORE = "mailbox"  # the alias of the usual lab's only store
ALIAS = f"{STORE}.{DOMAIN}"
TSIG_NAME = "cutover-lab"
OPERATOR = "operator"
OPERATOR_ID = 1500
NIS_DOMAIN = DOMAIN  # many sites give the NIS domain the zone's name
NIS_SERVERS = ("ns1", "ns2")  # the master first


@dataclasses.dataclass(frozen=True)
class Host:
    """One machine of the lab.

    ports: those that answer once it is up. units: its services. aliases: its names in the zone.
    alias: of a host with users, the name by which they know their store.
    """

    name: str
    address: str
    role: str
    ports: tuple
    units: tuple
    aliases: tuple = ()
    alias: str = ""

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
            return [self.fqdn, f"{self.alias}.{DOMAIN}"]
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
            alias=STORE,
        ),
        Host(
            "mailboxvm",
            "10.77.0.16",
            "new",
            (22, 25, 143, 993, 110),
            ("ssh", "nis-bound", "sendmail", "dovecot"),
            alias=STORE,
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
SECOND = dataclasses.replace(HOSTS["mailboxvm"], name="mailboxvm2", address="10.77.0.20")
# the old and the new server of a second store, in a lab brought up with `stores=2`; see
# two_stores.py
POSTA = "posta"  # its alias
SECOND_PAIR = {
    name: dataclasses.replace(HOSTS[like], name=name, address=address, alias=POSTA)
    for name, like, address in (
        ("postaold", "mailboxold", "10.77.0.21"),
        ("postavm", "mailboxvm", "10.77.0.22"),
    )
}
EVER = {**HOSTS, SECOND.name: SECOND, **SECOND_PAIR}  # all hosts that a lab may have
ROLES = sorted({host.role for host in HOSTS.values()})


def of_kind(shared, stores):
    """name → Host of a new lab; the arguments are those of control.up."""
    extra = {SECOND.name: SECOND} if shared else SECOND_PAIR if stores == 2 else {}
    return {**HOSTS, **extra}


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

# whose mail is in the second store, in a lab that has one
SECOND_STORE = tuple(user for user in sorted(USERS) if user >= "marta")
# gets its probe mail; the uid is below users.uid_min of the parameters
SECOND_PROBE = {"sonda2": 1999}


def accounts(hosts):
    """login → uid of all users of a lab of these hosts."""
    return {**ACCOUNTS, **(SECOND_PROBE if has_two_stores(hosts) else {})}


def has_two_stores(hosts):
    """Whether a lab of these hosts has the second store."""
    return any(name in hosts for name in SECOND_PAIR)


def alias_of(user, hosts):
    """The alias of a user's store in a lab of these hosts; half of crowd.py's are in the second."""
    odd = user[1:].isdigit() and int(user[1:]) % 2
    second = user in SECOND_STORE or user in SECOND_PROBE or odd
    return POSTA if second and has_two_stores(hosts) else STORE


def old_server(alias):
    """Name of the old server of a store."""
    return next(host.name for host in EVER.values() if (host.role, host.alias) == ("old", alias))
