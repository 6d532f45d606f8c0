"""Mail of one user comes back from the backup host. No step of the night: it runs alone, whenever it is asked for.

What is asked for is in `ctx.chosen`: `{"user", "folder": name as IMAP says it, or "" for all, "message": Message-ID or "",
"source": "current" (also "") or "bacula", "day": "" or the last moment that counts, "YYYY-MM-DD", with a time or to its end}`.
"""

import contextlib
import datetime
import re

from cutover import model
from cutover.changes import bacula_restore
from cutover.changes import restored_mail as restore
from cutover.connect import imap
from cutover.facts import backup_copy as backups
from cutover.facts import bacula, bacula_files, copies, mailboxes, trial_restore, users

DAY = re.compile(r"(\d{4}-\d\d-\d\d)(?:[ T](\d\d:\d\d)(:\d\d)?)?")

CHOICES = ("user", "folder", "message", "source", "day")


def probe(ctx):
    """`{"chosen", "account": users.read entry or None, "place", "copy": {folder: {"directory", "messages", "lacking": by UID, or
    None when that is not known yet}} or None, "last": backups.last, "live": {folder: messages or None}, "beside": restore.look
    or None, "maildir": copies.mail_directory}`, and "bacula": saved(), where it is the source; the folders are those asked for;
    without a mail directory nothing is live and nothing beside. "scratch": bacula_files.scratches, where
    Bacula is declared. Only "chosen" when there is no backup, or what is asked for makes no sense."""
    hosts, site = ctx.hosts, ctx.site
    chosen = {key: ctx.chosen.get(key, "") for key in CHOICES}
    if site.backup is None or _senseless(chosen, site):
        return {"chosen": chosen}
    account = model.to_json(users.find(hosts, site.roles.new, chosen["user"]))
    other = (
        f"{chosen['source']} {chosen['day']}" if chosen["source"] == trial_restore.BACULA else ""
    )
    place = copies.tree(site, ctx.run_name, chosen["user"], chosen["folder"], other)
    found = {
        "chosen": chosen,
        "account": account,
        "place": place,
        "copy": None,
        "last": model.to_json(backups.last_run(hosts)),
        "live": {},
        "beside": None,
    }
    if site.backup.bacula:
        found["scratch"] = bacula_files.scratches(hosts)
    if account is None:
        return found
    if other:
        found["bacula"] = saved(hosts, _moment(chosen["day"]))
        jobs_read = found["bacula"]["jobs"]
        listed = (
            model.to_json(
                bacula_files.listing(hosts, [each["id"] for each in jobs_read], account["user"])
            )
            if jobs_read
            else None
        )
    else:
        listed = copies.listing(hosts, account["user"])
    found["maildir"] = copies.mail_directory(hosts, account)
    if listed is None:
        return found
    found["copy"] = {
        name: each for name, each in sorted(listed.items()) if _asked(chosen["folder"], name)
    }
    gone = not found["maildir"]["there"]
    with (
        contextlib.nullcontext() if gone else mailboxes.new_session(hosts, account["user"]) as live
    ):
        for name, each in found["copy"].items():
            there = None if gone else _read(live, name)
            found["live"][name] = there and there.exists
            if other:
                each["lacking"] = None
                continue
            uids = (
                {one.uid for one in there.messages}
                if there and there.uidvalidity == each["uidvalidity"]
                else set()
            )
            each["lacking"] = len(set(each.pop("uids")) - uids)
    if not gone and copies.brought(hosts, found["place"]):
        found["beside"] = restore.look(
            hosts, account, found["place"], list(found["copy"]), chosen["message"]
        )
    return found


def saved(hosts, moment: str) -> dict:
    """`{"jobs": [bacula.parse_jobs entries] that hold the state of the last job which began by `moment` and ended well, oldest
    first; "first": when the first that there is began, or ""}`."""
    runs = model.to_json(bacula.status(hosts).saved)
    good = [each for each in runs if each["status"] in bacula.USABLE]
    before = [each for each in good if not moment or each["began"] <= moment]
    numbers = bacula.chain(hosts, before[-1]["id"]) if before else []
    return {
        "jobs": [each for each in runs if each["id"] in numbers],
        "first": good[0]["began"] if good else "",
    }


def _senseless(chosen, site):
    """What is wrong with what is asked for, or nothing."""
    if chosen["source"] not in ("", *trial_restore.NAMES):
        return f"there is no source {chosen['source']!r}. Give {' or '.join(trial_restore.NAMES)}."
    if chosen["source"] == trial_restore.BACULA and not site.backup.bacula:
        return "the parameters declare no Bacula (`backup.bacula`): only the copy of last night can be restored from."
    if chosen["day"] and chosen["source"] != trial_restore.BACULA:
        return "the copy has no earlier days. Ask for them from bacula."
    if chosen["day"] and not _is_day(chosen["day"]):
        return f"{chosen['day']!r} is no day. Give YYYY-MM-DD, or with a time by Bacula's clock YYYY-MM-DD HH:MM."
    return ""


def _is_day(day):
    try:
        return bool(DAY.fullmatch(day) and datetime.datetime.fromisoformat(_moment(day)))
    except ValueError:  # 30 February
        return False


def _moment(day):
    """The last moment that counts, as Bacula writes it; "" when the last job does."""
    if not day:
        return ""
    date, minute, second = DAY.fullmatch(day).groups()
    return f"{date} {minute or '23:59'}{second or ':59'}"


def _asked(folder, name):
    """A folder means itself and what is below it. INBOX alone may be written in any case (RFC 3501)."""
    folder = "INBOX" if folder.upper() == "INBOX" else folder
    return not folder or name == folder or name.startswith(f"{folder}/")


def _read(session, name):
    try:
        return session.read(name, "metadata")
    except imap.FolderUnreadable:
        return None


def plan(found, site):
    left = found.get("scratch", [])
    try:
        return _plan(
            found, site, [bacula_restore.RemoveRestored(site.roles.backup, where) for where in left]
        )
    except model.CannotPlan as error:
        if not left:
            raise
        raise model.CannotPlan(
            f"{error} Besides: a restore that was broken off left mail on {site.roles.backup} in "
            f"{', '.join(left)}. The next restore that can be planned removes it."
        ) from error


def _plan(found, site, left):
    """`left`: the changes that remove what earlier restores left on the backup host."""
    chosen = found["chosen"]
    if "account" not in found:
        wrong = site.backup and _senseless({key: chosen.get(key, "") for key in CHOICES}, site)
        raise model.CannotPlan(
            wrong or "the parameters name no backup: there is no copy to restore from"
        )
    if found["account"] is None:
        raise model.CannotPlan(
            f"{site.roles.new} knows no mail user {chosen['user']!r}. Give one that it knows."
        )
    if "bacula" in found:
        _readable(found["bacula"], chosen, site)
    what = (
        f"folder {chosen['folder']} of " if chosen["folder"] and found["copy"] is not None else ""
    )
    if not found["copy"] and "bacula" in found:
        last = found["bacula"]["jobs"][-1]
        raise model.CannotPlan(
            f"what Bacula saved on {last['began']} has no {what}{chosen['user']}. Give another day, or see "
            f"what there is: `restore jobid={last['id']} select` in bconsole on {site.roles.backup}."
        )
    if not found["copy"]:
        raise model.CannotPlan(
            f"the copy in {site.backup.target} on {site.roles.backup} has no {what}{chosen['user']}. "
            f"`ls -A {site.backup.target}/{chosen['user']}` there shows what it has."
        )
    beside = found["beside"]
    made = _make(found, site)
    if beside is None and not made and not any(each["messages"] for each in found["copy"].values()):
        raise model.CannotPlan(
            f"there is no message in what is there of {what}{chosen['user']}: {', '.join(found['copy'])}. "
            "Look at another folder, or from bacula at an earlier day."
        )
    if beside is not None and not any(each["missing"] for each in beside.values()):
        has = f"{chosen['user']} has every message of {found['place']}"
        return (
            model.Plan(tuple(left), notes=(("Only left to remove", has),))
            if left
            else model.Plan(reason=has)
        )
    user, account, new = chosen["user"], found["account"], site.roles.new
    listed = [*left, *(_bring(found, site) if beside is None else []), *made]
    listed.append(
        restore.AddMissing(
            new,
            user,
            {key: account[key] for key in ("user", "uid", "gid", "home")},
            found["place"],
            list(found["copy"]),
            chosen["message"],
        )
    )
    notes = tuple(
        (
            name,
            f"{each['messages']} messages in the copy, {_there(found['live'][name])} live"
            + ("" if each["lacking"] is None else f"; by their UIDs {each['lacking']} are missing"),
        )
        for name, each in found["copy"].items()
    )
    read = (
        [
            (
                "Bacula's jobs that are read",
                "; ".join(bacula.Job(**job).in_words() for job in found["bacula"]["jobs"]),
            )
        ]
        if "bacula" in found
        else (_doubtful(found["last"], site))
    )
    return model.Plan(tuple(listed), notes=(*read, *notes))


def _make(found, site):
    """The change that makes the user's mail directory, where it is gone: Dovecot may not make it, nor may who delivers."""
    gone, account, new = found.get("maildir"), found["account"], site.roles.new
    if not gone or gone["there"]:
        return []
    if not gone["parent"] or gone["asked"] and not gone["found"]:
        raise model.CannotPlan(
            f"{gone['path']} is not on {new}, nor is "
            + (
                "the directory it would be in"
                if not gone["parent"]
                else f"that of any of {gone['asked']} other users"
            )
            + ". Is the store's file system mounted? `findmnt` there tells; then run this step again."
        )
    group = account["gid"] if gone["group"] is None else gone["group"]
    return [
        restore.MakeMailDirectory(
            new,
            found["chosen"]["user"],
            gone["path"],
            f"{account['uid']}:{group}",
            gone["mode"],
            f"{found['place']}.aside",
        )
    ]


def _readable(seen, chosen, site):
    """Whether Bacula has anything of that day, and still knows which files."""
    at = f"{site.roles.backup}'s Bacula"
    if not seen["jobs"]:
        raise model.CannotPlan(
            f"{at} had saved nothing by {chosen['day'] or 'now'}: "
            + (
                f"its first job that ended well began on {seen['first']}. Give a later day."
                if seen["first"]
                else "no job has ended well. Run the step backup."
            )
        )
    gone = [str(each["id"]) for each in seen["jobs"] if each["pruned"]]
    if gone or seen["jobs"][0]["level"] != "F":
        what = (
            f"which files JobId {', '.join(gone)} saved"
            if gone
            else "the Full that the job rests on"
        )
        raise model.CannotPlan(
            f"the catalog of {at} does not know any more {what}: it was pruned. While the volumes are there, "
            "`bscan` brings it back; then run this step again. Or give a later day."
        )


def _bring(found, site):
    """The changes after which the folders lie beside the live mailbox."""
    user, account = found["chosen"]["user"], found["account"]
    directories = [each["directory"] for each in found["copy"].values()]
    first, last, base = [], [], ""
    if "bacula" in found:
        base = bacula_files.scratch(site, *found["place"].split("/")[-2:])
        first = [
            bacula_restore.RestoreBeforehand(
                site.roles.backup,
                user,
                [each["id"] for each in found["bacula"]["jobs"]],
                directories,
                *(
                    [number for each in found["copy"].values() for number in each[key]]
                    for key in ("dirids", "fileids")
                ),
                base,
                site.backup.bacula.wait,
            )
        ]
        last = [bacula_restore.RemoveRestored(site.roles.backup, base)]
    return [
        *first,
        restore.BringBeside(
            site.roles.new,
            user,
            f"{account['uid']}:{account['gid']}",
            found["place"],
            directories,
            copies.source(site, user, directories, base),
            site.roles.backup,
        ),
        *last,
    ]


def _doubtful(last, site):
    """What is to be known of a copy whose last run did not end well: (title, text), or nothing."""
    if last is not None and last["result"] == 0:
        return []
    said = (
        "there is no report of one"
        if last is None
        else f"result {last['result']}: {last['error'] or 'no word of why'}"
    )
    return [
        (
            "The last run of the copy did NOT end well",
            f"{said}. What the copy has is older, or not all is there; see "
            f"`journalctl -u {backups.SERVICE}` on {site.roles.backup}, or restore from Bacula, where it is declared",
        )
    ]


def _there(number):
    return "no such folder" if number is None else str(number)


def stable(found):
    """What the plan rests on: what is asked for, whose it is, which folders the copy has, in which jobs; not how many messages
    there are."""
    return {
        "chosen": found["chosen"],
        "account": found.get("account"),
        "folders": sorted(found.get("copy") or ()),
        **({"jobs": [each["id"] for each in found["bacula"]["jobs"]]} if "bacula" in found else {}),
    }


def verify(found, site):
    user, beside = found["chosen"]["user"], found.get("beside")
    if not beside:
        return [
            model.Check(
                f"Was {user}'s copy brought beside the live mailbox?",
                "yes",
                "no",
                False,
                "run this step",
            ),
            *_left(found, site),
        ]
    total = {
        key: sum(each[key] for each in beside.values()) for key in ("copy", "missing", "added")
    }
    empty = not found["chosen"]["message"] and not any(
        each["messages"] for each in found["copy"].values()
    )
    checks = [
        model.Check(
            "Does the copy hold what is asked for?",
            "messages",
            f"{total['copy']} messages",
            total["copy"] > 0 or empty,
            "look at the folder's name and the Message-ID",
        )
    ]
    for name, each in beside.items():
        first = f": {'; '.join(each['first'][:3])}" if each["missing"] else ""
        checks.append(
            model.Check(
                f"Does Dovecot show every message of the copy in {name}?",
                "0 missing",
                f"{each['missing']} missing of {each['copy']}{first}; {each['added']} were added",
                each["missing"] == 0,
                "run this step again",
            )
        )
        before = each["before"]
        if before is None:
            continue
        checks.append(
            model.equal(
                f"Have the added messages of {name} their flags and dates, and ascending UIDs?",
                "yes",
                "; ".join(each["wrong"]) or "yes",
                "`cutover rollback --run DIR` takes them out again",
            )
        )
        checks.append(
            model.equal(
                f"Has {name} kept its UIDVALIDITY?",
                before["uidvalidity"],
                each["uidvalidity"],
                f"look at Dovecot's log on {site.roles.new}",
            )
        )
        fewer = before["exists"] - each["kept"]
        checks.append(
            model.Check(
                f"Are the messages that {name} had before still there?",
                f"{before['exists']} messages",
                f"{each['kept']} messages"
                + (f"; {user} removed {fewer} meanwhile" if fewer > 0 else ""),
                fewer >= 0,
                f"look at Dovecot's log on {site.roles.new}",
                warning=fewer > 0,
            )
        )
    return checks + _left(found, site)


def _left(found, site):
    """Users' mail that Bacula restored does not stay on the backup host."""
    if "scratch" not in found:
        return []
    return [
        model.equal(
            f"Is nothing left on {site.roles.backup} of what Bacula restored?",
            "nothing",
            ", ".join(found["scratch"]) or "nothing",
            "run this step again: it removes it",
        )
    ]


STEP = model.Step(
    id="restore",
    title="Restore mail from the copy",
    requires=(),
    probe=probe,
    plan=plan,
    verify=verify,
    choices=CHOICES,
    stable=stable,
)
