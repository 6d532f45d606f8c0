"""The new store is copied to the backup host each day; what copied the old one is retired.

How the copy is made, who may read what, and why it holds together while Dovecot runs: see hosts/backups.py. Where the parameters
name Bacula, it saves the copy (hosts/bacula.py). Then some messages are restored from each, and compared (changes/trial.py).
"""

import datetime

from cutover import model
from cutover.changes.backup_run import RunBackup, told
from cutover.changes.files import FileChange, read
from cutover.changes.service import ServiceAction
from cutover.facts import backup_copy as backups
from cutover.facts import clock, services
from cutover.steps.checks import proofs


def probe(ctx):
    """`{"account", "public", "python": backups.python as {"value"} or {"error"}, "host_keys", "wanted": backups.wanted, "files":
    {"host:path": text or None}, "timer", "last", "differs": backups.differs or None, "retire": [services], "at": seconds since
    the epoch, "bacula", "tests": proofs.read}`; empty when the parameters name no backup."""
    hosts, site = ctx.hosts, ctx.site
    if site.backup is None:
        return {}
    new = site.roles.new
    found = {
        "account": backups.account(hosts),
        "public": backups.public_key(hosts),
        "host_keys": hosts.ssh(new).pinned(),
        "wanted": [],
        "files": {},
        "differs": None,
        "python": model.attempt(backups.python, hosts),
        **status(hosts),
        "retire": [
            {**each.model_dump(), **services.read(hosts, each.host, each.model_dump())}
            for each in site.backup.retire
        ],
    }
    if found["account"] and found["public"]:
        keys_file = read(hosts, new, f"{found['account']['home']}/.ssh/authorized_keys")
        found["wanted"] = backups.wanted(
            site, found["account"], found["public"], found["host_keys"], keys_file
        )
        found["files"] = {
            _name(each): read(hosts, each["host"], each["path"]) for each in found["wanted"]
        }
    if found["last"] and not _unwritten(found):
        found["differs"] = model.attempt(backups.differs, hosts, found["last"]["began"])
    return {**found, **proofs.read(hosts, site)}


def status(hosts) -> dict:
    """`{"timer", "last", "at"}` as they are now; `at` by the backup host's clock, as the times of the last run are."""
    return {
        "timer": backups.timer(hosts),
        "last": backups.last(hosts),
        "at": float(clock.now(hosts, hosts.site.roles.backup)),
    }


def plan(found, site):
    if not found.keys() - {"run"}:
        return model.Plan(reason="the parameters name no backup: nothing is installed")
    backup, host, new = site.backup, site.roles.backup, site.roles.new
    if not found["account"] or found["account"]["shell"].endswith(("nologin", "false")):
        raise model.CannotPlan(
            f"{new} has no account {backup.account} with a shell, which the backup host's key is to open. "
            f"Make it: `useradd --system --create-home --shell /bin/sh {backup.account}` there; then run "
            "this step again."
        )
    if not found["public"]:
        raise model.CannotPlan(
            f"{host} has no {backup.key}.pub. Make the key there, as root: `ssh-keygen -t ed25519 -N '' -f "
            f"{backup.key}`; then run this step again."
        )
    python = found["python"]
    if "error" in python or tuple(map(int, python["value"].split("."))) < (3, 8):
        raise model.CannotPlan(
            f"the copy is made by {backups.PYTHON} of {host}, 3.8 or later: "
            f"{python.get('error') or 'it is ' + python['value']}. Install one there; then run this step "
            "again."
        )
    listed = [
        FileChange(
            each["host"], each["path"], each["mode"], found["files"][_name(each)], each["text"]
        )
        for each in _unwritten(found)
    ]
    timer = found["timer"]
    if not (timer["running"] and timer["starts_at_boot"]):
        listed.append(ServiceAction(host, "systemd", backups.TIMER, "start", True))
    if listed or not found["last"] or found["last"]["result"] != 0:
        listed.append(RunBackup(host, backups.SERVICE, backup.target, backup.wait))
    listed += proofs.plan(found, site, bool(listed))
    listed += [
        ServiceAction(each["host"], each["manager"], each["name"], "stop", each["starts_at_boot"])
        for each in found["retire"]
        if each["running"] or each["starts_at_boot"]
    ]
    if not listed:
        return model.Plan(
            reason=f"{host} copies the store each day at {backup.at}, and the last run ended well"
        )
    return model.Plan(tuple(listed))


def stable(found):
    """What the plan rests on: what is installed, not the figures of the runs."""
    return {
        **{key: found.get(key) for key in ("account", "public", "host_keys", "wanted", "files")},
        **proofs.stable(found),
    }


def _name(each):
    return f"{each['host']}:{each['path']}"


def _unwritten(found):
    return [each for each in found["wanted"] if found["files"][_name(each)] != each["text"]]


def verify(found, site):
    if not found.keys() - {"run"}:
        return [
            model.Check(
                "Is the new store backed up?",
                "yes, or known to be by other means",
                "the parameters name no backup",
                True,
                "see `backup` in docs/site.md",
                warning=True,
            )
        ]
    host, backup = site.roles.backup, site.backup
    left = (
        [_name(each) for each in _unwritten(found)]
        if found["wanted"]
        else ["account or key are missing"]
    )
    checks = [
        model.equal(
            "Is all in place on both hosts, as planned?",
            "all",
            "all" if not left else f"not {', '.join(left)}",
            "run this step again",
        ),
        *status_checks(found, site),
    ]
    last, differs = (
        found["last"],
        found["differs"] or {"error": "not asked: nothing was copied yet"},
    )
    if "error" in differs:
        checks.append(
            model.Check(
                "Is every file of the store in the copy?",
                "0 missing",
                differs["error"],
                False,
                f"run `{backups.SCRIPT} check` on {host} as root",
            )
        )
    else:
        differs = differs["value"]
        first = f": {', '.join(differs['first'][:5])}" if differs["first"] else ""
        checks.append(
            model.Check(
                f"Is every file that was in {backup.store} when the last run began in the copy?",
                "0 missing",
                f"{differs['missing']} missing{first}; {differs['since']} came or changed since, {differs['gone']} are gone since",
                differs["missing"] == 0,
                f"run `{backups.SCRIPT} check` on {host} as root; then the step again",
            )
        )
        checks.append(_found(last, host))
    checks += proofs.checks(found, site)
    for each in found["retire"]:
        off = not each["running"] and not each["starts_at_boot"]
        checks.append(
            model.equal(
                f"Is {each['name']} of {each['host']} retired, and stays so after a reboot?",
                "off",
                "off" if off else each["detail"],
                "run this step again",
            )
        )
    return checks


def _found(last, host):
    """Counts would tell nothing: messages that are renamed may be there under two names while others are missing."""
    vanished = last["passes"][-1]["vanished"] if last["passes"] else 0
    return model.Check(
        "Is each message that the run saw in the copy, under some name?",
        "0 missing",
        f"{last['lacking']} missing, after {len(last['passes'])} passes"
        + (f"; {vanished} were renamed or removed during the last one" if vanished else ""),
        last["lacking"] == 0,
        f"`systemctl start {backups.SERVICE}` on {host}, when less mail moves",
    )


def status_checks(found, site) -> list:
    """Whether the copy is made each day, and whether its last run ended well; `found`: status()."""
    host, timer, last = site.roles.backup, found["timer"], found["last"]
    due = timer["running"] and timer["starts_at_boot"] and bool(timer["next"])
    checks = [
        model.Check(
            f"Does {host} make a copy each day, also after a reboot?",
            f"each day at {site.backup.at}",
            f"next on {timer['next']}" if due else timer["detail"],
            due,
            f"`systemctl status {backups.TIMER}` there",
        )
    ]
    if last is None:
        return [
            *checks,
            model.Check(
                "Did the last run end well?",
                "yes",
                "there was none",
                False,
                f"`journalctl -u {backups.SERVICE}` on {host}",
            ),
        ]
    when = datetime.datetime.fromtimestamp(last["ended"], datetime.UTC).strftime("%Y-%m-%d %H:%M")
    checks.append(
        model.Check(
            "Did the last run end well?",
            "yes",
            f"{'yes' if last['result'] == 0 else 'NO: ' + last['error']}, {when} UTC: {told(last)}",
            last["result"] == 0,
            f"`journalctl -u {backups.SERVICE}` on {host}",
        )
    )
    checks.append(
        model.Check(
            "Is the copy of today or yesterday?",
            f"at most {proofs.AGE // 3600} hours old",
            f"{(found['at'] - last['ended']) / 3600:.1f} hours old",
            found["at"] - last["ended"] <= proofs.AGE,
            f"`systemctl start {backups.SERVICE}` on {host}, then see why the timer did not",
        )
    )
    return checks


STEP = model.Step(
    id="backup",
    title="Back up the new store",
    requires=("production-test",),
    probe=probe,
    plan=plan,
    verify=verify,
    stable=stable,
)
