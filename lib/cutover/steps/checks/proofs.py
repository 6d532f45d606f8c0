"""What the backup is worth: the daily copy, what Bacula saved of it, and test restores.

Read and judged by the steps `backup` and `decommission`: the latter looks again before there is no
way back.
"""

import dataclasses
import datetime

from cutover import model
from cutover.changes.trial_restore import TrialRestore
from cutover.facts import backup_copy, clock, trial_restore
from cutover.steps.checks import bacula_proof
from cutover.steps.checks.bacula_proof import AGE

TESTED = 7 * 86400  # seconds: maximum age of a test restore


@dataclasses.dataclass(frozen=True)
class Backup:
    """The copy, Bacula and the test restores as they are now.

    at: seconds since the epoch by the backup host's clock. bacula: None when it is not declared.
    tests: the last test restore per source.
    """

    timer: backup_copy.Timer = backup_copy.Timer(False, False)
    last: backup_copy.LastRun | None = None
    at: float = 0.0
    bacula: bacula_proof.BaculaFacts | None = None
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
        bacula=bacula_proof.read(hosts) if site.backup.bacula else None,
        tests={
            source: model.read(trial_restore.look, hosts, source)
            for source in trial_restore.sources(site)
        },
    )


# --- what is to be done


def plan(facts: Backup, site, copied: bool) -> list[model.Change]:
    """The changes that have the copy saved and tested. `copied`: the plan makes a new copy."""
    changes = bacula_proof.plan(facts.bacula, site, copied) if facts.bacula else []
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
    log = f"`journalctl -u {backup_copy.service_unit(site)}` on {host}"
    checks = [
        model.Check(
            f"{host} copies the store each day, also after a reboot",
            f"each day at {site.backup.at}",
            f"next on {timer.next}" if timer.due else timer.detail,
            timer.due,
            f"`systemctl status {backup_copy.timer_unit(site)}` on {host}",
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
                f"`systemctl start {backup_copy.service_unit(site)}` on {host}, then see why the "
                "timer did not start it",
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
        *bacula_proof.checks(facts.bacula, facts.last, facts.at, site),
        *(_trial(facts, source) for source in facts.tests),
    ]


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
