"""`state`: what this run has published, read from the live trees."""

import os

from mbx2maildir.convert import marker
from mbx2maildir.formats import maildir
from mbx2maildir.publish import publish


def state(plan):
    """What was published and staged.

    → {"run", "users": [{"user", "published", "phase", "live", "messages", "bytes", "files",
    "staged", "warnings", "folders"}]}.

    phase: "published", "unpublished" or "none". live: "ours" when the live tree is the published
    one, "other" for another tree, "none" when there is no tree. marked: see marked_tree. messages
    and bytes are those published; files is the number of message files in the live tree now.
    """
    users = []
    for user in plan["users"]:
        places = publish.paths(plan, user)
        known = publish.read_state(places) or {}
        marked = publish.is_published(plan, user, places)
        live = "none" if not os.path.isdir(places["live"]) else "ours" if marked else "other"
        values = marked or known
        phase = (
            "published"
            if marked
            else "unpublished"
            if known.get("phase") == "unpublished"
            else "none"
        )
        users.append(
            {
                "user": user["user"],
                "published": bool(marked),
                "phase": phase,
                "live": live,
                "tree": values.get("tree"),
                "staged": staged(places),
                "marked": marked_tree(places["live"]),
                "lost": known.get("phase") == "published" and not marked,
                "messages": values.get("messages", 0),
                "bytes": values.get("bytes", 0),
                "expunged": values.get("expunged", 0),
                "files": count_files(places["live"]),
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
        )
    return {
        "run": plan["run"],
        "users": users,
        "published": sum(entry["published"] for entry in users),
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
