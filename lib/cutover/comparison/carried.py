"""Contents proven equal before the outage, and what tells that nothing was touched since.

On the old host a folder is known by the SHA-256 of its mail file. The digest is taken before and
after the folder is read: if both are equal, it is the digest of what was read. Before it is taken
for the last time, the file's status is (device, inode, size, times). Nobody but root can set a
ctime: a file whose status is still the same has the same digest, and need not be read for it. Where
somebody read or wrote it since, c-client has set its times, and the digest decides.

On the new host a folder is known by what the file system says of all its files
(mbx2maildir.signatures), taken before the contents were read.

Either counts only if the last change was not so close to it that another could have got the same
time (SETTLED). What a user writes into a mapped file may have no new ctime; that is why all carried
folders are read once more (comparison/second_reading.py).

INBOX is carried only with its user (carried_users.py): the old server says which files make it up.
proving.py makes the proofs.
"""

import concurrent.futures
import dataclasses
import hashlib
import math
import re
from collections.abc import Callable, Iterable

from cutover import model
from cutover.comparison import messages
from cutover.connect import imap
from cutover.facts import mailboxes
from cutover.facts.users import Account
from cutover.remote import converter

SETTLED = 4.0  # seconds, for ctimes in whole seconds on hosts whose clocks differ a little
WAIT = 600  # seconds
FOLDERS = 20  # carried folders of which verify reads some messages again, at most
SHARE = 10  # and at most one of so many: to open their users takes most of verify's time
PART = 10  # messages of each
_SEEN = re.compile(
    r"(?P<digest>=|[0-9a-f]{64})\|(?P<status>(?:[0-9]+ ){4}(?P<changed>[0-9]{1,12}))\|"
    r"(?P<at>[0-9]{1,12})"
)
# Arguments: the status known, then the path. A line for each: digest, status, seconds since the
# epoch before either was taken. "=" for the digest: the status is as known. None: not one file.
_LOOK = r"""
at=$(date +%s)
for each; do
    known=${each%%/*} file=/${each#*/} digest= status=
    if [ -f "$file" ]; then
        status=$(stat -L -c '%d %i %s %Y %Z' "$file")
        if [ -n "$status" ] && [ "$status" = "$known" ]; then
            digest="="
        else
            digest=$(sha256sum < "$file")
        fi
    fi
    echo "${digest%% *}|$status|$at"
done
"""


@dataclasses.dataclass(frozen=True, slots=True)
class Signature:
    """settled: whether any later change gives another one."""

    text: str
    settled: bool


@dataclasses.dataclass(frozen=True, slots=True)
class Proof:
    """A folder whose messages and their contents were equal on both sides.

    new_name: as IMAP says it. old: the digest of its mail file. new: its signature before it was
    read. uidvalidity: of both. at: when, in seconds since the epoch. line_ends: see
    messages.Comparison. status: of the mail file, see Seen.
    """

    new_name: str
    old: str
    new: str
    uidvalidity: int
    messages: int
    line_ends: int
    at: float
    status: str = ""


Proofs = dict[str, Proof]  # by the folder's old name


@dataclasses.dataclass(frozen=True, slots=True)
class Seen:
    """A mail file of the old host. status: as stat(1) says it, or empty if it is not settled."""

    digest: str
    status: str


def shown(new: imap.Session, proofs: Proofs) -> Proofs:
    """The proofs of folders of which Dovecot shows as much: the signature is not of its indexes."""
    names = [proof.new_name for proof in proofs.values()]
    statuses = imap.status_together(new, names, ["MESSAGES", "UIDVALIDITY"])
    return {
        name: proof
        for name, proof in proofs.items()
        if statuses.get(proof.new_name)
        == {"MESSAGES": proof.messages, "UIDVALIDITY": proof.uidvalidity}
    }


def is_wanted(site) -> bool:
    """Whether the parameters ask for proofs."""
    return site.verify.ahead and site.verify.level == "content"


def is_signed(name: str) -> bool:
    """Whether an old name means a file below the home and nothing else."""
    return name.upper() != "INBOX" and name[:1] not in ("", "/", "~", "#", "{", "*", ".")


def of_old(
    hosts, account: Account, names: Iterable[str], known: Proofs | None = None
) -> dict[str, Seen]:
    """The mail files on the old host, by old name, read as the user.

    known: proofs, by which a file whose status is theirs is not read.
    """
    names, known = [name for name in names if is_signed(name)], known or {}
    if not names:
        return {}
    statuses = [known[name].status if name in known else "" for name in names]
    paths = [f"{account.home}/{name}" for name in names]
    seen, lines = {}, look(hosts, account, paths, statuses)
    if len(lines) != len(names):  # a user may interfere with processes of his own
        return {}
    for name, line in zip(names, lines, strict=True):
        match = _SEEN.fullmatch(line)
        digest = match and match["digest"]
        if digest == "=":
            digest = known[name].old if name in known else None
        if digest:
            settled = int(match["changed"]) + SETTLED < int(match["at"])
            seen[name] = Seen(digest, match["status"] if settled else "")
    return seen


def look(hosts, account: Account, paths: list[str], statuses: Iterable[str]) -> list[str]:
    """What _LOOK says of some files of the old host, as IMAP names them, read as the user."""
    known = zip(statuses, map(imap.encode_name, paths), strict=True)
    answer = hosts.run(
        hosts.site.roles.old,
        ["xargs", "-0", "sh", "-c", _LOOK, "look"],
        as_user=account.user,
        input=b"\0".join(status.encode() + path for status, path in known),
        timeout=WAIT,
    )
    return model.lines(answer.text)


def of_new(hosts, run: str, accounts: list[Account], staged=False) -> dict[str, dict]:
    """{user: {new name: Signature}} of the live trees on the new host, or of the staged ones."""
    site = hosts.site
    plan = converter.plan(site, run, accounts, site.new_store.jobs)
    answer = converter.read(
        hosts, site.roles.new, plan, "signatures", *(["--staged"] if staged else [])
    )
    return {
        name: {
            mailboxes.shown(site, folder): Signature(text, newest + SETTLED < user["at"])
            for folder, (text, newest) in user["folders"].items()
        }
        for name, user in answer["users"].items()
    }


def of_each(hosts, accounts: Iterable[Account], function: Callable) -> dict:
    """{user: what the function says of the account}, several at a time.

    Who cannot be read here is read in the outage, where it fails.
    """
    with concurrent.futures.ThreadPoolExecutor(hosts.site.verify.parallel) as pool:
        users = pool.map(lambda account: model.read(function, account), accounts)
        return {
            account.user: reading.value
            for account, reading in zip(accounts, users, strict=True)
            if reading.ok
        }


def kept(hosts, account: Account, proofs: Proofs) -> Proofs:
    """The proofs of those folders whose mail file is still what was read, with its status."""
    seen = of_old(hosts, account, proofs, proofs)
    return {
        name: dataclasses.replace(proof, status=seen[name].status)
        for name, proof in proofs.items()
        if name in seen and seen[name].digest == proof.old
    }


def unchanged(
    hosts, account: Account, proofs: Proofs, new: dict[str, Signature]
) -> dict[str, Proof]:
    """The proofs that still hold. new: as of_new() of the user, of now."""
    old = of_old(hosts, account, proofs, proofs)
    return {
        name: proof
        for name, proof in proofs.items()
        if name in old
        and proof.new_name in new
        and (old[name].digest, new[proof.new_name].text) == (proof.old, proof.new)
    }


@dataclasses.dataclass(frozen=True)
class Again:
    """Which messages of carried folders verify reads again, chosen by a seed nobody knew before.

    folders: {(user, old name)}, some of all that may be carried.
    """

    seed: str
    folders: frozenset = frozenset()

    @classmethod
    def of(cls, seed: str, proofs: dict[str, Proofs]) -> "Again":
        names = [
            (user, name)
            for user in proofs
            for name, proof in proofs[user].items()
            if proof.messages
        ]
        names.sort(key=lambda pair: cls(seed)._number(*pair))
        return cls(seed, frozenset(names[: min(FOLDERS, math.ceil(len(names) / SHARE))]))

    def _number(self, user, name):
        text = f"{self.seed}\0{user}\0{name}".encode("utf-8", "surrogateescape")
        return int.from_bytes(hashlib.sha256(text).digest()[:8])

    def numbers(self, user: str, name: str, count: int) -> range:
        """The messages of a folder of `count`, by number."""
        if (user, name) not in self.folders:
            return range(0)
        size = min(PART, count)
        start = 1 + self._number(user, name) % (count - size + 1)
        return range(start, start + size)

    def carry(self, old, new, row, proof: Proof):
        """Fill a folder's row (folders.Row) from its proof, and read the chosen messages again.

        → the row.
        """
        row.old = row.new = row.contents = proof.messages
        row.proven, row.line_ends = proof.at, proof.line_ends
        row.note_line_ends()
        numbers = self.numbers(row.user, row.old_name, proof.messages)
        if not numbers:
            return row
        try:
            result = messages.compare(
                old.read(row.old_name, "content", numbers),
                new.read(row.new_name, "content", numbers),
            )
        except imap.FolderUnreadable as error:
            row.differs(str(error))
            return row
        row.differences, row.differing = list(result.differences), result.differing
        row.again, missing = result.contents, len(numbers) - result.contents
        if missing or result.extra:
            row.differs(f"{missing} of {len(numbers)} messages are no longer read on both sides")
        return row
