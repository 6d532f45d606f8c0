"""What the backup is worth: what Bacula saved of the copy, and test restores. Read, planned and judged for the steps `backup` and
`decommission`, which looks at both again before there is no way back."""

from cutover import model
from cutover.changes import bacula_jobs as jobs
from cutover.changes import trial_restore
from cutover.changes.files import read as read_file
from cutover.facts import backup_copy as backups
from cutover.facts import bacula

AGE = 26 * 3600  # seconds after which what is done each day is too old
TESTED = 7 * 86400  # seconds after which a test restore is too old
DAYS = 7  # in a row that the schedule has to have


def read(hosts, site) -> dict:
    """`{"bacula": of Bacula, or None when it is not declared, "tests": {source: trial_restore.look as {"value"} or {"error"}}}`.

    Of Bacula: `{"wanted", "file": text or None, "included", "read": whether the Director has read it, "there": backups.counted,
    "status": bacula.status as {"value"} or {"error"}, "chain": [JobIds] that the last job rests on}`.
    """
    return {
        "bacula": _bacula(hosts, site) if site.backup.bacula else None,
        "tests": {
            source: model.attempt(trial_restore.look, hosts, source)
            for source in trial_restore.sources(site)
        },
    }


def _bacula(hosts, site):
    found = {
        "wanted": bacula.text(site),
        "file": read_file(hosts, site.roles.backup, bacula.FILE),
        "included": bacula.included(hosts, site.backup.bacula.config, bacula.FILE),
        "read": bacula.was_read(hosts),
        "there": backups.counted(hosts),
        "status": model.attempt(bacula.status, hosts),
        "chain": [],
    }
    saved = found["status"].get("value", {}).get("saved")
    if saved and saved[-1]["status"] == bacula.GOOD:
        found["chain"] = bacula.chain(hosts, saved[-1]["id"])
    return found


# --- what is to be done


def plan(found, site, copied: bool) -> list:
    """`copied`: the plan makes a new copy, which is to be saved and tested as well."""
    listed = _plan_bacula(found, site, copied) if found.get("bacula") else []
    # facts that were recorded before there were test restores have none
    return listed + [
        trial_restore.TrialRestore(
            site.roles.new,
            site.production_test.users[0].user,
            source,
            trial_restore.place(site, source),
            site.roles.backup,
        )
        for source in found.get("tests", ())
        if copied or listed or not _test(found, source).passed
    ]


def _plan_bacula(found, site, copied):
    seen, host, wanted = found["bacula"], site.roles.backup, site.backup.bacula
    if "error" in seen["status"]:
        raise model.CannotPlan(
            f"{seen['status']['error']} The parameters name Bacula: have its daemons run there, "
            "as its packages set them up, then run this step again."
        )
    there = seen["status"]["value"]
    for kind, name in (("client", wanted.client), ("storage", wanted.storage)):
        if name not in there[f"{kind}s"]:
            raise model.CannotPlan(
                f"Bacula's Director on {host} knows no {kind} {name}; it knows "
                f"{', '.join(there[f'{kind}s']) or 'none'}. Give one of these as backup.bacula.{kind}."
            )
    listed = []
    if not _installed(seen):
        listed.append(
            jobs.DirectorFile(
                host, bacula.FILE, "0644", seen["file"], seen["wanted"], wanted.config
            )
        )
    if copied or listed or not there["saved"] or there["saved"][-1]["status"] != bacula.GOOD:
        listed.append(jobs.RunJob(host, bacula.NAME, wanted.wait))
    return listed


def _installed(seen):
    return (
        seen["file"] == seen["wanted"]
        and seen["included"]
        and seen["read"]
        and bacula.NAME in seen["status"]["value"]["jobs"]
    )


def stable(found) -> dict:
    """What a plan rests on."""
    return (
        {key: found["bacula"][key] for key in ("wanted", "file", "included")}
        if found.get("bacula")
        else {}
    )


# --- what is so


def checks(found, site) -> list:
    """Empty for facts that were recorded before there were any."""
    return [
        *_bacula_checks(found, site),
        *(_test(found, source) for source in found.get("tests", ())),
    ]


def _bacula_checks(found, site):
    seen, host, wanted = found.get("bacula"), site.roles.backup, site.backup.bacula
    if seen is None:
        if "bacula" in found:
            yield model.Check(
                "Does Bacula save the copy, so that earlier days can be restored?",
                "yes, or not needed",
                "not declared",
                True,
                "see `backup.bacula` in docs/site.md",
                warning=True,
            )
        return
    if "error" in seen["status"]:
        yield model.Check(
            "Does Bacula's Director answer?", "yes", seen["status"]["error"], False, "start it"
        )
        return
    there = seen["status"]["value"]
    yield model.equal(
        f"Does Bacula's Director know the job {bacula.NAME}, as planned?",
        "yes",
        "yes" if _installed(seen) else "no",
        "run the step backup again",
    )
    days, times = {day for _, day, _ in there["schedule"]}, {at for _, _, at in there["schedule"]}
    yield model.Check(
        "Does Bacula save the copy each day, once it is made?",
        f"each day at {wanted.at}, and not before its end",
        f"in 8 days {len(days)} times, at {', '.join(sorted(times)) or 'no time'}",
        len(days) >= DAYS and times == {wanted.at},
        f"`status schedule job={bacula.NAME}` in bconsole on {host}",
    )
    if not there["saved"]:
        yield model.Check(
            "Did Bacula's last job end well?",
            "status T, 0 errors",
            "there was none",
            False,
            "run the step backup again",
        )
        return
    last = there["saved"][-1]
    log = f"`list joblog jobid={last['id']}` in bconsole on {host}"
    yield model.Check(
        "Did Bacula's last job end well?",
        "status T, 0 errors",
        jobs.told(last),
        last["status"] == bacula.GOOD and not last["errors"] and not last["lacking"],
        log,
    )
    yield model.Check(
        "Is Bacula's last job of today or yesterday?",
        f"at most {AGE // 3600} hours old",
        f"{(found['at'] - last['at']) / 3600:.1f} hours old",
        found["at"] - last["at"] <= AGE,
        f"`status director` in bconsole on {host}",
    )
    if last["level"] == "F":
        yield _whole(last, seen["there"], found["last"], log)
    rows = {each["id"]: each for each in there["saved"]}
    chain = [(number, rows.get(number, {"level": "?", "pruned": True})) for number in seen["chain"]]
    yield model.Check(
        "Does the catalog know a Full, and what came after it?",
        "a Full first, files and all",
        ", then ".join(
            f"JobId {number} {bacula.LEVELS.get(each['level'], each['level'])}"
            + (", its files forgotten" if each["pruned"] else "")
            for number, each in chain
        )
        or "nothing",
        bool(chain)
        and chain[0][1]["level"] == "F"
        and not any(each["pruned"] for _, each in chain),
        f"`run job={bacula.NAME} level=Full` in bconsole on {host}",
    )


def _whole(last, there, copied, log):
    """A Full counts directories as files. When another copy was made since, there is nothing to compare it with."""
    since = copied is not None and copied["began"] > last["at"]
    return model.Check(
        "Has the Full each file of the copy?",
        f"{there['regular']} files and {there['others']} directories",
        f"{last['files']} in all" + ("; another copy was made since" if since else ""),
        since or last["files"] == there["regular"] + there["others"],
        log,
    )


def _test(found, source):
    question = f"Does mail that was restored from {trial_restore.NAMES[source]} for a test agree with the live mail?"
    expected, todo = (
        f"the same octets, restored in the last {TESTED // 86400} days",
        "run the step backup again",
    )
    seen = found["tests"][source].get("value")
    if seen is None:
        return model.Check(
            question,
            expected,
            found["tests"][source].get("error", "there was no test restore"),
            False,
            todo,
        )
    told = [
        f"{seen['same']} messages of {seen['user']}'s INBOX the same",
        f"{seen['gone']} not there any more" if seen["gone"] else "",
        f"other text: {', '.join(seen['differ'])}" if seen["differ"] else "",
        f"restored {seen['age'] / 3600:.1f} h ago"
        + (f" of JobId {seen['job']}" if seen["job"] else ""),
    ]
    return model.Check(
        question,
        expected,
        "; ".join(filter(None, told)),
        seen["same"] > 0 and not seen["differ"] and seen["age"] <= TESTED,
        todo,
    )
