"""Sections about the night: the two stores, verification, the tests and the limits."""

import posixpath
from typing import Literal

import pydantic

from cutover.site import field_types

GTUBE = "XJS*C4JDBQADN1.NSBN3*2IDNEN*GTUBE-STANDARD-ANTI-UBE-TEST-EMAIL*C.34X"


class Root(field_types.Section):
    path: field_types.HomePath = pydantic.Field(
        description="directory or file in the home: all mail in it is converted"
    )
    name: field_types.Printable = pydantic.Field(
        description="folder of the new server that its mail comes below; empty: the top level"
    )

    @pydantic.field_validator("name")
    @classmethod
    def _levels(cls, name):
        if name and {"", ".", ".."}.intersection(name.split("/")):
            raise ValueError("a folder's name, with '/' between levels and no empty one")
        return name


class OldStore(field_types.Section):
    inbox: list[field_types.PathTemplate] = ["{home}/mbox", "{home}/INBOX"]
    spool: field_types.SpoolFile = "/var/mail/{user}"
    folders: field_types.PathTemplate = "{home}/mail"
    subscriptions: field_types.PathTemplate = "{home}/.mailboxlist"
    roots: list[Root] = pydantic.Field(
        [], description="further places in the home whose mail is converted"
    )
    accepted: list[field_types.Printable] = pydantic.Field(
        [],
        description="mail outside `folders` and `roots` that stays behind: paths of the old host, "
        "with all that lies below them, {home} and {user} in them, or lines of subscriptions",
    )
    imap_prefix: field_types.Printable = pydantic.Field(
        "mail/", description="prefix that clients of the old server put before a folder's name"
    )
    seen_at: dict[field_types.AbsolutePath, field_types.AbsolutePath] = pydantic.Field(
        description="directory of the old host → where the new host has it mounted, read-only"
    )
    salvage: list[field_types.AbsolutePath] = pydantic.Field(
        [],
        description="damaged files of the old host to convert as far as they can be read; "
        "any other damage stops the conversion",
    )
    aside: field_types.Directory = pydantic.Field(
        "/var/lib/mail-cutover",
        description="directory of the old host for what a rollback removes from folders, "
        "and for its notes",
    )
    imapd: field_types.AbsolutePath = pydantic.Field(
        "/usr/sbin/imapd", description="c-client's server, for reading in PREAUTH"
    )

    def on_new(self, path: str) -> str:
        """The path at which the new host sees `path` of the old host. Raises BadParameters."""
        for old, seen in sorted(self.seen_at.items(), key=lambda pair: -len(pair[0])):
            if path == old or path.startswith(old.rstrip("/") + "/"):
                return seen.rstrip("/") + path[len(old.rstrip("/")) :]
        raise field_types.BadParameters(
            f"old_store.seen_at: no entry covers {path}, so the new host cannot read it. "
            "Add the old host's directory and where the new host has it mounted."
        )

    def covers(self, path: str) -> bool:
        """Whether the new host sees `path` of the old host."""
        return any((path + "/").startswith(old.rstrip("/") + "/") for old in self.seen_at)

    def accepts(self, place: str, user: str, home: str) -> bool:
        """Whether a user's mail at a place may stay behind.

        place: a path, as either host names it, or the line of a subscription.
        """
        for entry in self.accepted:
            text = entry.replace("{user}", user).replace("{home}", home).rstrip("/")
            for path in [text, *([self.on_new(text)] if self.covers(text) else [])]:
                if place == path or place.startswith(path + "/"):
                    return True
        return False

    def to_salvage(self) -> list[str]:
        """The paths under `salvage`, as either host names them. Raises BadParameters.

        Checks and errors name a file as the new host does, so the list may have either name.
        """
        return [
            *self.salvage,
            *(self.on_new(path) for path in self.salvage if not self._is_seen(path)),
        ]

    def _is_seen(self, path):
        """Whether a path is the new host's name of what it sees of the old host."""
        return any(path.startswith(seen.rstrip("/") + "/") for seen in self.seen_at.values())


class Special(field_types.Section):
    """Folders that mail programs look for by their use (RFC 6154), by the names users gave them."""

    sent: list[field_types.FolderName] = []
    drafts: list[field_types.FolderName] = []
    trash: list[field_types.FolderName] = []
    junk: list[field_types.FolderName] = []

    @pydantic.model_validator(mode="after")
    def _one_use_each(self):
        names = [name for use in type(self).model_fields for name in getattr(self, use)]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise ValueError(f"{twice[0]} is listed twice: a folder has one use")
        return self

    @property
    def uses(self) -> dict[str, str]:
        """`{folder: use as IMAP spells it}`"""
        return {
            name: f"\\{use.capitalize()}"
            for use in type(self).model_fields
            for name in getattr(self, use)
        }


class NewStore(field_types.Section):
    maildir: field_types.PathTemplate = "/var/imap/{user}"
    work: field_types.Directory = pydantic.Field(
        description="directory for staged and replaced trees, on the maildirs' file system"
    )
    jobs: int = pydantic.Field(2, ge=1, le=64, description="converter processes")
    python: field_types.AbsolutePath = "/usr/bin/python3"
    compatibility: list[field_types.NamePrefix] | None = pydantic.Field(
        None,
        description="prefixes, such as mail/ or ~/mail/ or {home}/mail/, under which the new "
        "server finds folders too, because clients of the old one use them; dual-delivery adds "
        "the namespaces that are missing. A prefix in use that the list leaves out is given up; "
        "without a list preflight refuses",
    )
    listed: list[field_types.NamePrefix] = pydantic.Field(
        [],
        description="prefixes of `compatibility` that LIST shows too, for programs that list all "
        "folders and then pick those below mail/; programs that show all folders show them twice",
    )
    special: Special = Special()
    dots: Literal["underscore", "escape"] = pydantic.Field(
        "underscore",
        description="dots in folder names: become _, or stay, if Dovecot escapes them on the disk",
    )
    names_file: field_types.PlainFile = pydantic.Field(
        "/etc/dovecot/conf.d/99-cutover-names.conf",
        description="file of Dovecot's configuration that dual-delivery writes for both; Dovecot "
        "must include it",
    )

    @property
    def escapes(self) -> bool:
        """Whether the names of folders on the disk are escaped."""
        return self.dots == "escape"

    @pydantic.model_validator(mode="after")
    def _listed_are_answered(self):
        for prefix in self.listed:
            if prefix not in (self.compatibility or ()):
                raise ValueError(f"listed names {prefix}, which compatibility does not")
            if "{" in prefix:
                raise ValueError(f"listed cannot name {prefix}: it differs from user to user")
        return self

    @pydantic.field_validator("maildir")
    @classmethod
    def _one_per_user(cls, path):
        if "{user}" not in path and "{home}" not in path:
            raise ValueError("every user would get the same directory: use {user} or {home} in it")
        if path.partition("}")[2].strip("/") == "" and path.startswith("{home}"):
            raise ValueError("the whole home would be replaced: name a directory in it")
        above = path.partition("{")[0]
        if above.endswith("/") and above.rstrip("/") in ("", *field_types.SYSTEM):
            raise ValueError(
                f"{above.rstrip('/') or '/'} belongs to the system, and a user may be called like "
                "what is in it: put the maildirs in a directory of their own"
            )
        return path

    @pydantic.model_validator(mode="after")
    def _no_maildir_in_work(self):
        above = self.maildir.partition("{")[0].rpartition("/")[0]
        if above and posixpath.commonpath([above, self.work]) == posixpath.normpath(self.work):
            raise ValueError(f"work {self.work} holds records of root: no maildir may be in it")
        return self


class Verify(field_types.Section):
    level: Literal["count", "metadata", "content"] = "content"
    # one session of ssh.SESSIONS is left for what is asked while a user's own is open
    parallel: int = pydantic.Field(4, ge=1, le=7, description="users read at the same time")
    content_minutes: float = pydantic.Field(
        60,
        ge=0,
        description="time for reading message contents; if they do not fit, a sample is read",
    )
    staged: int = pydantic.Field(
        1000,
        ge=0,
        description="staged messages that presync compares with the old server; 0: none",
    )
    ahead: bool = pydantic.Field(
        False,
        description="presync compares all contents, for content_minutes each time; verify then "
        "reads only folders that were touched since, and production-test reads the others again",
    )


class Presync(field_types.Section):
    """How presync spares the users who work meanwhile. The conversion in the outage never waits."""

    nice: int = pydantic.Field(
        10, ge=0, le=19, description="niceness of the converter's processes on the new host"
    )
    io_class: Literal["none", "best-effort", "idle"] = pydantic.Field(
        "best-effort",
        description="priority of its disk accesses there: the lowest of the usual ones, or only "
        "when nobody else uses the disk. Depends on the disk's scheduler (bfq)",
    )
    max_mb_per_second: float | None = pydantic.Field(
        None, gt=0, description="megabytes of mail per second that it reads, and writes, at most"
    )
    back_off_ms: float | None = pydantic.Field(
        None,
        gt=0,
        description="milliseconds that a login and a STATUS at the old server may take; while they "
        "take longer, presync goes slower. Without it nobody measures",
    )


class Convert(field_types.Section):
    """Which hosts convert: the new one alone, or several that mount both stores at its paths."""

    engine: Literal["pool", "dask"] = pydantic.Field(
        "pool",
        description="pool: the new host's processes; dask: those of all `workers`, of one "
        "dask.distributed scheduler on the control host",
    )
    workers: list[field_types.Name] = pydantic.Field(
        [], description="hosts that convert, with the old mail and the new store mounted"
    )
    cores: int | None = pydantic.Field(
        None, ge=1, le=256, description="converter processes on each worker; default: its cores"
    )
    ports: tuple[int, int] = pydantic.Field(
        (8786, 8799),
        description="first and last TCP port on which scheduler and workers listen; open them "
        "between the control host and the workers, both ways",
    )
    address: pydantic.IPvAnyAddress | None = pydantic.Field(
        None,
        description="address of the control host that workers connect to; default: the one from "
        "which it reaches the first worker",
    )
    place: field_types.Directory = pydantic.Field(
        "/var/lib/mail-cutover-worker",
        description="directory of each worker's own disk, for Dask (25 MB) and its key",
    )

    @pydantic.model_validator(mode="after")
    def _workers_of_dask(self):
        if self.engine == "dask" and not self.workers:
            raise ValueError("engine dask needs workers: list the hosts that convert")
        if self.engine == "pool" and self.workers:
            raise ValueError("workers need engine: dask")
        if len(set(self.workers)) < len(self.workers):
            raise ValueError("workers lists a host twice")
        first, last = self.ports
        if not 1024 <= first <= last <= 65535 or last - first < 1:
            raise ValueError("ports needs two numbers from 1024 to 65535, the lower one first")
        return self


class TestUser(field_types.Section):
    __test__ = False
    user: field_types.Login
    password: field_types.SecretReference


class Outage(field_types.Section):
    reading_minutes: float = pydantic.Field(
        240,
        gt=0,
        description="outage of reading announced to the users; stop-imap refuses to begin "
        "when it predicts more",
    )
    delivery_minutes: float = pydantic.Field(
        240, gt=0, description="outage of delivery announced to the users; as above"
    )
    begins: field_types.Printable = pydantic.Field(
        "", description="day and hour, in words, for the announcement to the users"
    )
    probe: TestUser | None = pydantic.Field(
        None,
        description="account made for measuring, not one of the users: it is sent mail every few "
        "seconds, and read by the alias, which measures the delivery outage",
    )


class ProductionTest(field_types.Section):
    users: list[TestUser] = pydantic.Field(min_length=1)
    ca: field_types.AbsolutePath | None = pydantic.Field(
        None, description="CA file; default: the system's"
    )
    sender: field_types.Address = "cutover-test@localhost"
    spam_line: field_types.Line = pydantic.Field(
        GTUBE,
        description="body line that makes the antispam of the MX mark a message as spam without "
        "refusing it; SpamAssassin marks the default, GTUBE, rspamd refuses it",
    )
    imap_port: int = pydantic.Field(993, ge=1, le=65535)
    smtp_port: int = pydantic.Field(25, ge=1, le=65535)
    wait: int = pydantic.Field(
        60, ge=1, le=3600, description="seconds to wait for a test message to arrive"
    )


class Limits(field_types.Section):
    queue_drain: int = pydantic.Field(
        300,
        ge=1,
        description="seconds the MX queues may take to empty; after the outage, the seconds in "
        "which at least one message must be delivered",
    )
    dns_spread: int = pydantic.Field(
        30, ge=1, description="seconds a DNS change may take to reach every server"
    )
    clock: float = pydantic.Field(
        2.0, gt=0, description="seconds by which two hosts' clocks may differ"
    )
    alias_ttl: int = pydantic.Field(
        3600, ge=1, description="longest TTL in seconds of the alias when the night begins"
    )
    verify_age: int = pydantic.Field(
        7200, ge=60, description="seconds after a passed verify in which users may be let in"
    )
    space_factor: float = pydantic.Field(
        1.2, ge=1, description="free bytes and inodes required, as a multiple of the old store's"
    )
