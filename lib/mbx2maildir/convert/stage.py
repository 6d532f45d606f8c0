"""Conversion of one user into a staged tree: prepare → each folder → finish. Publishing is publish.py's.

The three functions take and give plain values (dicts, lists, bytes), so that they can run in different processes.
Files are created with the user's effective uid and gid: no chown a message, and the user's quota counts.
"""

import contextlib
import os
import time

from mbx2maildir import errors
from mbx2maildir.convert import delta, existing, index, moving, ranges, salvage, source
from mbx2maildir.formats import maildir, mbox
from mbx2maildir.formats.keywords import KeywordTable, keywords_of
from mbx2maildir.formats.names import Names
from mbx2maildir.publish import marker

TRIES = 3  # how often a folder is read again that changed while it was read; twice as often while users are at work
PAUSE = 0.3  # seconds; c-client's expunge of a folder takes about that


def quiet(messages, size):
    """The progress callback of a caller who does not want any."""


@contextlib.contextmanager
def inside(user, folder=b""):
    """Work as the user inside the staged tree, by relative paths. → the folder's path.

    The user need not be able to reach the tree by its absolute path: the directory is entered as root.
    """
    before = os.open(".", os.O_RDONLY | os.O_DIRECTORY)
    group = os.getegid()
    switch = os.geteuid() == 0 and user.get("uid") is not None
    try:
        os.chdir(user["staging"])
        if switch:
            os.setegid(user["gid"])
            os.seteuid(user["uid"])
        yield existing.folder_directory(folder) or b"."
    finally:
        if switch:
            os.seteuid(0)
            os.setegid(group)
        os.fchdir(before)
        os.close(before)


def prepare(user, presync=False):
    """Look at both sides and begin the staged tree, or take up the one of an earlier pass.

    user: an entry of the plan with "staging", "index", "salvage" (paths), "host" and "run" added. presync: the mail of the
    new side is not looked at. → {"inbox", "spool": Found or None, "folders": [(Found, Maildir
    name)], "passed", "changes", "subscriptions", "elsewhere", "new": NewSide or None, "foreign", "bytes"}.
    """
    uid, gid = user.get("uid"), user.get("gid")
    inbox = source.inbox(user.get("inbox") or [], uid, gid)
    spool = source.spool_file(user.get("spool"), uid, gid)
    besides = [
        inbox.path if inbox else None,
        user.get("spool"),
        user.get("subscriptions"),
        *(user.get("inbox") or []),
    ]
    folders, passed = source.folders(user.get("folders"), uid, gid, besides)
    if inbox is None and not folders and user.get("folders"):
        source.expect_mounted(user["folders"])
    subscribed, elsewhere = source.subscriptions(
        user.get("subscriptions"), user.get("folders"), user.get("home"), uid, gid
    )
    names = Names([found.name for found in folders])
    target = os.fsencode(user["maildir"])
    new = existing.NewSide(target) if os.path.isdir(target) else None
    if new and not presync:
        new.read()
    begin(user, {names.maildir(found.name) for found in folders} | {b""})
    wanted_names = [b"INBOX" if name is None else names.maildir(name) for name in subscribed]
    return {
        "tree_id": user["tree_id"],
        "inbox": inbox,
        "spool": spool,
        "passed": passed,
        "changes": names.changes,
        "elsewhere": elsewhere,
        "folders": [(found, names.maildir(found.name)) for found in folders],
        "subscriptions": list(dict.fromkeys(wanted_names)),
        "new": new,
        "foreign": existing.foreign_entries(target, new.names) if new else [],
        "bytes": sum(found.size for found in [*folders, inbox, spool] if found),
    }


def begin(user, wanted_folders):
    """Take up the staged tree of an earlier pass, or begin one; folders that are not wanted any more go.

    Sets user["tree_id"], by which the states of the folders are known to be this tree's.
    """
    tree, notes_directory = os.fsencode(user["staging"]), os.fsencode(user["index"])
    values = marker.take_up(tree, user)
    if values is None:
        index.remove(notes_directory)
        values = marker.begin_tree(tree, user)
    os.makedirs(notes_directory, 0o700, exist_ok=True)
    user["tree_id"] = values["tree"]
    for entry in os.listdir(tree):
        if (
            entry.startswith(b".")
            and entry[1:] not in wanted_folders
            and os.path.isdir(os.path.join(tree, entry))
        ):
            index.forget(user, entry[1:])
            marker.discard(os.path.join(tree, entry), tree)


def empty_result(name):
    return {
        "folder": name,
        "old": "",
        "messages": 0,
        "bytes": 0,
        "bare_lf": 0,
        "expunged": 0,
        "uidvalidity": 0,
        "uidnext": 1,
        "keywords": [],
        "lost_keywords": [],
        "warnings": [],
        "damage": [],
        "spool": 0,
        "written": 0,
        "renamed": 0,
        "removed": 0,
        "unchanged": False,
    }


def folder_path(user, name):
    return os.path.join(os.fsencode(user["staging"]), existing.folder_directory(name))


def folder(
    user,
    found,
    name,
    spool=None,
    fallback_uidvalidity=0,
    strict=False,
    progress=quiet,
    live=False,
    parts=1,
):
    """Bring one folder (or INBOX: name b"") of the staged tree up to date with the old store.

    found: source.Found, or None for an INBOX that does not exist. spool: Found to append (INBOX only). live: users and mail are
    still at work on the old store; what they change meanwhile is left to the next pass where that does no harm.
    → dict: folder, old (path relative to the folders), messages, bytes (as stored), expunged, uidvalidity, uidnext, keywords
    (names by letter), lost_keywords, warnings (texts), damage (list, with "file"), spool (messages from there); written,
    renamed, removed: message files touched in this pass; unchanged: nothing but the old file's state had to be looked at.
    With parts above 1, a folder that is to be written from its beginning may come back as work for as many processes
    (ranges.begin()).
    Errors: ShortRead when the old file still changes after TRIES attempts, and what reading and writing can raise.
    """
    for attempt in range(2 * TRIES if live else TRIES):
        time.sleep(PAUSE * min(attempt, TRIES))
        state = index.load(user, name)
        before = sources_stamp(found, spool)
        scanned = time.time_ns()
        # a state that salvage left is none for a pass that is to fail at damage
        if (
            state
            and state["sources"] == before
            and not state["fresh"]
            and not (strict and state["result"]["damage"])
        ):
            return dict(state["result"], written=0, renamed=0, removed=0, unchanged=True)
        try:
            result = convert_folder(
                user,
                found,
                name,
                spool,
                fallback_uidvalidity,
                strict,
                progress,
                state,
                live,
                parts if state is None else 1,
            )
        except (errors.ShortRead, errors.DamagedMbx) as error:
            # what looks like damage may be a change half done
            if not isinstance(error, errors.ShortRead) and not (
                live and sources_stamp(found, spool) != before
            ):
                raise
            continue
        if "cuts" in result:
            return dict(result, before=before, scanned=scanned)
        if settled(user, found, name, spool, before, scanned, live, result):
            return result
    raise errors.ShortRead(
        "the mailbox changed each time while it was read", found.path if found else spool.path
    )


def settled(user, found, name, spool, before, scanned, live, result):
    """Save the state of a folder that was converted → whether what was read is what stands in the old files.

    before, scanned: their state and the time when reading began.
    """
    after = sources_stamp(found, spool)
    # a change within the clock's grain after this pass could look like no change: such a file is read again
    fresh = result.pop("unfinished") or any(
        scanned - stamp[4] < index.CLOCK_SKEW for stamp in before if stamp
    )
    broken = result.pop("broken_off", None)
    good = not broken
    if after != before or broken:
        if after == before and isinstance(broken, errors.DamagedMbx):
            raise broken  # nobody was at it: it is damaged
        if not live:
            return False
        fresh, good = True, moving.keep_what_stands(user, found, name, before, result) and good
    if not good and "index" not in result:
        return False
    index.save(
        user,
        name,
        {
            "sources": before,
            "fresh": fresh,
            "result": result,
            "index": result.pop("index"),
            "tree": index.tree_stamp(folder_path(user, name)),
        },
    )
    return good


def sources_stamp(found, spool):
    """The state of the old files a folder is made from."""
    stamps = []
    for item in (found, spool):
        try:
            stamps.append(index.stamp(os.stat(item.path)) if item is not None else None)
        except FileNotFoundError as error:
            raise errors.UnreadableMail("it was there and is gone", item.path) from error
    return stamps


def convert_folder(
    user, found, name, spool, fallback_uidvalidity, strict, progress, state, live=False, parts=1
):
    """One attempt of folder(): anew when state is None, else by the difference to it."""
    uid, gid = user.get("uid"), user.get("gid")
    result = empty_result(name)
    result["old"] = os.fsdecode(found.name) if found is not None and name else ""
    if found is None:
        found, spool = spool, None
    box = spool_box = writer = notes_of_index = None
    descriptors = []
    at_work = live and moving.lately(sources_stamp(found, spool), time.time_ns())
    try:
        if found is not None:
            fd, box = found.open(uid, gid, strict, at_work)
            descriptors.append(fd)
        if spool is not None:
            fd, spool_box = spool.open(uid, gid, strict, at_work)
            descriptors.append(fd)
        keywords = keywords_of(found, box, user, strict, result) if box else KeywordTable([])
        uidvalidity = (box.uidvalidity if box else 0) or fallback_uidvalidity
        usable = (
            state is not None
            and state["result"]["head_uidvalidity"] == uidvalidity
            and not state["result"]["renumbered"]
            and index.intact(user, name, state)
        )
        index.forget_state(user, name)
        try:
            if not usable:
                clear_folder(user, name)
                cuts = ranges.cuts(box, parts)
                if cuts:
                    with inside(user, name) as path:
                        maildir.FolderWriter(path, b"", 0, top=not name).abandon()
                    return {
                        "cuts": cuts,
                        "keywords": keywords,
                        "uidvalidity": uidvalidity,
                        "result": result,
                    }
            notes_of_index = index.Writer(user, name)
            blocks = index.open_blocks(user, name) if usable else None
            with inside(user, name) as path:
                if usable:
                    uidlist = maildir.uidlist_lines(path)
                writer = maildir.FolderWriter(
                    path, maildir.host_name(user["host"]), uidvalidity, top=not name
                )
                if usable:
                    before = state["result"]
                    old_keywords = KeywordTable(before["slots"], before["used"])
                    runs = (
                        box
                        if box and box.format == "mbx" and old_keywords.letter == keywords.letter
                        else None
                    )
                    delta.update(
                        writer,
                        runs,
                        moving.until_broken(live, wanted(box, spool_box, result), result),
                        delta.Before(blocks, uidlist),
                        before,
                        old_keywords,
                        keywords,
                        notes_of_index,
                        result,
                        progress,
                    )
                else:
                    result["uidnext"] = 1
                    if box is not None:
                        delta.write(
                            writer,
                            box,
                            moving.until_broken(live, box.messages(), result),
                            keywords,
                            notes_of_index,
                            result,
                            progress,
                        )
                        result["uidnext"] = box.uidnext
                    if spool_box is not None:
                        delta.write(
                            writer,
                            spool_box,
                            spooled(spool_box, result),
                            keywords,
                            notes_of_index,
                            result,
                            progress,
                        )
                finish_folder(
                    user, name, writer, box, uidvalidity, fallback_uidvalidity, keywords, result
                )
            result["index"] = notes_of_index.finish()
        except OSError as error:
            raise maildir.space_error(error, folder_path(user, name)) from error
        if usable and result["renumbered"]:
            raise errors.ShortRead("UIDs were given anew while it was read", found.path)
        for mailbox in (box, spool_box):
            if mailbox is not None:
                salvage.set_aside(user, name, mailbox.fd, mailbox.damage)
                result["damage"] += [dict(item, file=mailbox.file) for item in mailbox.damage]
        if box is not None:
            result["expunged"] = box.expunged
        result["unfinished"] = any(
            mailbox.unfinished for mailbox in (box, spool_box) if mailbox is not None
        )
        result["warnings"] += salvage.notes(result)
        return result
    finally:
        for open_one in (writer, notes_of_index):
            if open_one is not None:
                open_one.abandon()
        for descriptor in descriptors:
            os.close(descriptor)


def finish_folder(user, name, writer, box, uidvalidity, fallback, keywords, result):
    """Give a folder whose messages are written its heads, and the result what is known only now."""
    result["head_uidvalidity"] = uidvalidity
    result["renumbered"] = bool(box and box.renumbered)
    result["uidvalidity"] = (box.uidvalidity if box else 0) or fallback
    result["slots"], result["used"], result["keywords"] = (
        keywords.slots,
        keywords.used,
        keywords.names,
    )
    writer.close(
        result["uidvalidity"],
        result["uidnext"],
        folder_guid(user, name, result["uidvalidity"]),
        keywords.file_text(),
    )


def wanted(box, spool_box, result):
    """The messages a folder must have, in UID order: those of the mailbox, then what c-client would take from the spool.

    Yields (message as its mailbox gives it, without text; mailbox). Sets result["uidnext"], ["spool"].
    """
    for message in box.messages(False) if box is not None else ():
        yield message, box
    result["uidnext"] = box.uidnext if box is not None else 1
    for message in spooled(spool_box, result) if spool_box is not None else ():
        yield message, spool_box


def spooled(spool_box, result):
    """The messages c-client would take from the spool, from UID result["uidnext"] on; that and result["spool"] go on."""
    for flags, seconds, text in mbox.snarfed(spool_box):
        yield result["uidnext"], True, flags, 0, seconds, mbox.sizes(text)[1], 0, text
        result["uidnext"] += 1
        result["spool"] += 1


def clear_folder(user, name):
    """Remove what an earlier pass left of a folder."""
    path = folder_path(user, name)
    if name:
        if os.path.isdir(path):
            marker.discard(path, os.fsencode(user["staging"]))
        return
    for entry in (b"cur", b"new", b"tmp"):
        if os.path.isdir(os.path.join(path, entry)):
            marker.discard(os.path.join(path, entry), os.fsencode(user["staging"]))
    for entry in os.listdir(path):
        if entry.startswith(b"dovecot-uidlist") or entry == b"dovecot-keywords":
            os.unlink(os.path.join(path, entry))


def folder_guid(user, name, uidvalidity):
    return maildir.guid(
        os.fsencode(user["host"]), os.fsencode(user["user"]), name, b"%d" % uidvalidity
    )


def fallback_uidvalidity(new_folders, name, found=None, root=None):
    """UIDVALIDITY for a folder whose old file states none: the new side's, else the old file's time, else that of the directory
    of folders (the same in every pass), else now.

    new_folders: {Maildir name: (uidvalidity, uidnext)} of existing.NewSide.
    """
    known = new_folders.get(name, (0, 0))[0]
    if not known and found is None and root and os.path.isdir(os.fsencode(root)):
        return int(os.stat(os.fsencode(root)).st_ctime)
    return known or (found.ctime // 1000000000 if found else int(time.time()))
