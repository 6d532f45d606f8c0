"""Test the live system as a user: log in by the alias, read, receive through each MX, find spam."""

import dataclasses
import posixpath
from typing import NamedTuple

from cutover import model
from cutover.changes.mail import ReleaseQueue, SendTestMail
from cutover.comparison import second_reading
from cutover.facts import alias_service, logs, mail_program, mail_queue, spool, systems, users
from cutover.facts.systems import Systems
from cutover.model import runbook
from cutover.steps.checks import old_names, program_checks, service_checks, system_checks
from cutover.steps.night import carried_again

SHOWN = 5  # deliveries in the check


class TestMail(NamedTuple):
    """A test message through an MX."""

    token: str
    mx: str
    user: str
    spam: bool

    @property
    def folder(self) -> str:
        """Where it must arrive."""
        return "SPAM" if self.spam else "INBOX"


@dataclasses.dataclass(frozen=True)
class Facts:
    """users: what each test user sees. spooled: `{user: bytes in the new host's spool}`.

    systems, program: None in facts recorded by an earlier version. queues: of each MX and mail
    host.
    names: what each test user misses under the old server's names; None where the parameters ask
    for none. second: what verify did not read, read once the step's plan was applied; None where
    verify carried nothing. old_alone: what was delivered since the conversion; None before the plan
    was applied, which empties the queues.
    """

    run: str
    users: dict[str, model.Reading[alias_service.Visit]]
    spooled: dict[str, int] = dataclasses.field(default_factory=dict)
    systems: Systems | None = None
    queues: dict[str, mail_queue.Watched] = dataclasses.field(default_factory=dict)
    names: dict[str, model.Reading[list[str]]] | None = None
    program: mail_program.State | None = None
    second: second_reading.Second | None = None
    old_alone: model.Reading[logs.OldAlone] | None = None


def test_mails(site, run: str) -> list[TestMail]:
    """One normal and one spam message for each test user through each MX."""
    return [
        TestMail(f"{run}-{mx}-{account.user}-{kind}", mx, account.user, kind == "spam")
        for account in site.production_test.users
        for mx in site.roles.mx
        for kind in ("ham", "spam")
    ]


def probe(ctx) -> Facts:
    hosts, site = ctx.hosts, ctx.site
    mails = test_mails(site, ctx.run_name)
    tokens = system_checks.tokens_by_user(site, ctx.run_name)
    for mail in mails:
        tokens.setdefault(mail.user, []).append((mail.token, mail.spam))
    new = site.roles.new
    accounts = {account.user: account for account in users.read(hosts, new)}
    sizes = spool.files(hosts, new, posixpath.dirname(site.old_store.spool))
    visits = {
        user: model.read(alias_service.look, hosts, user, listed) for user, listed in tokens.items()
    }
    locked_out = not visits[site.production_test.users[0].user].ok
    return Facts(
        ctx.run_name,
        visits,
        {user: size for user, size in sorted(sizes.items()) if user in accounts},
        systems.read_all(hosts, mails[0].token, locked_out),
        _queues(ctx),
        {
            test.user: model.read(alias_service.names_missing, hosts, accounts[test.user])
            for test in site.production_test.users
            if test.user in accounts
        }
        if site.new_store.compatibility
        else None,
        mail_program.read(ctx.aside),
        carried_again.read(ctx, _is_applied(ctx)),
        _alone(ctx, accounts) if _is_applied(ctx) else None,
    )


def _alone(ctx, accounts):
    since = runbook.time_of(ctx.history, "step-begun", "convert")
    begun = runbook.time_of(ctx.history, "step-begun", STEP.id)
    return model.read(logs.old_alone, ctx.hosts, since, begun, accounts)


def _is_applied(ctx):
    own = [event["event"] for event in ctx.history if event.get("step") == STEP.id]
    return own[-1:] == ["applied"]


def _queues(ctx):
    """The queue of each MX and mail host: mail for the mail hosts, and a count of the rest.

    Once the step's plan was applied, what stays in it.
    """
    hosts, domains = ctx.hosts, ctx.site.mail_domains
    patience = 15.0 if _is_applied(ctx) else 0.0

    def read(name):
        return mail_queue.waiting(hosts, name, domains, patience)

    return hosts.each(_queues_of(ctx.site), read)


def _queues_of(site):
    return [*site.roles.mx, *site.mail_hosts]


def plan(facts, site):
    test = site.production_test
    changes = [
        SendTestMail(
            mail.mx,
            test.smtp_port,
            test.sender,
            f"{mail.user}@{site.zone}",
            mail.user,
            mail.token,
            mail.spam,
            line=test.spam_line if mail.spam else "",
        )
        for mail in test_mails(site, facts.run)
        if not system_checks.folder_of(facts.users, mail.user, mail.token)
    ]
    if facts.systems is not None:
        changes += system_checks.plan(facts.users, facts.run, site)
    if changes or any(queue.requests for queue in facts.queues.values()):
        # what was held in the outage: restore-sendmail only waited until it went out; a mail host
        # that was too busy to deliver has some in its own queue
        wait, domains = site.limits.queue_drain, sorted(site.mail_domains)
        changes.insert(0, ReleaseQueue(_queues_of(site), wait, whole=True, only=domains))
    changes += program_checks.again(facts.program, site)
    if not changes:
        return model.Plan(reason="every test message of this run has already arrived")
    return model.Plan(tuple(changes))


def stable(facts):
    """Where each user is, and which test messages there are: the rest changes as mail comes."""
    return {
        user: {"address": visit.value.address, "found": visit.value.found}
        if visit.ok
        else {"error": visit.error}
        for user, visit in facts.users.items()
    }


def verify(facts, site):
    checks = []
    for user, visit in facts.users.items():
        if visit.ok:
            checks += _visit(user, visit.value, facts.run, site)
        else:
            checks.append(
                model.Check(
                    f"{user} can log in at {site.fqdn(site.alias)} over TLS",
                    "yes",
                    visit.error,
                    False,
                    "Try it by hand with `openssl s_client -connect` and LOGIN. Check Dovecot's "
                    "log.",
                    id="user-login",
                    subject=user,
                )
            )
    checks.append(_spool(facts.spooled, site))
    if facts.names is not None:
        checks.append(old_names.led(facts.names, site))
    if facts.program is not None:
        checks += program_checks.noticed(facts.program, site)
    if facts.second is not None:
        checks.append(carried_again.check(facts.second, site))
    if facts.old_alone is not None:
        checks.append(_reached_both(facts.old_alone, site))
    if facts.systems is not None:
        checks += system_checks.verify(facts.systems, facts.users, facts.run, site)
    todo = "`mailq` shows the reason beside each message. Fix it, then run this step again."
    return checks + [
        service_checks.nothing_waits(name, model.Reading(queue), todo)
        for name, queue in facts.queues.items()
    ]


def _visit(user, visit, run, site):
    yield model.equal(
        f"{site.fqdn(site.alias)} leads {user} to the new server",
        site.address(site.roles.new),
        visit.address,
        "Check that every name server serves the new alias. Run switch-alias again.",
        id="user-address",
        subject=user,
    )
    yield model.Check(
        f"{user} can list folders",
        "INBOX and more",
        f"{len(visit.folders)} folders",
        "INBOX" in visit.folders,
        "Check Dovecot's log.",
        id="user-folders",
        subject=user,
        data={"folders": len(visit.folders)},
    )
    yield model.Check(
        f"{user} can read a message",
        "a whole message",
        f"{visit.read} bytes",
        visit.read > 0,
        "Check Dovecot's log and the permissions of the Maildir.",
        id="user-message",
        subject=user,
        data={"bytes": visit.read},
    )
    for mail in test_mails(site, run):
        if mail.user == user:
            yield _arrival(mail, visit.found.get(mail.token), site)


def _arrival(mail, folder, site):
    todo = f"Run `mailq` on {mail.mx}; check procmail's log on {site.roles.new}."
    if mail.spam:
        todo += " Check that the antispam marks a message with production_test.spam_line."
    return model.holds(
        f"{'Spam' if mail.spam else 'Mail'} for {mail.user} through {mail.mx} arrived",
        folder == mail.folder,
        mail.folder,
        folder or "not found",
        todo,
        id="test-mail-arrived",
        subject=mail.user,
        data={"token": mail.token, "folder": folder},
    )


def _spool(spooled, site):
    """procmail puts mail there that the store refused, unless its last recipe says otherwise."""
    new, place = site.roles.new, posixpath.dirname(site.old_store.spool)
    return model.holds(
        f"No user's mail is in {place} of {new}, which Dovecot does not read",
        not spooled,
        "none",
        ", ".join(f"{user} ({size} bytes)" for user, size in spooled.items()),
        f"First find out why the store refused it (is it full?) and fix that. Then, on {new} as "
        f"root: `mv {place}/USER /root/USER.spool && formail -s sendmail -oi USER < "
        "/root/USER.spool`",
        id="spool-empty",
        subject=new,
        data={"bytes": spooled},
    )


def _reached_both(alone, site):
    """Mail addressed to the alias itself passes no userdb: it goes where the alias leads."""
    old, logged = site.roles.old, alone.value if alone.ok else None
    if logged is None:
        actual = f"the logs could not be read: {alone.error}"
    else:
        count = f"{logged.alone} of {logged.deliveries} deliveries"
        actual = "; ".join([count, *logged.first[:SHOWN]]) + (" …" if logged.alone > SHOWN else "")
    return model.Check(
        f"Did any mail since the conversion reach {old} alone?",
        "0",
        actual,
        True,
        f"such as what was sent to USER@{site.fqdn(site.alias)} before switch-alias. Copy it to "
        "the user on the new server (`doveadm save`): nobody reads the old one any more. "
        "decommission lists what is left",
        warning=logged is None or logged.alone > 0,
        id="reached-both",
        subject=old,
        data={"deliveries": logged.deliveries, "alone": logged.alone} if logged else {},
    )


STEP = model.Step(
    id="production-test",
    title="Test the live service",
    requires=("restore-imap",),
    probe=probe,
    facts=Facts,
    plan=plan,
    verify=verify,
    stable=stable,
)
