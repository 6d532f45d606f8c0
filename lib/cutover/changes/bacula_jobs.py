"""Bacula saves the copy on the backup host: its configuration, and a run of its job."""

import dataclasses
import re
import time
from typing import ClassVar

from cutover import model
from cutover.changes.files import FileChange
from cutover.connect import ssh
from cutover.facts import bacula

PAUSE = 0.5  # seconds between two looks
STUCK = 20  # seconds a job may wait for a volume before the step fails

# Written next to it, counted, synced, renamed: the configuration is never a part of itself.
# $1 the configuration, $2 the file it includes, $3 "in" or "out", $4 a lock: runs of several stores
# may be at it. Nothing else of it, such as passwords, comes to this machine.
_INCLUDE = r"""
( umask 077; : >> "$4" )
exec 9>> "$4"
flock -w 60 9 || { echo "another run has held the lock $4 for 60 s" >&2; exit 75; }
line="@$2" config=$(readlink -f -- "$1")
edited() {
    if [ "$3" = in ]; then
        cat -- "$config"
        [ -z "$(tail -c 1 "$config")" ] || echo
        printf '%s\n' "$line"
    else
        grep -vxF -- "$line" "$config" || [ $? = 1 ]
    fi
}
if grep -qxF -- "$line" "$config"; then [ "$3" = out ] || exit 0
else [ "$3" = in ] || exit 0; fi
beside=$(mktemp -- "${config%/*}/.cutover.XXXXXX")
trap 'rm -f -- "$beside"' EXIT
edited "$@" > "$beside"
if [ "$(edited "$@" | wc -c)" -ne "$(wc -c < "$beside")" ]; then
    echo "only part of $1 was written, it is as it was: is the disk full?" >&2
    exit 75
fi
chmod --reference="$config" "$beside"
chown --reference="$config" "$beside"
sync "$beside" 2> /dev/null || sync
mv -f -- "$beside" "$config"
trap - EXIT
"""


LOCK = "/var/run/cutover-bacula.lock"


def include(hosts, config: str, path: str, included: bool) -> None:
    """Have the Director's configuration include a file, or not; every other byte of it stays."""
    argv = ["sh", "-ec", _INCLUDE, "include", config, path, "in" if included else "out", LOCK]
    hosts.run(hosts.site.roles.backup, argv, sudo=True)


@dataclasses.dataclass(frozen=True)
class DirectorFile(FileChange):
    """A file that the Director's configuration includes: job, files, schedule, pool.

    What the Director's syntax check refuses is taken back before the Director reads it.
    """

    kind: ClassVar[str] = "bacula-config"
    config: str  # the Director's configuration

    def describe(self):
        text = super().describe()
        check = [f"bacula-dir -t -c {self.config}", "reload (in bconsole)"]
        if self.after is None:
            return "\n".join([f"remove the line @{self.path} from {self.config}", text, *check])
        add = f"add the line @{self.path} to {self.config}, unless it has it"
        return "\n".join([text, add, *check])

    def settled(self, ctx):
        file, expected = super().settled(ctx), self.after is not None
        if not file.done:
            return file
        if bacula.included(ctx.hosts, self.config, self.path) != expected:
            state = "does not include" if expected else "includes"
            return model.Settled(False, f"{file.detail}; {self.config} {state} it")
        if expected and not bacula.was_read(ctx.hosts):
            return model.Settled(False, "the Director has not read it")
        return file

    def apply(self, ctx, report):
        if self.after is None:  # else the Director would not start between the two
            include(ctx.hosts, self.config, self.path, False)
        result = super().apply(ctx, report)
        if self.after is not None:
            include(ctx.hosts, self.config, self.path, True)
        if wrong := bacula.syntax_errors(ctx.hosts, self.config):
            if self.after is not None:
                self._take_back(ctx.hosts)
            former = "; the former one is in place again" if self.after is not None else ""
            raise model.ChangeFailed(
                f"Bacula on {self.host} refuses its configuration{former}: {wrong}. Fix this, then "
                "run this step again."
            )
        bacula.ask(ctx.hosts, "reload")
        return model.Result(f"{result.text}; the Director has read it")

    def _take_back(self, hosts):
        include(hosts, self.config, self.path, self.before is not None)
        dataclasses.replace(self, before=self.after, after=self.before).write(hosts)
        if not bacula.syntax_errors(hosts, self.config):
            # the same text again, so that what was read is newer than what was written
            bacula.ask(hosts, "reload")


@dataclasses.dataclass(frozen=True)
class RunJob(model.Change):
    """Have Bacula save the copy, and wait for the end. A run that has begun is waited for."""

    kind: ClassVar[str] = "bacula-run"
    no_inverse: ClassVar[str] = (
        "what was saved stays on its volume until Bacula recycles it at the end of its retention"
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
        return f"run job={self.job} yes (in bconsole; until it ends, at most {self.wait} s)"

    def settled(self, ctx):
        return model.Settled(False, "each attempt runs the job again")

    def apply(self, ctx, report):
        saved = bacula.status(ctx.hosts).saved
        number = (
            saved[-1].id
            if saved and not saved[-1].ended
            else start(ctx.hosts, f"run job={self.job} yes")
        )
        try:
            job = follow(ctx.hosts, number, self.job, self.wait, report)
        except model.ChangeFailed as error:
            raise model.ChangeFailed(
                f"{error}. The job still runs: give it what it waits for, then run this step again."
            ) from error
        if not job.succeeded:
            raise model.ChangeFailed(
                f"{self.host}: {job.in_words()}. {bacula.log(ctx.hosts, number)}. Fix this and run "
                "this step again."
            )
        return model.Result(job.in_words(), dataclasses.asdict(job))


def start(hosts, *commands: str) -> int:
    """Give commands of which the last queues a job. Returns its JobId. Raises BaculaRefused."""
    answers = bacula.ask(hosts, *commands)
    queued = re.search(r"Job queued\. JobId=(\d+)", answers[-1])
    if not queued:
        raise bacula.BaculaRefused(
            f"Bacula on {hosts.site.roles.backup} queued no job for `{commands[-1]}`: "
            f"{answers[-1].strip()[-500:]}"
        )
    return int(queued[1])


def follow(hosts, number: int, name: str, wait: int, report) -> bacula.Job:
    """Wait for the end of a job, at most `wait` seconds.

    Raises ChangeFailed when it waits for a volume or takes longer; the job then still runs.
    """
    began, stuck_since = time.monotonic(), None
    while True:
        try:
            job = bacula.job(hosts, number, name)
            stuck = bacula.waiting(hosts, number) if job is None or not job.ended else ""
        except (ssh.LinkLost, ssh.Unreachable, ssh.TimedOut):
            job, stuck = None, ""
        if job and job.ended:
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
        state = f", it {stuck}" if stuck else ""
        report(
            {"event": "backup", "text": f"JobId {number} for {now - began:.0f} s{state}"},
        )
        time.sleep(PAUSE)
