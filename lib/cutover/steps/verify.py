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


def probe(hosts, site):
    """`{"level", "users": {user: {"rows": mailboxes.read_user, "appended": n}}, "errors": {user: text}}`"""
    converted = convert.probe(hosts, site)["state"]["users"]

    def of(user):
        mapping = {old: folder["name"] for old, folder in folders(site, converted[user]).items()}
        return mailboxes.read_user(hosts, user, mapping, site.verify.level)

    found, failed = {}, {}
    with concurrent.futures.ThreadPoolExecutor(site.verify.parallel) as pool:
        futures = {user: pool.submit(steps.attempt, of, user) for user in sorted(converted) if converted[user]["published"]}
        for user, future in futures.items():
            result = future.result()
            if "error" in result:
                failed[user] = result["error"]
            else:
                appended = {folder["name"]: folder["appended"] for folder in folders(site, converted[user]).values()}
                found[user] = {"rows": result["value"], "appended": appended}
    failed.update({user: "not published by this run" for user in converted if not converted[user]["published"]})
    return {"level": site.verify.level, "users": found, "errors": failed}


def folders(site, state):
    """`{old name as clients said it: {"name": new, "appended": messages only the new side had}}` from a store state."""
    return {folder["old"] if folder["old"] == "INBOX" else site.old_store.imap_prefix + folder["old"]:
            {"name": folder["new"], "appended": folder.get("appended", 0)} for folder in state["folders"]}


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
        "Do the sums agree?", f"{total['old']} messages of old, and {total['extra']} the conversion says it appended",
        f"{total['new']} messages in {total['folders']} folders of {len(found['users'])} users",
        total["new"] == total["old"] + total["extra"] and total["folders"] > 0, "see the users above"))
    return checks


def user_check(user, each, total, level):
    """One row for each user: counts, and every difference by folder."""
    wrong, notes, old, new, appended, count = [], [], 0, 0, 0, 0
    for row in each["rows"]:
        if row["old_name"] is None:
            known = each["appended"].get(row["new_name"])
            if known is None and row.get("only_new"):
                notes.append(f"{row['new_name']}: new side only, {row['only_new']} messages")
            continue
        if row["passed_over"]:
            notes.append(f"{row['old_name']}: {row['passed_over']}")
            continue
        count, old, new = count + 1, old + row["old"], new + row["new"]
        said = each["appended"].get(row["new_name"], 0)
        appended += said
        wrong += [f"{row['old_name']}: {text}" for text in row["differences"]]
        if row["differing"] > len(row["differences"]):
            wrong.append(f"{row['old_name']}: and {row['differing'] - len(row['differences'])} more differences")
        if row["extra"] != said:
            wrong.append(f"{row['old_name']}: {row['old']} messages old, {row['new']} new; the conversion says it appended "
                         f"{said}, found {row['extra']}")
    total["folders"] += count
    total["old"], total["new"], total["extra"] = total["old"] + old, total["new"] + new, total["extra"] + appended
    expected = f"{old} messages in {count} folders" + (f", {appended} appended" if appended else "")
    actual = f"{new} messages" + ("; " + "; ".join([*wrong, *notes]) if wrong or notes else f", {level} equal")
    return steps.Check(f"Is {user}'s mail the same on both sides?", expected, actual, not wrong and new == old + appended,
                       "do not go on: find the cause, run convert again, then verify", warning=bool(notes))
