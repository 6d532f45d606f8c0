"""The keyword letters of one folder, and which keywords are lost when there are more than 26."""

import os

from mbx2maildir import errors
from mbx2maildir.formats.keywords import KeywordTable


def keywords_of(file, box, strict, result):
    """The folder's keyword letters. With more than 26 names a pass over the message lines finds
    those in use."""
    table = KeywordTable(box.keywords)
    result["warnings"] += [
        "keyword {} became {}: Dovecot does not tell them apart".format(
            errors.printable(name), errors.printable(kept)
        )
        for name, kept in table.merged
    ]
    if not table.dropped_bits:
        return table
    used = 0
    lost = {}
    fd, again = file.open(strict)
    try:
        for _uid, _recent, _flags, bits, _seconds, _size, _offset, _text in again.messages(False):
            used |= bits
        table = KeywordTable(box.keywords, used)
        if table.dropped_bits:
            for slot, name in enumerate(box.keywords):
                if table.dropped_bits >> slot & 1:
                    lost[slot] = (name, [])
            again.rewind()
            for uid, _recent, _flags, bits, _seconds, _size, _offset, _text in again.messages(
                False
            ):
                bits &= table.dropped_bits
                for slot, (_name, runs) in lost.items():
                    if bits >> slot & 1:
                        extend(runs, uid)
    finally:
        os.close(fd)
    for name, runs in lost.values():
        if not runs:
            continue  # it was taken off the last message between the two passes: nothing is lost
        result["lost_keywords"].append(errors.printable(name))
        result["warnings"].append(
            "keyword {} is lost on UIDs {}: Maildir has only 26 letters for keywords".format(
                errors.printable(name),
                ",".join(
                    str(first) if first == last else "{}:{}".format(first, last)
                    for first, last in runs
                ),
            )
        )
    return table


def extend(runs, uid):
    """Add a UID above all others to a list of [first, last]."""
    if runs and runs[-1][1] == uid - 1:
        runs[-1][1] = uid
    else:
        runs.append([uid, uid])
