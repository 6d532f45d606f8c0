"""Copies the mail store: the program that the backup host runs each day with its own python3.

One file, Python 3.8 or later, nothing else. `mailbackup` makes a copy and writes its report to
STATE/last (facts/backup_copy.py reads it). `mailbackup check` changes nothing and prints as JSON
how the copy differs from the store now. Exit 0 only when every message seen is in the copy.

A pass is one rsync, which only adds. What the copy has beyond the store is removed at the end, and
only

- of a user (a directory at the top of the store) whose mail stood still: in the last three listings
  each `cur` has the same time, and no file vanished from the last. Every flag, move and removal
  changes a `cur`, whose time rsync gives in whole seconds. The second pass begins over a second
  after the first ended, so a change after it began would show in the third. So the second listing
  is complete, and what is in neither it nor the third is gone from the store. (Hosts that share a
  store set times by their own clocks: "clock" says how far these may differ, in seconds);
- or when the copy has the same message, by its name without flags, in the same folder under a name
  that a later pass listed.

Two passes go over the whole store, the others over users who are not done, until all are or PASSES
were made. So the only name of a message of a user at work is never removed.

Users choose the names and kinds of all files in the copy. Nothing here follows a link or opens
anything but a plain file, and a user whose copy cannot be walked stops nobody else.
"""

import collections
import contextlib
import errno
import fcntl
import json
import os
import re
import stat
import subprocess
import sys
import tempfile
import time

# "source", "target", "rsh", "exclude": [patterns], "state", "clock"; filled in where installed
SETTINGS = {}

PASSES = 12
APART = 1.1  # seconds from the end of a pass to the next: rsync has whole seconds
BUSY, NOT_MOUNTED, PARTIAL, VANISHED = 75, 3, 23, 24  # results; the others are rsync's own
DEEPEST = 100  # directories inside each other
UIDLIST = 1 << 28  # bytes of a UID list that are read
ITEM = re.compile(rb"=.{11} (\S+) (.*)\n", re.DOTALL)
GONE = re.compile(rb'has vanished: "/?(.*)"(?: \(in [^)]*\))?$', re.MULTILINE)
# the user in a complaint of rsync, which quotes no path that is longer than it can hold
PLACE = re.compile(rb'(?:"|^filename overflows max-path len by [0-9]+: )/?([^/"]+)')

# one pass's listing of a user's directory; curs: {path: time}, vanished: [paths]
Listing = collections.namedtuple("Listing", "number curs vanished")


class NotCopied(Exception):
    """The run ends here, with this result."""

    def __init__(self, result, text):
        super().__init__(text)
        self.result = result


def plain(name):
    """A file name as it is, from the one that rsync prints."""
    return re.sub(rb"\\#(\d{3})", lambda match: bytes([int(match.group(1), 8)]), name)


def message(path):
    """(folder, name without flags) of a message's path; None for any other path.

    Neither a flag nor new → cur changes them.
    """
    directory, _, name = path.rpartition(b"/")
    folder, _, part = directory.rpartition(b"/")
    return (folder, name.partition(b":2,")[0]) if part in (b"cur", b"new") else None


def shown(path):
    """A path as text on one line."""
    return path.decode("utf-8", "backslashreplace").translate({10: "\\n", 13: "\\r"})


@contextlib.contextmanager
def opened(target, path, kind):
    """The descriptor of a plain file or directory (`kind`: a test of stat) in the copy.

    No part of the path below the target may be a link, and nothing else is opened. Raises OSError.
    """
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
    handle = os.open(target, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        for name in path.split(b"/"):
            # a device is not even opened: that may do something
            if stat.S_IFMT(os.lstat(name, dir_fd=handle).st_mode) not in (
                stat.S_IFREG,
                stat.S_IFDIR,
            ):
                raise FileNotFoundError(errno.ENOENT, "not a plain file or directory", path)
            inner = os.open(name, flags, dir_fd=handle)
            os.close(handle)
            handle = inner
        if not kind(os.fstat(handle).st_mode):
            raise FileNotFoundError(errno.ENOENT, "of another kind", path)
        yield handle
    finally:
        os.close(handle)


def messages(target, folder):
    """The names, without flags, of the messages in a folder of the copy."""
    names = set()
    for part in (b"cur", b"new"):
        try:
            with opened(target, os.path.join(folder, part), stat.S_ISDIR) as directory:
                listed = map(os.fsencode, os.listdir(directory))
        except (FileNotFoundError, NotADirectoryError):
            continue
        names.update(name.partition(b":2,")[0] for name in listed)
    return names


def walk(target, top):
    """The paths below a directory of the target and itself; a directory after its contents.

    Raises OSError, for directories deeper than DEEPEST too.
    """
    try:
        todo = [(top, stat.S_ISDIR(os.lstat(os.path.join(target, top)).st_mode))]
    except FileNotFoundError:
        return
    while todo:
        path, unread = todo.pop()
        if unread:
            if path.count(b"/") >= DEEPEST:
                raise OSError(errno.ELOOP, f"more than {DEEPEST} directories inside each other")
            todo.append((path, False))
            with os.scandir(os.path.join(target, path)) as entries:
                todo += [
                    (os.path.join(path, entry.name), entry.is_dir(follow_symlinks=False))
                    for entry in entries
                ]
        else:
            yield path


def rsync(settings, out, *options, given=b""):
    """Run rsync with its output in the file `out`, rewound. Returns (exit status, stderr)."""
    # a user's file of terabytes without data must not fill the copy's disk
    argv = ["rsync", "--archive", "--sparse", "--numeric-ids"]
    # the server reads no links: see remote/confined.py
    argv += ["--no-links", "--info=nonreg0"]
    argv += ["--exclude=" + pattern for pattern in settings["exclude"]]
    argv += ["--rsh=" + settings["rsh"], "--out-format==%i %M %n", *options]
    argv += [settings["source"], settings["target"] + "/"]
    environment = dict(os.environ, LC_ALL="C")
    ended = subprocess.run(argv, input=given, stdout=out, stderr=subprocess.PIPE, env=environment)
    out.seek(0)
    return ended.returncode, ended.stderr


class Run:
    """One run of the copy.

    seen: {path: number of the last pass that listed it}. users: {user: the last three Listings}.
    failed: {user: why nothing more was done for them}. say(*lines): writes to the report.
    """

    def __init__(self, settings, say):
        self.settings, self.say = settings, say
        self.target = os.fsencode(settings["target"])
        self.number, self.removed, self.kept = 0, 0, 0
        self.seen, self.users, self.failed = {}, {}, {}

    def copy(self):
        """Make the copy. Raises NotCopied."""
        self.make_pass()
        self.make_pass()
        self.refuse_empty_store()
        waiting = self.settle(set(os.listdir(self.target)) | set(self.users))
        while waiting and self.number < PASSES:
            self.make_pass(waiting)
            waiting = self.settle(waiting)
        for user in waiting:
            self.confined(user, self.tidy)
        self.say(f"removed {self.removed}", f"kept {self.kept}", f"unsettled {len(waiting)}")
        lacking = sorted(
            path for user in waiting for path in self.confined(user, self.lacking) or ()
        )
        self.judge(lacking)

    def judge(self, lacking):
        """Raises NotCopied when messages are missing or users failed."""
        texts = []
        if lacking:
            first = ", ".join(map(shown, lacking[:3]))
            self.say(f"lacking {len(lacking)}")
            texts.append(
                f"{len(lacking)} messages are missing from the copy: they were renamed during "
                f"all {self.number} passes: {first}. All others are in the copy. Run it again"
            )
        if self.failed:
            self.say(f"failed {len(self.failed)}")
            first = "; ".join(
                f"{shown(user)}: {why}" for user, why in sorted(self.failed.items())[:5]
            )
            texts.append(
                f"{len(self.failed)} users were passed over ({first}). The mail of all others is "
                "in the copy. Look at these directories in the store and in the copy"
            )
        if texts:
            raise NotCopied(VANISHED if lacking else PARTIAL, ". ".join(texts))

    def confined(self, user, action):
        """action(user); None when it failed: that user is named at the end, and others go on."""
        if user not in self.failed:
            try:
                return action(user)
            except OSError as error:
                self.failed[user] = error.strerror or str(error)
        return None

    def refuse_empty_store(self):
        """Raises NotCopied when it looks as if most users had been deleted."""
        with os.scandir(self.target) as entries:
            here = [entry.name for entry in entries if entry.is_dir(follow_symlinks=False)]
        there = [name for name in here if self.seen.get(name) == self.number]
        if len(there) * 2 < len(here):
            raise NotCopied(
                NOT_MOUNTED,
                f"the store shows {len(there)} of the {len(here)} directories that the copy has: "
                "is it mounted?",
            )

    def make_pass(self, users=None):
        """One pass over the whole store, or over some users. Raises NotCopied."""
        if self.number:
            time.sleep(APART + self.settings.get("clock", 0))
        self.number += 1
        options, given = ["--stats", "-ii"], b""
        if users is not None:
            options += ["--recursive", "--ignore-missing-args", "--from0", "--files-from=-"]
            given = b"".join(user + b"\0" for user in sorted(users))
        curs, gone = collections.defaultdict(dict), collections.defaultdict(list)
        statistics = []
        with tempfile.TemporaryFile() as out:
            rc, err = rsync(self.settings, out, *options, given=given)
            for line in out:
                item = ITEM.fullmatch(line)
                if not item:
                    statistics.append(line.decode(errors="replace").rstrip())
                    continue
                path = plain(item.group(2))
                user = path.partition(b"/")[0]
                if path.endswith(b"/cur/"):
                    curs[user][path] = item.group(1)
                self.seen[path.rstrip(b"/")] = self.number
                if users is None and user != b".":
                    self.users.setdefault(user, [])
        for path in map(plain, GONE.findall(err)):
            gone[path.partition(b"/")[0]].append(path)
            self.seen[path] = self.number
        for user in self.users if users is None else users:
            self.users[user] = [
                *self.users.get(user, ())[-2:],
                Listing(self.number, curs[user], gone[user]),
            ]
        vanished = sum(map(len, gone.values()))
        self.say("pass", *statistics, f"vanished {vanished}", f"rc {rc}")
        if rc not in (0, VANISHED) and not (rc == PARTIAL and self.blame(err)):
            lines = err.decode(errors="backslashreplace").rstrip("\n").split("\n")
            raise NotCopied(rc, "; ".join(lines[-5:]))

    def blame(self, err):
        """Note the users whom rsync complains of; whether it complains of nothing else."""
        source = os.fsencode(self.settings.get("source") or "::")
        lines = [
            line.replace(self.target + b"/", b"").replace(source, b"")
            for line in filter(None, err.split(b"\n"))
            if not line.startswith(b"rsync error: ") and not GONE.search(line)
        ]
        known = True
        for line in lines:
            place = PLACE.search(line)
            user = plain(place.group(1)) if place else None
            if user in self.users:
                self.failed.setdefault(user, shown(line)[:200])
            else:
                known = False
        return bool(lines) and known

    def settle(self, users):
        """Remove what is gone from the store, of users whose mail stood still.

        Returns the users that need another pass.
        """
        return {user for user in users if self.confined(user, self.waits)}

    def waits(self, user):
        """Remove what is gone of a user, unless that needs another pass; whether it does."""
        extra = self.unlisted(user)
        if self.lost(user) or (extra and not self.stood_still(user)):
            return True
        # only what the listing before it lacks as well
        since = self.users[user][-2:][0].number if user in self.users else self.number + 1
        self.drop([path for path in extra if self.seen.get(path, 0) < since])
        return False

    def stood_still(self, user):
        """Whether what is in neither of a user's last two listings is gone from the store."""
        listings = self.users.get(user)
        if listings is None:
            return True  # two listings of the whole store have no such directory
        first, *others = listings
        return (
            len(others) == 2
            and all(listing.curs == first.curs for listing in others)
            and not others[-1].vanished
        )

    def unlisted(self, user):
        """Paths of a user's copy that the last listing does not have.

        A directory comes after its contents.
        """
        number = self.users[user][-1].number if user in self.users else self.number + 1
        return [path for path in walk(self.target, user) if self.seen.get(path, 0) < number]

    def lost(self, user):
        """What vanished in the last pass over a user, or is still missing."""
        if user not in self.users:
            return []
        return self.users[user][-1].vanished or self.lacking(user)

    def lacking(self, user):
        """Messages that vanished in one of the last two passes and are missing from the copy.

        One that the user deleted meanwhile is not listed again, and forgotten after two passes.
        """
        gone = {
            message(path): path
            for listing in self.users.get(user, ())[-2:]
            for path in listing.vanished
            if message(path)
        }
        there = {folder: messages(self.target, folder) for folder, _ in gone}
        return [path for (folder, name), path in gone.items() if name not in there[folder]]

    def tidy(self, user):
        """Remove older names of messages with several, of a user whose mail moved all the time."""
        extra, under = set(self.unlisted(user)), collections.defaultdict(list)
        for path in walk(self.target, user):
            if message(path):
                under[message(path)].append(path)
        for paths in under.values():
            newest = max(self.seen.get(path, 0) for path in paths)
            older = [path for path in paths if self.seen.get(path, 0) < newest]
            self.drop(older)
            extra.difference_update(older)
        self.kept += len(extra)

    def drop(self, paths):
        for path in paths:
            place = os.path.join(self.target, path)
            if os.path.isdir(place) and not os.path.islink(place):
                os.rmdir(place)
            else:
                os.unlink(place)
                self.removed += 1


def count(target):
    """The number of files in the copy, without those of directories that cannot be walked."""
    number, todo = 0, [(target, 0)]
    while todo:
        place, depth = todo.pop()
        with contextlib.suppress(OSError), os.scandir(place) as entries:
            for entry in entries:
                if not entry.is_dir(follow_symlinks=False):
                    number += 1
                elif depth <= DEEPEST:
                    todo.append((entry.path, depth + 1))
    return number


def main(settings):
    """Make a copy. Returns the exit status."""
    os.makedirs(settings["target"], exist_ok=True)
    os.makedirs(settings["state"], exist_ok=True)
    with open(os.path.join(settings["state"], "lock"), "ab") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print("another run is at work", file=sys.stderr)
            return BUSY
        return locked(settings)


def locked(settings):
    part, last = (os.path.join(settings["state"], name) for name in ("last.part", "last"))
    with open(part, "w", errors="backslashreplace") as report:

        def say(*lines):
            report.write("".join(" ".join(str(line).split("\n")) + "\n" for line in lines))
            report.flush()

        say(f"began {int(time.time())}", f"before {count(settings['target'])}")
        result = 0
        try:
            Run(settings, say).copy()
        except (NotCopied, OSError) as error:
            result = getattr(error, "result", 1)
            say(f"error {error}")
        say(f"after {count(settings['target'])}", f"ended {int(time.time())}", f"result {result}")
    os.replace(part, last)
    with open(last, errors="replace") as report:
        print(report.read())
    return result


def check(settings):
    """Print how the copy differs from the store now, as JSON. Returns the exit status.

    lost: messages that the copy's own UID list names and the copy does not have. other: paths the
    copy does not have, or has differently; new: the directories of these that the copy does not
    have. renamed: messages it has under another name. gone: files only the copy has. failed: {user:
    why nothing is known of them}.
    """
    target = os.fsencode(settings["target"])
    differences, there, named = {"lost": [], "other": [], "renamed": 0, "gone": 0}, {}, {}
    new = {}
    with tempfile.TemporaryFile() as out:
        rc, err = rsync(settings, out, "--dry-run", "--delete")
        run = Run(settings, print)
        run.users = dict.fromkeys(os.listdir(target), ())
        if rc not in (0, VANISHED) and not (rc == PARTIAL and run.blame(err)):
            print(err.decode(errors="backslashreplace"), file=sys.stderr)
            return rc
        for line in out:
            item = ITEM.fullmatch(line)
            path = plain(item.group(2)) if item else b"/"
            if path.endswith(b"/"):  # the times of directories change with each message
                continue
            folder, name = message(path) or (None, None)
            if folder is not None and folder not in there:
                there[folder], named[folder] = messages(target, folder), uidlist(target, folder)
            if line.startswith(b"=*deleting"):
                differences["gone"] += 1
            elif folder is None:
                differences["other"].append(os.fsdecode(path))
            elif name in there[folder]:
                differences["renamed"] += 1
            else:
                differences["lost" if name in named[folder] else "other"].append(os.fsdecode(path))
    for path in map(os.fsencode, differences["other"]):
        folder = (message(path) or (os.path.dirname(path),))[0]
        if folder not in new:
            new[folder] = not has(target, folder)
    differences["new"] = [os.fsdecode(folder) for folder in new if new[folder]]
    differences["failed"] = {shown(user): why for user, why in run.failed.items()}
    print(json.dumps(differences))
    return 0


def has(target, folder):
    """Whether the copy has a directory."""
    try:
        with opened(target, folder, stat.S_ISDIR):
            return True
    except OSError:
        return False


def uidlist(target, folder):
    """The names, without flags, in a folder's dovecot-uidlist. Empty when that is no plain file."""
    try:
        with opened(target, os.path.join(folder, b"dovecot-uidlist"), stat.S_ISREG) as handle:
            if os.fstat(handle).st_size > UIDLIST:
                return set()
            with open(handle, "rb", closefd=False) as lines:
                return {
                    line.partition(b" :")[2].rstrip(b"\n").partition(b":2,")[0] for line in lines
                }
    except (FileNotFoundError, NotADirectoryError):
        return set()


if __name__ == "__main__":
    sys.exit(check(SETTINGS) if sys.argv[1:] == ["check"] else main(SETTINGS))
