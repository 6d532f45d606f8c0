"""The new store is copied to the backup host each day; what copied the old one is retired.

steps/checks/backup_files.py has the files that make the copy, and says why it is consistent while
Dovecot runs. If the parameters declare Bacula, it saves the copy (steps/checks/bacula_config.py).
Then some messages are restored from both and compared (changes/trial_restore.py).
"""

import dataclasses

from cutover import model
from cutover.changes.backup_run import RunBackup
from cutover.changes.files import FileChange
from cutover.changes.service import ServiceAction
from cutover.facts import backup_copy, files, services
from cutover.steps.checks import backup_files, proofs

PYTHON_NEEDED = (3, 8)


@dataclasses.dataclass(frozen=True)
class Retired(services.Service):
    """A service that copied the old store."""

    host: str


@dataclasses.dataclass(frozen=True)
class Facts(proofs.Backup):
    """Without a declared backup only `run` is set.

    public: the backup host's public key. files: {"host:path": text, or None without the file}.
    differs: None before the first copy, and while files are not as wanted.
    """

    run: str = ""
    account: backup_copy.Account | None = None
    public: str | None = None
    host_keys: list[str] = dataclasses.field(default_factory=list)
    python: model.Reading[str] = model.Reading("")
    wanted: list[backup_files.File] = dataclasses.field(default_factory=list)
    files: dict[str, str | None] = dataclasses.field(default_factory=dict)
    differs: model.Reading[backup_copy.Differences] | None = None
    retire: list[Retired] = dataclasses.field(default_factory=list)

    @property
    def unwritten(self) -> list[backup_files.File]:
        """The files that are not as they have to be."""
        return [file for file in self.wanted if self.files[file.name] != file.text]


def probe(ctx) -> Facts:
    """The state of the backup; nothing but the run's name when the parameters declare none."""
    hosts, site = ctx.hosts, ctx.site
    if site.backup is None:
        return Facts(run=ctx.run_name)
    new = site.roles.new
    account, public = backup_copy.account(hosts), backup_copy.public_key(hosts)
    host_keys = backup_copy.host_keys(hosts)
    wanted = []
    if account and public:
        keys = files.read(hosts, new, backup_files.keys_path(account))
        wanted = backup_files.planned(site, account, public, host_keys, keys)
    facts = Facts(
        run=ctx.run_name,
        account=account,
        public=public,
        host_keys=host_keys,
        python=model.read(backup_copy.python, hosts),
        wanted=wanted,
        files={file.name: files.read(hosts, file.host, file.path) for file in wanted},
        retire=[_retired(hosts, service) for service in site.backup.retire],
        **vars(proofs.read(hosts)),
    )
    if facts.last is None or facts.unwritten:
        return facts
    differs = model.read(backup_copy.differences, hosts, facts.last.began)
    return dataclasses.replace(facts, differs=differs)


def _retired(hosts, service):
    (state,) = services.read(hosts, service.host, [service])
    return Retired(host=service.host, **vars(state))


def plan(facts: Facts, site) -> model.Plan:
    """Install what is missing, make a copy, have it saved and tested, retire the old backup."""
    if site.backup is None:
        return model.Plan(reason="the parameters declare no backup: nothing is installed")
    backup, host = site.backup, site.roles.backup
    _refuse(facts, site)
    changes = [
        FileChange(file.host, file.path, file.mode, facts.files[file.name], file.text)
        for file in facts.unwritten
    ]
    if not (facts.timer.running and facts.timer.starts_at_boot):
        changes.append(ServiceAction(host, "systemd", backup_copy.timer_unit(site), "start", True))
    if changes or not facts.last or not facts.last.succeeded:
        changes.append(RunBackup(host, backup_copy.service_unit(site), backup.target, backup.wait))
    changes += proofs.plan(facts, site, bool(changes))
    changes += [
        ServiceAction(service.host, service.manager, service.name, "stop", service.starts_at_boot)
        for service in facts.retire
        if not service.off
    ]
    if not changes:
        return model.Plan(
            reason=f"{host} copies the store each day at {backup.at}, and the last run succeeded"
        )
    return model.Plan(tuple(changes))


def _refuse(facts, site):
    """Raises CannotPlan where a person has to prepare something first."""
    backup, host, new = site.backup, site.roles.backup, site.roles.new
    if not facts.account or facts.account.shell.endswith(("nologin", "false")):
        raise model.CannotPlan(
            f"{new} has no account {backup.account} with a shell, which the backup host's key has "
            f"to open. Create it: `useradd --system --create-home --shell /bin/sh {backup.account}`"
            " there; then run this step again."
        )
    if facts.account.mail_user:
        raise model.CannotPlan(
            f"backup.account is {backup.account}, a mail user of {new}: with the right to copy the "
            "store that user could read everybody's mail. Create an account for the copy alone: "
            "`useradd --system --create-home --shell /bin/sh mailbackup` there. Name it in "
            "backup.account; then run this step again."
        )
    if not facts.public:
        raise model.CannotPlan(
            f"{host} has no {backup.key}.pub. Create the key there, as root: `ssh-keygen -t ed25519"
            f" -N '' -f {backup.key}`; then run this step again."
        )
    python = facts.python
    if not python.ok or tuple(map(int, python.value.split("."))) < PYTHON_NEEDED:
        raise model.CannotPlan(
            f"{backup_copy.PYTHON} on {host} makes the copy and must be 3.8 or later: "
            f"{python.error or 'it is ' + python.value}. Install one, then run this step again."
        )


def stable(facts: Facts) -> dict:
    """What the plan rests on: what is installed, not the figures of the runs."""
    installed = {
        "account": facts.account,
        "public": facts.public,
        "host_keys": facts.host_keys,
        "wanted": facts.wanted,
        "files": facts.files,
    }
    return {**model.to_json(installed), **proofs.stable(facts)}


def verify(facts: Facts, site) -> list[model.Check]:
    """Whether the store is copied each day, saved and restorable, and the old backup retired."""
    if site.backup is None:
        return [
            model.Check(
                "The new store is backed up",
                "yes, or backed up by other means",
                "the parameters declare no backup",
                True,
                "see `backup` in docs/site.md",
                warning=True,
                id="backup-declared",
            )
        ]
    return [
        _installed(facts),
        *proofs.copy_checks(facts, site),
        *_complete(facts, site),
        *proofs.checks(facts, site),
        *map(_off, facts.retire),
    ]


def _installed(facts):
    missing = ", ".join(file.name for file in facts.unwritten)
    if not facts.wanted:
        missing = "account or key are missing"
    return model.holds(
        "Everything is installed on both hosts as planned",
        not missing,
        "all",
        f"not {missing}",
        "run this step again",
        id="backup-installed",
    )


def _complete(facts, site):
    host, last, reading = site.roles.backup, facts.last, facts.differs
    todo = f"run `{backup_copy.script(site)} check` on {host} as root, then this step again"
    question = f"Every file that was in {site.backup.store} when the last run began is in the copy"
    if reading is None or not reading.ok:
        yield model.Check(
            question,
            "0 missing",
            reading.error if reading else "not checked: nothing was copied yet",
            False,
            todo,
            id="copy-complete",
            subject=host,
        )
        return
    differences = reading.value
    first = f": {', '.join(differences.first[:5])}" if differences.first else ""
    yield model.Check(
        question,
        "0 missing",
        f"{differences.missing} missing{first}; {differences.since} arrived or changed since, "
        f"{differences.gone} are gone since"
        + "".join(f"; not known of {user}: {why}" for user, why in differences.failed.items()),
        differences.missing == 0 and not differences.failed,
        todo,
        id="copy-complete",
        subject=host,
        data=dataclasses.asdict(differences),
    )
    # no counts: a renamed message may be in the copy under two names while others are missing
    vanished = last.passes[-1].vanished if last.passes else 0
    renamed = f"; {vanished} were renamed or removed during the last one" if vanished else ""
    yield model.Check(
        "Every message that the run read is in the copy, under some name",
        "0 missing",
        f"{last.lacking} missing, after {len(last.passes)} passes{renamed}",
        last.lacking == 0,
        f"`systemctl start {backup_copy.service_unit(site)}` on {host}, when less mail arrives",
        id="copy-messages",
        subject=host,
        data={"missing": last.lacking},
    )


def _off(service):
    return model.holds(
        f"{service.name} on {service.host} is retired, also after a reboot",
        service.off,
        "off",
        service.detail,
        "run this step again",
        id="old-backup-off",
        subject=service.host,
        data={"service": service.name},
    )


STEP = model.Step(
    id="backup",
    title="Back up the new store",
    requires=("production-test",),
    probe=probe,
    plan=plan,
    verify=verify,
    stable=stable,
    facts=Facts,
)
