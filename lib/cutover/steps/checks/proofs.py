"""What the backup is worth: the daily copy, what Bacula saved of it, and test restores.

Read and judged by the steps `backup` and `decommission`: the latter looks again before there is no
way back.
"""

import dataclasses
import datetime

from cutover import model
from cutover.changes import bacula_jobs
from cutover.changes.trial_restore import TrialRestore
from cutover.facts import backup_copy, bacula, clock, files, trial_restore
from cutover.steps.checks import bacula_config

AGE = 26 * 3600  # seconds: maximum age of what is done each day
TESTED = 7 * 86400  # seconds: maximum age of a test restore
DAYS = 7  # of the next eight that the schedule has to cover


@dataclasses.dataclass(frozen=True)
class BaculaFacts:
    """wanted: the text its configuration has to include. file: the text it has.

    read: the Director has read the file. there: entries of the copy. chain: JobIds that the last
    job rests on.
    """

    wanted: str
    file: str | None
    included: bool
    read: bool
    there: backup_copy.Counted
    status: model.Reading[bacula.Status]
    chain: list[int] = dataclasses.field(default_factory=list)

    @property
    def installed(self) -> bool:
        """Whether the Director works by the text that is wanted."""
        return (
            self.file == self.wanted
            and self.included
            and self.read
            and bacula.NAME in self.status.value.jobs
        )


@dataclasses.dataclass(frozen=True)
class Backup:
    """The copy, Bacula and the test restores as they are now.

    at: seconds since the epoch by the backup host's clock. bacula: None when it is not declared.
    tests: the last test restore per source.
    """

    timer: backup_copy.Timer = backup_copy.Timer(False, False)
    last: backup_copy.LastRun | None = None
    at: float = 0.0
    bacula: BaculaFacts | None = None
    tests: dict[str, model.Reading[trial_restore.Trial | None]] = dataclasses.field(
        default_factory=dict
    )


def read(hosts) -> Backup:
    """The backup of a site that declares one."""
    site = hosts.site
    return Backup(
        timer=backup_copy.timer(hosts),
        last=backup_copy.last_run(hosts),
        at=float(clock.now(hosts, site.roles.backup)),
        bacula=_read_bacula(hosts, site) if site.backup.bacula else None,
        tests={
            source: model.read(trial_restore.look, hosts, source)
            for source in trial_restore.sources(site)
        },
    )


def _read_bacula(hosts, site):
    status = model.read(bacula.status, hosts)
    saved = status.value.saved if status.ok else []
    good = saved and saved[-1].status == bacula.GOOD
    return BaculaFacts(
        wanted=bacula_config.text(site),
        file=files.read(hosts, site.roles.backup, bacula.FILE),
        included=bacula.included(hosts, site.backup.bacula.config, bacula.FILE),
        read=bacula.was_read(hosts),
        there=backup_copy.counted(hosts),
        status=status,
        chain=bacula.chain(hosts, saved[-1].id) if good else [],
    )


# --- what is to be done


def plan(facts: Backup, site, copied: bool) -> list[model.Change]:
    """The changes that have the copy saved and tested. `copied`: the plan makes a new copy."""
    changes = _plan_bacula(facts.bacula, site, copied) if facts.bacula else []
    renewed = copied or bool(changes)
    return changes + [
        TrialRestore(
            site.roles.new,
            site.production_test.users[0].user,
            source,
            trial_restore.place(site, source),
            site.roles.backup,
        )
        for source in facts.tests
        if renewed or not _trial(facts, source).passed
    ]


def _plan_bacula(facts, site, copied):
    host, parameters = site.roles.backup, site.backup.bacula
    if not facts.status.ok:
        raise model.CannotPlan(
            f"{facts.status.error} The parameters declare Bacula: set up its daemons there from "
            "the packages, then run this step again."
        )
    status = facts.status.value
    _known(host, "client", parameters.client, status.clients)
    _known(host, "storage", parameters.storage, status.storages)
    changes = []
    if not facts.installed:
        changes.append(
            bacula_jobs.DirectorFile(
                host, bacula.FILE, "0644", facts.file, facts.wanted, parameters.config
            )
        )
    if copied or changes or not status.saved or status.saved[-1].status != bacula.GOOD:
        changes.append(bacula_jobs.RunJob(host, bacula.NAME, parameters.wait))
    return changes


def _known(host, resource, name, names):
    if name not in names:
        raise model.CannotPlan(
            f"Bacula's Director on {host} has no {resource} {name}; it has "
            f"{', '.join(names) or 'none'}. Set backup.bacula.{resource} to one of these."
        )


def stable(facts: Backup) -> dict:
    """What a plan rests on."""
    if facts.bacula is None:
        return {}
    return {
        "wanted": facts.bacula.wanted,
        "file": facts.bacula.file,
        "included": facts.bacula.included,
    }


# --- the judgement


def copy_checks(facts: Backup, site) -> list[model.Check]:
    """Whether the copy is made each day, and whether its last run succeeded."""
    host, timer, last = site.roles.backup, facts.timer, facts.last
    log = f"`journalctl -u {backup_copy.SERVICE}` on {host}"
    checks = [
        model.Check(
            f"{host} copies the store each day, also after a reboot",
            f"each day at {site.backup.at}",
            f"next on {timer.next}" if timer.due else timer.detail,
            timer.due,
            f"`systemctl status {backup_copy.TIMER}` on {host}",
            id="copy-daily",
            subject=host,
        ),
        model.Check(
            "The last run of the copy succeeded",
            "yes",
            _run_in_words(last),
            last is not None and last.succeeded,
            log,
            id="copy-run-succeeded",
            subject=host,
        ),
    ]
    if last is not None:
        age = facts.at - last.ended
        checks.append(
            model.Check(
                "The copy was made today or yesterday",
                f"at most {AGE // 3600} hours old",
                f"{age / 3600:.1f} hours old",
                age <= AGE,
                f"`systemctl start {backup_copy.SERVICE}` on {host}, then see why the timer did "
                "not start it",
                id="copy-recent",
                subject=host,
                data={"seconds": age},
            )
        )
    return checks


def _run_in_words(last):
    if last is None:
        return "there was none"
    ended = datetime.datetime.fromtimestamp(last.ended, datetime.UTC)
    state = "yes" if last.succeeded else f"NO: {last.error}"
    return f"{state}, {ended:%Y-%m-%d %H:%M} UTC: {last.in_words()}"


def checks(facts: Backup, site) -> list[model.Check]:
    """Whether Bacula saves the copy, and whether restored mail is the same as the live mail."""
    return [
        *_bacula_checks(facts, site),
        *(_trial(facts, source) for source in facts.tests),
    ]


def _bacula_checks(facts, site):
    host = site.roles.backup
    if site.backup.bacula is None:
        return [
            model.Check(
                "Bacula saves the copy, so that earlier days can be restored",
                "yes, or not needed",
                "not declared",
                True,
                "see `backup.bacula` in docs/site.md",
                warning=True,
                id="bacula-declared",
                subject=host,
            )
        ]
    if facts.bacula is None:  # facts recorded before there was Bacula
        return []
    if not facts.bacula.status.ok:
        return [
            model.Check(
                "Bacula's Director answers",
                "yes",
                facts.bacula.status.error,
                False,
                "start it",
                id="bacula-answers",
                subject=host,
            )
        ]
    configured = [*_configuration(facts.bacula, site)]
    return configured + [*_last_job(facts, site)]


def _configuration(facts, site):
    host, at = site.roles.backup, site.backup.bacula.at
    yield model.equal(
        f"Bacula's Director has the job {bacula.NAME} as planned",
        "yes",
        "yes" if facts.installed else "no",
        "run the step backup again",
        id="bacula-job-configured",
        subject=host,
    )
    schedule = facts.status.value.schedule
    days, times = {day for _, day, _ in schedule}, {time for _, _, time in schedule}
    yield model.Check(
        "Bacula saves the copy each day, after it was made",
        f"each day at {at}, and not before its end",
        f"in 8 days {len(days)} times, at {', '.join(sorted(times)) or 'no time'}",
        len(days) >= DAYS and times == {at},
        f"`status schedule job={bacula.NAME}` in bconsole on {host}",
        id="bacula-daily",
        subject=host,
        data={"days": len(days), "times": sorted(times)},
    )


def _last_job(facts, site):
    host, saved = site.roles.backup, facts.bacula.status.value.saved
    last = saved[-1] if saved else None
    log = f"`list joblog jobid={last.id}` in bconsole on {host}" if last else ""
    yield model.Check(
        "Bacula's last job succeeded",
        "status T, 0 errors",
        last.in_words() if last else "there was none",
        last is not None and last.succeeded and not last.lacking,
        log or "run the step backup again",
        id="bacula-job-succeeded",
        subject=host,
        data=dataclasses.asdict(last) if last else {},
    )
    if last is None:
        return
    yield model.Check(
        "Bacula's last job ran today or yesterday",
        f"at most {AGE // 3600} hours old",
        f"{(facts.at - last.at) / 3600:.1f} hours old",
        facts.at - last.at <= AGE,
        f"`status director` in bconsole on {host}",
        id="bacula-job-recent",
        subject=host,
    )
    if last.level == bacula.FULL:
        yield _whole(last, facts, host, log)
    yield _chain(facts.bacula, host)


def _whole(last, facts, host, log):
    """A Full counts directories as files. Once another copy was made, nothing can be compared."""
    there = facts.bacula.there
    since = facts.last is not None and facts.last.began > last.at
    return model.Check(
        "The last full backup contains every file of the copy",
        f"{there.regular} files and {there.others} directories",
        f"{last.files} in all" + ("; another copy was made since" if since else ""),
        since or last.files == there.regular + there.others,
        log,
        id="bacula-full-complete",
        subject=host,
    )


def _chain(facts, host):
    jobs = {job.id: job for job in facts.status.value.saved}
    known = [jobs.get(number) for number in facts.chain]
    words = [
        f"JobId {number} {bacula.LEVELS.get(job.level, job.level) if job else '?'}"
        + (", its files forgotten" if job is None or job.pruned else "")
        for number, job in zip(facts.chain, known, strict=True)
    ]
    whole = known and all(job and not job.pruned for job in known)
    return model.Check(
        "Bacula's catalog has a full backup and all jobs after it",
        "a Full first, with its files",
        ", then ".join(words) or "nothing",
        bool(whole and known[0].level == bacula.FULL),
        f"`run job={bacula.NAME} level=Full` in bconsole on {host}",
        id="bacula-chain",
        subject=host,
        data={"jobs": list(facts.chain)},
    )


def _trial(facts, source):
    reading = facts.tests[source]
    trial = reading.value
    passed = trial is not None and (trial.same > 0 and not trial.differ and trial.age <= TESTED)
    actual = _trial_in_words(trial) if trial else reading.error or "there was no test restore"
    return model.Check(
        f"Mail restored from {trial_restore.NAMES[source]} for a test is the same as the live mail",
        f"the same octets, restored in the last {TESTED // 86400} days",
        actual,
        passed,
        "run the step backup again",
        id="trial-restore",
        subject=source,
        data=dataclasses.asdict(trial) if trial else {},
    )


def _trial_in_words(trial):
    words = [
        f"{trial.same} messages of {trial.user}'s INBOX are the same",
        f"{trial.gone} are gone since" if trial.gone else "",
        f"other text: {', '.join(trial.differ)}" if trial.differ else "",
        f"restored {trial.age / 3600:.1f} h ago"
        + (f" from JobId {trial.job}" if trial.job else ""),
    ]
    return "; ".join(filter(None, words))
