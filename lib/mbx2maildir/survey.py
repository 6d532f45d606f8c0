"""`survey`: what the old store holds, for preflight. Read-only; only message lines are read, not
texts."""

import os

from mbx2maildir import errors, home, pointers, pool
from mbx2maildir.convert import incoming, source, subscriptions
from mbx2maildir.formats import dates
from mbx2maildir.formats.keywords import KeywordTable
from mbx2maildir.formats.names import Names

REPORT_EVERY = 512
SIZES = 41  # classes of message sizes: class n holds those from 2^(n-1) bytes to below 2^n


def task_survey(user, report):
    dates.use_zone(user.get("zone"))
    return survey_user(user, report)


def survey_user(user, report):
    """Count one user's old store → dict (see survey). Damage and unreadable files are listed, never
    raised."""
    result = empty(user["user"])
    inbox = spool = None
    folders = []
    try:
        inbox, spool, not_inbox = incoming.find(user.get("inbox") or [], user.get("spool"))
        besides = [
            inbox.path if inbox else None,
            user.get("spool"),
            user.get("subscriptions"),
            *(user.get("inbox") or []),
        ]
        folders, passed = source.folders(user.get("folders"), besides, result["errors"])
        result["passed"] = [
            {
                "file": errors.printable(item["file"]),
                "why": item["why"],
                "format": item["format"],
                "size": item["size"],
            }
            for item in not_inbox + passed
        ]
        mail = [inbox, *folders] if inbox else folders
        further = home.from_roots(user, mail, report)
        folders, mail = folders + further, mail + further
        subscribed, elsewhere, result["prefixes"] = subscriptions.read(
            user.get("subscriptions"), user.get("folders"), user.get("home"), passed, folders
        )
        result["subscriptions"] = len(subscribed)
        result["elsewhere"] = [errors.printable(line) for line in elsewhere]
        result.update(home.survey(user, mail, passed, report))
        result["pointers"] = pointers.read(user)
    except errors.StoreError as error:
        result["errors"].append(error.as_dict())
    names = Names([folder.name for folder in folders], user.get("dots"))
    result["renamed"] = [
        {
            "from": errors.printable(item["from"]),
            "to": errors.printable(item["to"]),
            "why": item["why"],
        }
        for item in names.changes
    ]
    named = [("INBOX", inbox), ("spool", spool)]
    named += [(errors.printable(folder.name), folder) for folder in folders]
    for name, file in named:
        if file is None:
            continue
        try:
            survey_folder(file, name, result, report, moved=file is spool and inbox is not None)
        except errors.StoreError as error:
            result["errors"].append(error.as_dict())
    result["inodes"] = result["messages"] + 6 * (len(folders) + 1) + 4
    return result


def empty(name):
    """The answer about a user of whom nothing is known yet."""
    return {
        "user": name,
        "folders": [],
        "passed": [],
        "errors": [],
        "damage": [],
        "renamed": [],
        "elsewhere": [],
        **home.nothing(),
        "pointers": [],
        "subscriptions": 0,
        "prefixes": {},
        "messages": 0,
        "bytes": 0,
        "expunged": 0,
        "inodes": 0,
        "sizes": [0] * SIZES,
    }


def survey_folder(file, name, result, report, moved=False):
    """Count one mailbox. moved: its messages get the UIDs of another one."""
    fd, box = file.open()
    try:
        messages = total = recent = 0
        used = 0
        for _uid, is_recent, _flags, bits, _seconds, size, _offset, _text in box.messages(False):
            messages += 1
            if not messages % REPORT_EVERY:
                report(0, 0)
            total += size
            result["sizes"][min(size.bit_length(), SIZES - 1)] += 1
            recent += is_recent
            used |= bits
    finally:
        os.close(fd)
    table = KeywordTable(list(box.keywords), used)
    entry = {
        "folder": name,
        "name": os.fsdecode(file.old),
        "file": errors.printable(file.path),
        "format": box.format,
        "messages": messages,
        "bytes": total,
        "recent": recent,
        "expunged": box.expunged,
        "keywords": sum(1 for word in box.keywords if word),
        "keywords_used": bin(used).count("1"),
        "keywords_merged": [list(map(errors.printable, pair)) for pair in table.merged],
        "keywords_lost": list(map(errors.printable, table.dropped)),
        "uidvalidity": box.uidvalidity,
        "uidnext": box.uidnext,
        "renumbered": box.renumbered and not moved,
        "before_1970": box.before_1970,
    }
    result["folders"].append(entry)
    result["damage"] += [dict(item, file=entry["file"], folder=name) for item in box.damage]
    for key in ("messages", "bytes", "expunged"):
        result[key] += entry[key]


def survey(plan):
    """Survey all users of a plan by its number of jobs.

    → {"users": [{"user", "messages", "bytes", "expunged", "inodes", "subscriptions", "folders":
    [{"folder", "name", "file", "format", "messages", "bytes", "recent", "expunged", "keywords",
    "keywords_used", "keywords_merged": [[name, the one it becomes]], "keywords_lost",
    "uidvalidity", "uidnext", "renumbered", "before_1970"}], "passed": [{"file", "why", "format",
    "size"}], "errors": [{"kind", "file", "offset", "what", "todo"}], "damage": [{"kind", "file",
    "folder", "offset", "length", "what"}], "renamed", "elsewhere", "prefixes": {prefix of
    subscriptions: lines}, "sizes": messages by class of size, and what home.survey() finds,
    "pointers": as pointers.read()}], "totals": {"users", "messages", "bytes", "expunged", "inodes",
    "sizes", "folders", "passed", "errors", "damage"}}.
    """
    workers = pool.Pool(plan["jobs"])
    answers = {}
    try:
        for user in plan["users"]:
            workers.submit(user["user"], task_survey, user, user=user)
        while workers.pending():
            for name, kind, value in workers.wait(1.0):
                if kind == "done":
                    answers[name] = value
                elif kind == "failed":
                    answers[name] = dict(empty(name), errors=[value])
    finally:
        workers.close()
    users = [answers[user["user"]] for user in plan["users"]]
    totals = {
        key: sum(entry[key] for entry in users)
        for key in ("messages", "bytes", "expunged", "inodes")
    }
    totals["sizes"] = [sum(entry["sizes"][number] for entry in users) for number in range(SIZES)]
    totals.update(
        {
            key: sum(len(entry[key]) for entry in users)
            for key in ("folders", "passed", "errors", "damage")
        }
    )
    return {"users": users, "totals": dict(totals, users=len(users))}


def text(values):
    """The survey for a human."""
    lines = []
    for user in values["users"]:
        lines.append(
            "{}: {} messages, {} bytes, {} folders".format(
                user["user"], user["messages"], user["bytes"], len(user["folders"])
            )
        )
        lines += [
            "    {:<30} {:>8} messages {:>12} bytes {:>5} hidden expunged {:>3} keywords".format(
                entry["folder"],
                entry["messages"],
                entry["bytes"],
                entry["expunged"],
                entry["keywords"],
            )
            for entry in user["folders"]
        ]
        lines += ["    skipped {}: {}".format(item["file"], item["why"]) for item in user["passed"]]
        lines += [
            "    outside {} {} bytes: {}".format(item["format"], item["bytes"], item["file"])
            for item in user["outside"]
        ]
        lines += [
            "    not searched {}: {}".format(item["file"], item["why"])
            for item in user["unsearched"]
        ]
        lines += [
            "    {} → {}: {}".format(item["from"], item["to"], item["why"])
            for item in user["renamed"]
        ]
        lines += [
            "    DAMAGE {} at byte {}: {}".format(item["file"], item["offset"], item["what"])
            for item in user["damage"]
        ]
        lines += [
            "    ERROR {}: {}. {}".format(item["file"], item["what"], item["todo"])
            for item in user["errors"]
        ]
    totals = values["totals"]
    lines.append(
        "{users} users, {folders} folders, {messages} messages, {bytes} bytes, "
        "{expunged} hidden expunged, {passed} files skipped, {damage} damaged ranges, "
        "{errors} errors.".format(**totals)
    )
    return "\n".join(lines)
