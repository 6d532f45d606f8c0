"""What a published tree took over from the old store, message by message: the base of a three-way comparison later on.

The index a tree was staged with says it all but the names of the keywords, and would go once the tree is published. So it is
kept, below <work>/<run>/base/USER/, with the folders' keyword tables beside it.
"""

import json
import os

from mbx2maildir.convert import index
from mbx2maildir.formats import maildir
from mbx2maildir.formats.keywords import KeywordTable
from mbx2maildir.publish import publish

TABLES = b"tables"
FLAGS = {
    ord("D"): "\\Draft",
    ord("F"): "\\Flagged",
    ord("R"): "\\Answered",
    ord("S"): "\\Seen",
    ord("T"): "\\Deleted",
}


def note(user, results):
    """Write the keyword tables of a staged tree beside its index. results: dicts of stage.folder()."""
    tables = {
        os.fsdecode(result["folder"]): [
            [os.fsdecode(name) if name else None for name in result["slots"]],
            result["used"],
        ]
        for result in results
        if "slots" in result
    }
    with open(os.path.join(os.fsencode(user["index"]), TABLES), "w") as target:
        json.dump({"tree": user["tree_id"], "folders": tables}, target)


def keep(places):
    """Move the index of a tree that was published to where it is kept."""
    index.remove(places["base"])
    if os.path.isdir(places["index"]):
        os.rename(places["index"], places["base"])


def base(plan):
    """What the published trees took over of some messages.

    plan: that of the conversion, each user's entry with "asked": {Maildir name of a folder: [UIDs]}.
    → {"users": [{"user", "tree": its id, None when it is not published, "folders": {name: {UID as text: [seconds of
    INTERNALDATE, bytes in the old file, bytes as Dovecot shows it, [flags and keywords]]}}}]}. A folder of which no record is
    left is missing; so is a message that was not taken over.
    """
    return {"users": [of_user(plan, user) for user in plan["users"]]}


def of_user(plan, user):
    places = publish.paths(plan, user)
    marked = publish.is_published(plan, user, places) or {}
    found = {}
    # killed between the swap and keep(), the index still lies where it was
    for directory in (places["base"], places["index"]):
        try:
            with open(os.path.join(directory, TABLES)) as source:
                tables = json.load(source)
        except (OSError, ValueError):
            continue
        if tables["tree"] == marked.get("tree"):
            found = {
                name: messages(os.fsdecode(directory), name, set(uids), tables["folders"][name])
                for name, uids in user.get("asked", {}).items()
                if name in tables["folders"]
            }
            break
    return {"user": user["user"], "tree": marked.get("tree"), "folders": found}


def messages(directory, name, asked, table):
    """→ {UID as text: as base() says}"""
    slots, used = table
    keywords = KeywordTable([os.fsencode(slot) if slot else None for slot in slots], used)
    words = {
        bit: os.fsdecode(keywords.names[letter[0] - 97]) for bit, letter in keywords.letter.items()
    }
    found = {}
    for record in index.read({"index": directory}, os.fsencode(name)):
        if record[0] in asked:
            flags = [
                FLAGS[letter]
                for letter in maildir.LETTERS_BY_FLAGS[record[7] & 0x2F]
                if letter in FLAGS
            ]
            flags += [word for bit, word in words.items() if record[1] & bit]
            found[str(record[0])] = [record[2], record[3], record[5], flags]
    return found
