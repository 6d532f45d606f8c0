"""Mail of one user comes back from the backup host. Not a step of the night: it runs on its own.

The mail is first brought next to the live mailbox; then what is missing is added through Dovecot.
"""

import dataclasses

from cutover import model
from cutover.changes import bacula_restore, bring_beside, mail_directory, restored_mail
from cutover.facts import backup_copy, bacula, bacula_files
from cutover.steps.maintenance import restore_checks
from cutover.steps.maintenance.restore_facts import Facts, probe
from cutover.steps.maintenance.restore_request import CHOICES


def plan(facts: Facts, site) -> model.Plan:
    """Remove what earlier restores left, bring the mail over, add what is missing."""
    left = facts.scratch or []
    tidy = [bacula_restore.RemoveRestored(site.roles.backup, where) for where in left]
    try:
        return _plan(facts, site, tidy)
    except model.CannotPlan as error:
        if not left:
            raise
        raise model.CannotPlan(
            f"{error} Also: an interrupted restore left mail on {site.roles.backup} in "
            f"{', '.join(left)}. The next restore that can be planned removes it."
        ) from error


def _plan(facts, site, tidy):
    chosen, beside, new = facts.chosen, facts.beside, site.roles.new
    _refuse(facts, site)
    made = _make_directory(facts, site)
    if beside is None and not made and not any(_messages(facts)):
        raise model.CannotPlan(
            f"the source has no message in {', '.join(facts.copy)} of {chosen.user}. Restore "
            "another folder, or an earlier day from bacula."
        )
    if beside is not None and not any(folder.missing for folder in beside.values()):
        complete = f"{chosen.user} has every message of {facts.place}"
        if tidy:
            return model.Plan(tuple(tidy), notes=(("Only leftovers to remove", complete),))
        return model.Plan(reason=complete)
    add = restored_mail.AddMissing(
        new,
        chosen.user,
        dataclasses.asdict(facts.account),
        facts.place,
        list(facts.copy),
        chosen.message,
    )
    bring = _bring(facts, site) if beside is None else []
    return model.Plan((*tidy, *bring, *made, add), notes=_notes(facts, site))


def _messages(facts):
    return [folder.messages for folder in facts.copy.values()]


def _refuse(facts, site):
    """Raises CannotPlan where the source does not have what is asked for."""
    chosen, host = facts.chosen, site.roles.backup
    if site.backup is None:
        raise model.CannotPlan(
            "the parameters declare no backup: there is no copy to restore from. Declare it under "
            "`backup`."
        )
    if problem := chosen.problem(site):
        raise model.CannotPlan(problem)
    if facts.account is None:
        raise model.CannotPlan(
            f"{site.roles.new} has no mail user {chosen.user!r}. Check the spelling."
        )
    if facts.bacula is not None:
        _refuse_jobs(facts.bacula, chosen, host)
    if facts.copy:
        return
    which = f"folder {chosen.folder} of " if chosen.folder and facts.copy is not None else ""
    if facts.bacula is not None:
        last = facts.bacula.jobs[-1]
        raise model.CannotPlan(
            f"what Bacula saved on {last.began} has no {which}{chosen.user}. Give another day, or "
            f"see what is there: `restore jobid={last.id} select` in bconsole on {host}."
        )
    target = site.backup.target
    raise model.CannotPlan(
        f"the copy in {target} on {host} has no {which}{chosen.user}. List what it has: `ls -A "
        f"{target}/{chosen.user}` there."
    )


def _refuse_jobs(saved, chosen, host):
    """Raises CannotPlan where Bacula has nothing of that day, or no longer knows which files."""
    if not saved.jobs:
        hint = (
            f"its first good job began on {saved.first}. Give a later day."
            if saved.first
            else "no job has succeeded. Run the step backup."
        )
        raise model.CannotPlan(
            f"Bacula on {host} had saved nothing by {chosen.day or 'now'}: {hint}"
        )
    pruned = [str(job.id) for job in saved.jobs if job.pruned]
    if pruned or saved.jobs[0].level != bacula.FULL:
        lost = (
            f"which files JobId {', '.join(pruned)} saved"
            if pruned
            else "the Full that the job builds on"
        )
        raise model.CannotPlan(
            f"Bacula's catalog on {host} no longer knows {lost}: it was pruned. While the volumes "
            "exist, `bscan` restores it; then run this step again. Or give a later day."
        )


def _make_directory(facts, site):
    """The change that makes the user's mail directory, if it is gone.

    Neither Dovecot nor the delivery may make it.
    """
    gone, account, new = facts.maildir, facts.account, site.roles.new
    if gone is None or gone.there:
        return []
    if not gone.parent or (gone.asked and not gone.found):
        also = "the directory above it" if not gone.parent else f"those of {gone.asked} other users"
        raise model.CannotPlan(
            f"{gone.path} is missing on {new}, and so are {also}. Check with `findmnt` there that "
            "the store's file system is mounted, then run this step again."
        )
    group = account.gid if gone.group is None else gone.group
    return [
        mail_directory.MakeMailDirectory(
            new,
            account.user,
            gone.path,
            f"{account.uid}:{group}",
            gone.mode,
            f"{facts.place}.aside",
        )
    ]


def _bring(facts, site):
    """The changes after which the folders lie next to the live mailbox."""
    user, host, account = facts.chosen.user, site.roles.backup, facts.account
    folders = list(facts.copy.values())
    directories = [folder.directory for folder in folders]
    first, last, base = [], [], ""
    if facts.bacula is not None:
        base = bacula_files.scratch(site, *facts.place.split("/")[-2:])
        first = [
            bacula_restore.RestoreBeforehand(
                host,
                user,
                [job.id for job in facts.bacula.jobs],
                directories,
                [number for folder in folders for number in folder.dirids],
                [number for folder in folders for number in folder.fileids],
                base,
                site.backup.bacula.wait,
                bacula.restore_job(site),
            )
        ]
        last = [bacula_restore.RemoveRestored(host, base)]
    beside = bring_beside.BringBeside(
        site.roles.new,
        user,
        f"{account.uid}:{account.gid}",
        facts.place,
        directories,
        bring_beside.folders_packing(site, user, directories, base),
        host,
    )
    return [*first, beside, *last]


def _notes(facts, site):
    """For whoever approves: the state of the source, then each folder."""
    if facts.bacula is not None:
        words = "; ".join(job.in_words() for job in facts.bacula.jobs)
        notes = [("Bacula jobs that are read", words)]
    else:
        notes = _doubts(facts.last, site)
    for name, folder in facts.copy.items():
        live = facts.live[name]
        there = "no such folder" if live is None else live
        missing = "" if folder.lacking is None else f"; by their UIDs {folder.lacking} are missing"
        notes.append((name, f"{folder.messages} messages in the copy, {there} live{missing}"))
    return tuple(notes)


def _doubts(last, site):
    """What to know of a copy whose last run did not succeed."""
    if last is not None and last.succeeded:
        return []
    reason = (
        "there is no report of one"
        if last is None
        else f"result {last.result}: {last.error or 'no reason given'}"
    )
    return [
        (
            "The last run of the copy did NOT succeed",
            f"{reason}. The copy is older or incomplete: see `journalctl -u "
            f"{backup_copy.service_unit(site)}` on {site.roles.backup}, or restore from Bacula if "
            "it is declared",
        )
    ]


def stable(facts: Facts) -> dict:
    """What the plan rests on: the request, the user, the folders and jobs; not message counts."""
    jobs = {"jobs": [job.id for job in facts.bacula.jobs]} if facts.bacula is not None else {}
    return {
        "chosen": model.to_json(facts.chosen),
        "account": model.to_json(facts.account),
        "folders": sorted(facts.copy or ()),
        **jobs,
    }


def verify(facts: Facts, site) -> list[model.Check]:
    """Whether every message of the source is live, as it was, and nothing is left behind."""
    user, beside = facts.chosen.user, facts.beside
    left = []
    if facts.scratch is not None:
        left = [restore_checks.leftovers(facts.scratch, site.roles.backup)]
    if not beside:
        return [
            model.Check(
                f"{user}'s copy was brought next to the live mailbox",
                "yes",
                "no",
                False,
                "run this step",
                id="restore-brought",
                subject=user,
            ),
            *left,
        ]
    empty = not facts.chosen.message and not any(_messages(facts))
    checks = [restore_checks.contents(beside, empty)]
    for name, folder in beside.items():
        checks += restore_checks.folder(name, folder, user, site.roles.new)
    return checks + left


STEP = model.Step(
    id="restore",
    title="Restore mail from the copy",
    requires=(),
    probe=probe,
    plan=plan,
    verify=verify,
    choices=CHOICES,
    stable=stable,
    facts=Facts,
)
