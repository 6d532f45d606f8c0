"""Move a whole store to other storage of the same host by rsync.

Passes run while users work, a last one in the freeze; `back` undoes the move. The plan:
store, to: the directories; place: a directory for notes, on neither of them
passed: paths below the store that do not belong to it
passes: at most this many; minutes: time for reading contents in the freeze
users: [{user, uid, gid, home}]; aside: where `back` puts what it replaces
former: for the last pass a note for others; for `back` the directory it returns to, "" for what
is beneath the store's mount
alone: see store_copies.read_notes(), after `back`

In the store nothing is ever removed: what `back` replaces there is set aside.
"""

import ctypes
import json
import os
import re
import subprocess
import sys
import time

from mbx2maildir import errors, events
from mbx2maildir.publish import syscalls

from cutover.remote import confined, store_copies, store_use, trees

GAIN = 0.8  # a pass that takes more than this share of the one before has reached what a pass takes
CLONE_NEWNS = 0x00020000
OURS = (store_copies.MARK, store_copies.FOUND)  # no part of the store


class CopyFailed(errors.StoreError):
    """rsync ended with an error."""

    todo = "Fix what it reports, then run the same command again to resume."


FIGURES = {
    "files": r"Number of files: ([\d,]+)",
    "copied": r"Number of regular files transferred: ([\d,]+)",
    "bytes": r"Total transferred file size: ([\d,]+)",
    "deleted": r"Number of deleted files: ([\d,]+)",
}


def rsync(source, target, *options, gently=False, aside=None):
    """One pass → its figures. Files that vanish meanwhile are no error. aside: directory for what
    links replace; without one it is removed."""
    argv = [
        *(["nice", "-n", "10"] if gently else []),
        "rsync",
        "-aHAXS",
        *confined.OPTIONS,
        "--numeric-ids",
        "--delete",
        "--modify-window=-1",
        "--stats",
        "--exclude=/" + store_copies.MARK,
        "--exclude=/" + store_copies.FOUND,
        *options,
        source.rstrip("/") + "/",
        target.rstrip("/") + "/",
    ]
    began = time.monotonic()
    status, output, complaints = confined.run(
        argv,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=dict(os.environ, LC_ALL="C"),
    )
    stderr = complaints.decode("utf-8", "backslashreplace")
    if status not in (0, 24):
        raise CopyFailed(f"rsync ended with {status}: {stderr.strip()[-500:]}", target)
    trees.copy_links(source, target, OURS, aside)
    text = output.decode("utf-8", "backslashreplace")
    figures = {
        key: int((re.search(pattern, text) or [0, "0"])[1].replace(",", ""))
        for key, pattern in FIGURES.items()
    }
    return dict(
        figures, vanished=stderr.count("has vanished"), seconds=round(time.monotonic() - began, 1)
    )


def passes(values, emit):
    """While users work: passes until they are no quicker, then contents are read on both sides. →
    the prediction in state.json"""
    with confined.links_off(values["store"], values["to"]):
        made, result, began, look = copy_while_users_work(values, emit)
    start = time.monotonic()
    counted = store_use.counts(values)
    store_copies.write_state(
        values,
        passes=made,
        checked=began,
        read=result.as_dict(),
        counted=sum(map(len, counted.values())),
        predicted=round(made[-1]["seconds"] + look.seconds + 2 * (time.monotonic() - start), 1),
    )
    emit("end", ok=True)


def copy_while_users_work(values, emit):
    """→ the figures of the passes, the comparison of contents and when it began, and a comparison
    such as the freeze will make"""
    store_copies.claim(values)
    if not set(os.listdir(values["store"])) - {store_copies.FOUND}:
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
    began, since = time.time_ns(), store_copies.read_state(values).get("checked")
    result = trees.compare(
        values["store"],
        values["to"],
        [*OURS, *values["passed"]],
        since,
        live=True,
        copied=copied,
    )
    emit("read", **result.as_dict())
    if result.different:
        text = "of {} entries, {} files of them read on both sides, {} differ: {}".format(
            result.entries, result.read, result.different, "; ".join(result.first)
        )
        raise store_copies.Different(
            text,
            values["to"],
            todo="Is the new storage sound, and can it hold all that the store has (times to the "
            "microsecond, owners, modes)? Find out before anything else is done.",
        )
    # in the freeze names and looks are compared once more, and hardly any contents
    look = trees.compare(
        values["store"],
        values["to"],
        [*OURS, *values["passed"]],
        began,
        deadline=0,
        live=True,
    )
    return made, result, began, look


def last(values, emit):
    """In the freeze: Dovecot counts, the last pass, and all is compared."""
    store_copies.claim(values)
    store_use.quiet(values["store"])
    state = store_copies.read_state(values)
    before = store_use.counts(values)
    store_copies.write_state(
        values, before=before, after=None, compared=None, former=values["former"]
    )
    emit("counted", users=len(before), folders=sum(map(len, before.values())))
    with confined.links_off(values["store"], values["to"]):
        figures = rsync(values["store"], values["to"])
        emit("pass", number="last", **figures)
        syscalls.syncfs(values["to"])
        compared = same(values, emit, state.get("checked"))
    store_copies.write_state(values, last=figures, compared=compared)
    emit("end", ok=True)


def same(values, emit, since):
    deadline = time.monotonic() + 60 * values["minutes"]
    compared = trees.compare(
        values["store"],
        values["to"],
        [*OURS, *values["passed"]],
        since,
        deadline,
    ).as_dict()
    emit("compared", **compared)
    if compared["different"]:
        raise store_copies.Different(
            "{} of {} entries differ: {}".format(
                compared["different"], compared["entries"], "; ".join(compared["first"])
            ),
            values["to"],
        )
    return compared


def after(values, emit):
    """Through the new storage in its place: Dovecot counts what it counted before."""
    before, now = store_copies.read_state(values).get("before") or {}, store_use.counts(values)
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
        raise store_copies.Different(
            "Dovecot counts otherwise than before: {}".format(
                "; ".join(wrong[:5]) or "nothing was counted before"
            ),
            values["store"],
        )
    store_copies.write_state(values, after=now)
    store_copies.write_notes(values, dict(store_copies.read_notes(values), alone=values["to"]))
    emit("end", ok=True)


def back(values, emit):
    """The other way: what the store has got on the new storage goes to where it lay before. What it
    replaces there, or what is no longer there, is set aside."""
    former = values["former"] or values["store"]
    store_use.quiet(values["store"])
    if values["former"]:
        if store_copies.mark(former) != (values["store"], former):
            raise store_copies.NotOurs(
                "it is not the copy of the store that was served from there",
                former,
                todo="Is it mounted?",
            )
    else:
        beneath(values["store"])
    if os.path.samefile(former, values["to"]):
        raise store_copies.NotOurs(
            "the old store does not show beneath the new one",
            values["store"],
            todo="See `findmnt` for its mounts.",
        )
    with confined.links_off(former, values["to"]):
        aside = os.path.join(former, values["aside"])
        os.makedirs(aside, mode=0o700, exist_ok=True)
        top = "/" + values["aside"].split("/")[0]
        options = ["--backup", "--backup-dir=" + aside, "--exclude=" + top]
        trees.copy_links(values["to"], former, [*OURS, top[1:]], aside)
        figures = rsync(values["to"], former, *options, aside=aside)
        emit("pass", number="back", **figures)
        syscalls.syncfs(former)
        same(
            dict(values, store=former, passed=[*values["passed"], top[1:]]),
            emit,
            store_copies.read_state(values).get("checked"),
        )
    store_copies.write_notes(
        values, dict(store_copies.read_notes(values), alone=values["alone"] or None)
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
