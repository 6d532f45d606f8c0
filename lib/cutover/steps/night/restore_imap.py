"""Dovecot back, on the new server only. The reading outage ends."""

from cutover import model
from cutover.steps.night import restore_sendmail, stop_imap


def probe(ctx):
    """`{"hosts": as stop-imap}`"""
    hosts, site = ctx.hosts, ctx.site
    return {
        "hosts": hosts.each(site.mail_hosts, lambda name: stop_imap.read_host(hosts, site, name))
    }


def plan(found, site):
    listed = restore_sendmail.start_services(found["hosts"], [site.roles.new])
    if not listed:
        return model.Plan(reason=f"the IMAP services of {site.roles.new} already run")
    return model.Plan(tuple(listed))


def verify(found, site):
    new = found["hosts"][site.roles.new]
    off = [
        service["name"]
        for service in new["services"]
        if not (service["running"] and service["starts_at_boot"])
    ]
    checks = [
        model.equal(
            f"Do the IMAP services run on {site.roles.new}, and start at boot?",
            "all",
            "all" if not off else f"not {', '.join(off)}",
            f"`journalctl -u {(off or ['dovecot'])[0]}` there",
        ),
        model.equal(
            f"Is port 993 of {site.roles.new} open, seen from outside?",
            "open",
            "open" if new["ports"]["993"] else "closed",
            f"`ss -tlnp` on {site.roles.new}; a firewall?",
        ),
    ]
    return checks + stop_imap.closed_checks(site.roles.old, found["hosts"][site.roles.old])


STEP = model.Step(
    id="restore-imap",
    title="Resume reading, on the new server",
    requires=("verify", "restore-sendmail", "switch-alias"),
    probe=probe,
    plan=plan,
    verify=verify,
    needs_fresh_verify=True,
)
