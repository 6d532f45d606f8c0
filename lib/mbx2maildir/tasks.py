"""What the worker processes of batch.py do for one user, being that user.

Arguments and answers are plain values that can be pickled. report(messages, bytes): progress.
"""

import os
import time

from mbx2maildir.convert import folder, merge, prepare, ranges, staged
from mbx2maildir.formats import dates
from mbx2maildir.publish import syscalls


def task_prepare(plan, user, report):
    return prepare.prepare(user, plan.get("presync", False), report)


def task_folders(plan, user, items, new_folders, report):
    """→ list of results; in the place of one, {"item", "job", "fallback"} when the folder is to be
    written in ranges. Either with "seconds", the time worked on the folder."""
    dates.use_zone(user.get("zone"))
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
    dates.use_zone(user.get("zone"))
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
    dates.use_zone(user.get("zone"))
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
    return merge.finish(user, prepared, results, report)


def task_sync(plan, report):
    """Write all that was staged to disk. Nobody's task: it is done as what we are."""
    syscalls.syncfs(os.path.join(os.fsencode(plan["work"]), os.fsencode(plan["run"])))
