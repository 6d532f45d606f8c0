"""What Bacula saved comes back into a directory of the backup host, and goes when it was used."""

import dataclasses
import re
import time
from typing import ClassVar

from cutover import model
from cutover.changes import bacula_jobs
from cutover.facts import bacula, bacula_files

END = 60  # seconds for a cancelled job to end

_MAKE = 'umask 077; mkdir -p -- "$1"; : > "$1/$2"'
_REMOVE = 'rm -rf -- "$1"; rmdir -- "${1%/*}" 2> /dev/null; [ ! -e "$1" ]'


@dataclasses.dataclass(frozen=True)
class RestoreBeforehand(model.Change):
    """Have Bacula restore some folders of a user into a directory of its own on the backup host."""

    kind: ClassVar[str] = "bacula-restore"
    host: str
    user: str
    jobs: list  # JobIds that are read
    directories: list  # of the user's tree, for the person who approves
    dirids: list  # PathIds of Bacula's catalog
    fileids: list
    where: str
    wait: int  # seconds
    job: str = "mailbackup-restore"

    @property
    def resource(self):
        return f"{self.where} on {self.host}"

    def title(self):
        return f"have Bacula restore {len(self.directories)} folders of {self.user} on {self.host}"

    def describe(self):
        return (
            f"of JobId {', '.join(map(str, self.jobs))}: {', '.join(self.directories)} of "
            f"{self.user}\nrestore restorejob={self.job} where={self.where} (in bconsole; at "
            f"most {self.wait} s)"
        )

    def settled(self, ctx):
        return model.Settled(False, "each attempt restores again")

    def inverse(self):
        return RemoveRestored(self.host, self.where)

    def apply(self, ctx, report):
        files = Files(self.jobs, self.dirids, self.fileids)
        job = restore(ctx.hosts, files, self.where, self.wait, report)
        return model.Result(job.in_words(), dataclasses.asdict(job))


@dataclasses.dataclass(frozen=True)
class RemoveRestored(model.Change):
    """Remove what Bacula restored for a run on the backup host: users' mail, unencrypted."""

    kind: ClassVar[str] = "bacula-tidy"
    no_inverse: ClassVar[str] = "it was a copy of what Bacula still has"
    host: str
    where: str

    @property
    def resource(self):
        return f"{self.where} on {self.host}"

    def title(self):
        return f"remove {self.where}"

    def describe(self):
        return (
            "cancel jobid=… (in bconsole; only if a job still restores to it)\n"
            f"rm -rf -- {self.where}"
        )

    def settled(self, ctx):
        there = bacula_files.scratch_exists(ctx.hosts, self.where)
        return model.Settled(not there, f"{self.where} {'exists' if there else 'is gone'}")

    def apply(self, ctx, report):
        remove_scratch(ctx.hosts, self.where)
        return model.Result("removed")


@dataclasses.dataclass(frozen=True)
class Files:
    """What to restore: from which jobs, directories with all below them, and single files."""

    jobs: list[int]
    dirids: list[int]
    fileids: list[int]


def restore(hosts, files: Files, where: str, wait: int, report) -> bacula.Job:
    """Restore to `where` and wait for the end, at most `wait` seconds.

    Raises ChangeFailed, and then neither the job nor the directory is left.
    """
    host = hosts.site.roles.backup
    make_scratch(hosts, where)
    number = queue(hosts, files, where)
    note_job(hosts, where, number)
    try:
        job = bacula_jobs.follow(hosts, number, bacula.restore_job(hosts.site), wait, report)
    except model.ChangeFailed as error:
        remove_scratch(hosts, where)  # cancels the job
        raise model.ChangeFailed(
            f"{error}. The restore was cancelled. Check that Bacula has the volume (`list volumes`,"
            f" `status storage` in bconsole on {host}), then run this step again."
        ) from error
    if not job.succeeded:
        remove_scratch(hosts, where)
        raise model.ChangeFailed(
            f"{host}: {job.in_words()}. {bacula.log(hosts, number)}. Fix this and run this step "
            "again."
        )
    return job


def queue(hosts, files: Files, where: str) -> int:
    """Queue a restore of `files` to a directory of the backup host. Returns its JobId.

    They arrive there below their own path. Bacula asks nothing of the person at the console.
    """
    table = f"b2{files.jobs[-1]}{(files.dirids or files.fileids)[0]}"
    numbers = {"dirid": files.dirids, "fileid": files.fileids}
    which = [f"{key}={','.join(map(str, ids))}" for key, ids in numbers.items() if ids]
    return bacula_jobs.start(
        hosts,
        f".bvfs_cleanup path={table}",
        f".bvfs_restore jobid={','.join(map(str, files.jobs))} path={table} " + " ".join(which),
        f"restore file=?{table} client={hosts.site.backup.bacula.client} "
        f'restorejob={bacula.restore_job(hosts.site)} where="{where}" done yes',
    )


def make_scratch(hosts, where: str) -> None:
    """Make an empty directory with our mark that only root can enter, in place of an old one."""
    remove_scratch(hosts, where)
    argv = ["sh", "-ec", _MAKE, "make", where, bacula_files.MARK]
    hosts.run(hosts.site.roles.backup, argv, sudo=True)


def note_job(hosts, where: str, number: int) -> None:
    """Write down which job restores to a directory, so that whoever removes it cancels the job."""
    mark = f"{where}/{bacula_files.MARK}"
    hosts.ssh(hosts.site.roles.backup).put(f"{number}\n".encode(), mark, sudo=True)


def remove_scratch(hosts, where: str) -> None:
    """Remove what was restored, only ever below our own directory.

    A job that still restores to it is cancelled first: it would go on writing there.
    """
    work = bacula_files.work(hosts.site)
    host = hosts.site.roles.backup
    if not re.fullmatch(re.escape(work) + r"/[^/]+/[^/]+", where) or ".." in where.split("/"):
        raise bacula.BaculaRefused(
            f"{where} on {host} was not removed: it is not a restore's directory below {work}. "
            "Check backup.bacula.work."
        )
    argv = ["cat", "--", f"{where}/{bacula_files.MARK}"]
    number = hosts.run(host, argv, sudo=True, check=False).text.strip()
    if number.isdigit():
        end_restore(hosts, int(number))
    argv = ["sh", "-c", _REMOVE, "remove", where]
    hosts.run(host, argv, sudo=True, timeout=bacula.WAIT)


def end_restore(hosts, number: int) -> None:
    """Cancel a running restore and wait for its end. Raises BaculaRefused when it does not end.

    Without a Director there is no job.
    """
    until = time.monotonic() + END
    try:
        job = bacula.job(hosts, number, bacula.restore_job(hosts.site))
        if job is None or job.ended:
            return
        bacula.ask(hosts, f"cancel jobid={number} yes")
    except bacula.BaculaRefused:
        return
    while not bacula.job(hosts, number, bacula.restore_job(hosts.site)).ended:
        if time.monotonic() > until:
            raise bacula.BaculaRefused(
                f"cancelling JobId {number} on {hosts.site.roles.backup} failed: the interrupted "
                f"restore still runs after {END} s. Check `status director` and `status storage` "
                "in bconsole, then run this step again."
            )
        time.sleep(0.3)
