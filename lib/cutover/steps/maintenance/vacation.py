"""Users can have the new host answer for them while they are away: Sieve, and ManageSieve.

procmail still delivers. It hands mail to dovecot-lda, and so to Sieve, only for users who have an
active script, and after it filed what is marked as SPAM: nobody answers SPAM. If dovecot-lda fails,
procmail delivers as before.
"""

import dataclasses
import re

from cutover import model
from cutover.changes.sieve import DovecotBlock, ProcmailSieve
from cutover.facts import dovecot, files, sieve
from cutover.steps.maintenance import procmail_rules


@dataclasses.dataclass(frozen=True)
class Facts(sieve.Settings):
    """block: our block in Dovecot's configuration. procmailrc: None without the file."""

    run: str = ""
    block: str | None = None
    procmailrc: str | None = None
    service: model.Reading[sieve.ManageSieve] = model.Reading(error="not asked")


_RECIPE = re.compile(r"[ \t]*:")


def settings(facts: Facts, site) -> str:
    """Dovecot's settings."""
    spelling = dovecot.Spelling(facts.version)
    return spelling.sieve(site.maintenance.relay, site.zone, facts.userdbs)


def recipe(site) -> str:
    """procmail's recipe that hands the mail of users with an active script to Sieve."""
    return f"""\
:0 w
* ? test -e $HOME/{sieve.LINK}
| {site.maintenance.lda} -d $LOGNAME -f "$SENDER"

"""


def with_recipe(text: str, site) -> str | None:
    """procmail's file with our recipe before its last one.

    The last one must be the unconditional delivery into a Maildir; None if it is not. What follows
    it is for mail that the Maildir did not take.
    """
    if recipe(site) in text:
        return text
    lines = model.lines(text)
    starts = [number for number, line in enumerate(lines) if _RECIPE.match(line)]
    if not starts:
        return None
    last = lines[starts[-1] :]
    if not procmail_rules.UNCONDITIONAL.fullmatch(last[0]) or len(last) < 2:
        return None
    action = last[1]
    if not action.rstrip().endswith("/") or action.lstrip().startswith(("*", "|", "!", "#")):
        return None
    if any(line.strip().startswith("}") for line in last):
        return None
    before = "".join(f"{line}\n" for line in lines[: starts[-1]])
    return before + recipe(site) + text[len(before) :]


def probe(ctx) -> Facts:
    """What the new host has of Sieve, and whether procmail hands over to it."""
    hosts, new, parameters = ctx.hosts, ctx.site.roles.new, ctx.site.maintenance
    return Facts(
        run=ctx.run_name,
        block=sieve.block(files.read(hosts, new, parameters.dovecot) or ""),
        procmailrc=files.read(hosts, new, parameters.procmailrc),
        service=model.read(sieve.service, ctx.site.address(new), parameters.managesieve_port),
        **vars(sieve.settings(hosts, new, parameters.lda)),
    )


def plan(facts: Facts, site) -> model.Plan:
    """Dovecot's settings, then procmail's recipe."""
    new, parameters = site.roles.new, site.maintenance
    if not (facts.lda and facts.sieve):
        missing = "Sieve plugin" if facts.lda else parameters.lda
        raise model.CannotPlan(
            f"{new} has no {missing}. Install Pigeonhole there (Debian: dovecot-sieve and "
            "dovecot-managesieved), then run this step again."
        )
    before, block = facts.procmailrc, settings(facts, site)
    after = with_recipe(before or "", site)
    if after is None:
        raise model.CannotPlan(
            f"{parameters.procmailrc} on {new} does not end in an unconditional delivery into a "
            "Maildir, so the place for Sieve is unknown. Insert this before the recipe that "
            f"delivers, then run this step again:\n{recipe(site)}"
        )
    changes = []
    if facts.block != block:
        services = [service.name for service in site.services_of(new).imap]
        restart = services[0] if dovecot.Spelling(facts.version).split else ""
        changes.append(DovecotBlock(new, parameters.dovecot, facts.block, block, restart))
    if after != before:
        changes.append(ProcmailSieve(new, parameters.procmailrc, "0644", before, after))
    if not changes:
        return model.Plan(reason=f"{new} has Sieve, and procmail hands over to it")
    return model.Plan(tuple(changes))


def stable(facts: Facts) -> dict:
    """What the plan rests on."""
    return {
        "block": facts.block,
        "procmailrc": facts.procmailrc,
        "lda": facts.lda,
        "sieve": facts.sieve,
    }


def verify(facts: Facts, site) -> list[model.Check]:
    """Whether Dovecot runs scripts, users can write them, and procmail hands over."""
    new, parameters = site.roles.new, site.maintenance
    served = "sieve" in facts.protocols
    return [
        model.holds(
            f"Dovecot on {new} also serves ManageSieve",
            served,
            "sieve among its protocols",
            f"only {' '.join(facts.protocols)}",
            f"`doveconf -n` there; is {parameters.dovecot} the file that is read last?",
            id="managesieve-enabled",
            subject=new,
            data={"protocols": facts.protocols},
        ),
        model.holds(
            "dovecot-lda runs Sieve scripts",
            "sieve" in facts.plugins,
            "yes",
            "no",
            "`doveconf -n -f protocol=lda` there",
            id="lda-runs-sieve",
            subject=new,
        ),
        _managesieve(facts.service, new, parameters.managesieve_port),
        model.holds(
            "procmail hands mail of users with a script to Sieve",
            recipe(site) in (facts.procmailrc or ""),
            "yes",
            "no",
            "run this step again",
            id="procmail-hands-over",
            subject=new,
        ),
    ]


def _managesieve(reading, host, port):
    actual, passed = reading.error, False
    if reading.ok:
        service = reading.value
        missing = [
            "no vacation" if "vacation" not in service.extensions else "",
            "no TLS" if not service.tls else "",
        ]
        passed = not any(missing)
        actual = f"{service.IMPLEMENTATION}, {len(service.extensions)} extensions"
        actual = f"yes: {actual}" if passed else f"{', '.join(filter(None, missing))}: {actual}"
    return model.Check(
        f"ManageSieve answers on port {port}, with TLS and vacation",
        "yes",
        actual,
        passed,
        f"`journalctl -u dovecot` on {host}; is the port open in the firewall?",
        id="managesieve-answers",
        subject=host,
    )


STEP = model.Step(
    id="vacation",
    title="Sieve: vacation, by ManageSieve",
    requires=(),
    probe=probe,
    plan=plan,
    verify=verify,
    stable=stable,
    facts=Facts,
)
