"""What is known of the copies of a store, and whether a directory may be written to.

`place`/state.json holds what is known, apart from any run. A copy is ours by the mark in its top
directory, which names the store and the directory where the copy was made. Nothing is removed in
a directory without it. A store that has moved carries the mark too: so it is known which copy is
in its place, and an old copy never replaces a newer one.
"""

import json
import os

from mbx2maildir import errors

MARK = ".cutover-copy"
FOUND = "lost+found"


class NotOurs(errors.StoreError):
    """The new place holds something that no run of this program put there."""

    todo = "Choose an empty directory, or one that an earlier run copied to."


class NotTheStore(errors.StoreError):
    """The directory that served mail last is not in the store's place."""

    todo = "Put it back in its place, then run the same command again."


class Different(errors.StoreError):
    """The copy differs from the store."""

    todo = "Look at the entries it names, then run the same command again."


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
    alone, here, copied = read_notes(values)["alone"], mark(values["store"]), mark(values["to"])
    if os.path.samefile(values["store"], values["to"]):
        raise NotOurs("it is the store itself", values["to"])
    if alone and (here or ("", ""))[1] != alone:
        raise NotTheStore(
            f"mail was served from {alone} last, which is not in its place", values["store"]
        )
    if copied and copied[0] != values["store"]:
        raise NotOurs("it is marked as the copy of another store", values["to"])
    if copied and copied[1] == values["to"]:
        return
    there = set(os.listdir(values["to"])) - {FOUND, MARK, MARK + ".part"}
    if there and not copied:
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


def _entries(place):
    try:
        with os.scandir(place) as entries:
            return list(entries)
    except OSError:
        return []  # gone since, or not to be read: the copying names it


def room(values):
    """Raises NoSpace unless the new place can hold the whole store."""
    blocks = count = 0
    todo = [values["store"]]
    while todo:  # os.walk() recurses before Python 3.12, and users choose how deep
        for entry in _entries(todo.pop()):
            try:
                status = entry.stat(follow_symlinks=False)
                inner = entry.is_dir(follow_symlinks=False)
            except OSError:
                continue  # gone since, or a link is in the place of a directory above it
            blocks, count = blocks + status.st_blocks * 512, count + 1
            if inner:
                todo.append(entry.path)
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
