"""What a published tree took over from the old store, message by message: the base of a three-way
comparison later on.

The index a tree was staged with says it all but the names of the keywords, and would go once the
tree is published. So it is kept, below <work>/<run>/base/USER/, with the folders' keyword tables
beside it.
"""

import json
import os

from mbx2maildir import files
from mbx2maildir.convert import index
from mbx2maildir.formats import file_names
from mbx2maildir.formats.keywords import KeywordTable

TABLES = b"tables"
FLAGS = {
    ord("D"): "\\Draft",
    ord("F"): "\\Flagged",
    ord("R"): "\\Answered",
    ord("S"): "\\Seen",
    ord("T"): "\\Deleted",
}


def note(user, results):
    """Write the keyword tables of a staged tree next to its index. results: dicts of
    folder.folder()."""
    tables = {
        os.fsdecode(result["folder"]): [
            [os.fsdecode(name) if name else None for name in result["slots"]],
            result["used"],
        ]
        for result in results
        if "slots" in result
    }
    text = json.dumps({"tree": user["tree_id"], "folders": tables})
    files.replace_file(os.path.join(os.fsencode(user["index"]), TABLES), text.encode("ascii"))


def messages(directory, name, asked, table):
    """→ {UID as text: as publish.base.read() describes}"""
    slots, used = table
    keywords = KeywordTable([os.fsencode(slot) if slot else None for slot in slots], used)
    words = {
        bit: os.fsdecode(keywords.names[letter[0] - 97]) for bit, letter in keywords.letter.items()
    }
    records = {}
    for record in index.read({"index": directory}, os.fsencode(name)):
        if record.uid in asked:
            flags = [
                FLAGS[letter]
                for letter in file_names.LETTERS_BY_FLAGS[record.flags & 0x2F]
                if letter in FLAGS
            ]
            flags += [word for bit, word in words.items() if record.bits & bit]
            records[str(record.uid)] = [record.seconds, record.size, record.virtual, flags]
    return records
