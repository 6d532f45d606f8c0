"""Message lines of an MBX file: what one looks like, and where the next one is.

A line is `dd-Mon-yyyy hh:mm:ss +zzzz,SIZE;KKKKKKKKFFFF-UUUUUUUU\\r\\n`.
"""

import os

from mbx2maildir import files
from mbx2maildir.patterns import Pattern

LINE_LIMIT = 64
CHUNK = 1 << 20

# As lax as c-client where a line is expected …
LINE = Pattern(
    rb"([^,\r\n]{0,40}),(\d{1,19})[^;\r\n,]{0,8};"
    rb"([0-9A-Fa-f]{8})([0-9A-Fa-f]{4})-([0-9A-Fa-f]{8})\r\n"
)
# … and strict where one is searched for in garbage.
STRICT_LINE = Pattern(
    rb"[ \d]\d-[A-Z][a-z]{2}-\d{4} \d\d:\d\d:\d\d [+-]\d{4},"
    rb"([1-9]\d{0,18});[0-9a-f]{12}-[0-9a-f]{8}\r\n"
)
FIXED_DATE = Pattern(
    rb"[ \d]\d-[A-Z][a-z]{2}-\d{4} (?:[01]\d|2[0-3]):[0-5]\d:[0-5]\d [+-]\d\d[0-5]\d\Z"
)


class Finder:
    """Looks for message lines in an open MBX file: fd, size."""

    @staticmethod
    def line_of(head):
        """A message line's unchanging part and its UID → ((length of the line, date, size), uid);
        None when `head` is no message line."""
        match = LINE.match(head)
        return match and (
            (match.end(), match.group(1), int(match.group(2))),
            int(match.group(5), 16),
        )

    def line_at(self, offset):
        """Whether a message line begins there, or the file ends."""
        return (
            offset == self.size
            or offset < self.size
            and LINE.match(os.pread(self.fd, LINE_LIMIT, offset)) is not None
        )

    def swallowed(self, start, end):
        """Offset of the first message line in a range that another line, or the end of the file,
        follows where it says."""
        for offset, size in self.strict_lines(start):
            if offset >= end:
                break
            if self.line_at(offset + size):
                return offset
        return None

    def next_line(self, position):
        """Offset of the next well-formed message line at or after position; the file's size when
        there is none."""
        for offset, size in self.strict_lines(position):
            # a message that does not fit is a short tail, or no message: what it holds is set aside
            # with the rest
            if offset + size <= self.size:
                return offset
        return self.size

    def strict_lines(self, position):
        """Yield (offset, size with the text) of each well-formed message line from a position on,
        whatever stands around it."""
        while position < self.size:
            position = files.next_data(self.fd, position)  # a hole holds no line
            if position is None:
                break
            block = os.pread(self.fd, CHUNK, position)
            for match in STRICT_LINE.finditer(block):
                yield position + match.start(), match.end() - match.start() + int(match.group(1))
            if len(block) <= LINE_LIMIT:
                break
            position += len(block) - LINE_LIMIT


def same_bytes(fd, first, second, size):
    """Whether two ranges of a file hold the same."""
    while size:
        count = min(size, CHUNK)
        if os.pread(fd, count, first) != os.pread(fd, count, second):
            return False
        first, second, size = first + count, second + count, size - count
    return True
