"""The facts of a restore: what the source has of a user, and what of it is live."""

import dataclasses

from cutover.comparison import restored
from cutover.facts import backup_copy, bacula, bacula_files, copies, live_folders, users
from cutover.facts.bacula import SavedState
from cutover.steps.maintenance.restore_request import CHOICES, Request


@dataclasses.dataclass(frozen=True)
class Folder:
    """A folder of the source. messages: files.

    lacking: messages the live folder does not have, by UID; None when that is not known yet.
    dirids, fileids: what Bacula has to restore.
    """

    directory: str
    messages: int
    lacking: int | None = None
    dirids: list[int] = dataclasses.field(default_factory=list)
    fileids: list[int] = dataclasses.field(default_factory=list)


@dataclasses.dataclass(frozen=True)
class Facts:
    """The folders are those asked for.

    place: where on the new host the mail is brought to. copy: the source's folders; None when it
    does not have the user. live: messages per folder, None without the folder or the mail
    directory. beside: None before anything was brought. scratch: what restores by Bacula have left;
    None where Bacula is not declared. bacula: only where it is the source. Only `chosen` is set
    when there is no backup or the request has a problem.
    """

    run: str
    chosen: Request
    account: users.Account | None = None
    place: str = ""
    copy: dict[str, Folder] | None = None
    last: backup_copy.LastRun | None = None
    live: dict[str, int | None] = dataclasses.field(default_factory=dict)
    beside: dict[str, restored.Beside] | None = None
    maildir: copies.MailDirectory | None = None
    bacula: SavedState | None = None
    scratch: list[str] | None = None


def probe(ctx) -> Facts:
    """What the source has of the user, and what of it is live or brought over already."""
    hosts, site = ctx.hosts, ctx.site
    chosen = Request(**{name: ctx.chosen.get(name, "") for name in CHOICES})
    if site.backup is None or chosen.problem(site):
        return Facts(ctx.run_name, chosen)
    account = users.find(hosts, site.roles.new, chosen.user)
    other = f"{chosen.source} {chosen.day}" if chosen.from_bacula else ""
    facts = Facts(
        run=ctx.run_name,
        chosen=chosen,
        account=account,
        place=copies.tree(site, ctx.run_name, chosen.user, chosen.folder, other),
        last=backup_copy.last_run(hosts),
        scratch=bacula_files.scratches(hosts) if site.backup.bacula else None,
        bacula=bacula.saved_by(hosts, chosen.moment) if account and chosen.from_bacula else None,
        maildir=copies.mail_directory(hosts, account) if account else None,
    )
    return _with_folders(hosts, facts) if account else facts


def _with_folders(hosts, facts):
    chosen, there = facts.chosen, facts.maildir.there
    source = _source(hosts, facts)
    if source is None:
        return facts
    names = [name for name in sorted(source) if chosen.covers(name)]
    live = dict.fromkeys(names)
    if there:
        live = live_folders.read(hosts, chosen.user, names)
    beside = None
    if there and copies.brought(hosts, facts.place):
        beside = restored.look(hosts, facts.account, facts.place, names, chosen.message)
    return dataclasses.replace(
        facts,
        copy={name: _folder(source[name], live[name]) for name in names},
        live={name: folder and folder.exists for name, folder in live.items()},
        beside=beside,
    )


def _source(hosts, facts):
    """The user's folders in the source, or None."""
    if facts.bacula is None:
        return copies.listing(hosts, facts.chosen.user)
    jobs = [job.id for job in facts.bacula.jobs]
    return bacula_files.listing(hosts, jobs, facts.chosen.user) if jobs else None


def _folder(folder, live):
    if isinstance(folder, bacula_files.SavedFolder):
        return Folder(folder.directory, folder.messages, None, folder.dirids, folder.fileids)
    uids = live.uids if live and live.uidvalidity == folder.uidvalidity else frozenset()
    return Folder(folder.directory, folder.messages, len(set(folder.uids) - uids))
