"""Reader of MBX mailboxes by the rules of c-client 2007f (mbx_parse): header, message lines, UIDs,
salvage.

A file is 2,048 bytes of header, then for each message a line `dd-Mon-yyyy hh:mm:ss
+zzzz,SIZE;KKKKKKKKFFFF-UUUUUUUU\\r\\n` and SIZE bytes of text with CRLF line ends. The file is read
by pread in chunks: memory stays bounded, and a file that shrinks meanwhile gives an error, no
SIGBUS.
"""

import os
import re

from mbx2maildir import errors
from mbx2maildir.formats import dates
from mbx2maildir.patterns import Pattern

MAGIC = b"*mbx*\r\n"
HEADER_SIZE = 2048
KEYWORD_SLOTS = 30
KEYWORD_LENGTH = 50
SEEN, DELETED, FLAGGED, ANSWERED, OLD, DRAFT, EXPUNGED = 1, 2, 4, 8, 0x10, 0x20, 0x8000
LAST_UID = 0xFFFFFFFE  # Dovecot needs a next UID that fits 32 bits

LINE_LIMIT = 64
CHUNK = 1 << 20
LARGE = 2 << 20  # a text above this is not handed out as bytes; its reader copies it in pieces

# As lax as c-client where a line is expected …
LINE = Pattern(
    rb"([^,\r\n]{0,40}),(\d{1,19})[^;\r\n,]{0,8};([0-9A-Fa-f]{8})([0-9A-Fa-f]{4})-([0-9A-Fa-f]{8})\r\n"
)
# … and strict where one is searched for in garbage.
STRICT_LINE = Pattern(
    rb"[ \d]\d-[A-Z][a-z]{2}-\d{4} \d\d:\d\d:\d\d [+-]\d{4},"
    rb"([1-9]\d{0,18});[0-9a-f]{12}-[0-9a-f]{8}\r\n"
)
FIXED_DATE = Pattern(
    rb"[ \d]\d-[A-Z][a-z]{2}-\d{4} (?:[01]\d|2[0-3]):[0-5]\d:[0-5]\d [+-]\d\d[0-5]\d\Z"
)


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


class Mailbox:
    """One pass over an open MBX file, or over the range of its bytes from start to stop (where
    message lines stand).

    fd stays the caller's. live: the file may be written to meanwhile, and a message cut off by the
    end of the file is one that is just being appended; `unfinished` then says so. After messages()
    is exhausted these hold: uidvalidity, uidnext, expunged (messages hidden by \\Expunged),
    renumbered (c-client would give new UIDs and UIDVALIDITY), unassigned (messages whose UID the
    file does not hold), damage (list of dicts with kind, offset, length, what: ranges that belong
    to no message, or messages whose date was impossible: length 0). Between two messages: position
    (of the next line), last (UID), line and head (place of the line of the message just given, and
    LINE_LIMIT bytes from there), special (not to be known by its line alone: its UID or date is not
    what stands there, or something hidden stands before it).
    """

    format = "mbx"

    def __init__(self, fd, file="", strict=False, live=False, start=HEADER_SIZE, stop=None):
        self.fd = fd
        self.file = errors.printable(file)
        self.strict, self.live = strict, live
        self.size = os.fstat(fd).st_size
        self.header = Header(os.pread(fd, HEADER_SIZE, 0), file)
        self.keywords = self.header.keywords
        self.damage = []
        self.start, self.stop = start, self.size if stop is None else stop
        self.rewind()
        if self.header.damage is not None:
            short = isinstance(self.header.damage, errors.ShortHeader)
            self.note(
                type(self.header.damage),
                0,
                self.size if short else HEADER_SIZE,
                self.header.damage.what,
            )

    def rewind(self):
        """Begin again."""
        self.uidvalidity, self.uidlast = self.header.uidvalidity, self.header.uidlast
        self.expunged = self.unassigned = 0
        self.renumbered = self.unfinished = False
        self.position = self.start
        self.first = self.last = self.seconds = self.line = 0
        self.head = b""
        self.special = self.gap = self.salvaging = False
        self.days, self.known = {}, None

    @property
    def uidnext(self):
        return self.uidlast + 1

    def note(self, kind, offset, length, what):
        if self.strict:
            raise kind(what, self.file, offset)
        self.damage.append(
            {"kind": kind.__name__, "offset": offset, "length": length, "what": what}
        )

    def shrank(self, offset):
        raise errors.ShortRead("the mailbox shrank while it was read", self.file, offset)

    def messages(self, texts=True):
        """Yield (uid, recent, flags, keyword bits, seconds, size, text offset, text) for each
        visible message.

        text is bytes, or None when texts is false or the message is larger than LARGE. UIDs are
        those c-client has or would assign: UID 0 takes the next in file order (an expunged message
        takes one too); a UID that does not rise, or lies above UIDLAST, makes c-client renumber
        from there on under a new UIDVALIDITY. Ours is the old one plus one, so that every pass
        gives the same.
        """
        fd, size, stop, match_line = self.fd, self.size, self.stop, LINE.match
        want = CHUNK if texts else LINE_LIMIT
        base, buffer = self.position, b""
        ahead = -1  # offset of the line that was looked at already: match is that line's
        while self.position < stop:
            position = self.position
            start = position - base
            if ahead != position:
                if start < 0:  # read ahead in vain
                    buffer, base, start = b"", position, 0
                match = match_line(buffer, start, start + LINE_LIMIT)
                if (
                    match is None
                    and base + len(buffer) < size
                    and (not texts or start + LINE_LIMIT > len(buffer))
                ):
                    buffer, base, start = os.pread(fd, want, position), position, 0
                    match = match_line(buffer, 0, LINE_LIMIT)
            if match is None:
                self.resynchronise(position, errors.BadMessageLine, buffer[start : start + 40])
                continue
            date, length, bits, flags, uid = match.groups()
            length, flags, uid = int(length), int(flags, 16), int(uid, 16)
            head = buffer[start : start + LINE_LIMIT]
            text_offset = base + match.end()
            end = text_offset + length
            self.special, given = self.gap, self.unassigned
            ahead, match = end, match_line(buffer, end - base, end - base + LINE_LIMIT)
            if match is None and end != size:
                # a size that is too large would swallow the messages that follow: see what stands
                # behind this one
                following = os.pread(fd, LINE_LIMIT, end) if end < size else b""
                if not texts and following:
                    buffer, base = following, end
                    match = match_line(buffer)
                else:
                    ahead = -1
                if length and match_line(following) is None:
                    cut = (
                        self.swallowed(text_offset, min(end, size))
                        if FIXED_DATE.match(date)
                        else None
                    )
                    if cut is None and end > size:
                        self.resynchronise(
                            position,
                            errors.ShortTail,
                            b"runs to byte %d of %d" % (end, size),
                            text_offset,
                        )
                        continue
                    if cut is not None:
                        self.note(
                            errors.BadSize,
                            position,
                            0 if cut > text_offset else cut - position,
                            "a message that states "
                            "{} bytes, though the next begins after {}".format(
                                length, cut - text_offset
                            ),
                        )
                        length, end = cut - text_offset, cut
                        self.special, self.salvaging, ahead = True, True, -1
                        if not length:
                            self.position, self.gap = end, True
                            continue
            if length == 0:
                self.note(errors.BadSize, position, text_offset - position, "a message of 0 bytes")
                self.position, self.gap = text_offset, True
                continue
            if not uid or uid <= self.last or uid > self.uidlast or uid > LAST_UID:
                if (
                    0 < uid <= self.last
                    and (self.salvaging or not FIXED_DATE.match(date))
                    and self.stale(position, head, text_offset, end)
                ):
                    continue
                uid = self.unusual_uid(uid)
            elif not self.first:
                self.first = uid
            self.last, self.position = uid, end
            if flags & EXPUNGED:
                self.expunged += 1
                self.gap = True
                continue
            self.gap = False
            text = None
            if texts and length <= LARGE:
                start = text_offset - base
                text = buffer[start : start + length]
                if len(text) < length:
                    buffer, base, ahead = (
                        os.pread(fd, max(want, length), text_offset),
                        text_offset,
                        -1,
                    )
                    text = buffer[:length]
                    if len(text) < length:
                        self.shrank(text_offset)
            when = self.time_of(date, position)
            self.line, self.head, self.seconds = position, head, when
            yield (
                uid,
                self.unassigned > given or not flags & OLD,
                flags,
                int(bits, 16),
                when,
                length,
                text_offset,
                text,
            )
        if self.renumbered or not self.uidvalidity:
            self.uidvalidity = self.uidvalidity % 0xFFFFFFFF + 1

    def swallowed(self, start, end):
        """Offset of the first message line in a range that another line, or the end of the file,
        follows where it says."""
        for offset, size in self.strict_lines(start):
            if offset >= end:
                break
            if self.line_at(offset + size):
                return offset
        return None

    def line_at(self, offset):
        """Whether a message line stands there, or the file ends."""
        return (
            offset == self.size
            or offset < self.size
            and LINE.match(os.pread(self.fd, LINE_LIMIT, offset)) is not None
        )

    def stale(self, position, head, text_offset, end):
        """Whether a message behind damage, whose UID was there before, is only the copy that a
        killed expunge left.

        c-client's expunge slides what it keeps to the front, the text of each message before its
        line is looked at again; killed in between, it leaves the old copies behind. c-client then
        refuses the whole mailbox, unless a line happens to stand where it looks for one. A copy is
        passed over and noted; any other message with such a UID is a message.
        """
        line, uid = self.line_of(head)
        if dates.internaldate(line[1]) is None:  # the end of a line, with a comma in it
            self.resynchronise(position, errors.BadMessageLine, head[:40])
            return True
        if self.renumbered or not self.salvaging:
            return False
        if self.known is None or uid < self.known[0]:
            before = Mailbox(self.fd, self.file, start=self.start, stop=position)
            before.uidlast = max(before.uidlast, self.uidlast)
            lines = (
                (known, before.line_of(before.head)[0], offset)
                for known, *_flags, offset, _text in before.messages(False)
            )
            self.known = (
                uid,
                {known: (line, offset) for known, line, offset in lines if known >= uid},
            )
        known = self.known[1].get(uid)
        if (
            known is None
            or known[0] != line
            or not same_bytes(self.fd, known[1], text_offset, end - text_offset)
        ):
            return False
        self.note(
            errors.StaleCopy,
            position,
            end - position,
            "a second copy of the message with UID {}, as a killed expunge leaves it".format(uid),
        )
        self.position, self.gap = end, True
        return True

    @staticmethod
    def line_of(head):
        """A message line's unchanging part and its UID → ((length of the line, date, size), uid);
        None when it is none."""
        match = LINE.match(head)
        return match and (
            (match.end(), match.group(1), int(match.group(2))),
            int(match.group(5), 16),
        )

    def unusual_uid(self, uid):
        """The UID c-client would give to a message that has none, or a bad one."""
        if self.live and self.last < uid <= LAST_UID:  # assigned since the header was read
            self.uidlast = max(
                self.uidlast, Header(os.pread(self.fd, HEADER_SIZE, 0), self.file).uidlast
            )
            if uid <= self.uidlast:
                return uid
        if uid:
            self.renumbered = True
            self.uidlast = self.last
        self.unassigned += 1
        self.special = True
        self.uidlast += 1
        return self.uidlast

    def time_of(self, date, position):
        """Seconds since the epoch of a message line's date; an impossible one is noted, and the one
        before it taken."""
        if FIXED_DATE.match(date):
            key = date[:11] + date[20:]
            day = self.days.get(key, 0)
            if day == 0:
                day = self.days[key] = dates.internaldate(date[:12] + b"00:00:00" + date[20:])
            when = (
                None
                if day is None
                else day + int(date[12:14]) * 3600 + int(date[15:17]) * 60 + int(date[18:20])
            )
        else:
            when = dates.internaldate(date)
        if when is None:
            self.special = True
            self.note(
                errors.BadDate,
                position,
                0,
                "impossible date {!r}; the date of the message before it is taken".format(date),
            )
            return self.seconds
        return when if when > 0 else 0

    def resynchronise(self, position, kind, detail, from_line=None):
        """Note the damage at position and go on where the next well-formed message line stands, or
        at the end."""
        found = self.next_line(from_line or position + 1)
        self.position, self.gap, self.salvaging = found, True, True
        if kind is errors.ShortTail:
            what = "a message {}, the end of the file".format(detail.decode("ascii"))
            if found < self.size:
                kind, what = (
                    errors.BadSize,
                    "a message {}, though more messages follow".format(detail.decode("ascii")),
                )
            elif self.live:
                self.unfinished = True
                return
        else:
            what = "no message line here but {!r}".format(detail)
        self.note(kind, position, found - position, what)

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
            block = os.pread(self.fd, CHUNK, position)
            for match in STRICT_LINE.finditer(block):
                yield position + match.start(), match.end() - match.start() + int(match.group(1))
            if len(block) <= LINE_LIMIT:
                break
            position += len(block) - LINE_LIMIT


def same_bytes(fd, one, other, size):
    """Whether two ranges of a file hold the same."""
    while size:
        count = min(size, CHUNK)
        if os.pread(fd, count, one) != os.pread(fd, count, other):
            return False
        one, other, size = one + count, other + count, size - count
    return True
