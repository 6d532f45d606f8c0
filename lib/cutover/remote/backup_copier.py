"""Copies the mail store: what the backup host runs each day, one file, with its own python3 (3.8 or later, nothing else).

`mailbackup` makes a copy and writes what it did to STATE/last (hosts/backups.py reads it); `mailbackup check` changes nothing and
says as JSON how the copy differs from the store now. Exit 0 only when every message that was seen is in the copy.

A pass is one rsync, which only adds. What the copy has beyond the store is removed at the end, and only

- of a user (a directory of the store's top) whose mail stood still: between the last two listings, which two passes at least a
  second apart made, no `cur` changed and no file vanished. Each flag, move and removal changes a `cur`. So these listings lack
  nothing, and what is in neither is gone from the store;
- or when the copy has the same message, by its name without flags, in the same folder under a name that a later pass listed.

Two passes go over the whole store, the others over those users who are not done, until all are or PASSES were made. So the only
name of a message whose user is at work is never removed.
"""

import collections
import fcntl
import json
import os
import re
import subprocess
import sys
import tempfile
import time

# "source", "target", "rsh", "exclude": [patterns], "state"; filled in where it is installed
SETTINGS = {}

PASSES = 12
APART = 1.1  # seconds between the beginnings of two listings that are compared: rsync tells times in whole seconds
BUSY, NOT_MOUNTED, VANISHED = 75, 3, 24  # results; rsync's own are the others
ITEM = re.compile(rb"=.{11} (\S+) (.*)\n", re.DOTALL)
GONE = re.compile(rb'has vanished: "/?(.*)"(?: \(in [^)]*\))?$', re.MULTILINE)

# one listing of a user's directory; curs: {path: time}, vanished: [paths]
Listing = collections.namedtuple("Listing", "number began curs vanished")


class NotCopied(Exception):
    """The run ends here, with this result."""

    def __init__(self, result, text):
        super().__init__(text)
        self.result = result


def plain(name):
    """A name as rsync tells it → as it is."""
    return re.sub(rb"\\#(\d{3})", lambda found: bytes([int(found.group(1), 8)]), name)


def message(path):
    """(folder, name without flags) when the path is a message's, else None. A flag changes neither, nor does new → cur."""
    directory, _, name = path.rpartition(b"/")
    folder, _, part = directory.rpartition(b"/")
    return (folder, name.partition(b":2,")[0]) if part in (b"cur", b"new") else None


def messages(target, folder):
    """Names without flags of the messages of a folder of the copy."""
    found = set()
    for part in (b"cur", b"new"):
        try:
            found.update(
                name.partition(b":2,")[0] for name in os.listdir(os.path.join(target, folder, part))
            )
        except (FileNotFoundError, NotADirectoryError):
            continue
    return found


def walk(target, user):
    """The paths of a user's copy, relative to the target; a directory after what it holds."""
    place = os.path.join(target, user)
    if os.path.isdir(place) and not os.path.islink(place):
        with os.scandir(place) as entries:
            inside = [entry.name for entry in entries]
        for name in inside:
            yield from walk(target, os.path.join(user, name))
    if os.path.lexists(place):
        yield user


def rsync(settings, out, *options, given=b""):
    """Run it; what it prints goes to the file `out`, which is read from its beginning then. → (rc, stderr)"""
    argv = [
        "rsync",
        "--archive",
        "--numeric-ids",
        *("--exclude=" + each for each in settings["exclude"]),
        "--rsh=" + settings["rsh"],
        "--out-format==%i %M %n",
        *options,
        settings["source"],
        settings["target"] + "/",
    ]
    done = subprocess.run(
        argv, input=given, stdout=out, stderr=subprocess.PIPE, env={**os.environ, "LC_ALL": "C"}
    )
    out.seek(0)
    return done.returncode, done.stderr


class Run:
    """`seen`: {path: number of the last pass that listed it}; `users`: {user: his last two Listings}; `say` takes lines."""

    def __init__(self, settings, say):
        self.settings, self.say = settings, say
        self.target = os.fsencode(settings["target"])
        self.number, self.began, self.removed, self.kept = 0, 0.0, 0, 0
        self.seen, self.users = {}, {}

    def copy(self):
        """All of it. Raises NotCopied."""
        self.one()
        self.one()
        here = [
            each
            for each in os.listdir(self.target)
            if os.path.isdir(os.path.join(self.target, each))
        ]
        there = [each for each in here if self.seen.get(each) == self.number]
        if len(there) * 2 < len(here):  # it looks as if everybody had been deleted
            raise NotCopied(
                NOT_MOUNTED,
                f"the store shows {len(there)} of the {len(here)} directories that the copy has: "
                "is it mounted?",
            )
        waiting = self.settle(set(os.listdir(self.target)) | set(self.users))
        while waiting and self.number < PASSES:
            time.sleep(max(0.0, self.began + APART - time.monotonic()))
            self.one(waiting)
            waiting = self.settle(waiting)
        for user in waiting:
            self.tidy(user)
        self.say(f"removed {self.removed}", f"kept {self.kept}", f"unsettled {len(waiting)}")
        lacking = sorted(path for user in waiting for path in self.lacking(user))
        if lacking:
            first = ", ".join(each.decode("utf-8", "backslashreplace") for each in lacking[:3])
            self.say(f"lacking {len(lacking)}")
            raise NotCopied(
                VANISHED,
                f"{len(lacking)} messages were renamed each time they were looked for, in {self.number} "
                f"passes, and are in the copy under no name: {first}. All others are there; run it again",
            )

    def one(self, users=None):
        """One pass, over the whole store or over some users. Raises NotCopied."""
        self.number, self.began = self.number + 1, time.monotonic()
        some = (
            []
            if users is None
            else ["--recursive", "--ignore-missing-args", "--from0", "--files-from=-"]
        )
        curs, gone, said = collections.defaultdict(dict), collections.defaultdict(list), []
        with tempfile.TemporaryFile() as out:
            rc, err = rsync(
                self.settings,
                out,
                "--stats",
                "-ii",
                *some,
                given=b"".join(each + b"\0" for each in sorted(users or ())),
            )
            for line in out:
                item = ITEM.fullmatch(line)
                if not item:
                    said.append(line.decode(errors="replace").rstrip())
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
                *self.users.get(user, ())[-1:],
                Listing(self.number, self.began, curs[user], gone[user]),
            ]
        self.say("pass", *said, f"vanished {sum(map(len, gone.values()))}", f"rc {rc}")
        if rc not in (0, VANISHED):
            raise NotCopied(rc, "; ".join(err.decode(errors="backslashreplace").splitlines()[-5:]))

    def settle(self, users):
        """Remove what is gone from the store of those who stood still. → the users over whom another pass has to go"""
        waiting = set()
        for user in users:
            extra = self.beyond(user)
            if self.lost(user) or (extra and not self.stood_still(user)):
                waiting.add(user)
            else:
                self.drop(extra)
        return waiting

    def stood_still(self, user):
        """Whether what neither of his last two listings has is gone from the store."""
        listings = self.users.get(user)
        if listings is None:
            return True  # twice the whole store was listed without such a directory
        return (
            len(listings) == 2
            and listings[0].curs == listings[1].curs
            and not listings[1].vanished
            and listings[1].began - listings[0].began >= APART
        )

    def beyond(self, user):
        """What the copy of a user has and neither of his last two listings: [paths], a directory after what it holds."""
        since = self.users[user][0].number if user in self.users else self.number + 1
        return [path for path in walk(self.target, user) if self.seen.get(path, 0) < since]

    def lost(self, user):
        """What vanished in the last pass over a user, or is still looked for."""
        return (self.users[user][-1].vanished or self.lacking(user)) if user in self.users else []

    def lacking(self, user):
        """Messages that vanished in one of the last two passes and are in the copy under no name. One that the user deleted
        meanwhile is listed no more, and forgotten after two passes."""
        gone = {
            message(path): path
            for listing in self.users.get(user, ())
            for path in listing.vanished
            if message(path)
        }
        there = {folder: messages(self.target, folder) for folder, _ in gone}
        return [path for (folder, name), path in gone.items() if name not in there[folder]]

    def tidy(self, user):
        """Remove, of a user whose mail moved all the time, the older names of messages that have several."""
        extra, under = set(self.beyond(user)), collections.defaultdict(list)
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
    """Files of the copy."""
    return sum(len(files) for _, _, files in os.walk(target))


def main(settings):
    """Make a copy. → exit code"""
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
            report.write("".join(f"{line}\n" for line in lines))
            report.flush()

        say(f"began {int(time.time())}", f"before {count(settings['target'])}")
        result = 0
        try:
            Run(settings, say).copy()
        except NotCopied as error:
            result = error.result
            say(f"error {error}")
        except OSError as error:
            result = 1
            say(f"error {error}")
        say(f"after {count(settings['target'])}", f"ended {int(time.time())}", f"result {result}")
    os.replace(part, last)
    with open(last, errors="replace") as report:
        print(report.read())
    return result


def check(settings):
    """How the copy differs from the store now, as JSON: `{"lost": messages that the copy's own list of UIDs names and that are in
    it under no name, "other": [paths] the copy lacks or has otherwise, "renamed": messages it has under another name, "gone":
    files only the copy has}`. → exit code"""
    target = os.fsencode(settings["target"])
    found, there, named = {"lost": [], "other": [], "renamed": 0, "gone": 0}, {}, {}
    with tempfile.TemporaryFile() as out:
        rc, err = rsync(settings, out, "--dry-run", "--delete")
        if rc not in (0, VANISHED):
            print(err.decode(errors="backslashreplace"), file=sys.stderr)
            return rc
        for line in out:
            item = ITEM.fullmatch(line)
            if not item or item.group(2).endswith(
                b"/"
            ):  # times of directories change with each message
                continue
            path = plain(item.group(2))
            folder, name = message(path) or (None, None)
            if folder is not None and folder not in there:
                there[folder], named[folder] = messages(target, folder), uidlist(target, folder)
            if line.startswith(b"=*deleting"):
                found["gone"] += 1
            elif folder is None:
                found["other"].append(os.fsdecode(path))
            elif name in there[folder]:
                found["renamed"] += 1
            else:
                found["lost" if name in named[folder] else "other"].append(os.fsdecode(path))
    print(json.dumps(found))
    return 0


def uidlist(target, folder):
    """Names without flags that a folder's dovecot-uidlist has."""
    try:
        with open(os.path.join(target, folder, b"dovecot-uidlist"), "rb") as lines:
            return {line.partition(b" :")[2].rstrip(b"\n").partition(b":2,")[0] for line in lines}
    except FileNotFoundError:
        return set()


if __name__ == "__main__":
    sys.exit(check(SETTINGS) if sys.argv[1:] == ["check"] else main(SETTINGS))
