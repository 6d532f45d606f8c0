"""MBX keyword slots (30) → letters of Maildir file names (26)."""

import os

from mbx2maildir import files

LARGEST = 1 << 20
LETTERS = b"abcdefghijklmnopqrstuvwxyz"


class KeywordTable:
    """Which letter each keyword slot of a folder takes.

    names: slot names (bytes, or None for a slot c-client ignores). All take a letter in slot order,
    so that the table stays the same when more are added; when there are more than 26, those in use
    come first (used: bit mask over all visible messages, needed only then). What is left without a
    letter is in `dropped` (list of names). Names that differ only in case are one keyword to
    Dovecot: they share the letter of the first; `merged` lists (name, the first's).
    """

    def __init__(self, names, used=None):
        self.slots, self.used = list(names), used
        first, self.merged = {}, []
        for slot, name in enumerate(names):
            if name and first.setdefault(name.lower(), slot) != slot:
                self.merged.append((name, names[first[name.lower()]]))
        same = {slot: first[name.lower()] for slot, name in enumerate(names) if name}
        if used is not None:
            used = sum({1 << same.get(slot, slot) for slot in range(32) if used >> slot & 1})
        slots = [slot for slot in same if same[slot] == slot]
        if len(slots) > len(LETTERS) and used is not None:
            slots = [slot for slot in slots if used >> slot & 1] + [
                slot for slot in slots if not used >> slot & 1
            ]
            slots, rest = sorted(slots[: len(LETTERS)]), slots[len(LETTERS) :]
        else:
            slots, rest = slots[: len(LETTERS)], slots[len(LETTERS) :]
        self.names = [names[slot] for slot in slots]
        self.letter = {1 << slot: LETTERS[index : index + 1] for index, slot in enumerate(slots)}
        for slot, chosen in same.items():
            if 1 << chosen in self.letter:
                self.letter[1 << slot] = self.letter[1 << chosen]
        rest = [slot for slot in rest if used is None or used >> slot & 1]
        self.dropped = [names[slot] for slot in rest]
        self.dropped_bits = sum(1 << slot for slot in same if same[slot] in rest)
        self.known = sum(self.letter)
        self.cache = {0: b""}

    def letters(self, bits):
        """Letters, sorted, of a message's keyword bits."""
        known = self.cache.get(bits)
        if known is None:
            known = self.cache[bits] = b"".join(
                sorted({letter for bit, letter in self.letter.items() if bits & bit})
            )
        return known

    def file_text(self):
        """Text of the folder's dovecot-keywords."""
        return b"".join(b"%d %s\n" % (index, name) for index, name in enumerate(self.names))


def read(directory):
    """dovecot-keywords → {letter: name}."""
    names = {}
    try:
        content = files.read_small(os.path.join(directory, b"dovecot-keywords"), LARGEST)
    except FileNotFoundError:
        return names
    for line in content.split(b"\n"):
        number, _, name = line.partition(b" ")
        if number.isdigit() and len(number) <= 2 and int(number) < 26 and name:
            names[bytes([97 + int(number)])] = name
    return names
