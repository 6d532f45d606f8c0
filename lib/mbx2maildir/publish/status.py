"""`state`: what this run has published, by root's records and the trees that are in place."""

import os

from mbx2maildir import each_user, errors
from mbx2maildir.publish import containers, publish, records


def state(plan):
    """What was published and staged.

    → {"run", "users": [{"user", "published", "phase", "live", "messages", "bytes", "staged",
    "warnings", "folders", "left_out", "error"}]}.

    phase: "published", "unpublished", "left-out" or "none". live: "ours" when the live tree is the
    published one, "other" for another tree, "none" when there is no tree. marked: see
    of_all_runs(). messages and bytes are those published. left_out: the latest run that went on
    without the user, when none has published since, or None.
    error: why the user's trees could not be looked at, as errors.describe() gives it, or None.

    No process of a user is begun but for a tree that an older version published: with thousands of
    users, that would take longer than all the rest. Nobody's mail is looked at here. compare and
    signatures do that.
    """
    places = {user["user"]: containers.paths(plan, user) for user in plan["users"]}
    names = containers.runs(plan)
    kept = {user["user"]: _records(plan, user, names) for user in plan["users"]}
    asked = [user for user in plan["users"] if _is_older(kept[user["user"]])]
    looks = dict.fromkeys(places, (None, None))
    looks.update(
        each_user.ask_all(
            dict(plan, users=asked),
            publish.task_older,
            lambda user: places[user["user"]]["live"],
            None,
        )
    )
    users = [
        _of_user(plan, user["user"], places[user["user"]], kept[user["user"]], *looks[user["user"]])
        for user in plan["users"]
    ]
    return {
        "run": plan["run"],
        "users": users,
        "published": sum(entry["published"] for entry in users),
    }


def _records(plan, user, names):
    """What is recorded of a user → {"known": this run's, "staged", "error": why one of these cannot
    be read, "runs": {name of a run: its record}}."""
    places = containers.paths(plan, user)
    kept = {"known": {}, "staged": {}, "error": None, "runs": {}}
    try:
        kept["known"], kept["staged"] = (records.read(places[key]) for key in ("state", "staged"))
    except Exception as fault:
        kept["error"] = errors.describe(fault)
    for run in names:
        of_run = containers.paths(dict(plan, run=run), user)["state"]
        try:
            kept["runs"][run] = kept["known"] if run == plan["run"] else records.read(of_run)
        except errors.StoreError:
            continue  # an error of that run
    return kept


def _is_older(kept):
    """Whether only the tree itself says whether it is the published one."""
    published = [record for record in kept["runs"].values() if record.get("phase") == "published"]
    return any("inode" not in record for record in published)


def _of_user(plan, name, places, kept, older, error):
    known, staged = kept["known"], kept["staged"]
    error = kept["error"] or error
    ours = publish.published(plan, places, known, staged, older)
    values = ours or known
    phase = known.get("phase") if known.get("phase") in ("unpublished", "left-out") else "none"
    marked, left_out = of_all_runs(kept["runs"], places["live"], older)
    return {
        "user": name,
        "published": bool(ours),
        "phase": "published" if ours else phase,
        "live": "none" if not os.path.lexists(places["live"]) else "ours" if ours else "other",
        "tree": values.get("tree"),
        "staged": {"folders": _staged_folders(staged), "at": staged.get("at")},
        "marked": marked,
        "left_out": left_out,
        "lost": known.get("phase") == "published" and not ours,
        "messages": values.get("messages", 0),
        "bytes": values.get("bytes", 0),
        "expunged": values.get("expunged", 0),
        "error": error,
        "warnings": values.get("warnings", [])
        + [
            "{}: {}".format(entry["folder"], text)
            for entry in values.get("folders", [])
            for text in entry["warnings"]
        ],
        "renamed": values.get("renamed", []),
        "passed": values.get("passed", []),
        "folders": values.get("folders", []),
    }


def _staged_folders(staged):
    """How many folders are staged: a complete tree's record lists them."""
    folders = staged.get("folders", 0)
    return len(folders) if isinstance(folders, list) else folders


def of_all_runs(runs, live, older):
    """→ (marked, left_out) of state(). runs: {name: a run's record of the user}. marked: the tree
    in the Maildir's place, of whatever run published it: {"tree": its id, "at": when}, or None."""
    marked, left_out, since = None, None, 0
    for run, known in runs.items():
        is_out = known.get("phase") == "left-out"
        at = known.get("left_out_at" if is_out else "published_at", 0)
        if at > since:
            left_out, since = run if is_out else None, at
        if known.get("phase") == "published" and records.is_tree(live, known, older):
            marked = {"tree": known["tree"], "at": known["published_at"]}
    return marked, left_out


def text(values):
    """The state for a human."""
    lines = []
    for entry in values["users"]:
        lines.append(
            "{:<20} {:<12} {:>8} messages {:>12} bytes{}".format(
                entry["user"],
                entry["phase"],
                entry["messages"],
                entry["bytes"],
                "  ! the published tree is no longer in place" if entry["lost"] else "",
            )
        )
        faults = [errors.sentence(entry["error"])] if entry["error"] else []
        lines += ["    ! {}".format(warning) for warning in faults + entry["warnings"]]
    lines.append(
        "{} of {} users published by run {}.".format(
            values["published"], len(values["users"]), values["run"]
        )
    )
    return "\n".join(lines)
