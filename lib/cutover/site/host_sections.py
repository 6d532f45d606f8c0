"""Sections about hosts: how to reach them, their roles, services and users."""

from typing import Literal

import pydantic

from cutover.site import field_types


class Host(field_types.Section):
    address: field_types.IpAddress
    ssh_port: int = pydantic.Field(22, ge=1, le=65535)
    ssh_key: field_types.AbsolutePath | None = pydantic.Field(
        None, description="private key file for this host; default: ssh.key"
    )
    legacy_ssh: bool = pydantic.Field(
        False,
        description="its sshd is older than OpenSSH 6.5: also use diffie-hellman-group14-sha1 and "
        "RSA signatures with SHA-1 for it; needs an RSA key",
    )
    legacy_sudo: bool = pydantic.Field(
        False, description="its sudo is older than 1.7: without the option -n"
    )


class Roles(field_types.Section):
    nameservers: list[field_types.Name] = pydantic.Field(
        min_length=1, description="authoritative servers, the primary first"
    )
    mx: list[field_types.Name] = pydantic.Field(min_length=1)
    old: field_types.Name
    new: field_types.Name
    backup: field_types.Name | None = None


class Ssh(field_types.Section):
    user: field_types.Login
    key: field_types.AbsolutePath = pydantic.Field(description="the operator's private key file")
    known_hosts: field_types.AbsolutePath = pydantic.Field(
        description="OpenSSH known_hosts file; hosts missing from it are refused"
    )


class Dns(field_types.Section):
    tsig_key: field_types.AbsolutePath = pydantic.Field(
        description="file with the BIND key clause that may update the zone"
    )
    ttl: int = pydantic.Field(
        60, ge=1, le=3600, description="TTL in seconds of the records the cutover writes"
    )


class Userdb(field_types.Section):
    source: field_types.File = "/etc/mail/userdb"
    map: field_types.File = "/etc/mail/userdb.db"


class Service(field_types.Section):
    manager: Literal["systemd", "sysv", "xinetd"] = "systemd"
    name: field_types.ServiceName


class HostServices(field_types.Section):
    imap: list[Service] = pydantic.Field(min_length=1, description="in the order they are stopped")
    sendmail: list[Service] = pydantic.Field(min_length=1)


class Services(field_types.Section):
    old: HostServices
    new: HostServices


class Users(field_types.Section):
    uid_min: int = pydantic.Field(1000, ge=1)
    uid_max: int = pydantic.Field(60000, ge=1)
    exclude: list[field_types.Login] = []
    only: list[field_types.Login] = pydantic.Field(
        [], description="with several stores: users who belong to this one, whatever else says"
    )
    homes: list[field_types.AbsolutePath] = pydantic.Field(
        [], description="with several stores: users with homes below these belong to this one"
    )

    @pydantic.model_validator(mode="after")
    def _ordered(self):
        if self.uid_max < self.uid_min:
            raise ValueError(f"uid_max {self.uid_max} is below uid_min {self.uid_min}")
        return self


class Nis(field_types.Section):
    """The NIS domain that the mail hosts get their users from."""

    domain: field_types.NisDomain = pydantic.Field(
        description="the NIS domain, as `ypdomainname` prints it"
    )
    servers: list[field_types.Name] = pydantic.Field(
        min_length=1,
        description="hosts that run ypserv, the master first; queried from the mail hosts, "
        "never by ssh",
    )


class Approval(field_types.Section):
    allowed_signers: field_types.AbsolutePath = pydantic.Field(
        description="ssh-keygen's allowed signers file: the people who may approve; see "
        "docs/record.md"
    )
    valid: int = pydantic.Field(
        3600, ge=60, le=604800, description="seconds for which an approval is valid"
    )


class Record(field_types.Section):
    key: field_types.AbsolutePath = pydantic.Field(
        description="the operator's signing key; a public key file when ssh-agent holds the key"
    )
