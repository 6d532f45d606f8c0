"""Sections about the days after the cutover: decommissioning and `cutover maintain`."""

from typing import Literal

import pydantic

from cutover.site import field_types


class Decommission(field_types.Section):
    """When the old server may be switched off, and whether its name stays."""

    days: int = pydantic.Field(
        14,
        ge=0,
        le=36500,
        description="days in production, since restore-imap, before the old server may go",
    )
    dns: Literal["keep", "remove"] = pydantic.Field(
        "keep", description="the old server's name in the zone"
    )


class Forward(field_types.Section):
    """What to do with one user's forward."""

    user: field_types.Login
    to: Literal["sieve", "remove"] = pydantic.Field(
        description="sieve: the new host redirects, by a Sieve script of the user; "
        "remove: the forward is deleted"
    )


class OldSpam(field_types.Section):
    """Which messages of the users' SPAM folders are set aside."""

    folder: field_types.Printable = "SPAM"
    days: int = pydantic.Field(30, ge=1, le=36500, description="older messages are set aside")
    aside: field_types.PlainDirectory = pydantic.Field(
        "/var/imap/.spam-aside",
        description="directory of the new host for them, on the maildirs' file system, "
        "hidden from clients",
    )
    grace: int = pydantic.Field(
        30,
        ge=0,
        le=36500,
        description="days for which they are kept; after that the step reports they may be deleted",
    )
    expunge: bool = pydantic.Field(
        False, description="true: after the grace time they are deleted, by a plan of its own"
    )


class Digest(field_types.Section):
    """The digest of SPAM that users receive."""

    folder: field_types.Printable = "SPAM"
    days: int = pydantic.Field(7, ge=1, le=36500, description="days of arrivals that are listed")
    sender: field_types.Address = "postmaster@localhost"


class Pages(field_types.Section):
    """The mail that brings users the announcement or their own page."""

    folder: field_types.AbsolutePath = pydantic.Field(
        description="directory of the control host: `users` of a run that began with preflight, "
        "or an edited copy of it"
    )
    sender: field_types.Address
    send: Literal["announcement", "pages"] = pydantic.Field(
        "pages",
        description="pages: each user gets the page of that name; announcement: all users get "
        "the same text",
    )


class MoveStore(field_types.Section):
    """The move of the store to other storage of the new host."""

    to: field_types.PlainDirectory = pydantic.Field(
        description="directory of the new host on the new storage: empty, "
        "and mounted again after a reboot"
    )
    work: field_types.PlainDirectory = pydantic.Field(
        "/var/lib/mail-cutover",
        description="directory of the new host for notes, on neither storage",
    )
    passes: int = pydantic.Field(
        5, ge=1, le=50, description="most rsync passes made while users work"
    )
    switch: bool = pydantic.Field(
        True, description="false: copy only, days ahead; the switch is then a separate run"
    )
    freeze_minutes: float = pydantic.Field(
        30,
        gt=0,
        description="outage announced to the users; nothing is stopped when more is predicted",
    )


class Maintenance(field_types.Section):
    """Work done days after the cutover, each task a run of its own: `cutover maintain`."""

    dovecot: field_types.PlainFile = pydantic.Field(
        "/etc/dovecot/local.conf",
        description="file that Dovecot on the new host reads last: "
        "the settings for Sieve are appended to it",
    )
    procmailrc: field_types.PlainFile = pydantic.Field(
        "/etc/procmailrc", description="file of the new host by which procmail delivers"
    )
    lda: field_types.PlainPath = "/usr/lib/dovecot/dovecot-lda"
    relay: field_types.HostPort = pydantic.Field(
        "127.0.0.1:25",
        description="host:port, seen from the new host, that accepts what Sieve sends: "
        "replies and redirected mail",
    )
    managesieve_port: int = pydantic.Field(4190, ge=1, le=65535)
    forwards: list[Forward] = pydantic.Field(
        [], description="forwards of the userdb to move or remove; all others stay"
    )
    old_spam: OldSpam = OldSpam()
    digest: Digest = Digest()
    pages: Pages | None = None
    move_store: MoveStore | None = None
