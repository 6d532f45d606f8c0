"""Reader of MBX mailboxes by the rules of c-client 2007f (mbx_parse): messages, UIDs, salvage.

A file is a header of 2,048 bytes (mbx_header.py), then for each message a line (mbx_lines.py) and
its text with CRLF line ends. It is read by pread in chunks: memory stays bounded, and a file that
shrinks meanwhile raises an error instead of SIGBUS.
"""

import os

from mbx2maildir import errors
from mbx2maildir.formats import dates, mbx_header, mbx_lines

SEEN, DELETED, FLAGGED, ANSWERED, OLD, DRAFT, EXPUNGED = 1, 2, 4, 8, 0x10, 0x20, 0x8000
LAST_UID = 0xFFFFFFFE  # Dovecot needs a next UID that fits 32 bits

LARGE = 2 << 20  # a text above this is not handed out as bytes; its reader copies it in pieces


class Mailbox(mbx_lines.Finder):
    """One pass over an open MBX file, or over its bytes from start to stop, both at message lines.

    fd stays the caller's. live: the file may be written to meanwhile. A message cut off by the end
    of the file is then one that is being appended, and `unfinished` is true.

    After messages() is exhausted: uidvalidity; uidnext; expunged, messages hidden by \\Expunged;
    renumbered, c-client would assign new UIDs and UIDVALIDITY; unassigned, messages without a UID
    in the file; damage, a list of {"kind", "offset", "length", "what"}: ranges that belong to no
    message, and messages with an impossible date (length 0).

    Between two messages: position of the next line; last, the UID; line, the place of the line of
    the message just given; head, LINE_LIMIT bytes from there; special, true if the line alone does
    not tell the message: another UID or date was assigned, or something hidden stands before it.
    """

    format = "mbx"

    def __init__(
        self, fd, file="", strict=False, live=False, start=mbx_header.HEADER_SIZE, stop=None
    ):
        self.fd = fd
        self.file = errors.printable(file)
        self.strict, self.live = strict, live
        self.size = os.fstat(fd).st_size
        self.header = mbx_header.Header(os.pread(fd, mbx_header.HEADER_SIZE, 0), file)
        self.keywords = self.header.keywords
        self.damage = []
        self.start, self.stop = start, self.size if stop is None else stop
        self.rewind()
        if self.header.damage is not None:
            short = isinstance(self.header.damage, errors.ShortHeader)
            self.note(
                type(self.header.damage),
                0,
                self.size if short else mbx_header.HEADER_SIZE,
                self.header.damage.what,
            )

    def rewind(self):
        """Begin again."""
        self.uidvalidity, self.uidlast = self.header.uidvalidity, self.header.uidlast
        self.expunged = self.unassigned = self.before_1970 = 0
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
        fd, size, stop = self.fd, self.size, self.stop
        match_line, limit = mbx_lines.LINE.match, mbx_lines.LINE_LIMIT
        want = mbx_lines.CHUNK if texts else limit
        base, buffer = self.position, b""
        ahead = -1  # offset of the line that was looked at already: match is that line's
        while self.position < stop:
            position = self.position
            start = position - base
            if ahead != position:
                if start < 0:  # read ahead in vain
                    buffer, base, start = b"", position, 0
                match = match_line(buffer, start, start + limit)
                if (
                    match is None
                    and base + len(buffer) < size
                    and (not texts or start + limit > len(buffer))
                ):
                    buffer, base, start = os.pread(fd, want, position), position, 0
                    match = match_line(buffer, 0, limit)
            if match is None:
                self.resynchronise(position, errors.BadMessageLine, buffer[start : start + 40])
                continue
            date, length, bits, flags, uid = match.groups()
            length, flags, uid = int(length), int(flags, 16), int(uid, 16)
            head = buffer[start : start + limit]
            text_offset = base + match.end()
            end = text_offset + length
            self.special, given = self.gap, self.unassigned
            ahead, match = end, match_line(buffer, end - base, end - base + limit)
            if match is None and end != size:
                # a size that is too large would swallow the messages that follow: see what is
                # behind this one
                following = os.pread(fd, limit, end) if end < size else b""
                if not texts and following:
                    buffer, base = following, end
                    match = match_line(buffer)
                else:
                    ahead = -1
                if length and match_line(following) is None:
                    real_end = self.end_before_next(date, position, text_offset, end)
                    if real_end is None:
                        continue
                    if real_end != end:
                        length, end, ahead = real_end - text_offset, real_end, -1
            if length == 0:
                self.note(errors.BadSize, position, text_offset - position, "a message of 0 bytes")
                self.position, self.gap = text_offset, True
                continue
            if not uid or uid <= self.last or uid > self.uidlast or uid > LAST_UID:
                if (
                    0 < uid <= self.last
                    # c-client reads no date of what is expunged
                    and (
                        self.salvaging or not (flags & EXPUNGED or mbx_lines.FIXED_DATE.match(date))
                    )
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

    def end_before_next(self, date, position, text_offset, end):
        """Where the text of a message ends behind which no message line is found.

        position: of its line. → None when nothing of it is left: then the caller looks for the next
        line.
        """
        cut = None
        if mbx_lines.FIXED_DATE.match(date):
            cut = self.swallowed(text_offset, min(end, self.size))
        if cut is None and end > self.size:
            detail = b"runs to byte %d of %d" % (end, self.size)
            self.resynchronise(position, errors.ShortTail, detail, text_offset)
            return None
        if cut is None:
            return end
        self.note(
            errors.BadSize,
            position,
            0 if cut > text_offset else cut - position,
            "a message that states {} bytes, though the next begins after {}".format(
                end - text_offset, cut - text_offset
            ),
        )
        self.special = self.salvaging = True
        if cut == text_offset:
            self.position, self.gap = cut, True
            return None
        return cut

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
            or not mbx_lines.same_bytes(self.fd, known[1], text_offset, end - text_offset)
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

    def unusual_uid(self, uid):
        """The UID c-client would give to a message that has none, or a bad one."""
        if self.live and self.last < uid <= LAST_UID:  # assigned since the header was read
            self.uidlast = max(
                self.uidlast,
                mbx_header.Header(os.pread(self.fd, mbx_header.HEADER_SIZE, 0), self.file).uidlast,
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
        if mbx_lines.FIXED_DATE.match(date):
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
            self.special = True  # it may rest on the zone
        if when is None:
            self.special = True
            self.note(
                errors.BadDate,
                position,
                0,
                "impossible date {!r}; the date of the message before it is taken".format(date),
            )
            return self.seconds
        if when < 0:
            self.before_1970 += 1
            return 0
        return when

    def resynchronise(self, position, kind, detail, from_line=None):
        """Note the damage at position and continue at the next well-formed message line, or
        at the end."""
        resumed = self.next_line(from_line or position + 1)
        self.position, self.gap, self.salvaging = resumed, True, True
        if kind is errors.ShortTail:
            what = "a message {}, the end of the file".format(detail.decode("ascii"))
            if resumed < self.size:
                kind, what = (
                    errors.BadSize,
                    "a message {}, though more messages follow".format(detail.decode("ascii")),
                )
            elif self.live:
                self.unfinished = True
                return
        else:
            what = "no message line here but {!r}".format(detail)
        self.note(kind, position, resumed - position, what)
