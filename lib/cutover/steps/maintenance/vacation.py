"""Users can have the new host answer for them while they are away: Sieve, and ManageSieve to write the scripts.

procmail goes on to deliver. It hands mail over to dovecot-lda, and so to Sieve, for those users alone who have an active script,
and after what is marked as SPAM was filed: nobody answers SPAM. Should dovecot-lda fail, procmail delivers as before.
"""

from cutover import model
from cutover.changes import sieve
from cutover.connect import managesieve
from cutover.facts import files


def wanted(site) -> str:
    """Dovecot's settings. The user's address decides whether a mail was meant for the user (RFC 5230 §4.5)."""
    return f"""\
protocols = $protocols sieve
submission_host = {site.maintenance.relay}
protocol lda {{
  mail_plugins = $mail_plugins sieve
}}
plugin {{
  sieve_user_email = %n@{site.zone}
}}
"""


def recipe(site) -> str:
    return f"""\
:0 w
* ? test -e $HOME/{sieve.LINK}
| {site.maintenance.lda} -d $LOGNAME -f "$SENDER"

"""


def handing_over(text, site) -> str | None:
    """procmail's file with the recipe before its last one, which must be the unconditional delivery into a Maildir; None where it
    is anything else. What follows it is for mail that the Maildir did not take."""
    if recipe(site) in text:
        return text
    head, colon, last = text.rpartition("\n:0")
    lines = f":0{last}".strip().splitlines()
    if (
        not colon
        or len(lines) < 2
        or not lines[1].rstrip().endswith("/")
        or lines[1].startswith(("*", "|", "!"))
    ):
        return None
    if any(line.strip() == "}" for line in lines):
        return None
    return f"{head}\n{recipe(site)}:0{last}"


def probe(ctx):
    """`{"block", "procmailrc": text or None, "lda": runs?, "sieve": doveadm knows it?, "protocols", "plugins", "service":
    {"value": capabilities} or {"error"}}`"""
    hosts, site = ctx.hosts, ctx.site
    new, at = site.roles.new, site.maintenance
    asked = [
        ["test", "-x", at.lda],
        ["sh", "-c", "ls $(doveconf -h mail_plugin_dir)/lib90_sieve_plugin.so"],
        ["doveconf", "-h", "protocols"],
        ["doveconf", "-f", "protocol=lda", "-h", "mail_plugins"],
    ]
    lda, plugin, protocols, plugins = (
        hosts.run(new, argv, sudo=True, check=False) for argv in asked
    )
    return {
        "block": sieve.block(files.read(hosts, new, at.dovecot) or ""),
        "procmailrc": files.read(hosts, new, at.procmailrc),
        "lda": lda.rc == 0,
        "sieve": plugin.rc == 0,
        "protocols": protocols.text.split(),
        "plugins": plugins.text.split(),
        "service": model.attempt(managesieve.capabilities, site.address(new), at.managesieve_port),
    }


def plan(found, site):
    new, at = site.roles.new, site.maintenance
    if not (found["lda"] and found["sieve"]):
        raise model.CannotPlan(
            f"{new} has no {at.lda if not found['lda'] else 'Sieve plugin'}. Install Pigeonhole there "
            "(Debian: dovecot-sieve and dovecot-managesieved); then run this step again."
        )
    before = found["procmailrc"]
    after = handing_over(before or "", site)
    if after is None:
        raise model.CannotPlan(
            f"{at.procmailrc} of {new} does not end in an unconditional delivery into a Maildir, so it is not "
            f"known where Sieve belongs. Put this before what delivers, then run this step again:\n"
            f"{recipe(site)}"
        )
    listed = []
    if found["block"] != wanted(site):
        listed.append(sieve.DovecotBlock(new, at.dovecot, found["block"], wanted(site)))
    if after != before:
        listed.append(sieve.ProcmailSieve(new, at.procmailrc, "0644", before, after))
    return (
        model.Plan(tuple(listed))
        if listed
        else model.Plan(reason=f"{new} has Sieve, and procmail hands over to it")
    )


def stable(found):
    return {key: found[key] for key in ("block", "procmailrc", "lda", "sieve")}


def verify(found, site):
    new, at = site.roles.new, site.maintenance
    said = found["service"]
    able = said.get("value", {}).get("SIEVE", "").split()
    has = "vacation" in able and "STARTTLS" in said.get("value", {})
    return [
        model.equal(
            f"Does {new}'s Dovecot serve ManageSieve beside what it served?",
            "sieve among its protocols",
            "sieve among its protocols"
            if "sieve" in found["protocols"]
            else f"only {' '.join(found['protocols'])}",
            f"`doveconf protocols` there; is {at.dovecot} the file that is read last?",
        ),
        model.equal(
            "Does dovecot-lda run Sieve?",
            "yes",
            "yes" if "sieve" in found["plugins"] else "no",
            "`doveconf -f protocol=lda mail_plugins` there",
        ),
        model.Check(
            f"Does ManageSieve answer on port {at.managesieve_port}, with TLS and vacation?",
            "yes",
            said.get("error")
            or (
                f"yes: {said['value'].get('IMPLEMENTATION', 'unnamed')}, {len(able)} extensions"
                if has
                else f"no: {', '.join(sorted(said['value']))}"
            ),
            has,
            f"`journalctl -u dovecot` on {new}; is the port open in the firewall?",
        ),
        model.equal(
            "Does procmail hand mail of those who have a script over to it?",
            "yes",
            "yes" if recipe(site) in (found["procmailrc"] or "") else "no",
            "run this step again",
        ),
    ]


STEP = model.Step(
    id="vacation",
    title="Sieve: vacation, by ManageSieve",
    requires=(),
    probe=probe,
    plan=plan,
    verify=verify,
    stable=stable,
)
