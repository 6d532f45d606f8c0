"""What Bacula's jobs saved of a user, and what restores have left on the backup host.

Files are looked up by BVFS, Bacula's file system over the catalog: it reads one folder at a time,
where the restore command would first build the tree of every saved file. The first question about a
job has Bacula write a list of its directories into the catalog.
"""

import dataclasses
import pathlib

from cutover import model
from cutover.facts import bacula, mailboxes

EVERYTHING = 2_000_000_000  # rows of an answer; BVFS gives 2000 by default
LISTS = ("dovecot-uidlist", "dovecot-keywords")
MARK = ".mail-cutover"  # in each directory of a restore: the JobId that restores to it


@dataclasses.dataclass(frozen=True)
class SavedFolder:
    """A folder of a user. messages: files. dirids, fileids: what has to be restored of it."""

    directory: str
    messages: int
    dirids: list[int]
    fileids: list[int]


@dataclasses.dataclass(frozen=True)
class SavedInbox:
    """A user's INBOX. messages: {file in the user's tree: FileId}. lists: FileIds of its lists."""

    messages: dict[str, int]
    lists: list[int]


@dataclasses.dataclass(frozen=True)
class _Row:
    pathid: int
    fileid: int
    name: str


def _rows(answer):
    """The rows that BVFS lists; what was deleted has no mode."""
    for line in model.lines(answer):
        fields = line.split("\t")
        if len(fields) == 6 and fields[4].split()[2:3] != ["A"]:
            yield _Row(int(fields[0]), int(fields[2]), fields[5])


def listing(hosts, jobs: list[int], user: str) -> dict[str, SavedFolder] | None:
    """A user's folders as these jobs saved them, by the name IMAP uses; None without the user."""
    numbers = ",".join(map(str, jobs))
    top = f"{hosts.site.backup.target}/{user}/"
    _, dirs, files = bacula.ask(
        hosts,
        f".bvfs_update jobid={numbers}",
        f'.bvfs_lsdirs jobid={numbers} path="{top}" limit={EVERYTHING}',
        f'.bvfs_lsfiles jobid={numbers} path="{top}" limit={EVERYTHING}',
    )
    below = {row.name.rstrip("/"): row.pathid for row in _rows(dirs)}
    if "." not in below:
        return None
    folders = {
        name: pathid
        for name, pathid in below.items()
        if name.startswith(".") and name not in (".", "..")
    }
    parts = _parts(hosts, numbers, folders)
    parts["."] = {name: below[name] for name in ("cur", "new") if name in below}
    maildirs = {name: parts[name] for name in (".", *folders) if "cur" in parts[name]}
    counts = _counts(hosts, numbers, maildirs)
    lists = [row.fileid for row in _rows(files) if row.name in LISTS]
    return {
        mailboxes.shown(hosts.site, name[1:]): SavedFolder(
            directory=name,
            messages=counts[name],
            dirids=[*part.values()] if name == "." else [folders[name]],
            fileids=lists if name == "." else [],
        )
        for name, part in maildirs.items()
    }


def _parts(hosts, numbers, folders):
    """{directory: {"cur" or "new": PathId}}"""
    questions = [
        f".bvfs_lsdirs jobid={numbers} pathid={pathid} limit={EVERYTHING}"
        for pathid in folders.values()
    ]
    answers = bacula.ask(hosts, *questions) if questions else []
    return {
        name: {
            row.name.rstrip("/"): row.pathid
            for row in _rows(answer)
            if row.name in ("cur/", "new/")
        }
        for name, answer in zip(folders, answers, strict=True)
    }


def _counts(hosts, numbers, maildirs):
    """{directory: files in its cur and new}"""
    parts = [(name, pathid) for name, part in maildirs.items() for pathid in part.values()]
    questions = [
        f".bvfs_lsfiles jobid={numbers} pathid={pathid} limit={EVERYTHING}" for _, pathid in parts
    ]
    answers = bacula.ask(hosts, *questions) if questions else []
    counts = dict.fromkeys(maildirs, 0)
    for (name, _), answer in zip(parts, answers, strict=True):
        counts[name] += sum(1 for _ in _rows(answer))
    return counts


def inbox(hosts, jobs: list[int], user: str) -> SavedInbox:
    """A user's INBOX as these jobs saved it."""
    numbers, top = ",".join(map(str, jobs)), f"{hosts.site.backup.target}/{user}"
    parts = ("cur/", "new/", "")
    _, *answers = bacula.ask(
        hosts,
        f".bvfs_update jobid={numbers}",
        *(
            f'.bvfs_lsfiles jobid={numbers} path="{top}/{part}" limit={EVERYTHING}'
            for part in parts
        ),
    )
    files = {
        f"{part}{row.name}": row.fileid
        for part, answer in zip(parts, answers, strict=True)
        for row in _rows(answer)
    }
    return SavedInbox(
        {name: fileid for name, fileid in files.items() if "/" in name},
        [files[name] for name in LISTS if name in files],
    )


# --- directories of restores


def work(site) -> str:
    """The directory on the backup host below which all restores of a store are."""
    return str(pathlib.PurePosixPath(site.backup.bacula.work, site.store))


def scratch(site, run: str, name: str) -> str:
    """The directory on the backup host where a run keeps what Bacula restored for it."""
    return f"{work(site)}/{run}/{name}"


def scratches(hosts) -> list[str]:
    """The directories of all restores, of any run. What a person restored has no mark."""
    argv = [
        "find",
        work(hosts.site),
        "-mindepth",
        "3",
        "-maxdepth",
        "3",
        "-name",
        MARK,
        "-printf",
        "%h\\0",
    ]
    result = hosts.run(hosts.site.roles.backup, argv, sudo=True, check=False)
    return sorted(result.out.decode("utf-8", "surrogateescape").split("\0")[:-1])


def scratch_exists(hosts, where: str) -> bool:
    """Whether a restore's directory is on the backup host."""
    return hosts.run(hosts.site.roles.backup, ["test", "-d", where], sudo=True, check=False).rc == 0
