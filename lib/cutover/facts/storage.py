"""Where the new host's store is, and what is known of its copy on other storage.

remote/store_mover.py does the copying; remote/store_copies.py writes the notes read here.
"""

import dataclasses
import json
import pathlib
import re
from typing import NamedTuple

from cutover import model
from cutover.facts import dovecot, files, machine, users

MARK = ".cutover-copy"  # as remote/store_copies.py has it
UNITS = "/etc/systemd/system/"

STATUS = "messages uidnext uidvalidity unseen"

# $@ what counts the folders of the user who runs it
_FOLDERS = """cd /; while read -r user uid gid home; do
    echo "user $user"
    USER=$user HOME=$home setpriv --reuid "$uid" --regid "$gid" --init-groups "$@" < /dev/null || {
        status=$?; echo "Dovecot cannot count the folders of $user" >&2; exit $status; }
done"""


# --- notes of the copies


@dataclasses.dataclass(frozen=True)
class Pass:
    """One pass of rsync. files: entries. bytes: copied ones."""

    files: int
    copied: int
    bytes: int
    deleted: int
    seconds: float


@dataclasses.dataclass(frozen=True)
class Compared:
    """A comparison of both sides. read, known: files whose contents were read now, or before.

    unread: files whose contents were not read for lack of time.
    """

    entries: int
    different: int
    read: int
    known: int
    unread: int


@dataclasses.dataclass(frozen=True)
class CopyState:
    """Figures of one copy. predicted: seconds that the last copy will take.

    former: what the store was before, and the unit's text for it; see SwitchStore.
    """

    passes: list[Pass] = dataclasses.field(default_factory=list)
    predicted: float | None = None
    compared: Compared | None = None
    former: tuple[str, str] | None = None


class Count(NamedTuple):
    """A folder as Dovecot counts it."""

    messages: int
    uidnext: int
    uidvalidity: int
    unseen: int


Counts = dict[str, dict[str, Count]]  # {user: {folder: Count}}


@dataclasses.dataclass(frozen=True)
class Copy:
    """after: what Dovecot counted when the copy took the store's place, or None."""

    state: CopyState
    after: Counts | None = None


@dataclasses.dataclass(frozen=True)
class Notes:
    """alone: the directory from which mail was served last, None for the first store.

    copies: per directory.
    """

    alone: str | None = None
    copies: dict[str, Copy] = dataclasses.field(default_factory=dict)

    def copy(self, to: str) -> Copy:
        """What is known of one copy; empty before there is one."""
        return self.copies.get(to, Copy(CopyState()))


def place(work: str) -> str:
    """The directory for the notes of moves."""
    return f"{work}/move-store"


def notes(hosts, name: str, work: str) -> Notes:
    """What is known of all copies."""
    result = hosts.run(name, ["cat", f"{place(work)}/state.json"], sudo=True, check=False)
    return parse_notes(result.out) if result.rc == 0 else Notes()


def parse_notes(data: bytes) -> Notes:
    """The notes that store_copies wrote; empty when they cannot be read."""
    try:
        written = json.loads(data)
    except ValueError:
        return Notes()
    copies = {
        directory: Copy(model.from_json(CopyState, copy), _counts(copy.get("after")))
        for directory, copy in written.get("copies", {}).items()
    }
    return Notes(written.get("alone"), copies)


def _counts(after):
    if not after:
        return None
    return {
        user: {folder: Count(*row) for folder, row in folders.items()}
        for user, folders in after.items()
    }


# --- the store and the new storage


@dataclasses.dataclass(frozen=True)
class Mark:
    """The mark in a copy. store: what it is a copy of. place: the directory where it was made."""

    store: str
    place: str


@dataclasses.dataclass(frozen=True)
class Unit:
    """The unit that mounts the storage. text: None without the unit."""

    text: str | None
    enabled: bool

    @property
    def place(self) -> str:
        """The directory that the unit puts in the store's place; "" for another text, or none."""
        match = re.search(r"mount --bind (\S+) ", self.text or "")
        return match[1] if match else ""


@dataclasses.dataclass(frozen=True)
class NewPlace:
    """The directory of the new storage.

    there: it is a directory. names: a few of its entries. ours: it holds a copy of ours. real: its
    path without links. inside: a directory above it is the store. lasting: its mount comes back
    after a reboot.
    """

    there: bool
    names: list[str] = dataclasses.field(default_factory=list)
    ours: bool = False
    mark: Mark | None = None
    real: str = ""
    inside: bool = False
    filesystem: machine.FileSystem | None = None
    lasting: bool = False


def unit_name(store: str) -> str:
    """The unit that puts the new storage in the place of a store."""
    return "cutover-store-" + re.sub(r"[^A-Za-z0-9]+", "-", store).strip("-") + ".service"


def unit(hosts, name: str, store: str) -> Unit:
    """The unit as it is on a host."""
    unit = unit_name(store)
    enabled = hosts.run(name, ["systemctl", "is-enabled", unit], check=False).text.strip()
    return Unit(files.read(hosts, name, UNITS + unit), enabled == "enabled")


def mounted(hosts, name: str, store: str, to: str) -> bool:
    """Whether the store's path shows another directory."""
    result = hosts.run(name, ["stat", "-L", "-c", "%d:%i", "--", store, to], sudo=True, check=False)
    numbers = result.text.split()
    return result.rc == 0 and len(numbers) == 2 and numbers[0] == numbers[1]


def mark(hosts, name: str, directory: str) -> Mark | None:
    """The mark of a copy in a directory, or None."""
    result = hosts.run(name, ["cat", "--", f"{directory}/{MARK}"], sudo=True, check=False)
    lines = [*result.text.split("\n"), ""]
    return Mark(lines[0], lines[1]) if result.rc == 0 else None


def new_place(hosts, name: str, store: str, to: str) -> NewPlace:
    """What is in the directory of the new storage, and how it is mounted."""
    listing = hosts.run(name, ["ls", "-A", "--", to + "/"], sudo=True, check=False)
    if listing.rc:
        return NewPlace(there=False, real=to)
    ignored = ("lost+found", MARK + ".part")
    names = sorted(line for line in model.lines(listing.text) if line not in ignored)
    path, filesystem = real(hosts, name, to), machine.filesystem(hosts, name, to)
    return NewPlace(
        there=True,
        names=names[:5],
        ours=MARK in names,
        mark=mark(hosts, name, to),
        real=path,
        inside=_is_inside(hosts, name, path, store),
        filesystem=filesystem,
        lasting=_lasting(hosts, name, filesystem.target),
    )


def _is_inside(hosts, name, path, store):
    above = [str(directory) for directory in pathlib.PurePosixPath(path).parents]
    argv = ["stat", "-L", "-c", "%d:%i", "--", store, *above]
    numbers = hosts.run(name, argv, sudo=True, check=False).text.split()
    return bool(numbers) and numbers[0] in numbers[1:]


def real(hosts, name: str, path: str) -> str:
    """A path with its symbolic links followed."""
    return hosts.run(name, ["readlink", "-m", "--", path], sudo=True).text.rstrip("\n")


def _lasting(hosts, name, target):
    """Whether a mount point is in /etc/fstab or has a unit; the root has."""
    if target == "/":
        return True
    escape = ["systemd-escape", "--path", "--suffix=mount", target]
    escaped = hosts.run(name, escape, check=False)
    if escaped.rc:
        return False
    show = ["systemctl", "show", "--property=FragmentPath", "--value", "--", escaped.text.strip()]
    return bool(hosts.run(name, show, check=False).text.strip())


def counts(hosts, name: str) -> Counts:
    """Every folder of every user as Dovecot counts it now. Raises ssh.CommandFailed."""
    lines = "".join(
        f"{account.user} {account.uid} {account.gid} {account.home}\n"
        for account in users.read(hosts, name)
    )
    argv = ["sh", "-c", _FOLDERS, "folders", *status_argv(hosts, name)]
    output = hosts.run(name, argv, sudo=True, input=lines.encode(), timeout=600).text
    return parse_counts(output)


def status_argv(hosts, name: str) -> list[str]:
    """What a user's own process runs to count its folders, as `Count`s."""
    return dovecot.spelling(hosts, name).own_status(STATUS)


def parse_counts(text: str) -> Counts:
    """The output of `doveadm mailbox status` per user, each after a line `user NAME`."""
    counts, folders = {}, None
    for line in text.split("\n"):  # a folder's name may hold other line ends
        if line.startswith("user "):
            folders = counts.setdefault(line[5:], {})
        elif folders is not None and "\t" in line and not line.startswith("mailbox\t"):
            folder, *values = line.split("\t")
            folders[folder] = Count(*map(int, values))
    return counts
