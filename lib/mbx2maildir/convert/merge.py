"""Last part of staging: mail only the new side has, subscriptions, and the figures of the complete
tree.

A message of the new side whose key an old message has is that message (each old message counts
once, one of the same folder first): it stays once, under the old side's UID, with the flags of
both. \\\\Deleted is not taken over. What has no partner is linked into the tree after the history,
under new UIDs. Nobody reads on the new side before the switch, so flags there are rare; those set
since then by a test user are kept this way.
"""

import os

from mbx2maildir import errors, files
from mbx2maildir.convert import base, index, staged, subscriptions
from mbx2maildir.formats import file_names, maildir, message_key, uidlist
from mbx2maildir.formats.keywords import KeywordTable

LARGEST_SUBSCRIPTIONS = 4 << 20
KEPT_LETTERS = b"DFRS"  # flags of a new-side copy that are added to the old side's


def finish(user, prepared, results, progress=staged.quiet):
    """Complete the staged tree. results: dicts of folder.folder(). → summary(),
    known_files() of the new side."""
    tree = os.fsencode(user["staging"])
    new = prepared["new"]
    by_name = {result["folder"]: result for result in results}
    try:
        matched, left = match(user, new, results, progress) if new and new.messages else ([], [])
        for candidate, message in matched:
            add_flags(user, candidate, message)
        for name in [] if new is None else new.names:
            messages = [message for message in left if message.folder == name]
            if name not in by_name:
                by_name[name] = adopt(user, tree, new, name, messages)
            elif messages:
                index.forget_state(user, name)
                append(user, tree, new, by_name[name], messages)
        write_common(user, prepared, by_name.values())
        base.note(user, by_name.values())
        values = summary(prepared, by_name.values(), len(matched), len(left))
    except OSError as error:
        raise errors.space_error(error, tree) from error
    return values, known_files(new)


class Candidate:
    """A staged message that may be on the new side too: folder result, file (subdir, base name,
    letters), key."""

    __slots__ = ("result", "subdir", "base", "letters", "key", "taken")

    def __init__(self, user, result, record, suffix, keywords):
        self.result, self.taken = result, False
        self.subdir, self.base = (
            (b"new" if record.recent else b"cur"),
            index.base_name(record, suffix),
        )
        self.letters = index.letters(keywords, record.flags, record.bits)
        fd = os.open(
            os.path.join(
                staged.folder_path(user, result["folder"]), self.subdir, self.name(self.letters)
            ),
            files.READ | os.O_NOFOLLOW,
        )
        try:
            self.key = message_key.key_of_file(fd)[0]
        finally:
            os.close(fd)

    def name(self, letters):
        return self.base + b":2," + letters


def candidates(user, new, results):
    """Staged messages with a body as long as one of the new side's: only for these a key is worked
    out."""
    for result in results:
        suffix = file_names.suffix(file_names.host_name(user["host"]), result["head_uidvalidity"])
        keywords = KeywordTable(result["slots"], result["used"])
        for record in index.read(user, result["folder"]):
            if record.body_length in new.lengths or record.body_length == index.UNKNOWN_LENGTH:
                yield Candidate(user, result, record, suffix, keywords)


def match(user, new, results, progress=staged.quiet):
    """Pair new-side messages with old ones by key → (list of (Candidate, Message), list of Message
    left)."""
    same, anywhere = {}, {}
    for candidate in candidates(user, new, results):
        progress(0, 0)
        same.setdefault((candidate.result["folder"], candidate.key), []).append(candidate)
        anywhere.setdefault(candidate.key, []).append(candidate)
    matched, rest, left = [], [], []
    for message in new.messages:
        if not take(same.get((message.folder, message.key)), message, matched):
            rest.append(message)
    for message in rest:
        if not take(anywhere.get(message.key), message, matched):
            left.append(message)
    return matched, left


def take(candidates, message, matched):
    for candidate in candidates or ():
        if not candidate.taken:
            candidate.taken = True
            matched.append((candidate, message))
            return True
    return False


def add_flags(user, candidate, message):
    """Add the new-side copy's flags to an old message by renaming its file."""
    letters = bytes(sorted(set(candidate.letters) | (set(message.letters) & set(KEPT_LETTERS))))
    if letters == candidate.letters:
        return
    index.forget_state(user, candidate.result["folder"])
    directory = os.path.join(staged.folder_path(user, candidate.result["folder"]), candidate.subdir)
    os.rename(
        os.path.join(directory, candidate.name(candidate.letters)),
        os.path.join(directory, candidate.name(letters)),
    )
    candidate.letters = letters


def adopt(user, tree, new, name, messages):
    """A folder that only the new side has: it keeps its UIDVALIDITY and UIDs."""
    result = staged.empty_result(name)
    uidvalidity = staged.fallback_uidvalidity(new.folders, name)
    path = staged.folder_path(user, name)
    maildir.FolderWriter(path, file_names.host_name(user["host"]), uidvalidity, top=not name).close(
        uidvalidity, 1, staged.folder_guid(user, name, uidvalidity)
    )
    result["uidvalidity"] = uidvalidity
    append(user, tree, new, result, messages, keep_uids=True)
    return result


def append(user, tree, new, result, messages, keep_uids=False):
    """Link messages of the new side to the end of a staged folder."""
    name = result["folder"]
    path = os.path.join(tree, maildir.folder_directory(name))
    uid = result["uidnext"]
    table = list(result["keywords"])
    lines = []
    for message in messages:
        if keep_uids and message.uid >= uid:
            uid = message.uid
        letters = bytes(sorted(set(message.letters) & set(b"DFPRST"))) + keyword_letters(
            new, message, table, result
        )
        target = os.path.join(path, message.subdir, message.base + b":2," + letters)
        if message.subdir == b"new" and not letters:
            target = os.path.join(path, b"new", message.base)
        source = message.path(new.root)
        os.link(source, target, follow_symlinks=False)
        lines.append(b"%d :%b\n" % (uid, message.base))
        result["messages"] += 1
        result["bytes"] += os.stat(target).st_size
        uid += 1
    result["appended"] = len(messages)
    result["uidnext"] = max(uid, new.folders.get(name, (0, 0))[1]) if keep_uids else uid
    fd = os.open(os.path.join(path, b"dovecot-uidlist"), os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        os.lseek(fd, 0, os.SEEK_END)
        view = memoryview(b"".join(lines))
        while view:
            view = view[os.write(fd, view) :]
        uidlist.write_head(
            fd,
            result["uidvalidity"],
            result["uidnext"],
            staged.folder_guid(user, name, result["uidvalidity"]),
        )
    finally:
        os.close(fd)
    if table != result["keywords"]:
        result["keywords"] = table
        path = staged.folder_path(user, name)
        keywords = os.path.join(path, b"dovecot-keywords")
        files.replace_file(keywords, b"".join(b"%d %b\n" % entry for entry in enumerate(table)))


def keyword_letters(new, message, table, result):
    """Letters in this folder for the keywords a new-side message has there; the table grows as
    needed."""
    letters = set()
    for letter in message.letters:
        word = new.keywords[message.folder].get(bytes([letter]))
        if word is None:
            continue
        index = next(
            (index for index, known in enumerate(table) if known.lower() == word.lower()), None
        )
        if index is None and len(table) < 26:
            table.append(word)
            index = len(table) - 1
        if index is None:
            result["warnings"].append(
                "keyword {} of a message on the new side is lost: no letter is left".format(
                    errors.printable(word)
                )
            )
        else:
            letters.add(97 + index)
    return bytes(sorted(letters))


def write_common(user, prepared, results):
    """subscriptions (both sides', old first) and dovecot-uidvalidity."""
    names, tree = list(prepared["subscriptions"]), os.fsencode(user["staging"])
    if prepared["new"] is not None:
        names += new_subscriptions(prepared["new"].root)
    subscriptions.write(tree, names)
    highest = max([result["uidvalidity"] for result in results] or [1])
    for entry in os.listdir(tree):
        if entry.startswith(b"dovecot-uidvalidity."):
            os.unlink(os.path.join(tree, entry))
    files.replace_file(os.path.join(tree, b"dovecot-uidvalidity"), b"%08x" % highest)
    files.write_file(os.path.join(tree, b"dovecot-uidvalidity.%08x" % highest), b"", 0o444)


def new_subscriptions(root):
    """Names of a Dovecot subscriptions file, of either version, "." between levels."""
    try:
        content = files.read_small(os.path.join(root, b"subscriptions"), LARGEST_SUBSCRIPTIONS)
        names = content.split(b"\n")
    except FileNotFoundError:
        return []
    if names[:1] == [b"V\t2"]:
        return [name.replace(b"\t", b".") for name in names[2:] if name]
    return [name for name in names if name]


def spooled(prepared, result):
    """How many messages of a folder the old server shows in the spool alone."""
    inbox = prepared["inbox"]
    if not result["folder"] and inbox is not None and inbox.waits:
        return result["messages"] - result.get("appended", 0)
    return result["spool"]


def summary(prepared, results, matched, left):
    """What the state says of a complete tree."""
    folders = []
    for result in sorted(results, key=lambda result: result["folder"]):
        folders.append(
            {
                "folder": errors.printable(result["folder"]) or "INBOX",
                "messages": result["messages"],
                # exact names, for a reader of both sides: relative to the old folders' root, and
                # below the Maildir
                "old": result.get("old"),
                "name": os.fsdecode(result["folder"]),
                "bytes": result["bytes"],
                "expunged": result["expunged"],
                "uidvalidity": result["uidvalidity"],
                "uidnext": result["uidnext"],
                "spool": spooled(prepared, result),
                "appended": result.get("appended", 0),
                "lost_keywords": result["lost_keywords"],
                "damage": result["damage"],
                "warnings": result["warnings"],
            }
        )
    return {
        "messages": sum(entry["messages"] for entry in folders),
        "bytes": sum(entry["bytes"] for entry in folders),
        "expunged": sum(entry["expunged"] for entry in folders),
        "matched": matched,
        "appended": left,
        "folders": folders,
        "warnings": general_warnings(prepared),
        "passed": [
            {
                "file": errors.printable(item["file"]),
                "name": os.fsdecode(item["name"]),
                "why": item["why"],
            }
            for item in prepared["passed"]
        ],
        "renamed": [
            {
                "from": errors.printable(item["from"]),
                "to": errors.printable(item["to"]),
                "why": item["why"],
            }
            for item in prepared["changes"]
        ],
    }


def general_warnings(prepared):
    texts = [
        "folder {} is named {}: {}".format(
            errors.printable(item["from"]), errors.printable(item["to"]), item["why"]
        )
        for item in prepared["changes"]
    ]
    texts += [
        "skipped {}: {}".format(errors.printable(item["file"]), item["why"])
        for item in prepared["passed"]
    ]
    texts += [
        "subscription {} is outside the folders' root and is left out".format(
            errors.printable(line)
        )
        for line in prepared["elsewhere"]
    ]
    texts += [
        "{} in the earlier Maildir is neither mail nor Dovecot's; it stays in the tree that was "
        "set aside".format(errors.printable(entry))
        for entry in prepared["foreign"]
    ]
    return texts


def known_files(new):
    """Base names of the new side's messages that were reconciled, by folder: what is not here
    arrived later."""
    known = {}
    for message in new.messages if new else ():
        known.setdefault(message.folder, set()).add(message.base)
    return known
