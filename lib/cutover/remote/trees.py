"""Whether two trees hold the same: each entry's kind, size, times, mode, owner, extended attributes
and links; then contents.

A message file is never written again once it has its name, and nobody writes to a copy but who
makes it. So contents that were found the same stay so as long as neither file's ctime is younger:
that one does not lie (it moves with each write, rename, link and change of mode). All other files,
Dovecot's own among them, are read each time.
"""

import errno
import os
import stat
import subprocess
import time

CHUNK = 1 << 20
MARGIN = 60 * 10**9  # nanoseconds by which the clocks of two file systems may differ
SHOWN = 20  # differences told in full
# users put nothing, a link or a socket in a file's place, or in that of a directory above it
SWAPPED = (errno.ENOENT, errno.ELOOP, errno.ENXIO, errno.ENOTDIR)


def entries(first, second, passed=()):
    """Walk both trees side by side → (path below the tops as bytes, lstat or None, lstat or None);
    `passed` paths and all below them are left out."""
    passed = {os.fsencode(path) for path in passed}
    yield b"", os.lstat(first), os.lstat(second)
    todo = [b""]
    while todo:
        place = todo.pop()
        sides = [_listed(os.path.join(os.fsencode(top), place)) for top in (first, second)]
        for name in sorted(sides[0].keys() | sides[1].keys()):
            path = os.path.join(place, name)
            if path in passed:
                continue
            statuses = [side.get(name) for side in sides]
            yield (path, *statuses)
            if all(status is not None and stat.S_ISDIR(status.st_mode) for status in statuses):
                todo.append(path)


def _listed(place):
    by_name = {}
    try:
        listing = os.scandir(place)
    except OSError as error:
        if error.errno not in SWAPPED:
            raise
        return by_name  # gone since: at rest, what the other side still has counts as different
    with listing:
        for entry in listing:
            try:
                by_name[entry.name] = entry.stat(follow_symlinks=False)
            except OSError as error:
                if error.errno not in SWAPPED:
                    raise  # else gone since: users are at work
    return by_name


def copy_links(first, second, passed=(), aside=None):
    """Give the second tree the links of the first, which rsync leaves out; see confined.py.

    aside: a directory for what they replace, and for links that the first tree does not have;
    without one what they replace is removed, and rsync removes the others.
    """
    tops = [os.fsencode(top) for top in (first, second)]
    for path, here, there in entries(*tops, passed):
        wanted = here is not None and stat.S_ISLNK(here.st_mode)
        surplus = aside is not None and there is not None and stat.S_ISLNK(there.st_mode)
        if not wanted and not surplus:
            continue
        source, target = (os.path.join(top, path) for top in tops)
        try:
            text = os.readlink(source) if wanted else None
            if wanted and not differs(here, there) and os.readlink(target) == text:
                continue
            above = os.lstat(os.path.dirname(target))
            if there is not None:
                _displace(target, there, aside and os.path.join(os.fsencode(aside), path))
            if wanted:
                os.symlink(text, target)
                os.lchown(target, here.st_uid, here.st_gid)
                _set_times(target, here)
            _set_times(os.path.dirname(target), above)
        except OSError as error:
            if error.errno not in SWAPPED:
                raise


def _displace(path, status, aside):
    if aside:
        os.makedirs(os.path.dirname(aside), mode=0o700, exist_ok=True)
        os.rename(path, aside)
    elif stat.S_ISDIR(status.st_mode):
        subprocess.run(["rm", "-rf", "--", path], check=True)  # waits for no FIFO in its place
    else:
        os.unlink(path)


def _set_times(path, status):
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns), follow_symlinks=False)


def is_message(path):
    return os.path.basename(os.path.dirname(path)) in (b"cur", b"new")


def differs(first, second):
    """What two entries of one name do not share, in a few words; "" when nothing. Sizes of
    directories are their file system's own."""
    if first is None or second is None:
        return "only in the {}".format("copy" if first is None else "store")
    if stat.S_IFMT(first.st_mode) != stat.S_IFMT(second.st_mode):
        return "of another kind"
    plain = stat.S_ISREG(first.st_mode)
    for what, here, there in (
        ("mode", stat.S_IMODE(first.st_mode), stat.S_IMODE(second.st_mode)),
        ("owner", (first.st_uid, first.st_gid), (second.st_uid, second.st_gid)),
        ("size", plain and first.st_size, plain and second.st_size),
        ("number of links", plain and first.st_nlink, plain and second.st_nlink),
        ("mtime", first.st_mtime_ns // 1000, second.st_mtime_ns // 1000),
    ):
        if here != there:
            return f"{what} {here} and {there}"
    return ""


def attributes(path):
    """Extended attributes, access lists among them; {} where the file system has none."""
    try:
        return {
            name: os.getxattr(path, name, follow_symlinks=False)
            for name in os.listxattr(path, follow_symlinks=False)
        }
    except OSError as error:
        if error.errno in (errno.ENOTSUP, errno.ENOSYS):
            return {}
        raise


def _plain(path, flags):
    """As an opener: users are at work, and may put a link or a FIFO in a file's place."""
    return os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK)


def same_contents(first, second):
    """Whether two files hold the same bytes. The second is read from its disk as far as the system
    lets it go."""
    with open(first, "rb", 0, opener=_plain) as left, open(second, "rb", 0, opener=_plain) as right:
        os.posix_fadvise(right.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        while True:
            here, there = left.read(CHUNK), right.read(CHUNK)
            if here != there:
                return False
            if not here:
                return True


class Result:
    """What a comparison found. `entries`, `read` and `bytes`: how many entries were looked at,
    files and bytes of whose contents were read; `known`: files read before and not touched since;
    `unread`: for want of time."""

    def __init__(self):
        self.entries = self.read = self.bytes = self.known = self.unread = self.different = 0
        self.first, self.seconds = [], 0.0

    def wrong(self, path, what):
        self.different += 1
        if len(self.first) < SHOWN:
            self.first.append(
                "{}: {}".format(path.decode("utf-8", "backslashreplace") or ".", what)
            )

    def as_dict(self):
        return dict(vars(self), seconds=round(self.seconds, 1))


def compare(first, second, passed=(), since=None, deadline=None, live=False, copied=None):
    """Two trees → Result.

    `since`: nanoseconds since the epoch at which a comparison began that read all contents and
    found them the same; `deadline` (time.monotonic()): contents that are not read by then stay
    unread. `live`: users work on the first tree, so an entry counts only when it is still what it
    was after it was read; what differs in name or look is left to the next pass, but for what was
    not touched since `copied`, nanoseconds at which the last one began: no pass makes that the
    same.
    """
    result, began = Result(), time.monotonic()
    for path, here, there in entries(first, second, passed):
        result.entries += 1
        if (
            here is not None and here == there
        ):  # pragma: no cover - the same inode: one tree is the other
            result.wrong(path, "the same file on both sides")
            continue
        what = differs(here, there)
        if what:
            if not live or (
                copied is not None
                and here is not None
                and there is not None
                and here.st_ctime_ns < copied - MARGIN
            ):
                result.wrong(path, what)
            continue
        places = [
            os.path.join(os.fsencode(top), path) if path else os.fsencode(top)
            for top in (first, second)
        ]
        touched = since is None or max(here.st_ctime_ns, there.st_ctime_ns) > since - MARGIN
        if stat.S_ISREG(here.st_mode) and not (touched or not is_message(path)):
            result.known += 1
            continue
        try:
            what = _inside(here, *places, result, deadline)
            if what and not (live and not _still(places[0], here)):
                result.wrong(path, what)
        except OSError as error:
            if error.errno not in SWAPPED:
                raise
            if not live:
                result.wrong(path, "changed while it was compared")
    result.seconds = time.monotonic() - began
    return result


def _inside(here, first, second, result, deadline):
    if stat.S_ISLNK(here.st_mode):
        return "" if os.readlink(first) == os.readlink(second) else "leads elsewhere"
    if attributes(first) != attributes(second):
        return "other extended attributes"
    if not stat.S_ISREG(here.st_mode):
        return ""
    if deadline is not None and time.monotonic() > deadline:
        result.unread += 1
        return ""
    result.read += 1
    result.bytes += here.st_size
    return "" if same_contents(first, second) else "other contents"


def _still(path, before):
    try:
        now = os.lstat(path)
    except OSError:
        return False
    return (now.st_ino, now.st_ctime_ns) == (before.st_ino, before.st_ctime_ns)
