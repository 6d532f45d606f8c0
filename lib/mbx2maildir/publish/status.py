"""`state`: what this run has published, by root's records and the trees that are in place."""

import os

from mbx2maildir import each_user, errors
from mbx2maildir.formats import maildir
from mbx2maildir.publish import containers, publish, records


def state(plan):
    """What was published and staged.

    → {"run", "users": [{"user", "published", "phase", "live", "messages", "bytes", "files",
    "staged", "warnings", "folders", "left_out", "error"}]}.

    phase: "published", "unpublished", "left-out" or "none". live: "ours" when the live tree is the
    published one, "other" for another tree, "none" when there is no tree. marked: see
    of_all_runs(). messages and bytes are those published; files is the number of message files in
    the live tree now. left_out: the latest run that went on without the user, when none has
    published since, or None.
    error: why the user's trees could not be looked at, as errors.describe() gives it, or None.
    """
    nothing = {"files": 0, "older": None}
    places = {user["user"]: containers.paths(plan, user) for user in plan["users"]}
    # before a conversion most have none, and a process each would take longer than all the rest
    there = [user for user in plan["users"] if not is_missing(places[user["user"]]["live"])]
    looks = {name: (nothing, None) for name in places}
    looks.update(
        each_user.ask_all(
            dict(plan, users=there), task_state, lambda user: places[user["user"]]["live"], nothing
        )
    )
    users = [
        _of_user(plan, user, places[user["user"]], *looks[user["user"]]) for user in plan["users"]
    ]
    return {
        "run": plan["run"],
        "users": users,
        "published": sum(entry["published"] for entry in users),
    }


def is_missing(path):
    """Whether nothing is there; an error of another kind is for the user's process to meet."""
    try:
        os.lstat(path)
    except FileNotFoundError:
        return True
    except OSError:
        pass
    return False


def _of_user(plan, user, places, looks, error):
    known, staged = {}, {}
    try:
        known, staged = records.read(places["state"]), records.read(places["staged"])
    except Exception as fault:
        error = errors.describe(fault)
    ours = publish.published(plan, places, known, staged, looks["older"])
    values = ours or known
    phase = known.get("phase") if known.get("phase") in ("unpublished", "left-out") else "none"
    marked, left_out = of_all_runs(plan, user, looks["older"])
    return {
        "user": user["user"],
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
        "files": looks["files"],
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


def task_state(live, report):
    """What is in the user's live tree, looked up by a process that is the user."""
    return {"files": count_files(live), "older": records.tree_of(live)}


def of_all_runs(plan, user, older):
    """→ (marked, left_out) of state(). marked: the tree in the Maildir's place, of whatever run
    published it: {"tree": its id, "at": when}, or None."""
    marked, left_out, since = None, None, 0
    for run in containers.runs(plan):
        places = containers.paths(dict(plan, run=run), user)
        try:
            known = records.read(places["state"])
        except errors.StoreError:
            continue  # an error of that run
        is_out = known.get("phase") == "left-out"
        at = known.get("left_out_at" if is_out else "published_at", 0)
        if at > since:
            left_out, since = run if is_out else None, at
        if known.get("phase") == "published" and records.is_tree(places["live"], known, older):
            marked = {"tree": known["tree"], "at": known["published_at"]}
    return marked, left_out


def count_files(root):
    """Message files in all folders of a Maildir."""
    return sum(len(maildir.listing(root, name)) for name in maildir.folder_names(root))


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
