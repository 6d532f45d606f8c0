"""Reader of traditional mbox files ("From " lines) by the rules of c-client's unix driver
(unix_parse, mail_filter).

Two uses: the spool, whose messages c-client moves ("snarfs") into INBOX at the next login, and an
INBOX that is itself such a file. As c-client does: a "From " line counts only with a date in a form
it knows; Status, X-Status, X-Keywords, X-UID, X-IMAP and X-IMAPbase are taken out of the header;
CRs are dropped; the blank line before the next "From " is not part of the message; the pseudo
message that holds X-IMAP is no message.
"""

import os
import re

from mbx2maildir import errors, files
from mbx2maildir.formats import dates, mbx, mbx_header
from mbx2maildir.patterns import Pattern

CHUNK = 1 << 20
INTERNAL_FIELDS = (b"status", b"x-status", b"x-keywords", b"x-uid", b"x-imap", b"x-imapbase")
FIELD = Pattern(rb"[^\n]*\n(?:[ \t][^\n]*\n)*")
BASE = Pattern(rb"(X-IMAP(?:base)?): *(\d+) +(\d+)([^\r\n]*)")
LETTERS = {
    b"R": mbx.SEEN,
    b"O": mbx.OLD,
    b"D": mbx.DELETED,
    b"F": mbx.FLAGGED,
    b"A": mbx.ANSWERED,
    b"T": mbx.DRAFT,
}


def is_mbox(block):
    """Whether a file that begins with these bytes is a traditional mbox to c-client."""
    line = block.lstrip(b"\r\n \t").partition(b"\n")[0]
    return dates.from_line(line + b"\n") is not None


class LongText:
    """A text too large to be held: header (bytes, the empty line after it included), and the range
    of the file that is its body.

    Attributes: size (bytes as stored), virtual (as IMAP shows it).
    """

    def __init__(self, fd, header, offset, size):
        self.fd, self.header, self.range = fd, header, (offset, size)
        self.size = self.virtual = 0
        for piece in self.pieces():
            self.size += len(piece)
            self.virtual += len(piece) + piece.count(b"\n")

    def pieces(self):
        """The text in pieces, with LF line ends, without the blank line before the next "From "."""
        yield self.header
        tail = b""
        for piece in files.pieces(self.fd, *self.range):
            piece = tail + piece.replace(b"\r", b"")
            tail = piece[-2:]
            yield piece[:-2]
        yield tail[1:] if tail == b"\n\n" else tail


def sizes(text):
    """(bytes as stored, bytes as IMAP shows them) of a text as raw_messages() gives it."""
    return (
        (len(text), len(text) + text.count(b"\n"))
        if isinstance(text, bytes)
        else (text.size, text.virtual)
    )


class Mailbox:
    """One pass over an open mbox file; the same shape as mbx.Mailbox, but that a text is a LongText
    when it is large."""

    format = "mbox"
    unfinished = False

    def __init__(self, fd, file="", strict=False, live=False):
        self.fd = fd
        self.file = errors.printable(file)
        self.strict = strict
        self.size = os.fstat(fd).st_size
        self.uidvalidity = 0
        self.uidlast = 0
        self.keywords = []
        self.expunged = 0
        self.renumbered = False
        self.damage = []
        start = next(self.parts(), None)
        base = (
            start
            and self.header(os.pread(fd, min(start[1], mbx.LARGE), start[0]).partition(b"\n")[2])[5]
        )
        if base:
            self.keywords = base[3]
        self.damage = []

    def rewind(self):
        """Begin again. Each pass over it does so by itself."""

    @property
    def uidnext(self):
        return self.uidlast + 1

    def parts(self):
        """Yield (offset, size) of each message, its "From " line included, by looking for "From "
        at line starts."""
        start = None
        position = 0
        tail = b"\n"
        while position < self.size:
            data = files.next_data(self.fd, position)
            if data is None and os.fstat(self.fd).st_size >= self.size:
                break  # nothing but a hole
            if data is not None and data > position:
                position, tail = data, b"\0"
            block = os.pread(self.fd, CHUNK, position)
            if not block:
                raise errors.ShortRead("the mailbox shrank while it was read", self.file, position)
            window = tail + block
            for match in re.finditer(rb"\nFrom ", window):
                offset = position - len(tail) + match.start() + 1
                line = os.pread(self.fd, 1024, offset).partition(b"\n")
                if (
                    (start is None or offset > start)
                    and line[1]
                    and dates.from_line(line[0]) is not None
                ):
                    if start is not None:
                        yield start, offset - start
                    elif os.pread(self.fd, min(offset, CHUNK), 0).strip():
                        self.note(0, offset, 'text before the first "From " line')
                    start = offset
            tail = window[-6:]
            position += len(block)
        if start is not None:
            yield start, self.size - start
        elif self.size and os.pread(self.fd, CHUNK, 0).strip():
            self.note(0, self.size, 'no "From " line in the whole file')

    def note(self, offset, length, what):
        if self.strict:
            raise errors.BadMessageLine(what, self.file, offset)
        self.damage.append(
            {"kind": "BadMessageLine", "offset": offset, "length": length, "what": what}
        )

    def raw_messages(self):
        """Yield (uid or 0, flags, keyword names, seconds, text with LF line ends, offset); sets
        uidvalidity, uidlast."""
        first = True
        for offset, size in self.parts():
            data = os.pread(self.fd, min(size, mbx.LARGE), offset)
            if len(data) < min(size, mbx.LARGE):
                raise errors.ShortRead("the mailbox shrank while it was read", self.file, offset)
            line, _, text = data.partition(b"\n")
            when = dates.from_line(line)
            header, end, flags, keywords, uid, base = self.header(text)
            if first and base:
                self.uidvalidity, self.uidlast, self.keywords = base[1:]
            pseudo = first and base and base[0] == b"X-IMAP"
            first = False
            if pseudo:
                continue
            blank = (
                1 if text[end : end + 1] == b"\n" else 2 if text[end : end + 2] == b"\r\n" else 0
            )
            if size > len(data):
                before = len(line) + 1 + end + blank
                yield (
                    uid,
                    flags,
                    keywords,
                    when,
                    LongText(
                        self.fd, header + (b"\n" if blank else b""), offset + before, size - before
                    ),
                    offset,
                )
                continue
            body = text[end + blank :] if blank else b""
            body = body.replace(b"\r", b"")
            if body == b"\n":
                body = b""
            elif body.endswith(b"\n\n"):
                body = body[:-1]
            yield uid, flags, keywords, when, header + (b"\n" if blank else b"") + body, offset

    @staticmethod
    def header(text):
        """Header block with the mailbox's own fields taken out → (lines, offset of their end,
        flags, keywords, uid, X-IMAP data)."""
        flags, keywords, uid, base, kept = 0, [], 0, None, []
        position = 0
        while position < len(text):
            match = FIELD.match(text, position)
            field = match.group() if match else text[position:]
            if field[:1] == b"\n" or field[:2] == b"\r\n":
                break
            position += len(field)
            name = field.partition(b":")[0].lower()
            if name not in INTERNAL_FIELDS:
                kept.append(field.replace(b"\r", b""))
                continue
            exact = field.partition(b":")[0]
            value = field.partition(b":")[2].partition(b"\n")[0]
            if exact in (b"Status", b"X-Status"):
                for letter in value:
                    flags |= LETTERS.get(bytes([letter]), 0)
            elif exact == b"X-Keywords":
                keywords = value.split()
            elif exact == b"X-UID":
                digits = re.match(rb" *(\d+)", value)
                uid = int(digits.group(1)) if digits else 0
            else:
                base_line = BASE.match(field)
                if base_line and int(base_line.group(2)):
                    base = (
                        base_line.group(1),
                        int(base_line.group(2)),
                        int(base_line.group(3)),
                        base_line.group(4).split()[: mbx_header.KEYWORD_SLOTS],
                    )
        return b"".join(kept), position, flags, keywords, uid, base

    def messages(self, texts=True):
        """As mbx.Mailbox.messages(); the text has LF line ends. UIDs as the unix driver keeps or
        assigns them."""
        last = 0
        for uid, flags, keywords, when, text, offset in self.raw_messages():
            if uid and (uid <= last or not self.uidvalidity):
                self.renumbered = self.renumbered or bool(self.uidvalidity)
                uid = 0
            if not uid:
                uid = max(last, self.uidlast) + 1
            last = uid
            self.uidlast = max(self.uidlast, uid)
            bits = 0
            for name in keywords:
                for slot, known in enumerate(self.keywords):
                    if known.lower() == name.lower():
                        bits |= 1 << slot
            yield uid, not flags & mbx.OLD, flags, bits, when, sizes(text)[1], offset, text
        if self.renumbered or not self.uidvalidity:
            self.uidvalidity = self.uidvalidity % 0xFFFFFFFF + 1 if self.uidvalidity else 0


def snarfed(box):
    """What c-client moves from the spool into INBOX: yields (flags without old, seconds, text with
    LF line ends or LongText).

    Keywords, UIDs and "old" do not survive that move in c-client, so they do not here.
    """
    for _uid, flags, _keywords, when, text, _offset in box.raw_messages():
        if text:
            yield flags & ~mbx.OLD, when, text
