"""MBX keyword slots (30) → letters of Maildir file names (26)."""

import os

from mbx2maildir import errors

LETTERS = b"abcdefghijklmnopqrstuvwxyz"


class KeywordTable:
    """Which letter each keyword slot of a folder takes.

    names: slot names (bytes, or None for a slot c-client ignores). All take a letter in slot order, so that the table
    stays the same when more are added; when there are more than 26, those in use come first (used: bit mask over all
    visible messages, needed only then). What is left without a letter is in `dropped` (list of names).
    """

    def __init__(self, names, used=None):
        self.slots, self.used = list(names), used
        slots = [slot for slot, name in enumerate(names) if name]
        if len(slots) > len(LETTERS) and used is not None:
            slots = [slot for slot in slots if used >> slot & 1] + [
                slot for slot in slots if not used >> slot & 1
            ]
            slots, rest = sorted(slots[: len(LETTERS)]), slots[len(LETTERS) :]
        else:
            slots, rest = slots[: len(LETTERS)], slots[len(LETTERS) :]
        self.names = [names[slot] for slot in slots]
        self.letter = {1 << slot: LETTERS[index : index + 1] for index, slot in enumerate(slots)}
        self.dropped = [names[slot] for slot in rest if used is None or used >> slot & 1]
        self.dropped_bits = sum(1 << slot for slot in rest if used is None or used >> slot & 1)
        self.known = sum(self.letter)
        self.cache = {0: b""}

    def letters(self, bits):
        """Letters, sorted, of a message's keyword bits."""
        known = self.cache.get(bits)
        if known is None:
            known = self.cache[bits] = b"".join(
                sorted(letter for bit, letter in self.letter.items() if bits & bit)
            )
        return known

    def file_text(self):
        """Text of the folder's dovecot-keywords."""
        return b"".join(b"%d %s\n" % (index, name) for index, name in enumerate(self.names))


def keywords_of(found, box, user, strict, result):
    """The folder's keyword letters. With more than 26 names a pass over the message lines finds those in use."""
    if sum(1 for name in box.keywords if name) <= 26:
        return KeywordTable(box.keywords)
    used = 0
    lost = {}
    fd, again = found.open(user.get("uid"), user.get("gid"), strict)
    try:
        for message in again.messages(texts=False):
            used |= message[3]
        table = KeywordTable(box.keywords, used)
        if table.dropped_bits:
            for slot, name in enumerate(box.keywords):
                if table.dropped_bits >> slot & 1:
                    lost[slot] = (name, [])
            again.rewind()
            for message in again.messages(texts=False):
                bits = message[3] & table.dropped_bits
                for slot, (_name, runs) in lost.items():
                    if bits >> slot & 1:
                        extend(runs, message[0])
    finally:
        os.close(fd)
    for name, runs in lost.values():
        if not runs:
            continue  # it was taken off the last message between the two passes: nothing is lost
        result["lost_keywords"].append(errors.printable(name))
        result["warnings"].append(
            "keyword {} has no letter left of Maildir's 26 and is lost on UIDs {}".format(
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
