"""The converter on the new host: mbx2maildir is shipped there and run by the host's own Python."""

import dataclasses
import json
from collections.abc import Iterable

from cutover import model
from cutover.facts import users
from cutover.remote import detached, own_directories, ship

PROGRAM = "store/__main__.py"
# The converter needs nothing installed. Looking for site packages takes longer than an empty pass.
FLAGS = ("-I", "-S")
LEFT_OUT = "left-out"
NOT_THERE = 44
ANSWER = 1 << 30  # bytes: what it names of all users, they choose


@dataclasses.dataclass(frozen=True)
class Damage:
    """A range of bytes of a mail file that is no mail. Bytes are counted from 0."""

    what: str
    kind: str = ""
    file: str | None = None
    offset: int | None = None
    length: int | None = None


@dataclasses.dataclass(frozen=True)
class PassedOver:
    """A file or directory among the user's folders that is not a folder. name: in the old store."""

    file: str
    why: str = ""
    name: str = ""


@dataclasses.dataclass(frozen=True, slots=True)
class Folder:
    """A converted folder. `old` is "" for INBOX and None for a folder of the new side only.

    name: its Maildir++ name without the leading dot; "" is INBOX.
    spool, appended: messages from the spool; messages that only the new side had.
    messages: all of them, `spool` and `appended` included.
    """

    name: str
    old: str | None = ""
    folder: str = ""
    messages: int = 0
    bytes: int = 0
    spool: int = 0
    appended: int = 0
    expunged: int = 0
    uidvalidity: int = 0
    uidnext: int = 0
    lost_keywords: list[str] = dataclasses.field(default_factory=list)
    damage: list[Damage] = dataclasses.field(default_factory=list)
    warnings: list[str] = dataclasses.field(default_factory=list)


@dataclasses.dataclass(frozen=True)
class Staged:
    """What presync has staged. `at`: seconds since the epoch, of the last pass."""

    folders: int = 0
    at: float | None = None


@dataclasses.dataclass(frozen=True)
class MarkedTree:
    """The complete tree that some run put in the Maildir's place, and when (since the epoch)."""

    tree: str | None
    at: float


@dataclasses.dataclass(frozen=True)
class User:
    """One user's mail as the converter left it; see mbx2maildir.publish.status.

    phase: "published", "unpublished", "left-out" or "none".
    live: "ours" when the live tree is the published one, "other" or "none".
    lost: the published tree is no longer in place.
    left_out: the latest run that went on without the user, unless one has published since.
    error: why the user's trees could not be looked at, as the converter describes an error.
    """

    user: str = ""
    published: bool = False
    phase: str = "none"
    live: str = "none"
    tree: str | None = None
    lost: bool = False
    left_out: str | None = None
    error: dict | None = None
    messages: int = 0
    bytes: int = 0
    expunged: int = 0
    staged: Staged = Staged()
    marked: MarkedTree | None = None
    warnings: list[str] = dataclasses.field(default_factory=list)
    renamed: list[dict] = dataclasses.field(default_factory=list)
    passed: list[PassedOver] = dataclasses.field(default_factory=list)
    folders: list[Folder] = dataclasses.field(default_factory=list)

    @property
    def damage(self) -> list[Damage]:
        """The damage in all folders."""
        return [damage for folder in self.folders for damage in folder.damage]


@dataclasses.dataclass(frozen=True)
class State:
    """What a run has published and staged, by user name."""

    users: dict[str, User]
    run: str = ""
    published: int = 0

    def names(self, published: bool) -> list[str]:
        """The users whose mail is published by this run, or is not."""
        return sorted(name for name, user in self.users.items() if user.published == published)

    def left_out(self) -> list[str]:
        """The users whom this run leaves out."""
        return sorted(name for name, user in self.users.items() if user.phase == LEFT_OUT)


def plan(
    site, run: str, accounts: Iterable[users.Account], jobs: int, zone: int | None = None
) -> dict:
    """The plan file of the converter: where users' old mail is on the new host and where it goes.

    jobs: number of processes. zone: seconds east of Greenwich of the old host now. Its server reads
    dates without a zone as of there; None: as of the new host.
    """
    old, new = site.old_store, site.new_store

    return {
        "run": run,
        "work": new.work,
        "jobs": jobs,
        "host": site.fqdn(site.roles.new),
        "users": [
            {
                **dataclasses.asdict(account),
                "inbox": [old.on_new(account.fill(path)) for path in old.inbox],
                "spool": old.on_new(account.fill(old.spool)),
                "folders": old.on_new(account.fill(old.folders)),
                "subscriptions": old.on_new(account.fill(old.subscriptions)),
                "old_home": old.on_new(account.home) if old.covers(account.home) else None,
                "roots": [
                    {"path": old.on_new(account.fill(root.path)), "name": root.name}
                    for root in old.roots
                ],
                "maildir": account.fill(new.maildir),
                **({} if zone is None else {"zone": zone}),
                **({"dots": new.dots} if new.escapes else {}),
            }
            for account in accounts
        ],
    }


def state(hosts, host: str, plan: dict) -> State:
    """What the plan's run has published and staged for the plan's users."""
    return model.from_json(State, read(hosts, host, plan, "state"))


# $1 where run() has left the converter, $2 its mark; then the command that runs it. Exits with
# NOT_THERE if it is not there, or if others than root could have left it there.
_IN_PLACE = f"""{own_directories.ABOVE}
[ -e "$1/$2" ] && (above "$1/x") 2>/dev/null || exit {NOT_THERE}
shift 2; exec "$@"
"""

# Runs the converter from memory, so that reading leaves no file on the host. The program comes on
# standard input, before what the converter itself reads there.
_FROM_MEMORY = """
import os, runpy, sys
program, left = os.memfd_create("store"), int(sys.argv[1])
while left:
    part = os.read(0, min(left, 1 << 20))
    if not part:
        raise SystemExit("standard input ended early")
    left -= len(part)
    while part:
        part = part[os.write(program, part):]
sys.argv = ["/proc/self/fd/%d" % program] + sys.argv[2:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


def read(hosts, host: str, plan: dict, command: str, *options, timeout: float = 600) -> dict:
    """The JSON answer of a reading command (`state`, `survey`) run on a host, users by name.

    A survey that met unreadable files exits 1 and still answers.
    timeout: seconds. Raises ChangeFailed when there is no answer.
    """
    text, python = json.dumps(plan).encode(), [hosts.site.new_store.python, *FLAGS]
    folder, asked = f"{plan['work']}/{plan['run']}", [command, "--plan", "-", "--json", *options]
    look = ["sh", "-c", _IN_PLACE, "read", f"{folder}/store", ship.mark()]
    argv = [*look, *python, f"{folder}/{PROGRAM}", *asked]
    more = {"timeout": timeout, "check": False, "max_output": ANSWER}
    result = hosts.run(host, argv, sudo=True, input=text, **more)
    if result.rc == NOT_THERE:
        program = ship.content()
        argv, text = [*python, "-c", _FROM_MEMORY, str(len(program)), *asked], program + text
        result = hosts.run(host, argv, sudo=True, input=text, **more)
    try:
        answer = json.loads(result.out)
    except ValueError:
        output = result.err.decode("utf-8", "backslashreplace").strip()[-500:]
        raise model.ChangeFailed(
            f"the converter's {command} failed on {host}: "
            f"exit status {result.rc}, {output or 'no output'}"
        ) from None
    return {**answer, "users": {user["user"]: user for user in answer["users"]}}


# Unpacks and compiles the converter, whole or not at all, also when the host loses power.
_UNPACK = """
umask 077 && cd "$1" && rm -rf store store.new && "$2" -I -m zipfile -e store.pyz store.new &&
"$2" -I -m compileall -q store.new &&
find store.new -exec sync {} + && mv store.new store && rm store.pyz
"""


def install(connection, folder: str, python: str) -> None:
    """Unpack the converter in a folder of the host, unless this version is there already."""
    if connection.run(["test", "-e", f"{folder}/store/{ship.mark()}"], sudo=True, check=False).rc:
        connection.put(ship.content(), f"{folder}/store.pyz", mode=0o600, sudo=True)
        connection.run(["sh", "-c", _UNPACK, "unpack", folder, python], sudo=True)


def run(hosts, host: str, plan: dict, command: str, on_event, name: str = "") -> detached.Ended:
    """Install the converter in the plan's work folder and run a writing command to its end.

    It runs apart from the link and from this process (see detached). on_event(dict) takes its
    events; name distinguishes work with the same command. The caller judges the exit status.
    """
    connection = hosts.ssh(host)
    folder = f"{plan['work']}/{plan['run']}"
    # 0711: processes that are the users pass through, to directories of their own inside. Program,
    # records, plans and events have mode 0700 and 0600.
    connection.run(own_directories.command("0711", plan["work"], folder), sudo=True)
    install(connection, folder, hosts.site.new_store.python)
    name = name or command
    argv = [
        hosts.site.new_store.python,
        *FLAGS,
        f"{folder}/{PROGRAM}",
        command,
        "--plan",
        f"{folder}/{name}.plan.json",
        "--events",
        f"{folder}/{name}.events",
    ]
    return detached.run(hosts, host, folder, name, unit(plan["run"], name), plan, argv, on_event)


def unit(run: str, name: str) -> str:
    """The name of the systemd unit that the work runs in."""
    return f"cutover-{run}-{name}"
