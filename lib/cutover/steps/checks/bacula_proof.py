"""Whether Bacula saves the copy each day, and what is missing for it."""

import dataclasses

from cutover import model
from cutover.changes import bacula_jobs
from cutover.facts import backup_copy, bacula, files
from cutover.steps.checks import bacula_config

AGE = 26 * 3600  # seconds: maximum age of what is done each day
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

    def installed(self, site) -> bool:
        """Whether the Director works by the text that is wanted."""
        return (
            self.file == self.wanted
            and self.included
            and self.read
            and bacula.name(site) in self.status.value.jobs
        )


def read(hosts) -> BaculaFacts:
    """Bacula of a site that declares it."""
    site = hosts.site
    status = model.read(bacula.status, hosts)
    saved = status.value.saved if status.ok else []
    good = saved and saved[-1].status == bacula.GOOD
    return BaculaFacts(
        wanted=bacula_config.text(site),
        file=files.read(hosts, site.roles.backup, bacula.file(site)),
        included=bacula.included(hosts, site.backup.bacula.config, bacula.file(site)),
        read=bacula.was_read(hosts),
        there=backup_copy.counted(hosts),
        status=status,
        chain=bacula.chain(hosts, saved[-1].id) if good else [],
    )


def plan(facts: BaculaFacts, site, copied: bool) -> list[model.Change]:
    """Configure Bacula and have it save the copy, where needed. `copied`: the copy is new."""
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
    if not facts.installed(site):
        changes.append(
            bacula_jobs.DirectorFile(
                host, bacula.file(site), "0644", facts.file, facts.wanted, parameters.config
            )
        )
    if copied or changes or not status.saved or status.saved[-1].status != bacula.GOOD:
        changes.append(bacula_jobs.RunJob(host, bacula.name(site), parameters.wait))
    return changes


def _known(host, resource, name, names):
    if name not in names:
        raise model.CannotPlan(
            f"Bacula's Director on {host} has no {resource} {name}; it has "
            f"{', '.join(names) or 'none'}. Set backup.bacula.{resource} to one of these."
        )


def checks(
    facts: BaculaFacts | None, copied: backup_copy.LastRun | None, now: float, site
) -> list[model.Check]:
    """The checks of Bacula. copied: the last run of the copy. now: seconds since the epoch."""
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
    if facts is None:  # facts recorded before there was Bacula
        return []
    if not facts.status.ok:
        return [
            model.Check(
                "Bacula's Director answers",
                "yes",
                facts.status.error,
                False,
                "start it",
                id="bacula-answers",
                subject=host,
            )
        ]
    configured = [*_configuration(facts, site)]
    return configured + [*_last_job(facts, copied, now, site)]


def _configuration(facts, site):
    host, at = site.roles.backup, site.backup.bacula.at
    yield model.holds(
        f"Bacula's Director has the job {bacula.name(site)} as planned",
        facts.installed(site),
        "yes",
        "no",
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
        f"`status schedule job={bacula.name(site)}` in bconsole on {host}",
        id="bacula-daily",
        subject=host,
        data={"days": len(days), "times": sorted(times)},
    )


def _last_job(facts, copied, now, site):
    host, saved = site.roles.backup, facts.status.value.saved
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
        f"{(now - last.at) / 3600:.1f} hours old",
        now - last.at <= AGE,
        f"`status director` in bconsole on {host}",
        id="bacula-job-recent",
        subject=host,
    )
    if last.level == bacula.FULL:
        yield _whole(last, facts.there, copied, host, log)
    yield _chain(facts, site)


def _whole(last, there, copied, host, log):
    """A Full counts directories as files. Once another copy was made, nothing can be compared."""
    since = copied is not None and copied.began > last.at
    return model.Check(
        "The last full backup contains every file of the copy",
        f"{there.regular} files and {there.others} directories",
        f"{last.files} in all" + ("; another copy was made since" if since else ""),
        since or last.files == there.regular + there.others,
        log,
        id="bacula-full-complete",
        subject=host,
    )


def _chain(facts, site):
    host = site.roles.backup
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
        f"`run job={bacula.name(site)} level=Full` in bconsole on {host}",
        id="bacula-chain",
        subject=host,
        data={"jobs": list(facts.chain)},
    )
