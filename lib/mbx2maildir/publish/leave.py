"""Mail that a rollback could not carry back stays in the user's Maildir: it goes into the tree that
comes back.

The published tree is about to be set aside (publish.unpublish). The messages that stay are linked
into the earlier tree before the two are exchanged, so that there is no moment at which they are
nowhere. A later conversion finds them there like any other mail of the new side (existing.NewSide)
and takes them over.
"""

import os

from mbx2maildir import errors, files, pool
from mbx2maildir.convert import existing
from mbx2maildir.formats import file_names, keywords, maildir, uidlist
from mbx2maildir.publish import containers, publish


def leave(plan, emit):
    """Each user of the plan has "keep": {Maildir name of a folder: [UIDs]}. → {"kept", "failed"}:
    numbers of users.

    Emits `kept` with "files": [{"folder", "uid", "file": where it will be once the trees are
    exchanged}].
    """
    counts = {"kept": 0, "failed": 0}
    containers.make_areas(plan)
    with publish.lock(plan):
        for user in plan["users"]:
            try:
                emit("kept", user=user["user"], files=keep(plan, user))
                counts["kept"] += 1
            except Exception as error:
                counts["failed"] += 1
                emit("error", user=user["user"], **errors.describe(error))
    emit("end", ok=not counts["failed"], **counts)
    return counts


def keep(plan, user):
    """Link one user's messages into the tree that comes back → the files, see leave(). Done
    again, it adds nothing."""
    places = containers.paths(plan, user)
    if publish.settle(plan, user) is not None:
        source, target = places["live"], places["aside"]
    else:  # taken back already
        source, target = publish.latest(places["unpublished"]), places["live"]
    if not os.path.lexists(target):
        containers.make_own(target, user)
    return pool.ask(user, task_keep, user["keep"], source, target, places["live"])


def task_keep(wishes, source, target, live, report):
    """Link messages of one tree into another, as their user. live: the path at which `target` will
    be."""
    make(target)
    kept = []
    for text, uids in sorted(wishes.items()):
        name, wanted = os.fsencode(text), set(uids)
        directory = maildir.folder_directory(name)
        make(os.path.join(target, directory), below=bool(name))
        numbers = uidlist.read(os.path.join(source, directory))[2]
        words = keywords.read(os.path.join(source, directory))
        there = {
            file_names.NAME_FLAGS.match(entry).group(1): (subdir, entry)
            for subdir, entry in maildir.listing(target, name)
        }
        for subdir, entry in maildir.listing(source, name):
            message = existing.Message(name, subdir, entry, numbers)
            if message.uid not in wanted or not files.is_regular(message.path(source)):
                continue
            wanted.remove(message.uid)
            if message.base not in there:
                there[message.base] = (
                    subdir,
                    renamed(message, words, os.path.join(target, directory)),
                )
                os.link(
                    message.path(source),
                    os.path.join(target, directory, *there[message.base]),
                    follow_symlinks=False,
                )
            kept.append(
                {
                    "folder": text,
                    "uid": message.uid,
                    "file": os.fsdecode(os.path.join(live, directory, *there[message.base])),
                }
            )
        if wanted:
            raise errors.PublishError(
                "{} messages are not there any more, first UID {}".format(len(wanted), min(wanted)),
                os.path.join(source, directory),
            )
    return kept


def make(directory, below=False):
    """Make a folder of a Maildir, unless it exists."""
    if os.path.isdir(os.path.join(directory, b"cur")):
        return
    for place in (directory, *(os.path.join(directory, part) for part in (b"cur", b"new", b"tmp"))):
        if not os.path.isdir(place):
            os.mkdir(place, 0o700)
    if below:
        files.replace_file(os.path.join(directory, b"maildirfolder"), b"")


def renamed(message, words, directory):
    """The message's file name in another folder: letters of keywords are that folder's own."""
    if message.subdir == b"new" and not message.letters:
        return message.base
    letters = {bytes([letter]) for letter in message.letters if bytes([letter]).isupper()}
    wanted = [words[bytes([letter])] for letter in message.letters if bytes([letter]) in words]
    names = keywords.read(directory)
    fresh = False
    for word in wanted:
        letter = next(
            (letter for letter, name in names.items() if name.lower() == word.lower()), None
        )
        if letter is None:
            free = [
                bytes([97 + number]) for number in range(26) if bytes([97 + number]) not in names
            ]
            if not free:
                continue  # it has 26 others
            letter, fresh = free[0], True
            names[letter] = word
        letters.add(letter)
    if fresh:
        path = os.path.join(directory, b"dovecot-keywords")
        files.replace_file(
            path,
            b"".join(b"%d %b\n" % (letter[0] - 97, name) for letter, name in sorted(names.items())),
        )
    return message.base + b":2," + b"".join(sorted(letters))
