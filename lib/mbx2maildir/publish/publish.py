"""Put a staged tree in the place of a user's Maildir, in one step, and take it back.

Below <work>/: staging/USER (the tree being made, by presync and by runs), index/USER (what it was
made from), trash (what is being removed). Below <work>/<run>/: aside/USER (the tree that was
replaced), unpublished/USER (a converted tree taken back), base/USER (see base.py), salvage/USER
(damaged ranges). Nothing of a user's is ever deleted. What the run published, root's records say
(records.py), and which tree lies where is seen by its directory: after a crash anywhere the same
call settles what was begun.

Here, as root, trees are only made and renamed, in directories that are root's (containers.py). What
is in a tree, a process looks up that is its user: the functions named task_….
"""

import fcntl
import os
import time

from mbx2maildir import errors, files, pool
from mbx2maildir.convert import trash
from mbx2maildir.publish import claims, containers, late_mail, records, syscalls

LOCK_SECONDS = 5  # of patience


def lock(plan):
    """Hold the work directory's lock while the result is open: alone, or with others that claim
    their users. Errors: PublishError when another process holds it. A worker of a run that was
    killed may do so for a moment: until it has closed what it inherited."""
    path = os.path.join(os.fsencode(plan["work"]), b"lock")
    try:
        flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        handle = os.fdopen(os.open(path, flags, 0o600), "w")
    except OSError as error:
        raise errors.work_error(error, error.filename) from error
    until = time.monotonic() + LOCK_SECONDS
    while True:
        try:
            shared = plan.get("claims")
            fcntl.flock(handle, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
            break
        except OSError as error:
            if time.monotonic() > until:
                handle.close()
                raise errors.PublishError(
                    "another conversion is running",
                    plan["work"],
                    todo="Wait for it to end. Its events show its progress.",
                ) from error
            time.sleep(LOCK_SECONDS / 50)
    if not shared:
        claims.end(plan)
    return handle


def task_older(tree, report):
    return records.tree_of(tree)


def published(plan, places, known, staged, older=None):
    """The figures of what this run published for a user, else None. known, staged: the user's two
    records; older: see records.is_tree()."""
    live = places["live"]
    if known.get("phase") == "published" and records.is_tree(live, known, older):
        return known
    # killed before it was written down
    if is_complete(plan, staged) and records.is_tree(live, staged):
        return {key: value for key, value in staged.items() if key != "known"}
    return None


def current(plan, user):
    """The figures of what this run published for a user and is in place, else None. Changes
    nothing."""
    places, older = containers.paths(plan, user), None
    known, staged = records.read(places["state"]), records.read(places["staged"])
    if known.get("phase") == "published" and "inode" not in known:
        older = pool.ask(user, task_older, places["live"])
    return published(plan, places, known, staged, older)


def is_complete(plan, staged):
    return bool(staged.get("complete")) and staged.get("run") == plan["run"]


def settle(plan, user):
    """Finish what a crash left half done. → the figures of what this run published for the user,
    else None.

    Errors: PublishError; those of the user's process.
    """
    places = containers.paths(plan, user)
    containers.expect_unreachable(os.path.dirname(places["live"]))
    known, staged = take_over(user, places), records.read(places["staged"])
    live, aside, staging = places["live"], places["aside"], places["staging"]
    values = published(plan, places, known, staged)
    if values is None and not os.path.lexists(live) and files.is_directory(aside):
        # killed between the two renames of a file system that cannot exchange
        if is_complete(plan, staged) and records.is_tree(staging, staged):
            os.rename(staging, live)
            values = staged
        else:
            os.rename(aside, live)
    if values is not None:
        claims.close(plan, user)
        if records.is_tree(live, staged):
            finish(plan, user, late_mail.look_again(plan, user, staged))
        return values
    if known.get("phase") == "published":  # killed in unpublish
        if records.is_tree(aside, known):
            set_aside(aside, places["unpublished"])
        if records.is_tree(latest(places["unpublished"]), known):
            write_unpublished(places, known)
    return None


def take_over(user, places):
    """What the state says of a user; that of an older version, with how its tree is known now."""
    known = records.read(places["state"])
    if known.get("phase") == "published" and "inode" not in known:
        tree = pool.ask(user, task_older, places["live"])
        if records.is_tree(places["live"], known, tree):
            known.update(records.mark(places["live"], tree))
            records.write(places["state"], known)
    return known


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
    """Make what the user's own processes write to. → the id of the tree in staging, and whether it
    is a new one. Errors: PublishError."""
    places = containers.paths(plan, user)
    staging, staged = places["staging"], records.read(places["staged"])
    if not staged and os.path.lexists(staging):
        staged = older_staged(user, staging)
    fresh = not records.is_tree(staging, staged)
    if fresh:
        if os.path.lexists(staging):
            expect_empty(staging)
        containers.make_own(staging, user)
        staged = records.mark(staging, trash.new_name())
    elif staged.get("complete") and staged.get("run") != plan["run"]:
        raise errors.PublishError(
            "the staging directory holds a tree that run {} completed".format(staged.get("run")),
            staging,
            todo="Finish that run, or move the tree away. Then run the same command again.",
        )
    if fresh or staged.get("complete") or "run" not in staged:
        begun = {key: staged[key] for key in ("tree", "marked", "inode")}
        begun.update(user=user["user"], run=plan["run"], complete=False)
        records.write(places["staged"], begun)
    for area in ("index", "salvage"):
        containers.make_own(places[area], user)
    return staged["tree"], fresh


def older_staged(user, staging):
    """The record of a tree that an older version's presync staged; empty for any other tree."""
    tree = pool.ask(user, task_older, staging) if files.is_directory(staging) else None
    return records.mark(staging, tree) if tree else {}


def expect_empty(staging):
    """Remove what lies in staging without a record: a directory in which nothing was begun.
    Errors: PublishError for any other. It may be a user's own Maildir."""
    try:
        os.rmdir(staging)
    except OSError as error:
        raise errors.PublishError(
            "the staging directory holds a tree that the converter did not stage",
            staging,
            todo="See whose it is and move it away. Then run the same command again.",
        ) from error


def note_staged(plan, user, durable, **values):
    """Write down more of the tree in staging. durable: else the caller's syncfs makes it so."""
    place = containers.paths(plan, user)["staged"]
    records.write(place, dict(records.read(place), run=plan["run"], **values), durable)


def swap(plan, user):
    """Put a staged, synced tree in. → the area in which the replaced tree now lies, until finish()
    sets it aside; "" if there was none."""
    places = containers.paths(plan, user)
    live, staging = places["live"], places["staging"]
    claims.close(plan, user)
    expect_unused(places)
    parent = os.path.dirname(live)
    containers.expect_unreachable(parent)
    if not records.is_tree(staging, records.read(places["staged"])):
        raise errors.PublishError("another tree lies where one was staged", staging)
    if os.path.lexists(live):
        if syscalls.exchange(staging, live):
            return "staging"
        os.rename(live, places["replaced"])
        os.rename(staging, live)
        return "replaced"
    if not os.path.isdir(parent):
        os.makedirs(parent, exist_ok=True)  # another host may make it just now
        os.chmod(parent, 0o755)
        containers.expect_unreachable(parent)
    if not syscalls.rename_new(staging, live):
        os.rename(staging, live)
    return ""


def finish(plan, user, came=0):
    """What is left to do once the staged tree is in its place. came: messages that came to the one
    it replaced meanwhile."""
    places = containers.paths(plan, user)
    values = records.read(places["staged"])
    if not values:
        raise errors.TakenOver(places["staged"])
    values.pop("known", None)
    for replaced in {places["staging"], places["replaced"]} - {places["aside"]}:
        if files.is_directory(replaced):
            set_aside(replaced, places["aside"])
    write_state(places, dict(values, phase="published", published_at=time.time(), late=came))
    # the index described the staged tree, which is gone
    if files.is_directory(places["index"]):
        containers.to_trash(places["base"])
        os.rename(places["index"], places["base"])
    records.remove(places["staged"])


def task_finish(plan, user, came, report):
    finish(plan, user, came)


def unpublish(plan, user):
    """Give a user back the tree that was replaced. → "unpublished", or "not published" when there
    is nothing to do."""
    places = containers.paths(plan, user)
    if settle(plan, user) is None:
        return "not published"
    state = records.read(places["state"])
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
    write_unpublished(places, state)
    return "unpublished"


def latest(path):
    """The tree that was set aside last under this name; see set_aside()."""
    number = 1
    while os.path.lexists(path + b".%d" % (number + 1)):
        number += 1
    return path if number == 1 else path + b".%d" % number


def leave_out(plan, user):
    """Record that this run leaves a user out; nothing of the user's is touched. Errors:
    PublishError when the run has published the user's mail already."""
    places = containers.paths(plan, user)
    if current(plan, user) is not None:
        raise errors.PublishError(
            "this run has published the user's mail already, so it cannot leave the user out",
            places["live"],
            todo="Run the same command again without leaving this user out.",
        )
    values = dict(records.read(places["state"]), run=plan["run"], user=user["user"])
    records.write(places["state"], dict(values, phase="left-out", left_out_at=time.time()))


def write_unpublished(places, state):
    write_state(places, dict(state, phase="unpublished", unpublished_at=time.time()))


def write_state(places, values):
    records.write(places["state"], values)
    parent = os.path.dirname(places["live"])
    if os.path.isdir(parent):
        syscalls.sync_directory(parent)
