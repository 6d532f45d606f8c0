"""Bacula saves the copy on the backup host, and gives back what it saved."""

import dataclasses
import time
from typing import ClassVar

from cutover import model
from cutover.changes.files import FileChange
from cutover.connect import ssh
from cutover.facts import bacula

PAUSE = 0.5  # seconds between two looks
STUCK = 20  # seconds for which a job may wait for a volume before somebody is told


@dataclasses.dataclass(frozen=True)
class DirectorFile(FileChange):
    """A file that the Director's configuration includes: job, files, schedule, pool. What the Director's syntax check refuses is
    taken back before the Director has read it."""

    kind: ClassVar[str] = "bacula-config"
    config: str  # the Director's configuration

    def describe(self):
        texts, check = (
            super().describe().splitlines(),
            [f"bacula-dir -t -c {self.config}", "reload (in bconsole)"],
        )
        if self.after is None:
            return "\n".join([f"remove the line @{self.path} from {self.config}", *texts, *check])
        return "\n".join(
            [*texts, f"add the line @{self.path} to {self.config}, where it is not there", *check]
        )

    def settled(self, ctx):
        there, wanted = super().settled(ctx), self.after is not None
        if not there.done or bacula.included(ctx.hosts, self.config, self.path) != wanted:
            return model.Settled(
                False,
                f"{there.detail}; included or not: not as wanted" if there.done else there.detail,
            )
        if wanted and not bacula.was_read(ctx.hosts):
            return model.Settled(False, "the Director has not read it")
        return there

    def apply(self, ctx, report):
        if self.after is None:  # else the Director would not start between the two
            bacula.include(ctx.hosts, self.config, self.path, False)
        done = super().apply(ctx, report)
        if self.after is not None:
            bacula.include(ctx.hosts, self.config, self.path, True)
        if wrong := bacula.check(ctx.hosts, self.config):
            if self.after is not None:
                bacula.include(ctx.hosts, self.config, self.path, self.before is not None)
                dataclasses.replace(self, before=self.after, after=self.before)._write(ctx.hosts)
                if not bacula.check(ctx.hosts, self.config):
                    bacula.ask(
                        ctx.hosts, "reload"
                    )  # the same once more, so that what was read is newer than what was written
            raise model.ChangeFailed(
                f"{self.host}: Bacula refuses its configuration"
                + ("; the former one is in place again" if self.after is not None else "")
                + f". {wrong}. Mend what it says and run this step again."
            )
        bacula.ask(ctx.hosts, "reload")
        return f"{done}; the Director has read it"


def follow(hosts, number: int, name: str, wait: int, report) -> dict:
    """A job to its end. → bacula.job(); raises ChangeFailed, with the job still there, when it waits for a volume or takes longer
    than `wait` seconds."""
    began, stuck_since = time.monotonic(), None
    while True:
        try:
            job = bacula.job(hosts, number, name)
            stuck = bacula.waiting(hosts, number) if job is None or not job["ended"] else ""
        except (ssh.LinkLost, ssh.Unreachable, ssh.TimedOut):
            job, stuck = None, ""
        if job and job["ended"]:
            return job
        now = time.monotonic()
        stuck_since = (stuck_since or now) if stuck else None
        if stuck and now - stuck_since > STUCK:
            raise model.ChangeFailed(
                f"{hosts.site.roles.backup}: JobId {number} {stuck}: {bacula.log(hosts, number)}"
            )
        if now - began > wait:
            raise model.ChangeFailed(
                f"{hosts.site.roles.backup}: JobId {number} has not ended after {wait} s"
            )
        report(
            {
                "event": "backup",
                "text": f"JobId {number} for {now - began:.0f} s{f', it {stuck}' if stuck else ''}",
            }
        )
        time.sleep(PAUSE)


def told(job: dict) -> str:
    """The figures of a job in a line."""
    return (
        f"JobId {job['id']}, {bacula.LEVELS.get(job['level'], job['level'])}, {job['began']} to {job['ended'][11:]}: status "
        f"{job['status']}, {job['files']} files, {job['bytes']} bytes, {job['errors']} errors"
    )


@dataclasses.dataclass(frozen=True)
class RunJob(model.Change):
    """Have Bacula save the copy, and wait for the job's end. One that is at work already is waited for instead."""

    kind: ClassVar[str] = "bacula-run"
    no_inverse: ClassVar[str] = (
        "what was saved stays on its volume until its retention ends: Bacula recycles it, and nobody else"
    )
    host: str
    job: str
    wait: int  # seconds

    @property
    def resource(self):
        return f"Bacula's job {self.job} on {self.host}"

    def title(self):
        return f"have Bacula run its job {self.job}"

    def describe(self):
        return f"run job={self.job} yes (in bconsole; until it has ended, at most {self.wait} s)"

    def settled(self, ctx):
        return model.Settled(False, "a job is run each time it is asked for")

    def apply(self, ctx, report):
        saved = bacula.status(ctx.hosts)["saved"]
        number = (
            saved[-1]["id"]
            if saved and not saved[-1]["ended"]
            else bacula.start(ctx.hosts, f"run job={self.job} yes")
        )
        try:
            job = follow(ctx.hosts, number, self.job, self.wait, report)
        except model.ChangeFailed as error:
            raise model.ChangeFailed(
                f"{error}. It goes on: give it what it waits for, then run this step again."
            ) from error
        if job["status"] != bacula.GOOD or job["errors"]:
            raise model.ChangeFailed(
                f"{self.host}: {told(job)}. {bacula.log(ctx.hosts, number)}. Mend it and run this step again."
            )
        return told(job)


@dataclasses.dataclass(frozen=True)
class RestoreBeforehand(model.Change):
    """Have Bacula restore some folders of a user into a directory of its own on the backup host."""

    kind: ClassVar[str] = "bacula-restore"
    host: str
    user: str
    jobs: list  # JobIds that are read
    directories: list  # of the user's tree, told to whoever approves
    dirids: list  # PathIds of Bacula's catalog
    fileids: list
    where: str
    wait: int  # seconds

    @property
    def resource(self):
        return f"{self.where} on {self.host}"

    def title(self):
        return f"have Bacula restore {len(self.directories)} folders of {self.user} on {self.host}"

    def describe(self):
        return (
            f"of JobId {', '.join(map(str, self.jobs))}: {', '.join(self.directories)} of {self.user}\n"
            f"restore restorejob={bacula.RESTORE} where={self.where} (in bconsole; at most {self.wait} s)"
        )

    def settled(self, ctx):
        return model.Settled(False, "it is restored anew each time")

    def inverse(self):
        return RemoveRestored(self.host, self.where)

    def apply(self, ctx, report):
        return told(
            restored(ctx.hosts, self.jobs, self.dirids, self.fileids, self.where, self.wait, report)
        )


def restored(hosts, jobs, dirids, fileids, where, wait, report) -> dict:
    """Restore to `where`, to the end. → bacula.job(); raises ChangeFailed, and then neither job nor directory is left."""
    host = hosts.site.roles.backup
    bacula.make_scratch(hosts, where)
    number = bacula.restore(hosts, jobs, dirids, fileids, where)
    bacula.note_job(hosts, where, number)
    try:
        job = follow(hosts, number, bacula.RESTORE, wait, report)
    except model.ChangeFailed as error:
        bacula.remove_scratch(hosts, where)  # cancels the job
        raise model.ChangeFailed(
            f"{error}. The restore was cancelled. See that Bacula has the volume (`list volumes`, `status "
            f"storage` in bconsole on {host}), then run this step again."
        ) from error
    if job["status"] != bacula.GOOD or job["errors"]:
        bacula.remove_scratch(hosts, where)
        raise model.ChangeFailed(
            f"{host}: {told(job)}. {bacula.log(hosts, number)}. Mend it and run this step again."
        )
    return job


@dataclasses.dataclass(frozen=True)
class RemoveRestored(model.Change):
    """Remove what Bacula restored for a run on the backup host: users' mail, in plain."""

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
        return f"cancel jobid=… (in bconsole; where a restore to it is still at work)\nrm -rf -- {self.where}"

    def settled(self, ctx):
        there = bacula.scratch_there(ctx.hosts, self.where)
        return model.Settled(not there, f"it is {'there' if there else 'gone'}")

    def apply(self, ctx, report):
        bacula.remove_scratch(ctx.hosts, self.where)
        return "removed"
