"""Users all of whose mail was proven equal before the outage: verify need not open it.

carried.py knows folders. A user is carried over as a whole if presync compared all that verify
compares (comparison/folders.py, comparison/elsewhere.py), by both servers and with the staged
tree in the Maildir's place, and found nothing to say of it: no message in the spool, no folder of
one side only, no mail besides.

On the old host a user is known by what c-client may look at: the home, and the files that may be
INBOX, the spool among them. Of everything there: type, device, inode, size, mtime, ctime and path.
Programs look for mail in INBOX all night, and c-client sets its times whenever it opens it: if
nothing but these has changed, the digests of these files decide. A link may lead to what changes
unseen, so a home that holds one is not carried.

On the new host a user is known by the signatures of INBOX and all folders
(mbx2maildir.signatures).
"""

import dataclasses
import hashlib
import os

from cutover.comparison import carried, elsewhere, folders
from cutover.facts.users import Account

LARGEST = 8_000_000  # bytes of a listing: some 80,000 entries
# Prints the time, the entries below some paths that exist, and "end" if nothing was left out.
_LIST = r"""
most=$0
for path; do
    shift
    if [ -e "$path" ] || [ -L "$path" ]; then set -- "$@" "$path"; fi
done
{ date +%s; find "$@" -printf '%y %D %i %s %T@ %C@ %p\0' && echo end; } | head -c "$most"
"""


@dataclasses.dataclass(frozen=True, slots=True)
class Listing:
    """What c-client may look at for a user. exact: SHA-256 of everything. loose: without the times
    of the files that may be INBOX. settled: whether any later change gives another one.
    """

    exact: str
    loose: str
    settled: bool


@dataclasses.dataclass(frozen=True, slots=True)
class Whole:
    """A user whose mail was all equal.

    exact, loose: see Listing. inboxes: the digests of the files that may be INBOX. new: SHA-256 of
    the new side's signatures. messages: in INBOX. uidls: of them, those whose POP3 identifiers were
    compared; None if Dovecot served no POP3. besides: what else the old server listed. at: when, in
    seconds since the epoch.
    """

    exact: str
    loose: str
    inboxes: list[str]
    new: str
    messages: int
    uidls: int | None
    besides: elsewhere.Elsewhere
    at: float


def of_new(signatures: dict[str, carried.Signature]) -> str:
    """The SHA-256 of a user's signatures, by the folder's name as IMAP says it."""
    texts = sorted((name, signature.text) for name, signature in signatures.items())
    return hashlib.sha256(repr(texts).encode("utf-8", "surrogateescape")).hexdigest()


def _inboxes(site, account):
    """The paths of the files that may be INBOX, the spool's last."""
    return [account.fill(path) for path in (*site.old_store.inbox, site.old_store.spool)]


def listing(hosts, account: Account) -> Listing | None:
    """Of now, read as the user. None: not all of it can be read, or it holds a link."""
    inboxes = _inboxes(hosts.site, account)
    answer = hosts.run(
        hosts.site.roles.old,
        ["sh", "-c", _LIST, str(LARGEST), account.home, *inboxes],
        as_user=account.user,
        timeout=carried.WAIT,
    )
    at, _, rest = answer.out.partition(b"\n")
    *entries, end = rest.split(b"\0")
    if end != b"end\n":
        return None
    exact, loose, newest = [], [], 0.0
    inbox_paths = {os.fsencode(path) for path in inboxes}
    for entry in sorted(set(entries)):
        kind, device, inode, size, changed, ctime, path = entry.split(b" ", 6)
        if kind not in (b"f", b"d"):
            return None
        exact.append(entry)
        newest = max(newest, float(ctime))
        loose.append((kind, device, inode, size, path) if path in inbox_paths else entry)
    return Listing(
        hashlib.sha256(b"\0".join(exact)).hexdigest(),
        hashlib.sha256(repr(loose).encode()).hexdigest(),
        newest + carried.SETTLED < int(at),
    )


def inbox_digests(hosts, account: Account) -> list[str]:
    """Those of the files that may be INBOX, each "" where there is none."""
    paths = _inboxes(hosts.site, account)
    lines = carried.look(hosts, account, paths, ["" for _ in paths])
    return [line.partition("|")[0] for line in lines]


def is_unchanged(hosts, account: Account, whole: Whole, new: dict[str, carried.Signature]) -> bool:
    """Whether neither side has changed since. new: as carried.of_new() of the user, of now."""
    if of_new(new) != whole.new:
        return False
    now = listing(hosts, account)
    if now is None or now.loose != whole.loose:
        return False
    return now.exact == whole.exact or inbox_digests(hosts, account) == whole.inboxes


def rows(user: str, whole: Whole, proofs: carried.Proofs) -> list[folders.Row]:
    """The user's folders, as they were compared before the outage."""
    inbox = folders.Row(
        *(user, "INBOX", "INBOX", whole.messages, whole.messages),
        contents=whole.messages,
        uidls=whole.uidls or 0,
        proven=whole.at,
    )
    nothing = carried.Again("")
    others = [
        nothing.carry(None, None, folders.Row(user, name, proof.new_name), proof)
        for name, proof in sorted(proofs.items())
    ]
    return [inbox, *others]
