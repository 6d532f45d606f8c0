"""The 2,048 byte header of an MBX file."""

import re

from mbx2maildir import errors

MAGIC = b"*mbx*\r\n"
HEADER_SIZE = 2048
KEYWORD_SLOTS = 30
KEYWORD_LENGTH = 50


class Header:
    """UIDVALIDITY, UIDLAST and keyword names (bytes; None where c-client ignores the slot) of an
    MBX header."""

    def __init__(self, block, file=""):
        if not block.startswith(MAGIC):
            raise errors.NotMbx("not an MBX file: it begins with {!r}".format(block[:16]), file, 0)
        self.damage = None
        if len(block) < HEADER_SIZE:
            self.damage = errors.ShortHeader(
                "the header has only {} of {} bytes".format(len(block), HEADER_SIZE), file, 0
            )
        numbers = re.match(rb"([0-9A-Fa-f]{8})([0-9A-Fa-f]{8})\r\n", block[7:25])
        if numbers is None:
            self.damage = self.damage or errors.BadHeader(
                "UIDVALIDITY and UIDLAST are unreadable", file, 7
            )
        self.uidvalidity = int(numbers.group(1), 16) if numbers else 0
        self.uidlast = int(numbers.group(2), 16) if numbers else 0
        self.keywords = []
        if numbers:
            names = block[25:HEADER_SIZE]
            names = names[: names.find(b"\0")] if b"\0" in names else names[: HEADER_SIZE - 25 - 10]
            for name in names.split(b"\r\n")[:-1][:KEYWORD_SLOTS]:
                if not name:
                    break
                self.keywords.append(name if len(name) <= KEYWORD_LENGTH else None)
