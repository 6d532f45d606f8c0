"""Reader of mtx and tenex mailboxes, the predecessors of MBX, by the rules of c-client's drivers.

Before each message stands a line `dd-mmm-yyyy hh:mm:ss +zzzz,SIZE;KKKKKKKKKKFF` (octal). mtx has
CRLF line ends, tenex LF. Neither keeps UIDs: c-client counts the messages, under the time of day as
UIDVALIDITY. The names of the keywords stand outside the mailbox; they are not looked for.
"""

import os

from mbx2maildir import errors
from mbx2maildir.formats import dates, line_ends, mbx
from mbx2maildir.patterns import Pattern

HEAD = 64
LINE = Pattern(rb"([^,\r\n\0]*),[ \t-\r]*([+]?\d{1,19});(\d{12})(\r?\n)")


def kind(block):
    """ "mtx", "tenex" or "": what c-client takes a file for that begins with these bytes."""
    block = block[:HEAD].partition(b"\0")[0]
    head, cr, rest = block.partition(b"\r")
    name = "mtx"
    if not cr or not rest.startswith(b"\n"):
        head, lf, _rest = block.partition(b"\n")
        if not lf or head.endswith(b"\r"):
            return ""
        name = "tenex"
    dashes = (head[2:3], head[6:7]) == (b"-", b"-") or (head[1:2], head[5:6]) == (b"-", b"-")
    comma = head.find(b",", 18)
    return name if dashes and comma >= 0 and head.find(b";", comma + 2) > 0 else ""


class Mailbox:
    """One pass over an open mtx or tenex file; the same shape as mbox.Mailbox."""

    uidvalidity = expunged = 0
    renumbered = unfinished = False
    keywords = ()

    def __init__(self, fd, file="", strict=False, live=False):
        self.fd = fd
        self.file = errors.printable(file)
        self.strict, self.live = strict, live
        self.size = os.fstat(fd).st_size
        self.format = kind(os.pread(fd, HEAD, 0)) or "mtx"
        self.end = b"\r\n" if self.format == "mtx" else b"\n"
        self.rewind()

    def rewind(self):
        """Begin again. Each pass over it does so by itself."""
        self.uidlast, self.damage, self.before_1970 = 0, [], 0

    @property
    def uidnext(self):
        return self.uidlast + 1

    def messages(self, texts=True):
        """As mbox.Mailbox.messages()."""
        self.rewind()
        offset = 0
        while offset < self.size:
            match = LINE.match(os.pread(self.fd, HEAD, offset))
            when = match and dates.internaldate(match.group(1))
            size = match and int(match.group(2))
            if not size or when is None or match.group(4) != self.end:
                self.note(offset, "no message line")
                return
            start = offset + match.end()
            if start + size > self.size:
                self.note(offset, "a message that runs past the end of the file")
                return
            text = line_ends.stored_text(self.fd, start, size, mbx.LARGE)
            if text is None:
                raise errors.ShortRead("the mailbox shrank while it was read", self.file, offset)
            flags = int(match.group(3)[10:], 8)
            self.uidlast += 1
            shown = line_ends.sizes(text)[1]
            self.before_1970 += when < 0
            yield self.uidlast, not flags & mbx.OLD, flags, 0, max(when, 0), shown, offset, text
            offset = start + size

    def note(self, offset, what):
        """The rest of the file cannot be read; c-client then opens nothing of it."""
        if self.strict:
            raise errors.BadMessageLine(what, self.file, offset)
        self.damage.append(
            {
                "kind": "BadMessageLine",
                "offset": offset,
                "length": self.size - offset,
                "what": what,
            }
        )
