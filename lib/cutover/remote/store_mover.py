"""A whole store goes to other storage of the same host by rsync: passes while users work, a last
one in the freeze, and back.

The plan: `store` and `to` (directories), `place` (directory for notes, on neither), `passed` (paths
below the store that are no part of it), `passes`, `minutes` (that contents may be read in the
freeze), `users` ([{user, uid, gid, home}]), `aside`. `former`, of the last pass: noted for who
asks; of a way back: the directory it goes to, "" for what lies beneath the store's mount; `alone`:
see read_notes, when it has gone back. What is known of the copies lies in `place`/state.json, apart
from any run.

A copy is ours by the mark in its top directory, which says of what it is the copy, and where.
Nothing is removed in a directory without it; in the store nothing is removed at all: what a way
back replaces there is set aside. A store that has moved bears the mark as well: so it is known
which copy is in its place, and what is out of date is never copied over what is not.
"""

import concurrent.futures
import ctypes
import json
import os
import re
import subprocess
import sys
import time

from mbx2maildir import errors, events
from mbx2maildir.publish import syscalls

from cutover.remote import trees

MARK = ".cutover-copy"
FOUND = "lost+found"
GAIN = 0.8  # a pass that takes more than this share of the one before has reached what a pass takes
QUIET = 30  # seconds for files of the store to be closed
CLONE_NEWNS = 0x00020000
STATUS = "messages uidnext uidvalidity unseen"


class NotOurs(errors.StoreError):
    """The new place holds something that no run of this program put there."""

    todo = "Give an empty directory, or one that an earlier run has copied to."


class NotTheStore(errors.StoreError):
    """Something else is in the store's place than what mail was served from last."""

    todo = "Put it back in its place, and run the same command again."


class CopyFailed(errors.StoreError):
    """rsync ended with an error."""

    todo = "Mend what it says, and run the same command again: it goes on with what is missing."


class InUse(errors.StoreError):
    """Somebody still writes to the store."""

    todo = "End it, and run the same command again."


class Different(errors.StoreError):
    """The copy is not what the store is."""

    todo = "See what it names; run the same command again."


# --- what is known of the copies


def state_path(values):
    return os.path.join(values["place"], "state.json")


def read_notes(values):
    """{"alone": the directory from which mail was served last, so that what came since is there
    alone, None for the first store; "copies": {directory: state}}"""
    try:
        with open(state_path(values)) as file:
            notes = json.load(file)
    except (FileNotFoundError, ValueError):
        notes = {}
    return {"alone": notes.get("alone"), "copies": notes.get("copies", {})}


def write_notes(values, notes):
    part = state_path(values) + ".part"
    with open(part, "w") as file:
        json.dump(notes, file)
        file.flush()
        os.fsync(file.fileno())
    os.rename(part, state_path(values))


def read_state(values):
    return read_notes(values)["copies"].get(values["to"], {})


def write_state(values, **news):
    notes = read_notes(values)
    notes["copies"][values["to"]] = dict(notes["copies"].get(values["to"], {}), **news)
    write_notes(values, notes)


def mark(place):
    """(store, directory) as a copy's mark names them; None when there is none."""
    try:
        with open(os.path.join(place, MARK)) as file:
            lines = file.read().split("\n")
    except FileNotFoundError:
        return None
    return lines[0], lines[1] if len(lines) > 1 else ""


def claim(values):
    """See that the store is the one, and that the new place is ours to write to; mark it. A new
    copy has room, and nothing is known of it."""
    alone, here, found = read_notes(values)["alone"], mark(values["store"]), mark(values["to"])
    if os.path.samefile(values["store"], values["to"]):
        raise NotOurs("it is the store itself", values["to"])
    if alone and (here or ("", ""))[1] != alone:
        raise NotTheStore(
            f"mail was served from {alone} last, which is not in its place", values["store"]
        )
    if found and found[0] != values["store"]:
        raise NotOurs("it is marked as the copy of another store", values["to"])
    if found and found[1] == values["to"]:
        return
    there = set(os.listdir(values["to"])) - {FOUND, MARK, MARK + ".part"}
    if there and not found:
        raise NotOurs("it is not empty: {}".format(", ".join(sorted(there)[:5])), values["to"])
    if not there:
        room(values)
    write_state(values, passes=[], checked=None)
    part = os.path.join(values["to"], MARK + ".part")
    with open(part, "w") as file:
        file.write("{}\n{}\n".format(values["store"], values["to"]))
        os.fchmod(file.fileno(), 0o644)
        os.fsync(file.fileno())
    os.rename(part, os.path.join(values["to"], MARK))


def room(values):
    """Raises NoSpace unless the new place can hold the whole store."""
    blocks = count = 0
    for place, folders, files in os.walk(values["store"]):
        for name in files + folders:
            try:
                found = os.lstat(os.path.join(place, name))
            except FileNotFoundError:
                continue
            blocks, count = blocks + found.st_blocks * 512, count + 1
    free = os.statvfs(values["to"])
    for what, need, have in (
        ("bytes", blocks, free.f_bavail * free.f_frsize),
        ("inodes", count, free.f_favail),
    ):
        if have < need and (what == "bytes" or free.f_files):
            raise errors.NoSpace(
                f"the store needs {need} {what}, and {have} are free",
                values["to"],
                todo="Give it more room.",
            )


# --- rsync

FIGURES = {
    "files": r"Number of files: ([\d,]+)",
    "copied": r"Number of regular files transferred: ([\d,]+)",
    "bytes": r"Total transferred file size: ([\d,]+)",
    "deleted": r"Number of deleted files: ([\d,]+)",
}


def rsync(source, target, *options, gently=False):
    """One pass → its figures. Files that vanish meanwhile are no error."""
    argv = [
        *(["nice", "-n", "10"] if gently else []),
        "rsync",
        "-aHAX",
        "--numeric-ids",
        "--delete",
        "--modify-window=-1",
        "--stats",
        "--exclude=/" + MARK,
        "--exclude=/" + FOUND,
        *options,
        source.rstrip("/") + "/",
        target.rstrip("/") + "/",
    ]
    began = time.monotonic()
    done = subprocess.run(
        argv,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        env=dict(os.environ, LC_ALL="C"),
    )
    said = done.stderr.decode("utf-8", "backslashreplace")
    if done.returncode not in (0, 24):
        raise CopyFailed(f"rsync ended with {done.returncode}: {said.strip()[-500:]}", target)
    text = done.stdout.decode("utf-8", "backslashreplace")
    figures = {
        key: int((re.search(pattern, text) or [0, "0"])[1].replace(",", ""))
        for key, pattern in FIGURES.items()
    }
    return dict(
        figures, vanished=said.count("has vanished"), seconds=round(time.monotonic() - began, 1)
    )


def passes(values, emit):
    """While users work: passes until they are no quicker, then contents are read on both sides. →
    the prediction in state.json"""
    claim(values)
    if not set(os.listdir(values["store"])) - {FOUND}:
        raise errors.NotThere("it is empty", values["store"], todo="Is the store mounted?")
    made = []
    while len(made) < values["passes"]:
        copied = time.time_ns()
        figures = rsync(values["store"], values["to"], gently=True)
        made.append(figures)
        emit("pass", number=len(made), **figures)
        if len(made) > 1 and figures["seconds"] > GAIN * made[-2]["seconds"]:
            break
    syscalls.syncfs(values["to"])
    began, since = time.time_ns(), read_state(values).get("checked")
    found = trees.compare(
        values["store"],
        values["to"],
        [MARK, FOUND, *values["passed"]],
        since,
        live=True,
        copied=copied,
    )
    emit("read", **found.as_dict())
    if found.different:
        told = "of {} entries, {} files of them read on both sides, {} differ: {}".format(
            found.entries, found.read, found.different, "; ".join(found.first)
        )
        raise Different(
            told,
            values["to"],
            todo="Is the new storage sound, and can it hold all that the store has (times to the "
            "microsecond, owners, modes)? Find out before anything else is done.",
        )
    # in the freeze names and looks are compared once more, and hardly any contents
    look = trees.compare(
        values["store"],
        values["to"],
        [MARK, FOUND, *values["passed"]],
        began,
        deadline=0,
        live=True,
    )
    start = time.monotonic()
    counted = counts(values)
    write_state(
        values,
        passes=made,
        checked=began,
        read=found.as_dict(),
        counted=sum(map(len, counted.values())),
        predicted=round(made[-1]["seconds"] + look.seconds + 2 * (time.monotonic() - start), 1),
    )
    emit("end", ok=True)


def last(values, emit):
    """In the freeze: Dovecot counts, the last pass, and all is compared."""
    claim(values)
    quiet(values["store"])
    state = read_state(values)
    before = counts(values)
    write_state(values, before=before, after=None, compared=None, former=values["former"])
    emit("counted", users=len(before), folders=sum(map(len, before.values())))
    figures = rsync(values["store"], values["to"])
    emit("pass", number="last", **figures)
    syscalls.syncfs(values["to"])
    found = same(values, emit, state.get("checked"))
    write_state(values, last=figures, compared=found)
    emit("end", ok=True)


def same(values, emit, since):
    deadline = time.monotonic() + 60 * values["minutes"]
    found = trees.compare(
        values["store"], values["to"], [MARK, FOUND, *values["passed"]], since, deadline
    ).as_dict()
    emit("compared", **found)
    if found["different"]:
        raise Different(
            "{} of {} entries differ: {}".format(
                found["different"], found["entries"], "; ".join(found["first"])
            ),
            values["to"],
        )
    return found


def after(values, emit):
    """Through the new storage in its place: Dovecot counts what it counted before."""
    before, now = read_state(values).get("before") or {}, counts(values)
    sides = [
        {(user, folder): row for user, listed in side.items() for folder, row in listed.items()}
        for side in (before, now)
    ]
    wrong = [
        "{} {}: {} became {}".format(*key, *(side.get(key) for side in sides))
        for key in sorted({*sides[0], *sides[1]})
        if sides[0].get(key) != sides[1].get(key)
    ]
    emit("counted", users=len(now), folders=sum(map(len, now.values())))
    if wrong or not before:
        raise Different(
            "Dovecot counts otherwise than before: {}".format(
                "; ".join(wrong[:5]) or "nothing was counted before"
            ),
            values["store"],
        )
    write_state(values, after=now)
    write_notes(values, dict(read_notes(values), alone=values["to"]))
    emit("end", ok=True)


def back(values, emit):
    """The other way: what the store has got on the new storage goes to where it lay before. What it
    replaces there, or what is no longer there, is set aside."""
    former = values["former"] or values["store"]
    quiet(values["store"])
    if values["former"]:
        if mark(former) != (values["store"], former):
            raise NotOurs(
                "it is not the copy of the store that was served from there",
                former,
                todo="Is it mounted?",
            )
    else:
        beneath(values["store"])
    if os.path.samefile(former, values["to"]):
        raise NotOurs(
            "the old store does not show beneath the new one",
            values["store"],
            todo="See `findmnt` for its mounts.",
        )
    aside = os.path.join(former, values["aside"])
    os.makedirs(aside, mode=0o700, exist_ok=True)
    top = "/" + values["aside"].split("/")[0]
    figures = rsync(values["to"], former, "--backup", "--backup-dir=" + aside, "--exclude=" + top)
    emit("pass", number="back", **figures)
    syscalls.syncfs(former)
    same(
        dict(values, store=former, passed=[*values["passed"], top[1:]]),
        emit,
        read_state(values).get("checked"),
    )
    write_notes(
        values, dict(read_notes(values), alone=values["alone"] or None)
    )  # nothing is on the new storage alone any more
    emit("end", ok=True)


def beneath(path):
    """From here on this process sees what lies beneath the mount at `path`; nobody else does."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(CLONE_NEWNS) != 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code), path)
    for argv in (["mount", "--make-rprivate", "/"], ["umount", path]):
        subprocess.run(
            argv,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            check=True,
        )


# --- who uses the store, and what Dovecot counts in it


def writers(path):
    """[text] of processes that have a file below `path` open for writing."""
    found = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        if int(pid) == os.getpid():
            continue
        try:
            for number in os.listdir(f"/proc/{pid}/fd"):
                if not os.readlink(f"/proc/{pid}/fd/{number}").startswith(path.rstrip("/") + "/"):
                    continue
                with open(f"/proc/{pid}/fdinfo/{number}") as info:
                    flags = int(
                        next(line.split()[1] for line in info if line.startswith("flags:")), 8
                    )
                if flags & os.O_ACCMODE:
                    with open(f"/proc/{pid}/comm") as name:
                        found.append(f"{name.read().strip()} ({pid})")
                    break
        except (OSError, StopIteration):
            continue  # it has ended
    return found


def quiet(path):
    until = time.monotonic() + QUIET
    while True:
        found = writers(path)
        if not found:
            return
        if time.monotonic() > until:
            raise InUse("open for writing by {}".format(", ".join(found[:5])), path)
        time.sleep(0.2)


def counts(values):
    """{user: {folder: [messages, uidnext, uidvalidity, unseen]}} as Dovecot reads the store, for
    each user as that user, so that it works also while Dovecot's services are stopped."""
    with concurrent.futures.ThreadPoolExecutor(values["jobs"]) as pool:
        return dict(pool.map(count, values["users"]))


def count(user):
    environment = dict(
        USER=user["user"],
        HOME=user["home"],
        PATH=os.environ.get("PATH", "/usr/bin:/bin"),
        LC_ALL="C",
    )
    argv = [
        "setpriv",
        "--reuid",
        str(user["uid"]),
        "--regid",
        str(user["gid"]),
        "--init-groups",
        "doveadm",
        "-f",
        "tab",
        "mailbox",
        "status",
        STATUS,
        "*",
    ]
    done = subprocess.run(
        argv,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        env=environment,
        cwd="/",
    )
    lines = done.stdout.decode("utf-8", "surrogateescape").split("\n")[
        :-1
    ]  # a name may hold what else counts as an end
    if done.returncode or not lines or not lines[0].startswith("mailbox\t"):
        raise Different(
            "Dovecot cannot read the mail of {}: {}".format(
                user["user"], done.stderr.decode("utf-8", "backslashreplace").strip()[-300:]
            ),
            todo="See Dovecot's log.",
        )
    rows = (line.split("\t") for line in lines[1:])
    return user["user"], {row[0]: [int(value) for value in row[1:]] for row in rows}


VERBS = {"passes": passes, "last": last, "after": after, "back": back}


def run(arguments):
    """The command `relocate`: what the plan's `verb` says."""
    with open(arguments.plan) as file:
        values = json.load(file)
    os.makedirs(values["place"], mode=0o700, exist_ok=True)
    emit = events.Events(arguments.events)
    try:
        VERBS[values["verb"]](values, emit)
    except errors.StoreError as error:
        emit("error", **error.as_dict())
        sys.stderr.write(f"{error}\n")
        return 1
    finally:
        emit.close()
    return 0
