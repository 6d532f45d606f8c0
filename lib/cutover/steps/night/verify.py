"""Both sides counted and compared, read by c-client on the old server and by Dovecot on the new one.

The parameters' level says how deep: counts; metadata (UIDs, flags, keywords, dates, sizes); contents (a digest of each message
as well). Metadata is always read of all. Contents may take `verify.content_minutes`: where more was predicted, a share of the
messages is read that the seed, the run's name, decides; and none begins after that time. Either is told.
"""

import concurrent.futures
import time

from cutover import model
from cutover.comparison import folders
from cutover.facts import mailboxes
from cutover.model import runbook
from cutover.steps.night import convert


def probe(ctx):
    """`{"level", "users": {user: {"rows": folders.read_user, "added": {folder: n}}}, "errors": {user: text}, "contents":
    {"seed", "share": of the messages, "minutes": allowed, "late": whether they were over before the end}}`"""
    hosts, site = ctx.hosts, ctx.site
    converted = convert.probe(ctx)["state"]["users"]
    contents = folders.Contents(
        ctx.run_name, share(site, ctx.history), time.monotonic() + site.verify.content_minutes * 60
    )

    def of(user):
        return folders.read_user(
            hosts, user, converted_folders(site, converted[user]), site.verify.level, contents
        )

    found, failed = {}, {}
    # the largest first: at the end none is left that keeps all others waiting
    published = sorted(
        (user for user in converted if converted[user]["published"]),
        key=lambda user: (-converted[user]["bytes"], user),
    )
    with concurrent.futures.ThreadPoolExecutor(site.verify.parallel) as pool:
        futures = {user: pool.submit(model.attempt, of, user) for user in published}
        for user, future in futures.items():
            result = future.result()
            if "error" in result:
                failed[user] = result["error"]
            else:
                state = converted[user]
                found[user] = {
                    "rows": result["value"],
                    "passed_over": [item["file"] for item in state["passed"]],
                    "added": {
                        folder["new"]: folder["added"] for folder in converted_folders(site, state)
                    },
                }
    failed.update(
        {user: "not published by this run" for user in converted if user not in published}
    )
    return {
        "level": site.verify.level,
        "users": found,
        "errors": failed,
        "contents": {
            "seed": contents.seed,
            "share": contents.share,
            "minutes": site.verify.content_minutes,
            "late": time.monotonic() > contents.deadline,
        },
    }


def share(site, events):
    """The part of all messages whose contents fit into the time allowed, by what presync measured; all where it measured
    nothing."""
    told = runbook.latest(events, "predicted")
    seconds = told and told.get("contents")
    return min(1.0, site.verify.content_minutes * 60 / seconds) if seconds else 1.0


def converted_folders(site, state):
    """`[{"old", "new", "added", "lost_keywords", "salvaged"}]` of a user, as IMAP names the folders; `old` is None for a folder
    that only the new side had. Added are messages from the spool and those that only the new side had; salvaged is the
    number of messages read from a damaged file, None for a whole one."""
    found = []
    for folder in state["folders"]:
        old, new = mailboxes.folder_names(site, folder)
        found.append(
            {
                "old": old,
                "new": new,
                "added": folder["spool"] + folder["appended"],
                "lost_keywords": folder["lost_keywords"],
                "salvaged": folder["messages"] if folder["damage"] else None,
            }
        )
    return found


def plan(found, site):
    return model.Plan(reason="verify only reads: EXAMINE on both sides")


def verify(found, site):
    checks = [
        model.Check(
            f"Can {user}'s mail be read on both sides?",
            "yes",
            error,
            False,
            "mend the cause, run convert again if need be, then verify",
        )
        for user, error in sorted(found["errors"].items())
    ]
    total = {"folders": 0, "old": 0, "new": 0, "extra": 0, "contents": 0}
    for user, each in sorted(found["users"].items()):
        checks.append(user_check(user, each, total, found["level"]))
    if found["level"] == "content":
        checks.append(contents_check(found["contents"], total))
    checks.append(
        model.Check(
            "Do the sums agree?",
            f"{total['old']} messages, and {total['extra']} added (spool, dual delivery)",
            f"{total['new']} messages in {total['folders']} folders of {len(found['users'])} users",
            total["new"] == total["old"] + total["extra"] and total["folders"] > 0,
            "see the users above",
        )
    )
    return checks


def contents_check(contents, total):
    """Of how many messages the contents were compared, and if not of all, of which."""
    said = f"{total['contents']} of {total['old']} messages"
    if total["contents"] < total["old"]:
        part = f"a sample, {contents['share']:.1%} of all by seed {contents['seed']}"
        said += f": {part if contents['share'] < 1 else 'as many as were reached'}"
        said += "; the time was over before the end" if contents["late"] else ""
    return model.Check(
        "Of how many messages were the contents compared?",
        f"all that {contents['minutes']:g} min allow",
        said,
        True,
        "metadata was compared of all; for more, set verify.content_minutes and run this step again",
        warning=total["contents"] < total["old"],
    )


def user_check(user, each, total, level):
    """One row for each user: counts, and every difference by folder."""
    wrong, notes, old, new, added, count, contents = [], [], 0, 0, 0, 0, 0
    for row in each["rows"]:
        name = row["old_name"] or row["new_name"]
        notes += [f"{name}: {text}" for text in row["notes"]]
        if row["unknown"]:
            if not any(path.endswith("/" + name.split("/", 1)[-1]) for path in each["passed_over"]):
                wrong.append(f"{name}: the conversion does not know it")
            continue
        if row.get("salvaged"):
            continue
        count, old, new, contents = (
            count + 1,
            old + row["old"],
            new + row["new"],
            contents + row["contents"],
        )
        said = each["added"].get(row["new_name"], 0)
        added += said
        wrong += [f"{name}: {text}" for text in row["differences"]]
        if row["differing"] > len(row["differences"]):
            wrong.append(
                f"{name}: and {row['differing'] - len(row['differences'])} more differences"
            )
        if row["extra"] != said:
            wrong.append(
                f"{name}: {row['old']} messages old, {row['new']} new; the conversion says it added {said}, found "
                f"{row['extra']}"
            )
    total["folders"] += count
    total["contents"] += contents
    total["old"], total["new"], total["extra"] = (
        total["old"] + old,
        total["new"] + new,
        total["extra"] + added,
    )
    expected = f"{old} messages in {count} folders" + (f", {added} added" if added else "")
    equal = (
        f"metadata equal, content of {contents}"
        if level == "content" and contents < old
        else f"{level} equal"
    )
    actual = f"{new} messages" + (
        "; " + "; ".join([*wrong, *notes]) if wrong or notes else f", {equal}"
    )
    return model.Check(
        f"Is {user}'s mail the same on both sides?",
        expected,
        actual,
        not wrong and new == old + added,
        "do not go on: find the cause, run convert again, then verify"
        if wrong
        else "no message is lost; tell the user if it matters to them",
        warning=bool(notes),
    )


STEP = model.Step(
    id="verify",
    title="Compare old and new",
    requires=("convert",),
    probe=probe,
    plan=plan,
    verify=verify,
    only_reads=True,
)
