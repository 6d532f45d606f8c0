"""Presync compares what it staged with the old server, while users work, so that verify need not.

Folder by folder first (carried.py), and where all of a user's folders are equal, what is left of
the user (carried_users.py). What is known of both sides is taken before they are read and again
afterwards, when any change would have given it another time.
"""

import dataclasses
import time
from typing import NamedTuple

from cutover import model
from cutover.comparison import carried, carried_users, elsewhere, folders, messages
from cutover.comparison.contents import Contents
from cutover.connect import imap
from cutover.facts import dovecot_programs, mailboxes, pop3
from cutover.facts.users import Account
from cutover.remote import back_off


class Proved(NamedTuple):
    """proofs: {user: of its folders}. wholes: {user: of all its mail}, for some of the users."""

    proofs: dict[str, carried.Proofs]
    wholes: dict[str, carried_users.Whole]


class _Rest(NamedTuple):
    """What is left of a user, read and equal. before, digests: of the old side, before it was
    read."""

    before: carried_users.Listing
    digests: list[str]
    messages: int
    uidls: int | None
    besides: elsewhere.Elsewhere
    at: float


class _Reading(NamedTuple):
    """Of one user. whole: proven by an earlier pass; nothing was read. fresh: something was."""

    proofs: carried.Proofs
    whole: carried_users.Whole | None = None
    rest: _Rest | None = None
    fresh: bool = False


def prove(hosts, run: str, accounts: list[Account], known: Proved, deadline: float) -> Proved:
    """Compare the staged mail with the old, contents too.

    known: by an earlier pass, not read again while it holds. deadline: by time.monotonic(); nothing
    is begun after it.
    """
    new = carried.of_new(hosts, run, accounts, staged=True)
    if not all(signature.settled for user in new.values() for signature in user.values()):
        time.sleep(carried.SETTLED + 1)
        new = carried.of_new(hosts, run, accounts, staged=True)
    with (
        dovecot_programs.read_once(hosts, [hosts.site.roles.new]),
        back_off.Watch(hosts, hosts.site.presync.back_off_ms) as watch,
    ):
        served = pop3.served(hosts, hosts.site.roles.new)
        reader = _Reader(hosts, new, known, deadline, served, watch)
        readings = carried.of_each(hosts, accounts, reader.read)
    if any(reading.fresh for reading in readings.values()):
        time.sleep(carried.SETTLED + 1)  # c-client has just set the times of what it read

    def still_equal(account):
        return _still_equal(hosts, account, readings[account.user], new[account.user])

    read = [account for account in accounts if account.user in readings]
    equal = carried.of_each(hosts, read, still_equal)
    return Proved(
        {user: proofs for user, (proofs, _) in equal.items()},
        {user: whole for user, (_, whole) in equal.items() if whole},
    )


@dataclasses.dataclass(frozen=True)
class _Reader:
    """One pass. new: the staged folders' signatures, by user and name. served: whether Dovecot
    serves POP3."""

    hosts: object
    new: dict[str, dict[str, carried.Signature]]
    known: Proved
    deadline: float
    served: bool
    watch: back_off.Watch

    def read(self, account: Account) -> _Reading:
        hosts, new = self.hosts, self.new[account.user]
        whole = self.known.wholes.get(account.user)
        known = self.known.proofs.get(account.user, {})
        asked = whole and (whole.uidls is not None) == self.served
        if asked and carried_users.is_unchanged(hosts, account, whole, new):
            return _Reading(known, whole)
        proofs = carried.unchanged(hosts, account, known, new)
        todo = self._todo(account, new, proofs)
        if not (todo or self._is_left(new, proofs)) or time.monotonic() > self.deadline:
            return _Reading(proofs)
        with mailboxes.tree_session(hosts, account) as staged:
            proofs |= self._folders(account, todo, staged) if todo else {}
            rest = None
            if self._is_left(new, proofs) and time.monotonic() < self.deadline:
                rest = model.read(self._rest, account, proofs, staged)
        return _Reading(proofs, rest=rest.value if rest and rest.ok else None, fresh=True)

    def _todo(self, account, new, proofs):
        """{old name: (digest, Signature)} of the folders to be read."""
        prefix = self.hosts.site.old_store.imap_prefix
        names = {prefix + name: new[name] for name in new if name != "INBOX" and new[name].settled}
        names = {name: names[name] for name in names if name not in proofs}
        old = carried.of_old(self.hosts, account, names)
        return {name: (old[name].digest, names[name]) for name in old}

    def _is_left(self, new, proofs):
        """Whether INBOX alone of a user's staged folders is not proven. new: their signatures."""
        names = {"INBOX", *(proof.new_name for proof in proofs.values())}
        return new.keys() == names and all(signature.settled for signature in new.values())

    def _folders(self, account, todo, staged):
        """The proofs of those folders whose messages are all equal. todo: as _todo()."""
        proofs, prefix = {}, self.hosts.site.old_store.imap_prefix
        with mailboxes.old_session(self.hosts, account.user) as old:
            old.paced = back_off.pacer(self.hosts.site, self.watch)
            for name, (digest, signature) in todo.items():
                new_name, at = name.removeprefix(prefix), time.time()
                if time.monotonic() > self.deadline:
                    break
                try:
                    after, before = staged.stream(new_name, "content"), old.stream(name, "content")
                    result = messages.compare(before, after)
                except imap.FolderUnreadable:
                    continue
                whole = result.old == result.new == result.contents
                if whole and not (result.differing or result.extra or result.renumbered):
                    proofs[name] = carried.Proof(
                        *(new_name, digest, signature.text, after.uidvalidity),
                        *(result.contents, result.line_ends, at),
                    )
        return proofs

    def _rest(self, account, proofs, staged):
        """What is left of the user, or None if not all of it is equal.

        The session that read the folders has ended: c-client sets their times until then.
        """
        hosts, at = self.hosts, time.time()
        before = carried_users.listing(hosts, account)
        if before is None:
            return None
        digests = carried_users.inbox_digests(hosts, account)
        known = [folders.Converted(name, proof.new_name) for name, proof in proofs.items()]
        known.append(folders.Converted("INBOX", "INBOX"))

        def uidls():
            return pop3.staged_uidls(hosts, account)

        with mailboxes.old_session(hosts, account.user) as old:
            old.paced = back_off.pacer(hosts.site, self.watch)
            contents = Contents("", deadline=self.deadline)
            compared = folders.read_user(
                *(hosts, old, staged, account.user, known, "content", contents),
                uidls=uidls if self.served else None,
                proofs=proofs,
                again=carried.Again(""),
            )
            besides = elsewhere.read(hosts, old, account, known, ())
        inbox, *others = compared
        if besides.mail or besides.unseen or inbox.notes or inbox.spool or inbox.extra:
            return None
        if not inbox.old == inbox.new == inbox.contents or any(row.differing for row in compared):
            return None
        if not all(row.proven for row in others):
            return None
        uidls_compared = inbox.uidls if self.served else None
        return _Rest(before, digests, inbox.old, uidls_compared, besides, at)


def _still_equal(hosts, account, reading, new):
    """(proofs, Whole or None) of a user, as far as the old side is still what was read."""
    if reading.whole:
        return reading.proofs, reading.whole
    proofs, rest = carried.kept(hosts, account, reading.proofs), reading.rest
    if rest is None or proofs.keys() != reading.proofs.keys():
        return proofs, None
    now = carried_users.listing(hosts, account)
    if now is None or not now.settled or now.loose != rest.before.loose:
        return proofs, None
    if carried_users.inbox_digests(hosts, account) != rest.digests:
        return proofs, None
    new_signatures = carried_users.of_new(new)
    return proofs, carried_users.Whole(
        *(now.exact, now.loose, rest.digests, new_signatures),
        *(rest.messages, rest.uidls, rest.besides, rest.at),
    )
