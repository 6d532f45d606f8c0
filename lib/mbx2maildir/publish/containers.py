"""The work directory: containers that only root can write, and in them a tree of each user.

A rename is safe only where nobody else can put something else under the name meanwhile. So each
container is checked whenever it is used, and so are the directories above the live Maildirs.
"""

import contextlib
import errno
import functools
import os
import stat
import types

from mbx2maildir import errors, files, pool
from mbx2maildir.convert import trash

WORK_AREAS = ("staging", "staged", "index", "trash")  # for all runs
AREAS = ("aside", "unpublished", "salvage", "state", "base")
PRIVATE = ("state", "staged")
CLAIMS = b"claims"  # see claims.py; made only when it is needed
OTHERS = stat.S_IWGRP | stat.S_IWOTH


def paths(plan, user):
    """Places of one user, bytes: live, staging, index, aside, unpublished, salvage, base; replaced,
    where the live tree goes first; and the records of records.py: state, staged.

    What the holder of a claim ("epoch") writes has a name of its own.
    """
    return _paths(plan["work"], plan["run"], user["user"], user.get("epoch"), user["maildir"])


@functools.lru_cache(maxsize=512)  # more users are hardly ever at work; each asks a dozen times
def _paths(work, run, name, epoch, maildir):
    work, name = os.path.abspath(os.fsencode(work)), os.fsencode(name)
    run = os.path.join(work, os.fsencode(run))
    own = name if epoch is None else b".%d.%b" % (epoch, name)
    places = {area: os.path.join(run, os.fsencode(area), name) for area in AREAS}
    places.update({area: os.path.join(work, os.fsencode(area), own) for area in WORK_AREAS})
    places["replaced"] = os.path.join(run, b"aside", own)
    for record in PRIVATE:
        places[record] += b".json"
    places["live"] = os.path.abspath(os.fsencode(maildir))
    return types.MappingProxyType(places)


def runs(plan):
    """Names of all runs that the work directory knows."""
    try:
        with os.scandir(plan["work"]) as entries:
            names = sorted(entry.name for entry in entries if entry.is_dir(follow_symlinks=False))
    except OSError:
        return []
    return [name for name in names if name not in (*WORK_AREAS, os.fsdecode(CLAIMS))]


def make_areas(plan):
    """Create and check the run's directories. Only root may list them; trees below belong to their
    users. Errors: PublishError, BadWorkDirectory, NoSpace."""
    work = os.path.abspath(os.fsencode(plan["work"]))
    run = os.path.join(work, os.fsencode(plan["run"]))
    try:
        expect_unreachable(os.path.dirname(work), sticky=True)
        if not os.path.lexists(work):
            os.makedirs(os.path.dirname(work), 0o755, exist_ok=True)
        for above, areas in ((work, WORK_AREAS), (run, AREAS)):
            make_area(above, 0o711)
            for area in areas:
                mode = 0o700 if area in PRIVATE else 0o711
                make_area(os.path.join(above, os.fsencode(area)), mode)
        if plan.get("claims"):
            make_area(os.path.join(work, CLAIMS), 0o700)
    except OSError as error:
        raise errors.work_error(error, error.filename or plan["work"]) from error


def make_area(directory, mode):
    with contextlib.suppress(FileExistsError):
        os.mkdir(directory, mode)
    status = os.lstat(directory)
    if stat.S_ISREG(status.st_mode):
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), directory)
    expect_ours(directory, status)
    os.chmod(directory, mode)


def expect_ours(directory, status):
    """See that a directory is ours alone to write. Errors: PublishError."""
    if not stat.S_ISDIR(status.st_mode):
        what = "{}, where a directory must be".format(files.kind(status))
    elif status.st_uid != os.geteuid():
        what = "owned by uid {}, not by {}".format(status.st_uid, os.geteuid())
    elif status.st_mode & OTHERS:
        what = "others may write to it (mode {:04o})".format(stat.S_IMODE(status.st_mode))
    else:
        return
    raise errors.PublishError(
        what,
        directory,
        todo="Give it to {} with mode 0711, after a look at what others may have put there. Then "
        "run the same command again.".format("root" if os.geteuid() == 0 else "yourself"),
    )


def expect_unreachable(directory, sticky=False):
    """See that none but root can change what lies under the names in a directory: it and all above
    it are root's. sticky: it may be a directory like /tmp. Errors: PublishError.

    Asked for as root only. Of what does not exist yet the part that does is asked.
    """
    if os.geteuid() != 0:
        return
    place = os.path.abspath(directory)
    while not os.path.lexists(place):
        place = os.path.dirname(place)
    for chain in {place, os.path.realpath(place)}:
        first = place == os.path.abspath(directory)
        while True:
            for status in (os.lstat(chain), os.stat(chain)):
                may_be_shared = (sticky or not first) and status.st_mode & stat.S_ISVTX
                shared = not stat.S_ISLNK(status.st_mode) and status.st_mode & OTHERS
                if status.st_uid != 0 or shared and not may_be_shared:
                    raise errors.PublishError(
                        "others than root may rename what lies here (owner uid {}, mode "
                        "{:04o})".format(status.st_uid, stat.S_IMODE(status.st_mode)),
                        chain,
                        todo="Give it to root, without write permission for group and others. "
                        "Then run the same command again.",
                    )
            if chain == os.path.dirname(chain):
                break
            chain, first = os.path.dirname(chain), False


def make_own(path, user):
    """Make a user's own directory in a container, unless it exists. Errors: PublishError
    when what is there is not the user's directory."""
    owner = user.get("uid") if os.geteuid() == 0 else None
    if owner is not None:
        with contextlib.suppress(OSError):
            if os.lstat(path).st_uid == 0:
                os.rmdir(path)  # the host failed before its fchown below; only if it is empty
    try:
        os.mkdir(path, 0o700)
    except FileExistsError:
        pass
    else:
        if owner is not None:
            fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
            try:
                os.fchown(fd, owner, user["gid"])
            finally:
                os.close(fd)
    status = os.lstat(path)
    if not stat.S_ISDIR(status.st_mode) or owner is not None and status.st_uid != owner:
        raise errors.PublishError(
            "not a directory of the user (owner uid {})".format(status.st_uid), path
        )


def task_empty(path, report):
    trash.empty(path)


def empty_trash(plan):
    """Remove what a killed run was about to remove. Only under the lock. What its user made
    impossible to remove stays."""
    area = os.path.join(os.path.abspath(os.fsencode(plan["work"])), b"trash")
    for entry in os.listdir(area):
        throw_away(os.path.join(area, entry))


def throw_away(path):
    """Remove an entry of the trash; its contents as the user whose it is."""
    status = os.lstat(path)
    if not stat.S_ISDIR(status.st_mode):
        os.unlink(path)
        return
    owner = {"user": "", "uid": status.st_uid, "gid": status.st_gid}
    with contextlib.suppress(errors.StoreError, OSError):
        pool.ask(owner, task_empty, path)
        os.rmdir(path)


def to_trash(path):
    """Move a user's directory out of the way, for good."""
    if os.path.lexists(path):
        target = doomed(os.path.dirname(os.path.dirname(path)))
        os.rename(path, target)
        throw_away(target)


def doomed(area):
    """A new name in the trash, for something in an area of the work directory or in a run."""
    return os.path.join(os.path.dirname(area), b"trash", trash.new_name().encode("ascii"))
