"""What preflight reads from the hosts."""

import dataclasses

from cutover import model
from cutover.carryback import left_behind, notes
from cutover.connect import tls
from cutover.facts import (
    alias_service,
    antispam,
    certificate,
    clock,
    convert_workers,
    crontabs,
    dovecot,
    dovecot_limits,
    dovecot_names,
    free_space,
    local_names,
    machine,
    mail_program,
    mail_queue,
    nis,
    old_mail,
    pop3,
    prefixes,
    programs,
    quotas,
    selinux,
    sessions,
    systems,
    userdb,
    userdb_view,
    users,
    zone,
    zone_update,
)
from cutover.remote import converter
from cutover.steps.checks import stores

SURVEY_TIMEOUT = 3600  # seconds


@dataclasses.dataclass(frozen=True)
class Mx:
    """userdb: the text of its source; queue: mail that stays in the queue."""

    userdb: model.Reading[str]
    queue: model.Reading[mail_queue.Watched]


@dataclasses.dataclass(frozen=True)
class Facts:
    """Each part is a reading of its own, so that one host's fault hides no other.

    reach, clock, zones, users, names, mx, machines, antispam: by host name.
    reach: the account that sudo gives. clock: seconds ahead of this machine's clock.
    names: those under which sendmail accepts mail. passwords: by test user.
    machine: of the new host; machines: of the site's store_hosts.
    antispam, nis: None where the site declares none.
    cron: lines about mail, of the old host.
    old_ssh: old algorithms that the link to a host with legacy_ssh uses.
    left_behind: notes of earlier rollbacks, by user. left_out: the run that left a user out.
    pop3: whether the new host serves it.
    missing: programs, by host name. label: of the new store, by SELinux.
    open_sessions: on the old host; limits: of sessions, on the new one.
    user_quotas: on both.
    asked: what a test user misses under the old server's names, see prefixes.asked.
    mail_program: whether this machine has it.
    workers: hosts that convert, and the new one; None where it converts alone.
    belonging: of several stores, who belongs to which; None where the file has one.
    folder_names, pop3, open_sessions, limits, user_quotas, asked, mail_program: None in facts
    recorded by an earlier version.
    """

    run: str
    reach: dict[str, model.Reading[str]]
    servers: model.Reading[dict[str, zone.Server]]
    update: model.Reading[bool]
    clock: dict[str, model.Reading[float]]
    users: dict[str, model.Reading[list[users.Account]]]
    nis: model.Reading[nis.Nis | None]
    names: dict[str, model.Reading[list[str]]]
    certificate: model.Reading[tls.Certificate]
    passwords: dict[str, model.Reading[bool]]
    dovecot: model.Reading[dovecot.Store]
    python: model.Reading[str]
    imapd: model.Reading[str]
    space: model.Reading[free_space.FreeSpace]
    machine: model.Reading[machine.Machine]
    machines: dict[str, model.Reading[machine.Machine]]
    survey: model.Reading[old_mail.Survey]
    mx: dict[str, Mx]
    left_behind: model.Reading[dict[str, notes.Note]]
    antispam: dict[str, model.Reading[antispam.Antispam]] | None
    systems: systems.Systems
    old_ssh: dict[str, model.Reading[list[str]]] = dataclasses.field(default_factory=dict)
    cron: model.Reading[list[crontabs.Line]] = model.Reading([])
    left_out: model.Reading[dict[str, str]] = model.Reading({})
    zones: dict[str, model.Reading[clock.Zone]] = dataclasses.field(default_factory=dict)
    folder_names: model.Reading[dovecot_names.State] | None = None
    pop3: model.Reading[bool] | None = None
    missing: dict[str, model.Reading[list[str]]] = dataclasses.field(default_factory=dict)
    label: model.Reading[selinux.Label] | None = None
    open_sessions: model.Reading[sessions.Sessions] | None = None
    limits: model.Reading[dovecot_limits.Limits] | None = None
    user_quotas: model.Reading[quotas.Quotas] | None = None
    asked: dict[str, model.Reading[list[str]]] | None = None
    mail_program: bool | None = None
    workers: dict[str, model.Reading[convert_workers.Worker]] | None = None
    belonging: model.Reading[stores.Belonging] | None = None


def probe(ctx: model.Context) -> Facts:
    """Read everything that can be read before the night."""
    hosts, site = ctx.hosts, ctx.site
    old, new = site.mail_hosts
    names = _names(site)
    reach = hosts.each(names, lambda name: model.read(programs.sudo_account, hosts, name))
    reachable = {name for name, account in reach.items() if account.ok}

    def on(name, function, *arguments):
        if name not in reachable:
            return model.Reading(error=f"{name} is unreachable")
        return model.read(function, hosts, *arguments)

    accounts = {name: on(name, users.read, name) for name in site.mail_hosts}
    return Facts(
        run=ctx.run_name,
        reach=reach,
        servers=model.read(zone.read, hosts),
        update=model.read(zone_update.permitted, hosts),
        clock=hosts.each(sorted(reachable), lambda name: model.read(clock.offset, hosts, name)),
        users=accounts,
        nis=model.read(nis.read, hosts, reachable),
        names={name: on(name, local_names.read, name) for name in site.mail_hosts},
        certificate=model.read(certificate.read, site),
        passwords={
            account.user: model.read(alias_service.has_password, hosts, account.user)
            for account in site.accounts
        },
        dovecot=on(new, dovecot.store, new),
        **_folder_names(on, hosts, accounts[new]),
        pop3=on(new, pop3.served, new),
        python=on(new, programs.python_version, new),
        imapd=on(old, programs.imapd, old),
        space=on(new, free_space.read, new, site.new_store.work),
        machine=on(new, machine.read, new, site.new_store.work),
        machines=_machines(hosts),
        survey=on(new, _survey, ctx.run_name, accounts[new]),
        mx={name: _mx(on, name, site.mail_domains) for name in site.roles.mx},
        left_behind=on(old, left_behind.read),
        antispam=site.antispam
        and {
            name: on(name, antispam.read, name, site.antispam.milter, site.antispam.redis)
            for name in site.roles.mx
        },
        systems=systems.read_all(hosts),
        old_ssh={
            name: on(name, programs.old_algorithms, name)
            for name in names
            if site.hosts[name].legacy_ssh
        },
        cron=on(old, crontabs.read, old),
        left_out=on(new, _left_out, ctx.run_name, accounts[new]),
        **_of_users(on, ctx, accounts),
        zones={name: on(name, clock.zone, name) for name in site.mail_hosts},
        label=on(new, selinux.read, new, site.new_store.maildir.partition("{")[0] or "/home"),
        missing=hosts.each(names, lambda name: on(name, programs.missing, name)),
        workers=_workers(hosts, on),
    )


def _names(site):
    backup = [site.roles.backup] if site.roles.backup else []
    return list(dict.fromkeys([*site.cutover_hosts, *backup, *site.convert.workers]))


def _machines(hosts):
    paths = {store_host.host: store_host.path for store_host in hosts.site.store_hosts}
    return hosts.each(paths, lambda name: model.read(machine.read, hosts, name, paths[name]))


def _workers(hosts, on):
    if hosts.site.convert.engine != "dask":
        return None
    names = convert_workers.of_site(hosts)
    return hosts.each(names, lambda name: on(name, convert_workers.read, name))


def _folder_names(on, hosts, accounts):
    names = on(hosts.site.roles.new, dovecot_names.read, hosts.site.roles.new)
    return {
        "folder_names": names,
        "asked": prefixes.asked(hosts, names, accounts.value or ()),
        "mail_program": mail_program.installed(),
    }


def _of_users(on, ctx, accounts):
    site = ctx.site
    old, new = site.mail_hosts
    return {
        "open_sessions": on(old, sessions.read, old, accounts[old].value or []),
        "limits": on(new, dovecot_limits.read, new),
        "user_quotas": on(new, _quotas, accounts),
        "belonging": on(new, stores.read, ctx.run_name) if site.others else None,
    }


def _quotas(hosts, accounts):
    return quotas.read(hosts, {name: reading.value or [] for name, reading in accounts.items()})


def _left_out(hosts, run, accounts):
    plan = converter.plan(hosts.site, run, accounts.value or [], hosts.site.new_store.jobs)
    state = converter.state(hosts, hosts.site.roles.new, plan)
    return {name: user.left_out for name, user in state.users.items() if user.left_out}


def _mx(on, name, domains):
    return Mx(on(name, _userdb_source, name), on(name, mail_queue.waiting, name, domains))


def _survey(hosts, run, accounts):
    site = hosts.site
    if not accounts.ok:
        raise model.CannotPlan(f"the users of {site.roles.new} are unknown: {accounts.error}")
    zone = model.read(clock.east, hosts, site.roles.old).value
    plan = converter.plan(site, run, accounts.value, site.new_store.jobs, zone)
    return old_mail.parse(
        converter.read(hosts, site.roles.new, plan, "survey", timeout=SURVEY_TIMEOUT)
    )


def _userdb_source(hosts, name):
    return userdb.decode(userdb_view.read_source(hosts, name, hosts.site.userdb.source))
