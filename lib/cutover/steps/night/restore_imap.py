"""Dovecot back, on the new server only. The reading outage ends."""

from cutover.model import change as changes
from cutover.model import check as steps
from cutover.steps.night import restore_sendmail, stop_imap

ID = "restore-imap"
TITLE = "Resume reading, on the new server"
REQUIRES = ["verify", "restore-sendmail", "switch-alias"]
REVERSIBLE = True
CONFIRM = False
FRESH = True  # rests on a verify that passed not long ago


def probe(hosts, site):
    """`{"hosts": as stop-imap}`"""
    return {
        "hosts": hosts.each(site.mail_hosts, lambda name: stop_imap.read_host(hosts, site, name))
    }


def plan(found, site):
    listed = restore_sendmail.start_services(found["hosts"], [site.roles.new])
    if not listed:
        return changes.Plan(reason=f"the IMAP services of {site.roles.new} already run")
    return changes.Plan(tuple(listed))


def verify(found, site):
    new = found["hosts"][site.roles.new]
    off = [
        service["name"]
        for service in new["services"]
        if not (service["running"] and service["starts_at_boot"])
    ]
    checks = [
        steps.equal(
            f"Do the IMAP services run on {site.roles.new}, and start at boot?",
            "all",
            "all" if not off else f"not {', '.join(off)}",
            f"`journalctl -u {(off or ['dovecot'])[0]}` there",
        ),
        steps.equal(
            f"Is port 993 of {site.roles.new} open, seen from outside?",
            "open",
            "open" if new["ports"]["993"] else "closed",
            f"`ss -tlnp` on {site.roles.new}; a firewall?",
        ),
    ]
    return checks + stop_imap.closed_checks(site.roles.old, found["hosts"][site.roles.old])
