"""`state`: what this run has published, read from the live trees."""

import os

from mbx2maildir import errors, pool
from mbx2maildir.convert import marker
from mbx2maildir.formats import maildir
from mbx2maildir.publish import containers, publish


def state(plan):
    """What was published and staged.

    → {"run", "users": [{"user", "published", "phase", "live", "messages", "bytes", "files",
    "staged", "warnings", "folders"}]}.

    phase: "published", "unpublished" or "none". live: "ours" when the live tree is the published
    one, "other" for another tree, "none" when there is no tree. marked: see marked_tree. messages
    and bytes are those published; files is the number of message files in the live tree now.
    """
    users = [_of_user(plan, user) for user in plan["users"]]
    return {
        "run": plan["run"],
        "users": users,
        "published": sum(entry["published"] for entry in users),
    }


def _of_user(plan, user):
    settings = {key: value for key, value in plan.items() if key != "users"}
    places = containers.paths(plan, user)
    known = publish.read_state(places) or {}
    fault = []
    try:
        looks = pool.ask(user, task_state, settings, user)
    except Exception as error:
        fault = [errors.sentence(errors.describe(error))]
        looks = {"live": None, "staged": {"folders": 0, "at": None}, "marked": None, "files": 0}
    marked = publish.published_by(plan, user, looks["live"])
    live = "none" if not os.path.lexists(places["live"]) else "ours" if marked else "other"
    values = marked or known
    phase = (
        "published" if marked else "unpublished" if known.get("phase") == "unpublished" else "none"
    )
    return {
        "user": user["user"],
        "published": bool(marked),
        "phase": phase,
        "live": live,
        "tree": values.get("tree"),
        "staged": looks["staged"],
        "marked": looks["marked"],
        "lost": known.get("phase") == "published" and not marked,
        "messages": values.get("messages", 0),
        "bytes": values.get("bytes", 0),
        "expunged": values.get("expunged", 0),
        "files": looks["files"],
        "warnings": fault
        + values.get("warnings", [])
        + [
            "{}: {}".format(entry["folder"], text)
            for entry in values.get("folders", [])
            for text in entry["warnings"]
        ],
        "renamed": values.get("renamed", []),
        "passed": values.get("passed", []),
        "folders": values.get("folders", []),
    }


def task_state(plan, user, report):
    """What the user's trees say, looked up by a process that is the user."""
    places = containers.paths(plan, user)
    return {
        "live": marker.read(places["live"]),
        "marked": marked_tree(places["live"]),
        "staged": staged(places),
        "files": count_files(places["live"]),
    }


def marked_tree(live):
    """The complete tree that some run has put in the Maildir's place: {"tree": its id, "at": when
    it was marked}, or None."""
    values = marker.read(live)
    if not values or not values.get("complete"):
        return None
    return {"tree": values.get("tree"), "at": os.stat(os.path.join(live, marker.NAME)).st_mtime}


def staged(places):
    """What presync has staged: {"folders", "at" (seconds since the epoch, of the last pass over any
    of them, or None)}."""
    try:
        with os.scandir(places["index"]) as entries:
            times = [
                os.stat(path).st_mtime
                for path in (os.path.join(entry.path, b"state.json") for entry in entries)
                if os.path.exists(path)
            ]
    except OSError:
        times = []
    return {"folders": len(times), "at": round(max(times), 3) if times else None}


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
        lines += ["    ! {}".format(warning) for warning in entry["warnings"]]
    lines.append(
        "{} of {} users published by run {}.".format(
            values["published"], len(values["users"]), values["run"]
        )
    )
    return "\n".join(lines)
