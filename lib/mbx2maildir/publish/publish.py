"""Put a staged tree in the place of a user's Maildir, in one step, and take it back.

Below <work>/: staging/USER (the tree being made, by presync and by runs), index/USER (what it was
made from), trash (what is being removed). Below <work>/<run>/: aside/USER (the tree that was
replaced), unpublished/USER (a converted tree taken back), base/USER (see base.py), salvage/USER
(damaged ranges), state/USER.json. Nothing of a user's is ever deleted. The state of a user is read
from the world (the marker in the live tree), the state file only says more about it: after a crash
anywhere the same call settles what was begun.

Here, as root, trees are only made and renamed, in directories that are root's (containers.py). What
is in a tree, a process looks up that is its user: the functions named task_….
"""

import fcntl
import json
import os
import time

from mbx2maildir import errors, files, pool
from mbx2maildir.convert import marker
from mbx2maildir.formats import file_names, maildir
from mbx2maildir.publish import containers, syscalls


def lock(plan):
    """Hold the work directory's lock while the result is open. Errors: PublishError when another
    process holds it."""
    path = os.path.join(os.fsencode(plan["work"]), b"lock")
    try:
        flags = os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        handle = os.fdopen(os.open(path, flags, 0o600), "w")
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


def published_by(plan, user, values):
    """A live tree's marker when this run made the tree, else None."""
    if (
        values
        and values.get("complete")
        and values.get("run") == plan["run"]
        and values.get("user") == user["user"]
    ):
        return values
    return None


def is_published(plan, user, places):
    """The live tree's marker when this run made it, else None. For a process that is the user."""
    return published_by(plan, user, marker.read(places["live"]))


def task_look(plan, user, report):
    """What settle() must know of a user's trees: the markers of live, staging and aside; unmarked:
    staging holds something without one; why: what is wrong with the live one."""
    places = containers.paths(plan, user)
    looks = {area: marker.read(places[area]) for area in ("live", "staging", "aside")}
    looks["why"] = None
    try:
        marker.load(places["live"])
    except errors.StoreError as error:
        looks["why"] = error.as_dict()
    except OSError:
        pass
    staging = places["staging"]
    looks["unmarked"] = (
        looks["staging"] is None and files.is_directory(staging) and not marker.is_empty(staging)
    )
    return looks


def settle(plan, user, looks=None):
    """Finish what a crash left half done. → the live marker when the user is published by this run,
    else None. looks: the answer of task_look(), else it is asked for.

    Errors: PublishError; those of the user's process.
    """
    places = containers.paths(plan, user)
    containers.expect_unreachable(os.path.dirname(places["live"]))
    if looks is None:
        looks = pool.ask(user, task_look, plan, user)
    values, staged = published_by(plan, user, looks["live"]), looks["staging"]
    known = read_state(places) or {}
    if values:
        # a tree that is being made has an incomplete marker; any other one was just swapped out
        if os.path.lexists(places["staging"]) and (
            staged is None and looks["unmarked"] or staged and staged.get("complete")
        ):
            set_aside(places["staging"], places["aside"])
        if known.get("tree") != values["tree"]:
            write_state(places, dict(values, phase="published", published_at=time.time()))
        return values
    if looks["why"] and known.get("phase") == "published":
        raise errors.Reported(looks["why"])
    if not os.path.lexists(places["live"]) and files.is_directory(places["aside"]):
        # killed between the two renames of a file system that cannot exchange
        if staged and staged.get("complete") and staged.get("run") == plan["run"]:
            os.rename(places["staging"], places["live"])
            write_state(places, dict(staged, phase="published", published_at=time.time()))
            return staged
        os.rename(places["aside"], places["live"])
    elif looks["unmarked"]:
        raise errors.PublishError(
            "the staging directory holds a tree without the converter's mark", places["staging"]
        )
    taken = looks["aside"]
    if (
        taken and taken.get("run") == plan["run"] and os.path.lexists(places["aside"])
    ):  # killed in unpublish, after the exchange
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


def make_trees(plan, user):
    """Make what the user's own processes write to. Errors: PublishError."""
    places = containers.paths(plan, user)
    for area in ("staging", "index", "salvage"):
        containers.make_own(places[area], user)


def swap(plan, user):
    """Put a staged, synced tree in. → whether the replaced tree now lies in staging: finish() sets
    it aside."""
    places = containers.paths(plan, user)
    live, staging = places["live"], places["staging"]
    expect_unused(places)
    parent = os.path.dirname(live)
    containers.expect_unreachable(parent)
    if os.path.lexists(live):
        if syscalls.exchange(staging, live):
            return True
        os.rename(live, places["aside"])
        os.rename(staging, live)
        return False
    if not os.path.isdir(parent):
        os.makedirs(parent)
        os.chmod(parent, 0o755)
        containers.expect_unreachable(parent)
    if not syscalls.rename_new(staging, live):
        os.rename(staging, live)
    return False


def finish(plan, user, values, late, exchanged):
    """What is left to do once a tree is in its place."""
    places = containers.paths(plan, user)
    if exchanged:
        set_aside(places["staging"], places["aside"])
    write_state(places, dict(values, phase="published", published_at=time.time(), late=late))
    # the index described the staged tree, which is gone
    if files.is_directory(places["index"]):
        containers.to_trash(places["base"])
        os.rename(places["index"], places["base"])


def task_late(plan, user, known, exchanged, report):
    """Link what came to the replaced tree meanwhile into new/ of the staged one, while they have
    not changed places (exchanged: after they have). known: base names of the reconciled new-side
    messages by folder.

    → (number of messages, `known` with them); they are on disk.
    """
    places = containers.paths(plan, user)
    source, target = places["live"], places["staging"]
    if exchanged:
        source, target = target, source
    late = take_late(source, target, known) if files.is_directory(source) else 0
    if late:
        syscalls.syncfs(target)
    return late, known


def take_late(source, target, known):
    """Link messages of `source` that are not in `known` into new/ of the same folder of `target` →
    their number."""
    count = 0
    for name in maildir.folder_names(source):
        seen = known.setdefault(name, set())
        for subdir, entry in maildir.listing(source, name):
            base = file_names.NAME_FLAGS.match(entry).group(1)
            path = os.path.join(source, maildir.folder_directory(name), subdir, entry)
            if base in seen or not files.is_regular(path):
                continue
            folder = os.path.join(target, maildir.folder_directory(name))
            if not files.is_directory(os.path.join(folder, b"new")):
                folder = target
            os.link(path, os.path.join(folder, b"new", base), follow_symlinks=False)
            seen.add(base)
            count += 1
    return count


def unpublish(plan, user):
    """Give a user back the tree that was replaced. → "unpublished", or "not published" when there
    is nothing to do."""
    places = containers.paths(plan, user)
    if settle(plan, user) is None:
        return "not published"
    state = read_state(places) or {}
    live, aside = places["live"], places["aside"]
    if files.is_directory(aside):
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
    """What the state file says of a user, or None. It lies where only root reads and writes."""
    try:
        values = json.loads(files.read_small(places["state"], marker.LARGEST).decode("utf-8"))
    except (FileNotFoundError, ValueError):
        return None
    return values if isinstance(values, dict) else None


def write_state(places, values):
    files.replace_file(places["state"], json.dumps(values, sort_keys=True).encode("ascii"), True)
    syscalls.sync_directory(os.path.dirname(places["state"]))
    parent = os.path.dirname(places["live"])
    if os.path.isdir(parent):
        syscalls.sync_directory(parent)
