"""First part of staging: look at both sides and begin the staged tree, or resume it."""

import os

from mbx2maildir import home
from mbx2maildir.convert import (
    existing,
    incoming,
    index,
    source,
    staged,
    subscriptions,
    trash,
)
from mbx2maildir.formats.names import Names


def prepare(user, presync=False, progress=staged.quiet):
    """Look at both sides and begin the staged tree, or take up the one of an earlier pass.

    user: an entry of the plan with "staging", "index", "salvage" (paths), "host", "run", "tree_id"
    and "fresh" (whether staging is empty) added.
    presync: the mail of the new side is not looked at. → {"inbox", "spool": Found or None,
    "folders": [(Found, Maildir name)], "passed", "changes", "subscriptions", "elsewhere", "new":
    NewSide or None, "foreign", "bytes"}.
    """
    inbox, spool, not_inbox = incoming.find(user.get("inbox") or [], user.get("spool"))
    besides = [
        inbox.path if inbox else None,
        user.get("spool"),
        user.get("subscriptions"),
        *(user.get("inbox") or []),
    ]
    folders, passed = source.folders(user.get("folders"), besides)
    if inbox is None and not folders and user.get("folders"):
        source.expect_mounted(user["folders"])
    folders += home.from_roots(user, [inbox, *folders] if inbox else folders, progress)
    subscribed, elsewhere, _prefixes = subscriptions.read(
        user.get("subscriptions"), user.get("folders"), user.get("home"), passed, folders
    )
    names = Names([file.name for file in folders], user.get("dots"))
    target = os.fsencode(user["maildir"])
    new = existing.NewSide(target) if os.path.isdir(target) else None
    if new and not presync:
        new.read(progress)
    begin(user, {names.maildir(file.name) for file in folders} | {b""})
    wanted_names = [b"INBOX" if name is None else names.maildir(name) for name in subscribed]
    if presync:  # else both sides' together, once the tree is complete
        subscriptions.write(os.fsencode(user["staging"]), wanted_names)
    return {
        "inbox": inbox,
        "spool": spool,
        "passed": [
            dict(item, name=os.path.relpath(item["file"], os.fsencode(user["folders"])))
            for item in not_inbox
        ]
        + passed,
        "changes": names.changes,
        "elsewhere": elsewhere,
        "folders": [(file, names.maildir(file.name)) for file in folders],
        "subscriptions": list(dict.fromkeys(wanted_names)),
        "new": new,
        "foreign": existing.foreign_entries(target, new.names) + new.odd if new else [],
        "bytes": sum(file.size for file in [*folders, inbox, spool] if file),
    }


def begin(user, wanted_folders):
    """Take up the staged tree of an earlier pass, or begin one (user["fresh"]); folders that are
    not wanted any more go."""
    tree, notes_directory = os.fsencode(user["staging"]), os.fsencode(user["index"])
    if user["fresh"]:
        trash.empty(notes_directory)
    elif os.path.lexists(os.path.join(notes_directory, trash.NAME)):
        trash.remove(os.path.join(notes_directory, trash.NAME))
    for entry in os.listdir(tree):
        if (
            entry.startswith(b".")
            and entry[1:] not in wanted_folders
            and os.path.isdir(os.path.join(tree, entry))
        ):
            index.forget(user, entry[1:])
            trash.discard(os.path.join(tree, entry), notes_directory)
