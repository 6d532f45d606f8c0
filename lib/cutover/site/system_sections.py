"""Sections about the systems around the mail servers: antispam, backup, submission, webmail."""

import pydantic

from cutover.site import field_types, host_sections


class Antispam(field_types.Section):
    """The milter that scans mail on each MX."""

    milter: field_types.MilterName = pydantic.Field(
        "rspamd", description="its name in sendmail's configuration: INPUT_MAIL_FILTER(`name', …)"
    )
    redis: field_types.HostPort | None = pydantic.Field(
        None, description="host:port, seen from the MX, of the Redis that holds the greylist"
    )


class Retired(host_sections.Service):
    """A service or timer that copies the old store and is disabled."""

    host: field_types.Name


class Bacula(field_types.Section):
    """Bacula, whose daemons already run on the backup host, keeps earlier days of the copy."""

    client: field_types.BaculaName = pydantic.Field(
        description="the director's Client resource for the backup host"
    )
    storage: field_types.BaculaName = pydantic.Field(
        description="the director's Storage resource for the volumes"
    )
    config: field_types.PlainFile = pydantic.Field(
        "/etc/bacula/bacula-dir.conf",
        description="the director's configuration; one line is added to it",
    )
    at: field_types.DayTime = pydantic.Field(
        "05:30", description="daily start of the job; it waits until the copy is finished"
    )
    days: int = pydantic.Field(60, ge=1, le=36500, description="earlier days that can be restored")
    work: field_types.PlainDirectory = pydantic.Field(
        "/var/lib/mailbackup/restore",
        description="directory of the backup host for restored mail, "
        "before it is copied to the new host; it needs room for that mail",
    )
    wait: int = pydantic.Field(86400, ge=1, description="seconds a job may take")


class Backup(field_types.Section):
    """The backup host pulls the new store over ssh, with a key that can only read it."""

    store: field_types.PlainDirectory = pydantic.Field(
        description="directory of the new host that holds every user's maildir"
    )
    target: field_types.PlainDirectory = pydantic.Field(
        description="directory of the backup host for the copy, and for nothing else"
    )
    account: field_types.Login = pydantic.Field(
        "mailbackup",
        description="account on the new host, with a shell and no other purpose, that accepts "
        "the backup host's key for reading the store",
    )
    key: field_types.PlainPath = pydantic.Field(
        description="private key on the backup host, readable only by root; KEY.pub is next to it"
    )
    at: field_types.DayTime = pydantic.Field(
        "03:30", description="daily start, by the backup host's clock"
    )
    wait: int = pydantic.Field(
        86400, ge=1, description="seconds the first run may take: it copies everything"
    )
    retire: list[Retired] = pydantic.Field(
        [], description="what copied the old store until now: disabled, not deleted"
    )
    bacula: Bacula | None = None


class Submission(field_types.Section):
    """Where users' mail programs submit mail.

    From inside without a login, from outside with a password or a certificate.
    """

    host: field_types.Name
    name: field_types.Name = pydantic.Field(
        "smtp", description="its name in users' mail programs; the certificate is valid for it"
    )
    port: int = pydantic.Field(587, ge=1, le=65535)
    ca: field_types.AbsolutePath | None = pydantic.Field(
        None, description="CA file; default: the system's"
    )
    inside: pydantic.IPvAnyAddress | None = pydantic.Field(
        None,
        description="address of this machine that the host treats as inside; "
        "without it, submission from inside is not tested",
    )
    outside: pydantic.IPvAnyAddress | None = pydantic.Field(
        None,
        description="address of this machine that the host treats as outside; "
        "without it, submission from outside is not tested",
    )
    certificate: field_types.AbsolutePath | None = pydantic.Field(
        None, description="client certificate that may send from outside, PEM"
    )
    key: field_types.AbsolutePath | None = pydantic.Field(None, description="its private key, PEM")


class Webmail(field_types.Section):
    """A Roundcube that reads mail by the alias."""

    host: field_types.Name
    url: field_types.HttpsUrl = pydantic.Field(
        description="as users know it, ending in /; https, because a password is sent to it"
    )
    ca: field_types.AbsolutePath | None = pydantic.Field(
        None, description="CA file; default: the system's"
    )


class MailingList(field_types.Section):
    """A list to which the live test posts."""

    address: field_types.Address
    subscribers: list[field_types.Login] = pydantic.Field(
        min_length=1, description="test users who must receive the post; the first one posts"
    )


class StoreHost(field_types.Section):
    """A host, other than the mail servers, that mounts the new store; users may log in there."""

    host: field_types.Name
    path: field_types.PlainPath = pydantic.Field(description="directory where it has the store")
