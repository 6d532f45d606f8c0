"""Claims: where hosts share a store, only the latest holder of a user's claim can publish the user.

A user's claim is one file, <work>/claims/USER/EPOCH.STATE. A holder works in trees and records with
its epoch in their names (staging/.EPOCH.USER). Whoever takes the user next renames the claim to a
higher epoch. The earlier holder may be dead, frozen or cut off, and need not notice.

States: `held`, then `closing` (nothing but renames is left), then `idle` (what was staged has its
usual name again). A frozen holder that continues cannot publish, wherever it was stopped:

- Before it closes: rename(7.held, 7.closing) fails, because the claim is now 8.held. The old name
  never comes back: a claim is made once, and its epoch only grows.
- Between closing and the rename that publishes: before the claim moves on, the next holder moves
  staging/.7.USER away. A closed holder creates nothing, so this name does not come back either, and
  the rename fails. If it had succeeded before, the next holder finds the tree published.
- If the file system cannot exchange two trees, the holder first moves the live tree to
  aside/.7.USER. The next holder puts a file at that name: a directory cannot be renamed onto it.

So no check precedes an act. Each act is a rename within one file system or an exclusive creation,
and the file system decides them by name, one after the other. Local file systems, NFS, GlusterFS
and OCFS2 do that. When a reply is lost, NFS may repeat a rename and find its source missing: the
holder then counts as taken over, which is safe. A host with a stale cache fails or tries again.

EPOCH.lock is locked (flock) by the holder and by its processes that are the user. The lock only
saves work: when it is free, all of them have stopped writing, and the next holder continues with
the staged tree. Otherwise the next holder starts with an empty one. NFS and GlusterFS keep flock
locks on the server, OCFS2 in the cluster (unless mounted with `localflocks`). fcntl locks are not
used: OCFS2 with o2cb keeps them per host. If a host that is cut off loses its locks, its processes
may still write to a staged tree that another host continues: end them before that network comes
back.
"""

import contextlib
import errno
import fcntl
import os
import re
import time

from mbx2maildir import errors, files
from mbx2maildir.convert import trash
from mbx2maildir.publish import containers, records, syscalls

PATIENCE = 60  # seconds for the claim to show itself: a host may have an old listing in its cache
STATES = (b"held", b"closing", b"idle")
CLAIM = re.compile(rb"([0-9]+)\.(%b)\Z" % b"|".join(STATES))
LEFT = re.compile(rb"\.[0-9]+\.(.+?)(\.json(\.new)?)?\Z")  # the name of what a holder left
# what has the epoch in its name; the record first, for it says what the tree is
AREAS = ("staged", "staging", "index")


def take(plan, user):
    """Claim a user, whoever holds the claim now → the user's entry with "epoch" and "lock", a
    descriptor. Errors: PublishError; TakenOver when it is taken away meanwhile."""
    place = _place(plan, user)
    _make(place)
    until = time.monotonic() + PATIENCE
    while True:
        epoch, state = _read(place)
        if epoch is not None:
            if state == b"closing":
                _finish(plan, user, epoch)
            elif state == b"held" and (_is_free(place, epoch) or _published(plan, user, epoch)):
                _restore(plan, user, epoch)
            if state == b"held":
                _plug(plan, user, epoch)
            mine, lock = _lock_next(place, epoch)
            if _rename(os.path.join(place, b"%d.%b" % (epoch, state)), _name(place, mine, b"held")):
                break
            os.close(lock)
        if time.monotonic() > until:
            raise errors.PublishError("the claim does not stay as it is read", place)
        time.sleep(0.05)
    for name in os.listdir(place):
        if name.endswith(b".lock") and int(name[:-5]) < mine:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(os.path.join(place, name))
    taken = dict(user, epoch=mine, lock=lock)
    usual, own = containers.paths(plan, user), containers.paths(plan, taken)
    try:
        for area in AREAS:
            _rename(usual[area], own[area])
    except (NotADirectoryError, IsADirectoryError) as error:  # a plug
        os.close(lock)
        raise errors.TakenOver(place) from error
    return taken


def close(plan, user):
    """Work on a claimed user's tree is over; only renames follow. Nothing without a claim. Errors:
    TakenOver."""
    if "epoch" in user:
        place, epoch = _place(plan, user), user["epoch"]
        if not _rename(_name(place, epoch, b"held"), _name(place, epoch, b"closing")):
            raise errors.TakenOver(place)


def cause(plan, user, values):
    """Why a user failed → `values`, unless it is that another host has the user now."""
    if "epoch" in user:
        place, epoch = _place(plan, user), user["epoch"]
        if not any(os.path.lexists(_name(place, epoch, state)) for state in STATES):
            return errors.TakenOver(place).as_dict()
    return values


def release(plan, user):
    """Give a claim back: what is staged has its usual name again. Nothing without a claim. Errors:
    TakenOver."""
    if "epoch" not in user:
        return
    place, epoch = _place(plan, user), user["epoch"]
    if not os.path.lexists(_name(place, epoch, b"closing")):
        close(plan, user)
    _restore(plan, user, epoch)
    _rename(_name(place, epoch, b"closing"), _name(place, epoch, b"idle"))
    fcntl.flock(user["lock"], fcntl.LOCK_UN)  # for the user's processes too, which are idle
    os.close(user["lock"])


def end(plan):
    """Take every claim on the plan's users back; what earlier holders staged goes to the trash. For
    a run that has the store to itself."""
    try:
        claimed = set(os.listdir(_area(plan)))
    except FileNotFoundError:
        return
    users = [user for user in plan["users"] if os.fsencode(user["user"]) in claimed]
    for user in users:
        release(plan, take(plan, user))
    names = {os.fsencode(user["user"]) for user in users}
    work = os.path.dirname(_area(plan))
    staged, staging, index = (os.path.join(work, os.fsencode(area)) for area in AREAS)
    for directory in (staging, index, staged):
        for entry in os.listdir(directory):
            left, path = LEFT.match(entry), os.path.join(directory, entry)
            if not left or left.group(1) not in names:
                continue
            if directory != staging or _is_staged(path, os.path.join(staged, entry + b".json")):
                os.rename(path, containers.doomed(directory))


def _is_staged(path, record):
    """Whether a tree was staged, or is a plug. An empty one is removed; any other stays."""
    if not files.is_directory(path):
        return True
    if files.is_regular(record) and records.is_tree(path, records.read(record)):
        return True
    with contextlib.suppress(OSError):
        os.rmdir(path)
    return False


def _area(plan):
    return os.path.join(os.path.abspath(os.fsencode(plan["work"])), containers.CLAIMS)


def _place(plan, user):
    return os.path.join(_area(plan), os.fsencode(user["user"]))


def _name(place, epoch, state):
    return os.path.join(place, b"%d.%b" % (epoch, state))


def _make(place):
    """Make a user's claim together with its directory: it is never made in one that exists."""
    if os.path.isdir(place):
        return
    new = os.path.join(os.path.dirname(place), b"." + trash.new_name().encode("ascii"))
    os.mkdir(new, 0o700)
    files.write_file(_name(new, 0, b"idle"), b"")
    try:
        os.rename(new, place)
    except OSError as error:
        if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
            raise
        os.unlink(_name(new, 0, b"idle"))
        os.rmdir(new)


def _read(place):
    """→ (epoch, state) of the claim; (None, None) while it is being renamed."""
    claims = [CLAIM.match(name) for name in os.listdir(place)]
    known = [(int(claim.group(1)), claim.group(2)) for claim in claims if claim]
    return max(known, default=(None, None))


def _open(place, epoch):
    flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
    return os.open(_name(place, epoch, b"lock"), flags, 0o600)


def _locked(fd):
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _is_free(place, epoch):
    """Whether no process of a holder is left."""
    fd = _open(place, epoch)
    try:
        return _locked(fd)
    finally:
        os.close(fd)


def _published(plan, user, epoch):
    """Whether what a holder has is the rest of a publication: then it has no process that writes,
    and the tree that was replaced."""
    places = containers.paths(plan, dict(user, epoch=epoch))
    staged = records.read(places["staged"])
    return bool(staged.get("complete")) and records.is_tree(places["live"], staged)


def _plug(plan, user, epoch):
    """See that a holder that was stopped before it took what is staged does not take it later:
    what it would rename cannot replace what lies there now."""
    places = containers.paths(plan, dict(user, epoch=epoch))
    for area in ("staging", "index"):
        with contextlib.suppress(FileExistsError):
            files.write_file(places[area], b"")
    with contextlib.suppress(FileExistsError):
        os.mkdir(places["staged"], 0o700)


def _lock_next(place, epoch):
    """Lock a higher epoch → (its number, the descriptor)."""
    while True:
        epoch += 1
        fd = _open(place, epoch)
        if _locked(fd):
            return epoch, fd
        os.close(fd)


def _rename(source, target):
    """→ False when the source is not there, or no more."""
    try:
        os.rename(source, target)
    except FileNotFoundError:
        return False
    return True


def _restore(plan, user, epoch):
    """Give what a holder staged its usual name, from which the next one takes it."""
    own = containers.paths(plan, dict(user, epoch=epoch))
    usual = containers.paths(plan, {key: user[key] for key in ("user", "maildir")})
    for area in reversed(AREAS):
        is_ours = files.is_regular if area == "staged" else files.is_directory
        if is_ours(own[area]):  # no plug
            _rename(own[area], usual[area])


def _finish(plan, user, epoch):
    """See that a closed holder cannot publish any more, or complete what it has begun."""
    user = dict(user, epoch=epoch)
    staged = records.read(containers.paths(plan, user)["staged"])
    places = containers.paths(dict(plan, run=staged.get("run", plan["run"])), user)
    with contextlib.suppress(FileExistsError):
        files.write_file(places["replaced"], b"")
    if files.is_directory(places["replaced"]):  # it cannot exchange, and moved the live tree
        if not os.path.lexists(places["live"]):
            _rename(places["staging"], places["live"])
        if _rename(places["replaced"], places["aside"]):
            syscalls.sync_directory(os.path.dirname(places["aside"]))
    _restore(plan, user, epoch)
