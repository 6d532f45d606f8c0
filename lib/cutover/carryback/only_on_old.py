"""Which mail exists on the old server only, after users worked on the new one for days.

Both sides are read by c-client and Dovecot (PREAUTH, EXAMINE); nothing is changed. A message of
the old side is accounted for when

- it has UIDVALIDITY, UID and date of a message that the conversion took over and that is still
  there;
- the conversion took one of its UID, date and size over, by the record of the published tree, and
  the user moved or removed it since;
- Dovecot has a message with the same digest, as with both copies of mail delivered twice;
- the new server's log says that it was delivered there: then the user removed it.

What remains is on the old server only. Where the published tree was lost and another one restored,
its record proves nothing: then only texts and deliveries count.
"""

import collections
import concurrent.futures
import dataclasses
from typing import NamedTuple

from cutover.carryback import published
from cutover.connect import imap
from cutover.facts import logs, mailboxes, message_text
from cutover.model import errors
from cutover.remote import converter

SHOWN = 10  # messages of one user listed in full


@dataclasses.dataclass
class Tally:
    """One user's messages on the old server, by what accounts for them.

    old: all of them. same: under the same UID. moved, removed: by the user, on the new server.
    twice: on both sides, by digest. delivered: on the new server, by its log, and removed since.
    only: accounted for by nothing; `first` names the first of them. notes: texts.
    """

    old: int = 0
    same: int = 0
    moved: int = 0
    removed: int = 0
    twice: int = 0
    delivered: int = 0
    only: int = 0
    first: list[str] = dataclasses.field(default_factory=list)
    notes: list[str] = dataclasses.field(default_factory=list)


@dataclasses.dataclass(frozen=True)
class Remainder:
    """`{user: Tally}`, and `{user: why}` of those whose mail could not be compared."""

    users: dict[str, Tally]
    errors: dict[str, str]


class _Open(NamedTuple):
    """A message that neither UIDs nor digests account for."""

    message_id: str
    text: str


class _Old(NamedTuple):
    """A message of an old folder."""

    folder: str
    message: imap.Message


def read(hosts, users: list, run: str, since: float) -> Remainder:
    """Compare the mail of all users.

    users: getent's. run: the run that converted. since: when the conversion began, seconds since
    the epoch.
    """
    entries = {entry["user"]: entry for entry in converter.plan(hosts.site, run, users, 1)["users"]}
    trees = published.trees(hosts, entries.values(), run)
    tallies, failures, unexplained = {}, {}, {}
    with concurrent.futures.ThreadPoolExecutor(hosts.site.verify.parallel) as pool:
        futures = {
            user: pool.submit(_compare_user, hosts, run, entries[user], trees[user])
            for user in sorted(entries)
        }
        for user, future in futures.items():
            try:
                tallies[user], unexplained[user] = future.result()
            except errors.CutoverError as error:
                failures[user] = str(error)
    if any(unexplained.values()):
        delivered = logs.delivered(hosts, since)
        for user, messages in unexplained.items():
            only = [row for row in messages if (user, row.message_id) not in delivered]
            tally = tallies[user]
            tally.delivered, tally.only = len(messages) - len(only), len(only)
            tally.first = [row.text for row in only[:SHOWN]]
    return Remainder(tallies, failures)


def _compare_user(hosts, run, entry, tree) -> tuple[Tally, list[_Open]]:
    if not (tree.published or tree.lost):
        raise errors.CutoverError("this run published no tree for this user")
    with (
        mailboxes.old_session(hosts, entry["user"]) as old,
        mailboxes.new_session(hosts, entry["user"]) as new,
    ):
        comparison = _Comparison(hosts.site, entry, tree, old, new)
        comparison.read_new()
        comparison.read_old()
        comparison.judge_gone(hosts, run)
        return comparison.tally, comparison.match_by_digest()


class _Comparison:
    """One user's two sides.

    not_same: `{(new folder, UID): message}` of Dovecot's messages without a partner by UID.
    gone: old messages below the conversion's UIDNEXT whose partner is gone.
    arrived: old messages that the conversion did not take over under their UID.
    spool_positions: of the old INBOX or the spool file, the place of each UID, from 0.
    """

    def __init__(self, site, entry, tree, old, new):
        self.site, self.entry, self.tree, self.old, self.new = site, entry, tree, old, new
        self.tally = Tally()
        self.published = {}
        if tree.lost:
            self.tally.notes.append(
                "the published tree is no longer there: each message is looked for by its text only"
            )
        else:
            self.published = {folder.old: folder for folder in tree.folders}
        self.new_folders, self.not_same = {}, {}
        self.gone: list[_Old] = []
        self.arrived: list[_Old] = []
        self.spool_positions = {}

    def read_new(self):
        names = {name for name, _, selectable in self.new.folders("*") if selectable} | {"INBOX"}
        self.new_folders = {name: self.new.read(name, "metadata") for name in sorted(names)}
        self.not_same = {
            (name, message.uid): message
            for name, folder in self.new_folders.items()
            for message in folder.messages
        }

    def read_old(self):
        path = self.site.old_store.spool.format(user=self.entry["user"], home=self.entry["home"])
        spool = _read(self.old, path)
        prefix, passed = self.site.old_store.imap_prefix, self.tree.passed_over
        further = filter(None, self.published)
        for name in mailboxes.old_folders(self.old, prefix, passed, further):
            folder = _read(self.old, name)
            if self._is_passed_over(name):
                self.tally.notes.append(f"{name}: not a folder; the conversion skipped the file")
                continue
            if folder is None:
                self._note_unreadable(name)
                continue
            self.tally.old += len(folder.messages)
            if name == "INBOX" and spool and _looks(spool) == _looks(folder):
                self._set_positions(folder)  # c-client shows the spool as INBOX
                spool = None
            self._compare_by_uid(name, folder)
        if spool:
            self.tally.old += len(spool.messages)
            self._set_positions(spool)
            self.arrived += [_Old(spool.name, message) for message in spool.messages]

    def _is_passed_over(self, name):
        passed = self.tree.passed_over
        return name not in self.published and mailboxes.is_below(name, passed)

    def _note_unreadable(self, name):
        if name == "INBOX":
            return
        folder = self.published.get(name)
        salvaged = folder is not None and folder.damaged
        self.tally.notes.append(
            f"{name}: c-client cannot read it"
            + ("; the conversion salvaged its messages" if salvaged else "")
        )

    def _set_positions(self, folder):
        self.spool_positions = {message.uid: place for place, message in enumerate(folder.messages)}

    def _compare_by_uid(self, name, old_folder):
        """Count messages that are still there under their UIDs; the others are judged later."""
        folder = self.published.get(name)
        new_name, limit = (folder.new, folder.uid_limit) if folder else (None, 0)
        new_folder = self.new_folders.get(new_name)
        by_uid = {}
        if (
            new_folder is not None
            and new_folder.uidvalidity == folder.uidvalidity == old_folder.uidvalidity
        ):
            by_uid = {message.uid: message for message in new_folder.messages}
        for message in old_folder.messages:
            other = by_uid.get(message.uid) if message.uid < limit else None
            if other is not None and other.internaldate == message.internaldate:
                self.not_same.pop((new_name, other.uid), None)
                self.tally.same += 1
            elif message.uid < limit:
                self.gone.append(_Old(name, message))
            else:
                self.arrived.append(_Old(name, message))

    def judge_gone(self, hosts, run):
        """Moved or removed, if the record shows that the conversion took the message over."""
        uids = collections.defaultdict(list)
        for row in self.gone:
            uids[self.published[row.folder].key].append(row.message.uid)
        record = published.source_messages(hosts, run, self.entry, uids)
        looks = {(message.size, message.internaldate) for message in self.not_same.values()}
        for row in self.gone:
            source = record.get((self.published[row.folder].key, row.message.uid))
            # of other UIDs than the conversion gave, an equal one may be another message
            if (
                source is None
                or not source.has_date(row.message.internaldate)
                or row.message.size not in (source.old_size, source.new_size)
            ):
                self.arrived.append(row)
            elif (source.new_size, row.message.internaldate) in looks:
                self.tally.moved += 1
            else:
                self.tally.removed += 1

    def match_by_digest(self) -> list[_Open]:
        """Count what Dovecot has by digest. Returns what nothing accounts for."""
        if not self.arrived:
            return []
        keys, unexplained = self._new_keys(), []
        for folder, messages in _by_folder(self.arrived).items():
            for message, text in self.old.texts(folder, messages):
                if message_text.key(text) in keys:
                    self.tally.twice += 1
                elif self._was_taken_over_from_spool(folder, message):
                    self.tally.removed += 1
                else:
                    unexplained.append(_open(folder, message, text))
        return unexplained

    def _new_keys(self):
        rows = [_Old(folder, message) for (folder, _), message in self.not_same.items()]
        return {
            message_text.key(text)
            for folder, messages in _by_folder(rows).items()
            for _, text in self.new.texts(folder, messages)
        }

    def _was_taken_over_from_spool(self, folder, message):
        """The conversion took the spool over from its beginning, so the place says it."""
        inbox = (published for published in self.published.values() if not published.key)
        spooled = next((published.spooled for published in inbox), 0)
        is_inbox = folder == "INBOX" or folder.startswith("/")
        return is_inbox and self.spool_positions.get(message.uid, spooled) < spooled


def _read(session, name):
    try:
        return session.read(name, "metadata")
    except imap.FolderUnreadable:
        return None


def _looks(folder):
    return sorted((message.size, message.internaldate) for message in folder.messages)


def _by_folder(rows: list[_Old]) -> dict[str, list[imap.Message]]:
    folders = collections.defaultdict(list)
    for row in rows:
        folders[row.folder].append(row.message)
    return folders


def _open(folder, message, text):
    message_id = message_text.message_id(text)
    date = f"{message.internaldate:%Y-%m-%d %H:%M}"
    return _Open(message_id, f"{folder} UID {message.uid} of {date} {message_id}".rstrip())
