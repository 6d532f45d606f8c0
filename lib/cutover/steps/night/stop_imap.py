"""No reading on either mail host: services stopped, live sessions ended, ports closed. The reading outage begins.

Before it does, go or no-go: what was predicted against what was announced, and whatever would make the outage longer than that.
"""

from cutover import model
from cutover.changes.service import EndSessions, ServiceAction
from cutover.facts import clock, free_space, mail_queue, ports, processes, services, zone
from cutover.model import runbook
from cutover.steps.checks import clocks
from cutover.steps.night import dns_rename

PORTS = (143, 993, 110, 995)
SESSIONS = {"old": ["imapd", "ipop3d"], "new": ["imap", "imap-login", "pop3", "pop3-login"]}


def probe(ctx):
    """`{"hosts": {host: {"services": [...], "sessions": [...], "ports": {port: open}}}, "go": what gate() judges, None once this
    run has begun to stop something: each second counts then}`"""
    hosts, site = ctx.hosts, ctx.site
    return {
        "hosts": hosts.each(site.mail_hosts, lambda name: read_host(hosts, site, name)),
        "go": None if begun(ctx.history) else read_go(ctx),
    }


def begun(events):
    """Whether this run has begun to stop reading, and has not gone back since."""
    started = False
    for event in events:
        if event["event"] == "intent" and event["step"] == "stop-imap":
            started = True
        elif event["event"] == "verified" and event["step"] == "rollback" and event["passed"]:
            started = False
    return started


def read_go(ctx):
    """`{"prediction", "presync": from the journal, "space", "clock", "servers", "queue": {host: …}}`; what is read from hosts is
    `{"value": …}` or `{"error": text}`."""
    hosts, site = ctx.hosts, ctx.site
    told = runbook.latest(ctx.history, "predicted")
    staged = runbook.latest(ctx.history, "verified", "step-failed", step="presync")
    attempt = model.attempt
    return {
        "prediction": told
        and {key: told[key] for key in ("time", "reading", "delivery", "staged")},
        "presync": staged and {key: staged.get(key) for key in ("time", "passed", "checks")},
        "space": model.read(free_space.read, hosts, site.roles.new, site.new_store.work),
        "clock": hosts.each(site.cutover_hosts, lambda name: attempt(clock.offset, hosts, name)),
        "servers": attempt(zone.read, hosts),
        "queue": hosts.each(
            site.cutover_hosts, lambda name: attempt(mail_queue.waiting, hosts, name)
        ),
    }


def read_host(hosts, site, name):
    listed = [service.model_dump() for service in site.services_of(name).imap]
    return {
        "services": [{**service, **services.read(hosts, name, service)} for service in listed],
        "sessions": processes.running(hosts, name, sessions(site, name)),
        "ports": ports.accepting(hosts, name, PORTS),
    }


def sessions(site, name):
    return SESSIONS["old" if name == site.roles.old else "new"]


def stop_services(name, services):
    """The changes that stop what runs, or would run after a reboot."""
    return [
        ServiceAction(name, service["manager"], service["name"], "stop", service["starts_at_boot"])
        for service in services
        if service["running"] or service["starts_at_boot"]
    ]


def plan(found, site):
    listed = []
    for name, host in found["hosts"].items():
        stops = stop_services(name, host["services"])
        listed += stops
        if stops or host["sessions"]:
            listed.append(EndSessions(name, sessions(site, name)))
    if not listed:
        return model.Plan(reason="nothing that serves IMAP or POP3 runs on either mail host")
    return model.Plan(tuple(listed))


def gate(found, site):
    """Go or no-go. → [Check]; the outage must not begin unless every one passed."""
    go = found.get("go")
    if go is None:
        return [
            model.Check(
                "Is the outage still to begin?",
                "yes",
                "no: this run has begun it",
                True,
                "go on, or roll back: both end it",
                warning=True,
            )
        ]
    return [
        *_predicted(go, site),
        _staged(go),
        clocks.agree(
            model.from_json(dict[str, model.Reading[float]], go["clock"]), site.limits.clock
        ),
        *_zone(go, site),
        *_queues(go),
        *_room(go, site),
    ]


def _predicted(go, site):
    for kind, what, minutes in (
        ("reading", "Will reading", site.outage.reading_minutes),
        ("delivery", "Will delivery", site.outage.delivery_minutes),
    ):
        question, wanted = f"{what} be back within the time announced?", f"at most {minutes:g} min"
        if go["prediction"] is None:
            yield model.Check(
                question,
                wanted,
                "not predicted: presync has not passed in this run",
                True,
                "run presync: without it all mail is converted in the outage",
                warning=True,
            )
            continue
        low, likely, high = (go["prediction"][kind][key] / 60 for key in ("low", "likely", "high"))
        yield model.Check(
            question,
            wanted,
            f"{low:.1f} to {high:.1f} min, likely {likely:.1f}",
            high <= minutes,
            f"run presync again, or announce more and set outage.{kind}_minutes",
        )


def _staged(go):
    question = "Did the last presync pass?"
    if go["presync"] is None:
        return model.Check(
            question,
            "yes",
            "it has not run in this run",
            True,
            "run presync: without it all mail is converted in the outage",
            warning=True,
        )
    wrong = [
        f"{check['question']} {check['actual']}"
        for check in go["presync"]["checks"] or []
        if not check["passed"]
    ]
    odd = [
        f"{check['question']} {check['actual']}"
        for check in go["presync"]["checks"] or []
        if check["passed"] and check["warning"]
    ]
    at = f"{go['presync']['time'][11:19]} UTC"
    said = (
        f"yes, at {at}" + "".join(f"; {text}" for text in odd)
        if go["presync"]["passed"]
        else f"no, at {at}: " + ("; ".join(wrong) or "it failed")
    )
    return model.Check(
        question,
        "yes",
        said,
        bool(go["presync"]["passed"]),
        "run presync again and mend what it says",
        warning=bool(odd),
    )


def _zone(go, site):
    question = "Do all name servers serve the same zone?"
    if "error" in go["servers"]:
        yield model.Check(
            question,
            "one serial",
            go["servers"]["error"],
            False,
            "the alias could not be switched: mend it first",
        )
        return
    servers = go["servers"]["value"]
    yield dns_rename.serial_check({"servers": servers})
    yield from (
        dns_rename.alias_check({"servers": servers}, site, name, site.fqdn(site.roles.old))
        for name in servers
    )


def _queues(go):
    for name, result in go["queue"].items():
        queue = result.get("value", {"requests": None, "items": []})
        said = result.get("error") or f"{queue['requests']} stay" + (
            f": {queue['items'][0]}" if queue["items"] else ""
        )
        yield model.Check(
            f"Does no mail stay in the queue of {name}?",
            "0 stay",
            said,
            queue["requests"] == 0,
            "stop-sendmail and restore-sendmail wait until it is delivered: look at its reason, `mailq` there",
        )


def _room(go, site):
    """After staging, the part by which limits.space_factor exceeds the mail must still be free."""
    staged = (go["prediction"] or {}).get("staged", {"messages": 0, "bytes": 0})
    new = site.roles.new
    if "error" in go["space"]:
        yield model.Check(
            f"Is there room on {new} for the rest?",
            "enough",
            go["space"]["error"],
            False,
            f"can {site.new_store.work} be reached?",
        )
        return
    for what, need in (("bytes", staged["bytes"]), ("inodes", staged["messages"])):
        wanted, have = round(need * (site.limits.space_factor - 1)), go["space"]["value"][what]
        yield model.Check(
            f"Are there enough free {what} on {new} for the rest?",
            f"at least {wanted}",
            "no limit" if have is None else str(have),
            have is None or have >= wanted,
            f"free or add {what} on the file system of {site.new_store.work}",
        )


def verify(found, site):
    return [check for name, host in found["hosts"].items() for check in closed_checks(name, host)]


def closed_checks(name, host):
    """Whether one host serves nobody: services, sessions, ports."""
    up = [service["name"] for service in host["services"] if service["running"]]
    boot = [service["name"] for service in host["services"] if service["starts_at_boot"]]
    open_ports = [port for port, is_open in host["ports"].items() if is_open]
    live = [f"{each['user']} ({each['command']} {each['pid']})" for each in host["sessions"]]
    return [
        model.equal(
            f"Are the IMAP services of {name} stopped?",
            "none running",
            _none(up, "running"),
            f"stop them on {name}, or run this step again",
        ),
        model.equal(
            f"Do they stay stopped if {name} reboots?",
            "none starts at boot",
            _none(boot, "starts at boot"),
            "run this step again",
        ),
        model.equal(
            f"Has every session on {name} ended?",
            "none alive",
            _none(live, "alive"),
            "run this step again; if one stays, look at what its process waits for",
        ),
        model.equal(
            f"Are the ports of {name} closed, seen from outside?",
            "none open",
            _none(open_ports, "open"),
            f"`ss -tlnp` on {name}: which process still listens?",
        ),
    ]


def _none(items, what):
    return f"none {what}" if not items else f"{what}: {', '.join(items[:10])}"


STEP = model.Step(
    id="stop-imap",
    title="Stop reading",
    requires=("dual-delivery",),
    probe=probe,
    plan=plan,
    verify=verify,
    confirm=model.the_alias,
    signers=2,
    gate=gate,
)
