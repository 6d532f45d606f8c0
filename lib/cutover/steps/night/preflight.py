"""Everything that can be checked before the night, read-only."""

from collections.abc import Iterator

from cutover import model
from cutover.steps.checks import (
    access,
    antispam,
    clocks,
    left_behind,
    left_out,
    machine,
    new_server,
    nis,
    old_mail,
    old_names,
    outside_mail,
    program_checks,
    quotas,
    same_users,
    sendmail,
    service_checks,
    sessions,
    stores,
    system_checks,
    userdb_checks,
    worker_checks,
    zone_checks,
    zone_ready,
)
from cutover.steps.night import dns_rename, preflight_facts
from cutover.steps.night.preflight_facts import Facts

QUEUE_TODO = "Run `sendmail -q -v` on {name}. If mail stays, `mailq` shows the reason."


def plan(facts: Facts, site) -> model.Plan:
    """Always empty."""
    return model.Plan(reason="preflight only reads")


def verify(facts: Facts, site) -> list[model.Check]:
    """Every check, by subject; hosts and name servers first, as other checks depend on them."""
    return [
        *access.root(facts.reach),
        *access.old_ssh(facts.old_ssh),
        *access.programs(facts.missing),
        *_zone(facts, site),
        *same_users.check(facts.users, site.mail_hosts),
        *stores.checks(facts.belonging),
        *nis.checks(facts.nis, facts.users, site),
        *sendmail.names(facts.names, site),
        new_server.certificate(facts.certificate, site),
        new_server.maildir(facts.dovecot, site),
        new_server.inbox(facts.dovecot, site),
        *([new_server.uidl(facts.dovecot, facts.pop3, site)] if facts.pop3 else []),
        new_server.python(facts.python, site),
        new_server.imapd(facts.imapd, site),
        *new_server.selinux(facts.label, site),
        *sessions.checks(facts.open_sessions, facts.limits, site),
        *access.passwords(facts.passwords),
        *_old_mail(facts, site),
        *outside_mail.checks(facts.survey, facts.users[site.roles.new], site),
        *outside_mail.pointers(facts.survey, facts.cron, site),
        *old_names.before(facts.folder_names, facts.survey.value, site),
        *old_names.asked(facts.asked, facts.folder_names, site),
        *program_checks.installed(facts.mail_program, site),
        *quotas.checks(facts.user_quotas, facts.survey, site),
        *left_behind.earlier(facts.left_behind, site),
        *left_out.earlier(facts.left_out, site),
        *worker_checks.checks(facts.workers, site),
        *machine.checks(facts.machine, facts.machines, facts.survey.value, site),
        *_mx(facts, site),
        *antispam.checks(facts.antispam, site),
        clocks.agree(facts.clock, site.limits.clock),
        *clocks.same_zone(facts.zones, site),
        *system_checks.judge(facts.systems, site),
    ]


def _zone(facts: Facts, site) -> Iterator[model.Check]:
    yield from zone_ready.answers(facts.servers)
    if facts.servers.ok:
        yield zone_checks.same_serial(facts.servers.value)
        yield from zone_ready.alias(facts.servers.value, site)
        yield from zone_checks.new_server(facts.servers.value, site)
        yield from _rename(facts, site)
    yield zone_ready.update(facts.update)


def _rename(facts: Facts, site) -> Iterator[model.Check]:
    """Only a zone that dns-rename would refuse at night is worth a check."""
    servers = facts.servers.value
    if servers[site.roles.nameservers[0]].target(site.fqdn(site.alias)):
        return  # renamed already, or judged as the alias of another host
    try:
        dns_rename.plan(dns_rename.Facts(facts.run, servers), site)
    except model.CannotPlan as error:
        yield model.Check(
            f"{site.fqdn(site.roles.old)} can get the records of {site.fqdn(site.alias)}",
            "yes",
            str(error),
            False,
            "Correct the zone.",
            id="rename-possible",
        )


def _old_mail(facts: Facts, site) -> Iterator[model.Check]:
    yield from old_mail.readable(facts.survey, site)
    if facts.survey.ok:
        yield from old_mail.room(facts.space, facts.survey.value, site)


def _mx(facts: Facts, site) -> Iterator[model.Check]:
    sources = {name: mx.userdb.value for name, mx in facts.mx.items() if mx.userdb.ok}
    for name, mx in facts.mx.items():
        yield from sendmail.source(name, mx.userdb, site)
        yield service_checks.nothing_waits(name, mx.queue, QUEUE_TODO.format(name=name))
    if len(sources) == len(facts.mx):
        accounts = facts.users[site.roles.old].value or []
        yield userdb_checks.same_everywhere(sources)
        yield from sendmail.routing(sources[site.roles.mx[0]], len(accounts), site)


STEP = model.Step(
    id="preflight",
    title="Can the night begin?",
    requires=(),
    probe=preflight_facts.probe,
    plan=plan,
    verify=verify,
    facts=Facts,
    only_reads=True,
)
