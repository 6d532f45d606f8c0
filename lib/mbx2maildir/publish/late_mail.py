"""Mail that comes to a user's Maildir while a staged tree takes its place.

Root only looks where the replaced tree lies. What is in a tree, a process looks up that is its
user.
"""

import os

from mbx2maildir import files, pool
from mbx2maildir.formats import file_names, maildir
from mbx2maildir.publish import containers, syscalls


def as_names(known):
    """What task_late() knows, for a record in JSON."""
    return {
        os.fsdecode(name): sorted(map(os.fsdecode, bases)) for name, bases in known.items() if bases
    }


def look_again(plan, user, staged):
    """Have what came to the tree that was replaced, before a crash, in the one in its place → the
    number of messages."""
    if "known" not in staged:  # an older version's
        return 0
    known = {
        os.fsencode(name): set(map(os.fsencode, bases)) for name, bases in staged["known"].items()
    }
    places, count = containers.paths(plan, user), 0
    for area in {places[area]: area for area in ("staging", "replaced", "aside")}.values():
        if files.is_directory(places[area]):
            count += pool.ask(user, task_late, plan, user, known, area)[0]
    return count


def task_late(plan, user, known, replaced, report):
    """Link what came to the replaced tree meanwhile into new/ of the staged one. replaced: "" while
    it is in use, later the area where it lies. known: base names of the reconciled new-side
    messages by folder.

    → (number of messages, `known` with them); they are on disk.
    """
    places = containers.paths(plan, user)
    source, target = places["live"], places["staging"]
    if replaced:
        source, target = places[replaced], places["live"]
    late = take_late(source, target, known) if files.is_directory(source) else 0
    if late:
        syscalls.syncfs(target)
    return late, known


def take_late(source, target, known):
    """Link messages of `source` that are neither in `known` nor there into new/ of the same folder
    of `target` → their number."""
    count = 0
    for name in maildir.folder_names(source):
        seen, there = known.setdefault(name, set()), None
        for subdir, entry in maildir.listing(source, name):
            base = base_of(entry)
            path = os.path.join(source, maildir.folder_directory(name), subdir, entry)
            if base in seen or not files.is_regular(path):
                continue
            folder = os.path.join(target, maildir.folder_directory(name))
            if not files.is_directory(os.path.join(folder, b"new")):
                folder = target
            if there is None:
                inner = name if folder != target else b""
                there = {base_of(other) for _, other in maildir.listing(target, inner)}
            seen.add(base)
            if base not in there:
                os.link(path, os.path.join(folder, b"new", base), follow_symlinks=False)
                count += 1
    return count


def base_of(entry):
    """A message's file name without its flags."""
    return file_names.NAME_FLAGS.match(entry).group(1)
