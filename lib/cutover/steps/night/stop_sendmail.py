"""No delivery on either mail host; the MX queues hold the mail. The delivery outage begins."""

from cutover import model
from cutover.changes.mail import AwaitDeliveries, DrainQueue
from cutover.facts import mail_queue, processes, services
from cutover.steps.night import stop_imap

DELIVERING = ["sendmail", "sendmail-mta", "procmail", "dmail", "deliver"]


def probe(ctx):
    """`{"hosts": {host: {"services", "delivering", "port_25", "queued"}}, "mx": {host: {"running"}}}`"""
    hosts, site = ctx.hosts, ctx.site
    return {"hosts": hosts.each(site.mail_hosts, lambda name: read_host(hosts, site, name))}


def read_host(hosts, site, name):
    listed = [service.model_dump() for service in site.services_of(name).sendmail]
    return {
        "services": [{**service, **services.read(hosts, name, service)} for service in listed],
        "delivering": processes.running(hosts, name, DELIVERING),
        "port_25": hosts.port_open(name, 25),
        "queued": mail_queue.read(hosts, name),
    }


def plan(found, site):
    stops = {
        name: stop_imap.stop_services(name, host["services"])
        for name, host in found["hosts"].items()
    }
    listed = list(stops[site.roles.old])
    if stops[site.roles.new]:
        # what the old host got, and the MX still hold for the new one, would come there a second time after the conversion
        listed += [
            DrainQueue(list(site.roles.mx), site.limits.queue_drain, site.fqdn(site.roles.old)),
            *stops[site.roles.new],
        ]
    unsettled = any(
        host["delivering"] or host["queued"]["requests"] for host in found["hosts"].values()
    )
    if listed or unsettled:
        # what a mail host holds in its own queue would reach that host only: deliver it before the folders are read
        listed.append(DrainQueue(list(found["hosts"]), site.limits.queue_drain))
        listed += [
            AwaitDeliveries(name, DELIVERING, site.limits.queue_drain) for name in found["hosts"]
        ]
    if not listed:
        return model.Plan(
            reason="sendmail is stopped on both mail hosts and nothing is being delivered"
        )
    return model.Plan(tuple(listed))


def verify(found, site):
    checks = []
    for name, host in found["hosts"].items():
        up = [
            service["name"]
            for service in host["services"]
            if service["running"] or service["starts_at_boot"]
        ]
        busy = [f"{each['command']} {each['pid']}" for each in host["delivering"]]
        checks += [
            model.equal(
                f"Is sendmail of {name} stopped, and stays so after a reboot?",
                "stopped",
                "stopped" if not up else f"on: {', '.join(up)}",
                "run this step again",
            ),
            model.equal(
                f"Is port 25 of {name} closed, seen from outside?",
                "closed",
                "open" if host["port_25"] else "closed",
                f"`ss -tlnp` on {name}: which process listens?",
            ),
            model.equal(
                f"Is nothing being delivered on {name}?",
                "no process",
                ", ".join(busy[:5]) or "no process",
                "wait for it and run this step again",
            ),
            model.equal(
                f"Is the own queue of {name} empty?",
                "0 queued",
                f"{host['queued']['requests']} queued",
                "`mailq` there says why it waits; such mail would reach one host only",
            ),
        ]
    return checks


STEP = model.Step(
    id="stop-sendmail",
    title="Stop delivery",
    requires=("stop-imap",),
    probe=probe,
    plan=plan,
    verify=verify,
    confirm=model.the_alias,
)
