"""Both sides counted and compared, read by c-client on the old server and by Dovecot on the new one."""

import concurrent.futures

from cutover import changes, steps
from cutover.hosts import mailboxes
from cutover.steps import convert

ID = "verify"
TITLE = "Compare old and new"
REQUIRES = ["convert"]
REVERSIBLE = True
CONFIRM = False
ONLY_READS = True


def probe(hosts, site):
    """`{"level", "users": {user: {"rows": mailboxes.read_user, "added": {folder: n}}}, "errors": {user: text}}`"""
    converted = convert.probe(hosts, site)["state"]["users"]

    def of(user):
        return mailboxes.read_user(hosts, user, folders(site, converted[user]), site.verify.level)

    found, failed = {}, {}
    published = [user for user in sorted(converted) if converted[user]["published"]]
    with concurrent.futures.ThreadPoolExecutor(site.verify.parallel) as pool:
        futures = {user: pool.submit(steps.attempt, of, user) for user in published}
        for user, future in futures.items():
            result = future.result()
            if "error" in result:
                failed[user] = result["error"]
            else:
                state = converted[user]
                found[user] = {"rows": result["value"], "passed_over": [item["file"] for item in state["passed"]],
                               "added": {folder["new"]: folder["added"] for folder in folders(site, state)}}
    failed.update({user: "not published by this run" for user in converted if user not in published})
    return {"level": site.verify.level, "users": found, "errors": failed}


def folders(site, state):
    """`[{"old", "new", "added", "lost_keywords", "salvaged"}]` of a user, as IMAP names the folders; `old` is None for a folder
    that only the new side had. Added are messages from the spool and those that only the new side had; salvaged is the
    number of messages read from a damaged file, None for a whole one."""
    found = []
    for folder in state["folders"]:
        old, new = folder["old"], folder["name"].replace(".", "/")
        if old:
            old = mailboxes.name(site.old_store.imap_prefix + old)
        elif not new:
            old = "INBOX"
        found.append({"old": old, "new": mailboxes.name(new) if new else "INBOX",
                      "added": folder["spool"] + folder["appended"], "lost_keywords": folder["lost_keywords"],
                      "salvaged": folder["messages"] if folder["damage"] else None})
    return found


def plan(found, site):
    return changes.Plan(reason="verify only reads: EXAMINE on both sides")


def verify(found, site):
    checks = [steps.Check(f"Can {user}'s mail be read on both sides?", "yes", error, False,
                          "mend the cause, run convert again if need be, then verify")
              for user, error in sorted(found["errors"].items())]
    total = {"folders": 0, "old": 0, "new": 0, "extra": 0}
    for user, each in sorted(found["users"].items()):
        checks.append(user_check(user, each, total, found["level"]))
    checks.append(steps.Check(
        "Do the sums agree?", f"{total['old']} messages, and {total['extra']} added (spool, dual delivery)",
        f"{total['new']} messages in {total['folders']} folders of {len(found['users'])} users",
        total["new"] == total["old"] + total["extra"] and total["folders"] > 0, "see the users above"))
    return checks


def user_check(user, each, total, level):
    """One row for each user: counts, and every difference by folder."""
    wrong, notes, old, new, added, count = [], [], 0, 0, 0, 0
    for row in each["rows"]:
        name = row["old_name"] or row["new_name"]
        notes += [f"{name}: {text}" for text in row["notes"]]
        if row["unknown"]:
            if not any(path.endswith("/" + name.split("/", 1)[-1]) for path in each["passed_over"]):
                wrong.append(f"{name}: the conversion does not know it")
            continue
        if row.get("salvaged"):
            continue
        count, old, new = count + 1, old + row["old"], new + row["new"]
        said = each["added"].get(row["new_name"], 0)
        added += said
        wrong += [f"{name}: {text}" for text in row["differences"]]
        if row["differing"] > len(row["differences"]):
            wrong.append(f"{name}: and {row['differing'] - len(row['differences'])} more differences")
        if row["extra"] != said:
            wrong.append(f"{name}: {row['old']} messages old, {row['new']} new; the conversion says it added {said}, found "
                         f"{row['extra']}")
    total["folders"] += count
    total["old"], total["new"], total["extra"] = total["old"] + old, total["new"] + new, total["extra"] + added
    expected = f"{old} messages in {count} folders" + (f", {added} added" if added else "")
    actual = f"{new} messages" + ("; " + "; ".join([*wrong, *notes]) if wrong or notes else f", {level} equal")
    return steps.Check(f"Is {user}'s mail the same on both sides?", expected, actual, not wrong and new == old + added,
                       "do not go on: find the cause, run convert again, then verify" if wrong else
                       "nothing is lost; tell the user if it matters to them", warning=bool(notes))
