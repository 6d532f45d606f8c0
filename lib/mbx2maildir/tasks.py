"""What the worker processes of batch.py do for one user.

Arguments and answers are plain values that can be pickled. report(messages, bytes): progress.
"""

import os
import time

from mbx2maildir import errors
from mbx2maildir.convert import folder, merge, prepare, ranges, staged
from mbx2maildir.publish import publish, syscalls


def task_prepare(plan, user, report):
    values = publish.settle(plan, user)
    if values is not None:
        return {"published": values}
    publish.expect_unused(publish.paths(plan, user))
    return {"prepared": prepare.prepare(user, plan.get("presync", False))}


def task_folders(plan, user, items, new_folders, report):
    """→ list of results; in the place of one, {"item", "job", "fallback"} when the folder is to be
    written in ranges. Either with "seconds", the time worked on the folder."""
    results = []
    for item in items:
        began = time.monotonic()
        file, name, spool = item
        fallback = staged.fallback_uidvalidity(new_folders, name, file or spool, user["folders"])
        result = folder.folder(
            user,
            file,
            name,
            spool,
            fallback,
            plan.get("strict", False),
            report,
            plan.get("presync", False),
            plan["jobs"],
        )
        if "cuts" in result:
            result = {"item": item, "job": result, "fallback": fallback}
        results.append(dict(result, seconds=time.monotonic() - began))
    return results


def task_range(plan, user, split, number, limits, report):
    file, name, _spool = split["item"]
    began = time.monotonic()
    part = ranges.write(
        user,
        file,
        name,
        split["job"],
        number,
        limits,
        plan.get("strict", False),
        report,
        plan.get("presync", False),
    )
    return {"split": name, "part": part, "seconds": time.monotonic() - began}


def task_join(plan, user, split, parts, report):
    file, name, spool = split["item"]
    began = time.monotonic()
    result = folder.join(
        user,
        file,
        name,
        spool,
        split["job"],
        parts,
        split["fallback"],
        plan.get("strict", False),
        report,
        plan.get("presync", False),
    )
    return [dict(result, seconds=split["seconds"] + time.monotonic() - began)]


def task_finish(plan, user, prepared, results, report):
    return merge.finish(user, prepared, results)


def task_publish(plan, batch, report):
    """Sync once, then swap in each. → list of (user's name, late messages or None, error values or
    None)."""
    syscalls.syncfs(os.path.join(os.fsencode(plan["work"]), os.fsencode(plan["run"])))
    outcomes = []
    for user, values, known in batch:
        try:
            outcomes.append((user["user"], publish.publish(plan, user, values, known), None))
        except Exception as error:
            outcomes.append((user["user"], None, errors.describe(error)))
    return outcomes
