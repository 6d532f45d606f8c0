"""A parameters file (YAML) → a validated Site. Unknown keys and bad values are refused with the line they stand on.

Secrets are never in the file: what is secret is named by a reference, `file:/path` or `env:NAME`, read when needed.
"""

import hashlib
import os
from pathlib import Path
from typing import Annotated, Literal

import pydantic
import yaml

from cutover.model import errors
from cutover.site import secrets

Name = Annotated[str, pydantic.StringConstraints(pattern=r"^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$")]
Zone = Annotated[
    str, pydantic.StringConstraints(pattern=r"^([a-z0-9]([a-z0-9-]*[a-z0-9])?\.)+[a-z]{2,}$")
]
Login = Annotated[str, pydantic.StringConstraints(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.-]{0,31}$")]
AbsolutePath = Annotated[str, pydantic.StringConstraints(pattern=r"^/[^\n\x00]*$")]
PlainPath = Annotated[str, pydantic.StringConstraints(pattern=r"^/[A-Za-z0-9._/+-]*$")]
PathTemplate = Annotated[
    str, pydantic.StringConstraints(pattern=r"^(/|\{home\}/)([^\n\x00{}]|\{(user|home)\})*$")
]
Printable = Annotated[str, pydantic.StringConstraints(pattern=r"^[^\x00-\x1f\x7f]*$")]
Address = Annotated[
    str, pydantic.StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._+=-]*@[A-Za-z0-9.-]+$")
]
HttpsUrl = Annotated[
    str, pydantic.StringConstraints(pattern=r"^https://[a-z0-9.-]+(:\d+)?/([A-Za-z0-9._~/-]*/)?$")
]
Line = Annotated[str, pydantic.StringConstraints(pattern=r"^[!-~]([ -~]{0,198}[!-~])?$")]
DayTime = Annotated[str, pydantic.StringConstraints(pattern=r"^([01]\d|2[0-3]):[0-5]\d$")]
BaculaName = Annotated[str, pydantic.StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]
SecretReference = Annotated[
    str, pydantic.StringConstraints(pattern=r"^(file:/|env:[A-Z_])[^\n\x00]*$")
]

GTUBE = "XJS*C4JDBQADN1.NSBN3*2IDNEN*GTUBE-STANDARD-ANTI-UBE-TEST-EMAIL*C.34X"

PROJECT = Path(__file__).resolve().parents[3]


class BadParameters(errors.CutoverError):
    """A parameters file cannot be used; the message names the file, the line and the key."""


class SecretUnreadable(errors.CutoverError):
    """A secret that the parameters refer to cannot be read."""


class _Elsewhere(ValueError):
    """What is wrong with the whole file shows at one place of it: `path`, keys and indices."""

    def __init__(self, path, text):
        self.path = path
        super().__init__(text)


class Strict(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(extra="forbid", frozen=True)


class Host(Strict):
    address: pydantic.IPvAnyAddress
    ssh_port: int = pydantic.Field(22, ge=1, le=65535)


class Roles(Strict):
    nameservers: list[Name] = pydantic.Field(
        min_length=1, description="authoritative servers, the primary first"
    )
    mx: list[Name] = pydantic.Field(min_length=1)
    old: Name
    new: Name
    backup: Name | None = None


class Ssh(Strict):
    user: Login
    key: AbsolutePath = pydantic.Field(description="private key file of the operator")
    known_hosts: AbsolutePath = pydantic.Field(
        description="OpenSSH known_hosts file; a host not in it is refused"
    )


class Dns(Strict):
    tsig_key: AbsolutePath = pydantic.Field(
        description="file with BIND's key clause that may update the zone"
    )
    ttl: int = pydantic.Field(
        60, ge=1, le=3600, description="seconds, of the records the cutover writes"
    )


class Userdb(Strict):
    source: AbsolutePath = "/etc/mail/userdb"
    map: AbsolutePath = "/etc/mail/userdb.db"


class Service(Strict):
    manager: Literal["systemd", "sysv", "xinetd"] = "systemd"
    name: Annotated[str, pydantic.StringConstraints(pattern=r"^[A-Za-z0-9@_.:-]+$")]


class HostServices(Strict):
    imap: list[Service] = pydantic.Field(
        min_length=1, description="in the order in which they are stopped"
    )
    sendmail: list[Service] = pydantic.Field(min_length=1)


class Services(Strict):
    old: HostServices
    new: HostServices


class Users(Strict):
    uid_min: int = 1000
    uid_max: int = 60000
    exclude: list[Login] = []


class Nis(Strict):
    """Where the mail hosts have their users from."""

    domain: Annotated[
        str, pydantic.StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")
    ] = pydantic.Field(description="the NIS domain, as `ypdomainname` says it")
    servers: list[Name] = pydantic.Field(
        min_length=1,
        description="hosts that run ypserv, the master first; asked by the mail "
        "hosts, never by ssh",
    )


class OldStore(Strict):
    inbox: list[PathTemplate] = ["{home}/mbox", "{home}/INBOX"]
    spool: PathTemplate = "/var/mail/{user}"
    folders: PathTemplate = "{home}/mail"
    subscriptions: PathTemplate = "{home}/.mailboxlist"
    imap_prefix: Printable = pydantic.Field(
        "mail/", description="how clients of the old server begin a folder's name"
    )
    seen_at: dict[AbsolutePath, AbsolutePath] = pydantic.Field(
        description="directory of the old host → where the new host sees it, read-only"
    )
    salvage: list[AbsolutePath] = pydantic.Field(
        [],
        description="damaged files of the old host to be converted as far as they can be read; any other damage stops",
    )
    aside: AbsolutePath = pydantic.Field(
        "/var/lib/mail-cutover",
        description="directory of the old host for what a rollback removes from folders, and its notes",
    )
    imapd: AbsolutePath = pydantic.Field(
        "/usr/sbin/imapd", description="c-client's server, for reading in PREAUTH"
    )

    def on_new(self, path: str) -> str:
        """The path at which the new host sees `path` of the old host."""
        for old, seen in sorted(self.seen_at.items(), key=lambda pair: -len(pair[0])):
            if path == old or path.startswith(old.rstrip("/") + "/"):
                return seen.rstrip("/") + path[len(old.rstrip("/")) :]
        raise BadParameters(
            f"old_store.seen_at: no entry covers {path}: the new host cannot see it. "
            "Add the directory of the old host and where the new host has it mounted."
        )

    def to_salvage(self) -> list:
        """The paths under `salvage`, as either host says them."""
        return [path for given in self.salvage for path in (given, self.on_new(given))]


class NewStore(Strict):
    maildir: PathTemplate = "/var/imap/{user}"
    work: AbsolutePath = pydantic.Field(
        description="staging and set-aside trees; on the file system of the maildirs"
    )
    jobs: int = pydantic.Field(2, ge=1, le=64, description="converter processes")
    python: AbsolutePath = "/usr/bin/python3"


class Verify(Strict):
    level: Literal["count", "metadata", "content"] = "content"
    parallel: int = pydantic.Field(4, ge=1, le=32, description="users read at the same time")
    content_minutes: float = pydantic.Field(
        60,
        ge=0,
        description="that reading the contents of messages may take; of what does not fit a sample is read",
    )
    staged: int = pydantic.Field(
        1000,
        ge=0,
        description="messages of the staging area that presync compares with the old server; 0: none",
    )


class TestUser(Strict):
    __test__ = False
    user: Login
    password: SecretReference


class Outage(Strict):
    reading_minutes: float = pydantic.Field(
        240,
        gt=0,
        description="announced to the users: no reading for so long; stop-imap refuses when more is predicted",
    )
    delivery_minutes: float = pydantic.Field(
        240, gt=0, description="that the MX may hold mail; the same"
    )
    probe: TestUser | None = pydantic.Field(
        None,
        description="an account made for it, not among the users: mail goes to it every few seconds and is looked for by "
        "the alias, which measures the delivery outage",
    )


class ProductionTest(Strict):
    users: list[TestUser] = pydantic.Field(min_length=1)
    ca: AbsolutePath | None = pydantic.Field(None, description="CA file; without one, the system's")
    sender: Address = "cutover-test@localhost"
    spam_line: Line = pydantic.Field(
        GTUBE,
        description="a line of a message's body by which the antispam of the MX marks it as "
        "spam and does not refuse it; the default, GTUBE, SpamAssassin marks and rspamd refuses",
    )
    imap_port: int = 993
    smtp_port: int = 25
    wait: int = pydantic.Field(60, ge=1, le=3600, description="seconds a test message may take")


class Limits(Strict):
    queue_drain: int = pydantic.Field(
        300, ge=1, description="seconds the MX queues may take to empty"
    )
    dns_spread: int = pydantic.Field(
        30, ge=1, description="seconds a DNS change may take to reach every server"
    )
    clock: float = pydantic.Field(
        2.0, gt=0, description="seconds by which two hosts' clocks may differ"
    )
    alias_ttl: int = pydantic.Field(
        3600, ge=1, description="seconds; a larger TTL on the alias must be lowered first"
    )
    verify_age: int = pydantic.Field(
        7200, ge=60, description="seconds for which a passed verify opens the new server"
    )
    space_factor: float = pydantic.Field(
        1.2, ge=1, description="free bytes and inodes wanted, times what is found"
    )


class Approval(Strict):
    allowed_signers: AbsolutePath = pydantic.Field(
        description="ssh-keygen's file of those who may approve, see README"
    )
    valid: int = pydantic.Field(
        3600, ge=60, le=604800, description="seconds for which an approval holds"
    )


class Record(Strict):
    key: AbsolutePath = pydantic.Field(
        description="the operator's signing key; a public key file when ssh-agent holds it"
    )


class Antispam(Strict):
    """What scans mail on the MX, each by itself or all with one store."""

    milter: Annotated[str, pydantic.StringConstraints(pattern=r"^[A-Za-z0-9_.-]+$")] = (
        pydantic.Field(
            "rspamd",
            description="its name in sendmail's configuration: INPUT_MAIL_FILTER(`name', …)",
        )
    )
    redis: Annotated[str, pydantic.StringConstraints(pattern=r"^[A-Za-z0-9.-]+:\d+$")] | None = (
        pydantic.Field(
            None, description="host:port, seen from the MX, of the Redis that holds the greylist"
        )
    )


class Retired(Service):
    """What copied the old store until now: a service or timer of some host."""

    host: Name


class Bacula(Strict):
    """Bacula saves the copy, so that earlier days can be restored. Its daemons run on the backup host already."""

    client: BaculaName = pydantic.Field(description="the director's Client that is the backup host")
    storage: BaculaName = pydantic.Field(
        description="the director's Storage on which the volumes are written"
    )
    config: PlainPath = pydantic.Field(
        "/etc/bacula/bacula-dir.conf", description="the director's own; it gets one line more"
    )
    at: DayTime = pydantic.Field(
        "05:30", description="when the job begins each day; it waits until the copy has been made"
    )
    days: int = pydantic.Field(60, ge=1, description="earlier days that can be restored")
    work: PlainPath = pydantic.Field(
        "/var/lib/mailbackup/restore",
        description="directory of the backup host into which mail is "
        "restored before it is brought over; it needs room for that mail",
    )
    wait: int = pydantic.Field(86400, ge=1, description="seconds a job may take")


class Backup(Strict):
    """The backup host pulls the new store over ssh, by a key that can do nothing but read it."""

    store: PlainPath = pydantic.Field(
        description="directory of the new host that holds every user's maildir"
    )
    target: PlainPath = pydantic.Field(
        description="directory of the backup host for the copy; it holds nothing else"
    )
    account: Login = pydantic.Field(
        "mailbackup",
        description="account on the new host with a shell and no other purpose, to "
        "which the backup host's key is let in for reading the store",
    )
    key: PlainPath = pydantic.Field(
        description="private key on the backup host, readable by root alone; KEY.pub lies beside it"
    )
    at: DayTime = pydantic.Field(
        "03:30", description="when it runs each day, by the backup host's clock"
    )
    wait: int = pydantic.Field(
        86400, ge=1, description="seconds the first run may take: it copies everything"
    )
    retire: list[Retired] = pydantic.Field(
        [], description="what copied the old store until now: disabled, not deleted"
    )
    bacula: Bacula | None = None


class Submission(Strict):
    """Where users' mail programs hand in what they send: from inside freely, from outside with a password or a certificate."""

    host: Name
    name: Name = pydantic.Field(
        "smtp", description="its name in users' mail programs; the certificate is valid for it"
    )
    port: int = pydantic.Field(587, ge=1, le=65535)
    ca: AbsolutePath | None = pydantic.Field(None, description="CA file; without one, the system's")
    inside: pydantic.IPvAnyAddress | None = pydantic.Field(
        None,
        description="address of this machine that the host counts as inside; without one that way is not tested",
    )
    outside: pydantic.IPvAnyAddress | None = pydantic.Field(
        None,
        description="address of this machine that it counts as outside; without one those ways are not tested",
    )
    certificate: AbsolutePath | None = pydantic.Field(
        None, description="a client certificate that may send from outside, PEM"
    )
    key: AbsolutePath | None = pydantic.Field(None, description="its private key, PEM")


class Webmail(Strict):
    """A Roundcube that reads by the alias."""

    host: Name
    url: HttpsUrl = pydantic.Field(
        description="as users know it, with a / at its end; https, since a password goes there"
    )
    ca: AbsolutePath | None = pydantic.Field(None, description="CA file; without one, the system's")


class MailingList(Strict):
    """A list to which the live test posts."""

    address: Address
    subscribers: list[Login] = pydantic.Field(
        min_length=1, description="test users that must get the post; the first one posts"
    )


class StoreHost(Strict):
    """A host besides the mail servers that has the new store, such as the one on which users have a shell."""

    host: Name
    path: PlainPath = pydantic.Field(description="directory at which it sees the store")


class Decommission(Strict):
    """When the old server may go, and what stays of it."""

    days: int = pydantic.Field(
        14, ge=0, description="days in production, since restore-imap, before the old server may go"
    )
    dns: Literal["keep", "remove"] = pydantic.Field(
        "keep", description="the old server's name in the zone"
    )


class Forward(Strict):
    """What becomes of a user's forward."""

    user: Login
    to: Literal["sieve", "remove"] = pydantic.Field(
        description="sieve: the new host redirects, by a Sieve script of the user; remove: there is no forward any more"
    )


class OldSpam(Strict):
    """What is set aside of users' SPAM."""

    folder: Printable = "SPAM"
    days: int = pydantic.Field(30, ge=1, description="messages that arrived earlier are set aside")
    aside: PlainPath = pydantic.Field(
        "/var/imap/.spam-aside",
        description="directory of the new host for it, on the file system "
        "of the maildirs; no client sees it",
    )
    grace: int = pydantic.Field(
        30,
        ge=0,
        description="days for which it is kept in any case; then the step tells that it may go",
    )
    expunge: bool = pydantic.Field(
        False, description="true: past its grace time it is deleted for good, by a plan of its own"
    )


class Digest(Strict):
    """What users are told of their SPAM."""

    folder: Printable = "SPAM"
    days: int = pydantic.Field(
        7, ge=1, description="messages that arrived in so many days are listed"
    )
    sender: Address = "postmaster@localhost"


class MoveStore(Strict):
    """The store goes to other storage of the new host."""

    to: PlainPath = pydantic.Field(
        description="directory of the new host on the new storage: empty, and there after a reboot"
    )
    work: PlainPath = pydantic.Field(
        "/var/lib/mail-cutover",
        description="directory of the new host for notes, on neither storage",
    )
    passes: int = pydantic.Field(5, ge=1, le=50, description="of rsync while users work, at most")
    switch: bool = pydantic.Field(
        True, description="false: copy only, days ahead; the switch is then a run of its own"
    )
    freeze_minutes: float = pydantic.Field(
        30,
        gt=0,
        description="announced to the users: no mail for so long; nothing is stopped when more is predicted",
    )


class Maintenance(Strict):
    """What is done days after the cutover, each by itself: `cutover maintain`."""

    dovecot: PlainPath = pydantic.Field(
        "/etc/dovecot/local.conf",
        description="file that the new host's Dovecot reads last: "
        "Sieve's settings are added at its end",
    )
    procmailrc: PlainPath = pydantic.Field(
        "/etc/procmailrc", description="file of the new host by which procmail delivers"
    )
    lda: PlainPath = "/usr/lib/dovecot/dovecot-lda"
    relay: Annotated[str, pydantic.StringConstraints(pattern=r"^[A-Za-z0-9.-]+:\d+$")] = (
        pydantic.Field(
            "127.0.0.1:25",
            description="host:port, seen from the new host, that takes what Sieve sends: replies and redirected mail",
        )
    )
    managesieve_port: int = 4190
    forwards: list[Forward] = pydantic.Field(
        [], description="forwards of the userdb to be moved or removed; others stay"
    )
    old_spam: OldSpam = OldSpam()
    digest: Digest = Digest()
    move_store: MoveStore | None = None


class Site(Strict):
    """One site. Names of hosts are short; `fqdn` adds the zone."""

    name: Name
    kind: Literal["rehearsal", "production"]
    zone: Zone
    alias: Name = "mailbox"
    hosts: dict[Name, Host]
    roles: Roles
    ssh: Ssh
    dns: Dns
    userdb: Userdb = Userdb()
    services: Services
    users: Users = Users()
    nis: Nis | None = None
    old_store: OldStore
    new_store: NewStore
    verify: Verify = Verify()
    production_test: ProductionTest
    outage: Outage = Outage()
    limits: Limits = Limits()
    antispam: Antispam | None = None
    backup: Backup | None = None
    submission: Submission | None = None
    webmail: Webmail | None = None
    lists: list[MailingList] = []
    store_hosts: list[StoreHost] = pydantic.Field(
        [], description="preflight tells what they are built on as well, by ssh"
    )
    decommission: Decommission = Decommission()
    maintenance: Maintenance = Maintenance()
    approval: Approval | None = None
    record: Record | None = None

    _path: Path = pydantic.PrivateAttr()
    _digest: str = pydantic.PrivateAttr()

    @pydantic.model_validator(mode="after")
    def _roles_are_hosts(self):
        roles = self.roles
        for role in Roles.model_fields:
            named = getattr(roles, role)
            for number, name in enumerate(named if isinstance(named, list) else [named]):
                if name is not None and name not in self.hosts:
                    raise _Elsewhere(
                        ("roles", role, *([number] if isinstance(named, list) else [])),
                        f"{name} is not among hosts",
                    )
        return self

    @pydantic.model_validator(mode="after")
    def _nis_servers_are_hosts(self):
        for number, name in enumerate(self.nis.servers if self.nis else ()):
            if name not in self.hosts:
                raise _Elsewhere(("nis", "servers", number), f"{name} is not among hosts")
        return self

    @pydantic.model_validator(mode="after")
    def _production_is_signed(self):
        missing = [name for name in ("approval", "record") if getattr(self, name) is None]
        if self.kind == "production" and missing:
            raise _Elsewhere(
                ("kind",),
                f"a site of kind production needs {' and '.join(missing)}: its approvals and its "
                "record are signed",
            )
        return self

    @pydantic.model_validator(mode="after")
    def _backup_has_its_host(self):
        if self.backup and not self.roles.backup:
            raise _Elsewhere(("backup",), "roles.backup names no host that would keep the copy")
        for number, each in enumerate(self.backup.retire if self.backup else ()):
            if each.host not in self.hosts:
                raise _Elsewhere(
                    ("backup", "retire", number, "host"), f"{each.host} is not among hosts"
                )
        return self

    @pydantic.model_validator(mode="after")
    def _systems_are_hosts(self):
        for key in ("submission", "webmail"):
            section = getattr(self, key)
            if section and section.host not in self.hosts:
                raise _Elsewhere((key, "host"), f"{section.host} is not among hosts")
        for number, each in enumerate(self.store_hosts):
            if each.host not in self.hosts:
                raise _Elsewhere(("store_hosts", number, "host"), f"{each.host} is not among hosts")
        if self.submission and (self.submission.certificate is None) != (
            self.submission.key is None
        ):
            raise _Elsewhere(
                ("submission",), "certificate and key go together: give both, or neither"
            )
        tested = {each.user for each in self.production_test.users}
        for number, each in enumerate(self.lists):
            for strange in sorted(set(each.subscribers) - tested):
                raise _Elsewhere(
                    ("lists", number, "subscribers"),
                    f"{strange} is not among production_test.users",
                )
        return self

    @property
    def path(self) -> Path:
        return self._path

    @property
    def digest(self) -> str:
        """SHA-256 of the parameters file as it was read."""
        return self._digest

    def fqdn(self, name: str) -> str:
        return f"{name}.{self.zone}"

    def address(self, name: str) -> str:
        return str(self.hosts[name].address)

    def services_of(self, name: str) -> HostServices:
        return self.services.old if name == self.roles.old else self.services.new

    @property
    def accounts(self) -> list[TestUser]:
        """The accounts whose passwords are referred to."""
        return [*self.production_test.users, *([self.outage.probe] if self.outage.probe else [])]

    @property
    def mail_hosts(self) -> tuple[str, str]:
        return (self.roles.old, self.roles.new)

    @property
    def cutover_hosts(self) -> list[str]:
        """Every host the steps up to production-test touch."""
        return list(dict.fromkeys([*self.roles.mx, self.roles.old, self.roles.new]))


def find(path: str | Path) -> Path:
    """The parameters file: as given, or relative to the project's top folder (so that notebooks find it)."""
    given = Path(path).expanduser()
    for candidate in (given, PROJECT / given):
        if candidate.is_file():
            return candidate.resolve()
    raise BadParameters(f"{path}: no such parameters file (looked in {Path.cwd()} and {PROJECT})")


def load(path: str | Path) -> Site:
    """Read and validate a parameters file. Raises BadParameters naming file, line and key."""
    file = find(path)
    raw = file.read_bytes()
    try:
        node = yaml.compose(raw, Loader=yaml.SafeLoader)
        odd = _odd_key(node)
        if odd:
            raise BadParameters(f"{file}, line {odd[1]}: {odd[0]}")
        data = yaml.safe_load(raw)
    except yaml.YAMLError as error:
        raise BadParameters(f"{file}: not YAML: {error}") from error
    if not isinstance(data, dict):
        raise BadParameters(f"{file}: empty, or not a mapping of keys to values")
    try:
        site = Site.model_validate(data)
    except pydantic.ValidationError as error:
        raise BadParameters(
            "\n".join(_explain(file, node, problem) for problem in error.errors())
        ) from error
    site._path = file
    site._digest = hashlib.sha256(raw).hexdigest()
    return site


def secret(reference: str) -> str:
    """The value behind `file:/path` or `env:NAME`; never store or print it. Raises SecretUnreadable.

    From then on it is removed from whatever this process shows or writes down, see cutover.site.secrets.
    """
    scheme, _, rest = reference.partition(":")
    if scheme == "env":
        value = os.environ.get(rest)
        if value is None:
            raise SecretUnreadable(f"{reference}: that environment variable is not set")
    else:
        try:
            value = Path(rest).read_text().rstrip("\n")
        except OSError as error:
            raise SecretUnreadable(f"{reference}: {error.strerror}") from error
        except UnicodeDecodeError as error:
            raise SecretUnreadable(f"{reference}: it is no text") from error
    try:
        secrets.register(Path(rest).name, value)
    except ValueError as error:
        raise SecretUnreadable(
            f"{reference}: {error}, and could not be kept out of the record"
        ) from error
    return value


def _odd_key(node, above=()):
    """(what is wrong, line) of the first key that YAML takes and no parameters file can mean, or None."""
    if node in above:
        return "a block that holds itself", node.start_mark.line + 1
    seen, below = set(), []
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            if not isinstance(key, yaml.ScalarNode):
                return "a key must be a word", key.start_mark.line + 1
            if key.value in seen:
                return f"the key {key.value!r} stands twice in one block", key.start_mark.line + 1
            seen.add(key.value)
            below.append(value)
    elif isinstance(node, yaml.SequenceNode):
        below = node.value
    return next((found for each in below if (found := _odd_key(each, (*above, node)))), None)


def _explain(file, node, problem):
    line = node.start_mark.line + 1
    error = problem.get("ctx", {}).get("error")
    path = getattr(error, "path", problem["loc"])
    for part in path:
        if isinstance(node, yaml.MappingNode):
            found = next(
                ((key, value) for key, value in node.value if key.value == str(part)), None
            )
            if found is None:
                break
            line, node = found[0].start_mark.line + 1, found[1]
        elif (
            isinstance(node, yaml.SequenceNode) and isinstance(part, int) and part < len(node.value)
        ):
            node = node.value[part]
            line = node.start_mark.line + 1
    where = ".".join(str(part) for part in path) or "the file"
    what = {
        "extra_forbidden": "unknown key; see the other parameters files for those there are",
        "missing": "missing",
    }.get(problem["type"], str(error or problem["msg"]))
    return f"{file}, line {line}: {where}: {what}"
