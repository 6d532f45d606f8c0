"""What the conversion took over from each user, as the store on the new host records it."""

import dataclasses
from collections.abc import Collection, Iterable, Mapping
from datetime import datetime

from cutover.facts import mailboxes
from cutover.model import errors
from cutover.remote import converter


class RecordUnreadable(errors.CutoverError):
    """The converter could not read what it took over from a user."""


@dataclasses.dataclass(frozen=True)
class PublishedFolder:
    """One folder of a published tree.

    key: its Maildir name. old: its name on the old server, None when only the new side had it.
    new: its name on the new server. uid_limit: below it, a UID is the same message on both
    sides. lost_keywords: in lower case, those the Maildir had no letter for. spooled: how many
    messages came from the spool. damaged: whether its file had to be salvaged.
    """

    key: str
    old: str | None
    new: str
    uidvalidity: int
    uid_limit: int
    lost_keywords: frozenset[str] = frozenset()
    spooled: int = 0
    damaged: bool = False


@dataclasses.dataclass(frozen=True)
class PublishedTree:
    """What the store says of one user.

    published: the live tree is the one this run published, with the id `tree`.
    lost: it was published, and another tree is in its place now.
    live_tree, live_since: id and time (seconds since the epoch) of whatever tree is live, if any
    run published it. passed_over: names on the old server of what is no folder.
    """

    user: str
    published: bool
    lost: bool
    tree: str | None
    live_tree: str | None
    live_since: float | None
    folders: tuple[PublishedFolder, ...]
    passed_over: tuple[str, ...]


@dataclasses.dataclass(frozen=True)
class SourceMessage:
    """A message as it was converted. seconds: of its INTERNALDATE; flags: in lower case."""

    seconds: int
    old_size: int
    new_size: int
    flags: frozenset[str]

    def has_date(self, internaldate: datetime) -> bool:
        return self.seconds == int(internaldate.timestamp())


def trees(hosts, entries: Collection[dict], run: str) -> dict[str, PublishedTree]:
    """`{user: PublishedTree}` of users given by their entries of the store's plan."""
    state = converter.state(hosts, hosts.site.roles.new, _plan(hosts, entries, run))
    return {name: parse(hosts.site, user) for name, user in state.users.items()}


def signatures(hosts, entries: Collection[dict], run: str) -> dict[str, dict[str, str]]:
    """`{user: {Maildir name: what tells whether anybody touched the live folder since}}`.

    Without the users of whom some folder has none, because it holds anything but files. See
    mbx2maildir/signatures.py. Raises CutoverError.
    """
    if not entries:
        return {}
    plan = _plan(hosts, entries, run)
    answer = converter.read(hosts, hosts.site.roles.new, plan, "signatures")
    return {
        name: {folder: signature for folder, (signature, _) in user["folders"].items()}
        for name, user in answer["users"].items()
        if user["folders"] and not user["odd"]
    }


def parse(site, user: converter.User) -> PublishedTree:
    """One user of the converter's state."""
    return PublishedTree(
        user=user.user,
        published=user.published,
        lost=user.lost,
        tree=user.tree,
        live_tree=user.marked.tree if user.marked else None,
        live_since=user.marked.at if user.marked else None,
        folders=tuple(_folder(site, folder) for folder in user.folders),
        passed_over=tuple(mailboxes.old_names(site, (passed.name for passed in user.passed))),
    )


def _folder(site, folder: converter.Folder) -> PublishedFolder:
    old, new = mailboxes.folder_names(site, folder.old, folder.name)
    return PublishedFolder(
        key=folder.name,
        old=old,
        new=new,
        uidvalidity=folder.uidvalidity,
        uid_limit=folder.uidnext - folder.spool - folder.appended if old else 0,
        lost_keywords=frozenset(word.lower() for word in folder.lost_keywords),
        spooled=folder.spool,
        damaged=bool(folder.damage),
    )


def source_messages(
    hosts, run: str, entry: dict, uids: Mapping[str, Iterable[int]]
) -> dict[tuple[str, int], SourceMessage]:
    """`{(Maildir name, UID): SourceMessage}` of the asked messages that the conversion took over.

    uids: `{Maildir name: UIDs}`. Messages without a record are missing from the answer. Raises
    RecordUnreadable.
    """
    if not uids:
        return {}
    asked = {key: sorted(listed) for key, listed in uids.items()}
    plan = _plan(hosts, [{**entry, "asked": asked}], run)
    answer = converter.read(hosts, hosts.site.roles.new, plan, "base")["users"][entry["user"]]
    if fault := answer.get("error"):
        raise RecordUnreadable(
            f"{entry['user']}: the record of the converted mail cannot be read: {fault['file']}: "
            f"{fault['what']}. {fault['todo']}"
        )
    return {
        (key, int(uid)): SourceMessage(
            seconds, old_size, new_size, frozenset(flag.lower() for flag in flags)
        )
        for key, messages in answer["folders"].items()
        for uid, (seconds, old_size, new_size, flags) in messages.items()
    }


def _plan(hosts, entries, run):
    jobs = hosts.site.new_store.jobs
    return {**converter.plan(hosts.site, run, [], jobs), "users": list(entries)}
