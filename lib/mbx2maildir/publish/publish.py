"""Put a staged tree in the place of a user's Maildir, in one step, and take it back.

Below <work>/: staging/USER (the tree being made, by presync and by runs), index/USER (what it was
made from), trash (what is being begun or removed). Below <work>/<run>/: aside/USER (the tree that
was replaced), unpublished/USER (a converted tree taken back), base/USER (see base.py), salvage/USER
(damaged ranges), state/USER.json. Nothing of a user's is ever deleted. The state of a user is read
from the world (the marker in the live tree), the state file only says more about it: after a crash
anywhere the same call settles what was begun.
"""

import fcntl
import json
import os
import time

from mbx2maildir import errors
from mbx2maildir.convert import base, marker
from mbx2maildir.formats import file_names, maildir
from mbx2maildir.publish import syscalls

WORK_AREAS = ("staging", "index", "trash")  # for all runs
AREAS = ("aside", "unpublished", "salvage", "state", "base")


def paths(plan, user):
    """Places of one user, bytes: live, staging, index, aside, unpublished, salvage, state, base."""
    work = os.path.abspath(os.fsencode(plan["work"]))
    run = os.path.join(work, os.fsencode(plan["run"]))
    name = os.fsencode(user["user"])
    places = {area: os.path.join(run, os.fsencode(area), name) for area in AREAS}
    places.update({area: os.path.join(work, os.fsencode(area), name) for area in WORK_AREAS})
    places["state"] += b".json"
    places["live"] = os.path.abspath(os.fsencode(user["maildir"]))
    return places


def make_areas(plan):
    """Create the run's directories. Only root may list them; trees below belong to their users."""
    work = os.fsencode(plan["work"])
    run = os.path.join(work, os.fsencode(plan["run"]))
    try:
        os.makedirs(work, 0o711, exist_ok=True)
        for directory in (
            *(os.path.join(work, os.fsencode(area)) for area in WORK_AREAS),
            run,
            *(os.path.join(run, os.fsencode(area)) for area in AREAS),
        ):
            if not os.path.isdir(directory):
                os.mkdir(directory)
            os.chmod(directory, 0o711)
    except OSError as error:
        raise errors.work_error(error, error.filename or plan["work"]) from error


def empty_trash(plan):
    """Remove what a killed run was about to remove. Only under the lock."""
    trash = os.path.join(os.fsencode(plan["work"]), b"trash")
    for entry in os.listdir(trash):
        marker.remove(os.path.join(trash, entry))


def lock(plan):
    """Hold the work directory's lock while the result is open. Errors: PublishError when another
    process holds it."""
    try:
        handle = open(os.path.join(os.fsencode(plan["work"]), b"lock"), "w")  # noqa: SIM115
    except OSError as error:
        raise errors.work_error(error, error.filename) from error
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        handle.close()
        raise errors.PublishError(
            "another conversion is running",
            plan["work"],
            todo="Wait for it to end. Its events show its progress.",
        ) from error
    return handle


def is_published(plan, user, places):
    """The live tree's marker when this run made it, else None."""
    values = marker.read(places["live"])
    if (
        values
        and values.get("complete")
        and values.get("run") == plan["run"]
        and values.get("user") == user["user"]
    ):
        return values
    return None


def settle(plan, user):
    """Finish what a crash left half done. → the live marker when the user is published by this run,
    else None."""
    places = paths(plan, user)
    values = is_published(plan, user, places)
    staged = marker.read(places["staging"])
    if values:
        # a tree that is being made has an incomplete marker; any other one was just swapped out
        if os.path.lexists(places["staging"]) and (staged is None or staged.get("complete")):
            set_aside(places["staging"], places["aside"])
        if (read_state(places) or {}).get("tree") != values["tree"]:
            write_state(places, dict(values, phase="published", published_at=time.time()))
        return values
    if not os.path.lexists(places["live"]) and os.path.isdir(places["aside"]):
        # killed between the two renames of a file system that cannot exchange
        if staged and staged.get("complete") and staged.get("run") == plan["run"]:
            os.rename(places["staging"], places["live"])
            write_state(places, dict(staged, phase="published", published_at=time.time()))
            return staged
        os.rename(places["aside"], places["live"])
    elif staged is None and os.path.isdir(places["staging"]) and os.listdir(places["staging"]):
        raise errors.PublishError(
            "the staging directory holds a tree without the converter's mark", places["staging"]
        )
    taken = marker.read(places["aside"])
    if taken and taken.get("run") == plan["run"]:  # killed in unpublish, after the exchange
        set_aside(places["aside"], places["unpublished"])
    return None


def set_aside(tree, target):
    """Move a tree to where it is kept; a number is added when that place is taken."""
    path, number = target, 1
    while os.path.lexists(path):
        number += 1
        path = target + b".%d" % number
    os.rename(tree, path)
    syscalls.sync_directory(os.path.dirname(path))
    syscalls.sync_directory(os.path.dirname(tree))
    return path


def expect_unused(places):
    """See that nothing would be lost by publishing. Errors: PublishError."""
    if os.path.lexists(places["aside"]) and os.path.lexists(places["live"]):
        raise errors.PublishError(
            "this run put a Maildir in place and keeps here the one it replaced, but {} is now "
            "another Maildir".format(errors.printable(places["live"])),
            places["aside"],
            todo='To convert again, use another run name (--run, or "run" in the plan). '
            "To return to the earlier Maildir, move it back from here.",
        )


def publish(plan, user, values, known):
    """Swap a staged, synced tree in. known: base names of the reconciled new-side messages by
    folder.

    → number of messages that came to the replaced tree meanwhile (linked into new/ of the published
    one).
    """
    places = paths(plan, user)
    live, staging = places["live"], places["staging"]
    expect_unused(places)
    late = 0
    if os.path.lexists(live):
        late += take_late(live, staging, known)
        if late:
            syscalls.syncfs(staging)
        if not syscalls.exchange(staging, live):
            os.rename(live, places["aside"])
            os.rename(staging, live)
        else:
            late += take_late(staging, live, known)
            set_aside(staging, places["aside"])
    else:
        parent = os.path.dirname(live)
        if not os.path.isdir(parent):
            os.makedirs(parent)
            os.chmod(parent, 0o755)
        if not syscalls.rename_new(staging, live):
            os.rename(staging, live)
    write_state(places, dict(values, phase="published", published_at=time.time(), late=late))
    base.keep(places)  # it described the staged tree, which is gone
    return late


def take_late(source, target, known):
    """Link messages of `source` that are not in `known` into new/ of the same folder of `target` →
    their number."""
    count = 0
    for name in maildir.folder_names(source):
        seen = known.setdefault(name, set())
        for subdir, entry in maildir.listing(source, name):
            base = file_names.NAME_FLAGS.match(entry).group(1)
            if base in seen:
                continue
            folder = os.path.join(target, maildir.folder_directory(name))
            if not os.path.isdir(folder):
                folder = target
            os.link(
                os.path.join(source, maildir.folder_directory(name), subdir, entry),
                os.path.join(folder, b"new", base),
            )
            seen.add(base)
            count += 1
    return count


def unpublish(plan, user):
    """Give a user back the tree that was replaced. → "unpublished", or "not published" when there
    is nothing to do."""
    places = paths(plan, user)
    if settle(plan, user) is None:
        return "not published"
    state = read_state(places) or {}
    live, aside = places["live"], places["aside"]
    if os.path.isdir(aside):
        if syscalls.exchange(live, aside):
            set_aside(aside, places["unpublished"])
        else:
            set_aside(live, places["unpublished"])
            os.rename(aside, live)
    else:
        set_aside(live, places["unpublished"])
    syscalls.sync_directory(os.path.dirname(live))
    write_state(places, dict(state, phase="unpublished", unpublished_at=time.time()))
    return "unpublished"


def read_state(places):
    try:
        with open(places["state"], "rb") as source:
            return json.loads(source.read().decode("utf-8"))
    except (FileNotFoundError, ValueError):
        return None


def write_state(places, values):
    temporary = places["state"] + b".tmp"
    with open(temporary, "w") as target:
        json.dump(values, target, sort_keys=True)
        target.flush()
        os.fsync(target.fileno())
    os.rename(temporary, places["state"])
    syscalls.sync_directory(os.path.dirname(places["state"]))
    syscalls.sync_directory(os.path.dirname(places["live"])) if os.path.isdir(
        os.path.dirname(places["live"])
    ) else None
