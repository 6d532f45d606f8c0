"""A whole parameters file as a model: every section, and what holds between sections."""

import functools
from pathlib import Path
from typing import Literal

import pydantic

from cutover.site import (
    field_types,
    host_sections,
    maintenance_sections,
    night_sections,
    system_sections,
)


class Site(field_types.Section):
    """One site. Names of hosts are short; `fqdn` adds the zone."""

    name: field_types.Name
    kind: Literal["rehearsal", "production"]
    zone: field_types.Zone
    alias: field_types.Name = "mailbox"
    hosts: dict[field_types.Name, host_sections.Host]
    roles: host_sections.Roles
    ssh: host_sections.Ssh
    dns: host_sections.Dns
    userdb: host_sections.Userdb = host_sections.Userdb()
    services: host_sections.Services
    users: host_sections.Users = host_sections.Users()
    nis: host_sections.Nis | None = None
    old_store: night_sections.OldStore
    new_store: night_sections.NewStore
    presync: night_sections.Presync = night_sections.Presync()
    convert: night_sections.Convert = night_sections.Convert()
    verify: night_sections.Verify = night_sections.Verify()
    production_test: night_sections.ProductionTest
    outage: night_sections.Outage = night_sections.Outage()
    limits: night_sections.Limits = night_sections.Limits()
    antispam: system_sections.Antispam | None = None
    backup: system_sections.Backup | None = None
    submission: system_sections.Submission | None = None
    webmail: system_sections.Webmail | None = None
    lists: list[system_sections.MailingList] = []
    store_hosts: list[system_sections.StoreHost] = pydantic.Field(
        [], description="preflight reports the platform of these hosts too, read by ssh"
    )
    decommission: maintenance_sections.Decommission = maintenance_sections.Decommission()
    maintenance: maintenance_sections.Maintenance = maintenance_sections.Maintenance()
    approval: host_sections.Approval | None = None
    record: host_sections.Record | None = None

    _path: Path = pydantic.PrivateAttr()
    _digest: str = pydantic.PrivateAttr()
    _store: str = pydantic.PrivateAttr("")
    _others: tuple["Site", ...] = pydantic.PrivateAttr(())

    @pydantic.model_validator(mode="after")
    def _consistent(self):
        for path, name in self._named_hosts():
            if name not in self.hosts:
                raise field_types.WrongAt(path, f"{name} is not listed under hosts")
        self._check_hosts_differ()
        missing = [name for name in ("approval", "record") if getattr(self, name) is None]
        if self.kind == "production" and missing:
            raise field_types.WrongAt(
                ("kind",),
                f"a production site needs {' and '.join(missing)}: its approvals and its record "
                "are signed",
            )
        if self.backup and not self.roles.backup:
            raise field_types.WrongAt(
                ("backup",), "roles.backup is missing: it names the backup host"
            )
        if self.submission and bool(self.submission.certificate) != bool(self.submission.key):
            raise field_types.WrongAt(
                ("submission",), "certificate and key belong together: set both or neither"
            )
        test_users = {account.user for account in self.production_test.users}
        for number, mailing_list in enumerate(self.lists):
            for user in sorted(set(mailing_list.subscribers) - test_users):
                raise field_types.WrongAt(
                    ("lists", number, "subscribers"),
                    f"{user} is not listed under production_test.users",
                )
        return self

    def _check_hosts_differ(self):
        """Raises WrongAt for one machine under two names."""
        if self.roles.old == self.roles.new:
            raise field_types.WrongAt(("roles", "new"), "the old and the new host are the same")
        names = {}
        for name, host in self.hosts.items():
            other = names.setdefault(host.address, name)
            if other != name:
                raise field_types.WrongAt(
                    ("hosts", name, "address"), f"{host.address} is also the address of {other}"
                )

    def _named_hosts(self):
        """(path, host name) of every place that names a host."""
        for role in host_sections.Roles.model_fields:
            names = getattr(self.roles, role)
            if isinstance(names, list):
                yield from ((("roles", role, number), name) for number, name in enumerate(names))
            elif names is not None:
                yield ("roles", role), names
        for number, name in enumerate(self.nis.servers if self.nis else ()):
            yield ("nis", "servers", number), name
        for number, service in enumerate(self.backup.retire if self.backup else ()):
            yield ("backup", "retire", number, "host"), service.host
        for key in ("submission", "webmail"):
            if section := getattr(self, key):
                yield (key, "host"), section.host
        for number, worker in enumerate(self.convert.workers):
            yield ("convert", "workers", number), worker
        for number, store_host in enumerate(self.store_hosts):
            yield ("store_hosts", number, "host"), store_host.host

    @property
    def path(self) -> Path:
        """The file it was read from."""
        return self._path

    @property
    def digest(self) -> str:
        """SHA-256 of the parameters file as it was read; of one of several stores, stores.digest().

        A run is bound to it.
        """
        return self._digest

    @property
    def store(self) -> str:
        """Which of the file's stores this site is; "" where the file has only one."""
        return self._store

    @property
    def others(self) -> tuple["Site", ...]:
        """The sites of the file's other stores, whose users the same MX hosts route."""
        return self._others

    @property
    def reference(self) -> str:
        """What `--site` and the notebooks take for this site: FILE, or FILE:STORE."""
        return f"{self._path}:{self._store}" if self._store else str(self._path)

    def read_from(self, path: Path, digest: str, store: str = "") -> "Site":
        """This site, knowing the file it was read from, its digest, and its store."""
        self._path, self._digest, self._store = path, digest, store
        return self

    def beside(self, others) -> "Site":
        """This site without the servers of the file's other stores, whose sites it knows.

        Nothing here is asked of those servers: they may be down while this store moves.
        """
        theirs = {name for other in others for name in other.mail_hosts}
        theirs -= {name for _, name in self._named_hosts()}
        hosts = {name: host for name, host in self.hosts.items() if name not in theirs}
        own = self.model_copy(update={"hosts": hosts})
        own._others = tuple(others)
        return own

    def fqdn(self, name: str) -> str:
        return f"{name}.{self.zone}"

    def address(self, name: str) -> str:
        return str(self.hosts[name].address)

    def spellings(self, name: str, host: str) -> tuple[str, ...]:
        """What stands behind the @ in mail to a name of a host: in full, short, as its address."""
        address = self.address(host)
        literal = f"[IPv6:{address}]" if ":" in address else f"[{address}]"
        return self.fqdn(name), name, literal

    @functools.cached_property  # asked for each entry of a userdb
    def mailbox_domains(self) -> frozenset[str]:
        """What stands behind the @ in the address of a mailbox: the alias and both mail hosts."""
        names = [(self.alias, self.roles.old), *((name, name) for name in self.mail_hosts)]
        return frozenset().union(*(self.spellings(name, host) for name, host in names))

    @property
    def mail_domains(self) -> set[str]:
        """Every domain by which mail reaches the mail hosts, on its way through an MX."""
        return {self.zone, *self.mailbox_domains}

    def services_of(self, name: str) -> host_sections.HostServices:
        """The services of the old or the new host."""
        return self.services.old if name == self.roles.old else self.services.new

    @property
    def accounts(self) -> list[night_sections.TestUser]:
        """The accounts with a password reference."""
        return [*self.production_test.users, *([self.outage.probe] if self.outage.probe else [])]

    @property
    def mail_hosts(self) -> tuple[str, str]:
        """The old and the new host."""
        return (self.roles.old, self.roles.new)

    @property
    def cutover_hosts(self) -> list[str]:
        """Every host that the steps up to production-test touch."""
        return list(dict.fromkeys([*self.roles.mx, self.roles.old, self.roles.new]))
