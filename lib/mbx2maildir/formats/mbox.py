"""Reader of traditional mbox files ("From " lines) by the rules of c-client's unix driver
(unix_parse).

The spool, whose messages c-client moves ("snarfs") into INBOX at the next login, an INBOX that is
itself such a file, folders. As c-client does: a "From " line counts by the places of its blanks,
and not within a header (dates.py); CRs are dropped; a blank line at the end is not part of the
message; the message that only holds the mailbox's own data is none (mbox_header.py).
"""

import os
import re

from mbx2maildir import errors, files
from mbx2maildir.formats import dates, line_ends, mbox_header, mbx
from mbx2maildir.patterns import Pattern

CHUNK = 1 << 20
LOOKED_AT = 1023  # bytes at the beginning by which c-client knows a mbox
LONGEST_HEADER = 64 << 20
BLANK_LINE = Pattern(rb"(?:\A|\n)(\r?\n)")
BLANKS = b"\r\n \t"


def is_mbox(block):
    """Whether a file that begins with these bytes is a traditional mbox to c-client."""
    block = block[:LOOKED_AT]
    text = block.lstrip(BLANKS)
    before = block[: len(block) - len(text)]
    return before[-1:] in (b"", b"\n") and dates.places(text) is not None


class Mailbox:
    """One pass over an open mbox file; the same shape as mbx.Mailbox, but that a text is a LongText
    when it is large, and has LF line ends.

    uidvalidity: 0 until messages() is exhausted.
    before: a mbox that this one is the continuation of, as the spool is of ~/mbox.
    """

    format = "mbox"
    unfinished = False

    def __init__(self, fd, file="", strict=False, live=False):
        self.fd = fd
        self.file = errors.printable(file)
        self.strict = strict
        self.size = os.fstat(fd).st_size
        self.before = None
        self.expunged = 0
        self.rewind()
        for message in self.raw_messages():  # for the keywords, which its header states
            if message is not None:
                break
        self.stated_keywords = self.uids.keywords
        self.rewind()

    def rewind(self):
        """Begin again. Each pass over it does so by itself."""
        self.uids = mbox_header.Uids() if self.before is None else self.before.uids
        self.damage, self.before_1970 = [], 0

    def follow(self, before):
        """Be the continuation of another mbox, which was read to its end: one line of UIDs, of
        keywords, of UIDVALIDITY."""
        self.before = before
        before.uids.restart()

    @property
    def uidvalidity(self):
        return self.uids.outcome()[0]

    @property
    def renumbered(self):
        return self.uids.outcome()[1]

    @property
    def keywords(self):
        return self.uids.keywords or self.stated_keywords

    @property
    def uidlast(self):
        return self.uids.highest

    @property
    def uidnext(self):
        return self.uids.highest + 1

    def note(self, offset, length, what):
        if self.strict:
            raise errors.BadMessageLine(what, self.file, offset)
        self.damage.append(
            {"kind": "BadMessageLine", "offset": offset, "length": length, "what": what}
        )

    def read(self, size, offset):
        size = min(size, self.size - offset)
        data = os.pread(self.fd, size, offset)
        if len(data) < size:
            raise errors.ShortRead("the mailbox shrank while it was read", self.file, offset)
        return data

    def line_at(self, offset):
        """The line that begins there, with its LF, if it is not endless."""
        line, wanted = b"", 1024
        while wanted <= CHUNK:
            line = self.read(wanted, offset)
            end = line.find(b"\n")
            if end >= 0:
                return line[: end + 1]
            if len(line) < wanted:
                break
            wanted *= 8
        return line

    def first_line(self):
        """(offset, line) of the first message's "From " line; text before it is noted."""
        start = 0
        while start < self.size:
            block = self.read(CHUNK, start)
            left = block.lstrip(BLANKS)
            start += len(block) - len(left)
            if left:
                break
        if start >= self.size:
            return self.size, b""
        line = self.line_at(start)
        if dates.places(line) is not None:
            return start, line
        offset, line = self.next_from(start)
        what = 'text before the first "From " line' if line else 'no "From " line in the whole file'
        self.note(0, offset, what)
        return offset, line

    def next_from(self, position):
        """(offset, line) of the next "From " line from the beginning of a line on; (size, b"") when
        there is none."""
        tail = b"\n"
        while position < self.size:
            data = files.next_data(self.fd, position)
            if data is None and os.fstat(self.fd).st_size >= self.size:
                break  # nothing but a hole
            if data is not None and data > position:
                position, tail = data, b"\0"
            block = self.read(CHUNK, position)
            window = tail + block
            for match in re.finditer(rb"\nFrom ", window):
                offset = position - len(tail) + match.start() + 1
                line = self.line_at(offset)
                if dates.places(line) is not None:
                    return offset, line
            tail = window[-6:]
            position += len(block)
        return self.size, b""

    def header_at(self, offset):
        """(header without the blank line behind it, offset behind both, whether there is one)."""
        wanted = 64 << 10
        while True:
            block = self.read(wanted, offset)
            match = BLANK_LINE.search(block)
            if match:
                return block[: match.start(1)], offset + match.end(), True
            if offset + len(block) >= self.size:
                return block, self.size, False
            if wanted >= LONGEST_HEADER:
                what = "a header of more than {} bytes".format(LONGEST_HEADER)
                self.note(offset, 0, what)
                return block, offset + len(block), False
            wanted *= 4

    def frames(self):
        """Yield (offset, seconds, header, blank line behind it?, offset and size of the body)."""
        offset, line = self.first_line()
        while line:
            start, when = offset, dates.from_line(line)
            header, body, blank = self.header_at(offset + len(line))
            offset, line = self.next_from(body)
            size = offset - body
            end = self.read(min(3, size), body + max(0, size - 3))
            if end in (b"\n", b"\r\n") or end.endswith((b"\n\r\n", b"\n\n")):
                size -= 2 if end.endswith(b"\r\n") else 1
            yield start, when, header, blank, body, size

    def raw_messages(self):
        """Yield (uid, flags, keyword bits, seconds, text with LF line ends, offset), or None for
        the message that is none."""
        for offset, when, header, blank, body, size in self.frames():
            flags, bits, uid = mbox_header.read(header, self.uids)
            if self.uids.cut:
                self.note(offset, 0, "the file ends in its X-IMAPbase field, and c-client crashes")
            if self.uids.count == 1 and self.uids.pseudo:
                yield None
                continue
            uid = self.uids.given(uid)
            text = mbox_header.shown(header) + (b"\n" if blank else b"")
            if size > mbx.LARGE:
                text = line_ends.LongText(self.fd, text, body, size)
            else:
                text += self.read(size, body).replace(b"\r", b"")
            yield uid, flags, bits, when, text, offset

    def messages(self, texts=True):
        """As mbx.Mailbox.messages(); the text has LF line ends. UIDs as the unix driver keeps or
        assigns them."""
        self.rewind()
        for message in self.raw_messages():
            if message is not None:
                uid, flags, bits, when, text, offset = message
                size = line_ends.sizes(text)[1]
                self.before_1970 += when < 0
                yield uid, not flags & mbx.OLD, flags, bits, max(when, 0), size, offset, text
        self.uids.ended = True
