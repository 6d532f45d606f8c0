"""Write a folder's messages: all of them (write), or what differs from the pass before (update).

MBX messages never change but for their line: a message with the UID, date and size it had is the
same message. That does not hold for what comes from a mbox (the spool): its UIDs are given here,
and new mail in front of it moves them. Both loops go through the old file once, in UID order,
beside the index of the pass before: memory does not grow with the folder.

Most messages did not change at all, not even their lines. So update() first looks whether the next
lines of the index stand where they must stand now: some hundred are read and compared as one,
without a step of Python for each (Before.run). Only where a line differs it takes messages one by
one.
"""

import bisect
import itertools
import os

from mbx2maildir import files
from mbx2maildir.convert import index
from mbx2maildir.formats import file_names, line_ends, message_key

PROVISIONAL = 0x4000  # in a record's flags: from a mbox, whose UIDs can still go to other messages
PROGRESS_EVERY = 512  # messages between looks at the clock, or
PROGRESS_BYTES = 1 << 20
# messages whose lines are compared first after one that changed; twice as many each time none has
FEW = 16


def put(writer, box, message, letters, notes):
    """Write one message and its index record → (bytes stored, whether bare LFs make it grow)."""
    uid, recent, flags, bits, seconds, size, offset, text = message
    if box.format != "mbx":
        return put_provisional(writer, message, letters, notes)
    if text is None and size <= files.COPY_CHUNK:
        text = os.pread(box.fd, size, offset)
        if len(text) < size:
            box.shrank(offset)
    if text is None:
        stored_size, virtual = writer.copy(
            uid, recent, letters, seconds, files.pieces(box.fd, offset, size)
        )
        length = index.UNKNOWN_LENGTH
    else:
        stored, virtual = line_ends.to_lf(text)
        stored_size = len(stored)
        writer.add(uid, recent, letters, seconds, stored, virtual)
        length = message_key.body_length(stored)
    notes.add(
        box.line,
        box.head,
        box.special,
        uid,
        bits,
        seconds,
        size,
        stored_size,
        virtual,
        length,
        flags,
        recent,
    )
    return stored_size, virtual != size


def put_provisional(writer, message, letters, notes):
    """put() for a message of any other format."""
    uid, recent, flags, bits, seconds, size, _offset, text = message
    if isinstance(text, bytes):
        stored_size, virtual, length = len(text), size, message_key.body_length(text)
        writer.add(uid, recent, letters, seconds, text, virtual)
    else:
        stored_size, virtual = writer.copy(
            uid, recent, letters, seconds, text.pieces(), crlf=text.crlf
        )
        length = index.UNKNOWN_LENGTH
    notes.add(
        0,
        b"",
        True,
        uid,
        bits,
        seconds,
        size,
        stored_size,
        virtual,
        length,
        flags | PROVISIONAL,
        recent,
    )
    return stored_size, False


def write(writer, box, messages, keywords, notes, result, progress):
    """Every message of `messages`, which are those of `box`, behind what the folder holds."""
    letters_by_flags, letters_of, known = (
        file_names.LETTERS_BY_FLAGS,
        keywords.letters,
        keywords.known,
    )
    to_lf, body_length, add_file, add_record = (
        line_ends.to_lf,
        message_key.body_length,
        writer.add,
        notes.add,
    )
    plain = box.format == "mbx"
    count = total = bare_lf = reported = reported_bytes = 0
    for message in messages:
        uid, recent, flags, bits, seconds, size, _offset, text = message
        letters = letters_by_flags[flags & 0x2F]
        if bits & known:
            letters += letters_of(bits & known)
        if text is None or not plain:
            stored_size, grows = put(writer, box, message, letters, notes)
        else:  # put(), without its calls
            stored, virtual = to_lf(text)
            stored_size, grows = len(stored), virtual != size
            add_file(uid, recent, letters, seconds, stored, virtual)
            add_record(
                box.line,
                box.head,
                box.special,
                uid,
                bits,
                seconds,
                size,
                stored_size,
                virtual,
                body_length(stored),
                flags,
                recent,
            )
        bare_lf += grows
        total += stored_size
        count += 1
        if count - reported >= PROGRESS_EVERY or total - reported_bytes >= PROGRESS_BYTES:
            progress(count - reported, total - reported_bytes)
            reported, reported_bytes = count, total
    progress(count - reported, total - reported_bytes)
    for key, value in (
        ("messages", count),
        ("written", count),
        ("bytes", total),
        ("bare_lf", bare_lf),
    ):
        result[key] = result.get(key, 0) + value


class Before:
    """The messages of the pass before: a cursor over its index and, in step, over its uidlist
    (lines with their ends)."""

    def __init__(self, blocks, uidlist):
        self.blocks, self.uidlist = blocks, uidlist
        self.block, self.place, self.lines, self.ahead, self.differs = None, 0, [], FEW, False
        self.next_block()

    def next_block(self):
        self.block, self.place = next(self.blocks, None), 0
        if self.block is not None:
            self.lines = list(itertools.islice(self.uidlist, self.block.count))
            self.stops = [*self.block.special, self.block.count]

    @property
    def record(self):
        return self.block.record(self.place) if self.block is not None else None

    def advance(self, count=1):
        self.place += count
        if self.place >= self.block.count:
            self.next_block()

    def run(self, box):
        """How many messages from here on stand in the old file as they stood, line for line, from
        its position on."""
        if self.differs:
            self.differs = False
            return 0
        block, place = self.block, self.place
        stop = min(self.stops[bisect.bisect_left(self.stops, place)], place + self.ahead)
        if stop == place or block.record(place).uid <= box.last:
            return 0
        moved = box.position - block.lines[place]
        places = block.lines[place:stop]
        heads = list(
            map(
                os.pread,
                itertools.repeat(box.fd),
                itertools.repeat(index.HEAD),
                map(moved.__add__, places) if moved else places,
            )
        )
        count = stop - place
        wanted = block.heads[place * index.HEAD : stop * index.HEAD]
        if b"".join(heads) != wanted:
            count = next(
                (
                    number
                    for number, head in enumerate(heads)
                    if head != wanted[number * index.HEAD : (number + 1) * index.HEAD]
                ),
                count,
            )
        # the last one must end where another begins, else it is for box.messages() to say where it
        # ends
        while count and (
            block.record(place + count - 1).uid > box.uidlast
            or not box.line_at(self.end(place + count - 1) + moved)
        ):
            count -= 1
        if count == stop - place:
            self.ahead = min(2 * self.ahead, index.BUFFERED)
        else:  # changes come alone, or many together; the next call need not look at this one again
            self.ahead, self.differs = FEW if count >= FEW else 1, count > 0
        return count

    def end(self, place):
        """Where the text of a message ended."""
        head = self.block.heads[place * index.HEAD : (place + 1) * index.HEAD]
        return self.block.lines[place] + head.index(b"\r\n") + 2 + self.block.record(place).size

    def keep(self, count, box, writer, notes):
        """Take over the next messages as they are; the old file is then read on behind them."""
        block, place = self.block, self.place
        moved = box.position - block.lines[place]
        notes.keep(block, place, place + count, moved)
        writer.keep_lines(self.lines[place : place + count])
        last = block.record(place + count - 1)
        box.position, box.last, box.seconds, box.gap = (
            self.end(place + count - 1) + moved,
            last.uid,
            last.seconds,
            False,
        )
        self.advance(count)


def update(writer, box, messages, before, old, old_keywords, keywords, notes, result, progress):
    """The difference between the messages wanted and those of the pass before.

    messages: pairs (message, mailbox it comes from). box: their mailbox, when runs of unchanged
    messages may be taken over from the pass before, else None. old: the result of that pass.
    """
    suffix = writer.suffix
    written = renamed = removed = 0
    size, bare_lf, count = old["bytes"], old["bare_lf"], old["messages"]

    def drop(record):
        nonlocal size, bare_lf, count, removed
        writer.drop(
            index.base_name(record, suffix),
            record.recent,
            index.letters(old_keywords, record.flags, record.bits),
        )
        size -= record.stored
        bare_lf -= record.virtual != record.size
        count -= 1
        removed += 1
        before.advance()

    while True:
        while box is not None and before.block is not None:
            run = before.run(box)
            if not run:
                break
            before.keep(run, box, writer, notes)
            progress(0, 0)
        message = next(messages, None)
        if message is None:
            break
        message, source = message
        uid, recent, flags, bits, seconds, old_size = message[:6]
        record = before.record
        while record is not None and record.uid < uid:
            drop(record)
            record = before.record
        letters = index.letters(keywords, flags, bits)
        if record is not None and record.uid == uid:
            if (
                record.seconds == seconds
                and record.size == old_size
                and not record.flags & PROVISIONAL
                and source.format == "mbx"
            ):
                names = (
                    (record.recent, index.letters(old_keywords, record.flags, record.bits)),
                    (int(recent), letters),
                )
                writer.keep(uid, index.base_name(record, suffix), *names)
                renamed += names[0] != names[1]
                notes.add(
                    source.line,
                    source.head,
                    source.special,
                    uid,
                    bits,
                    seconds,
                    old_size,
                    record.stored,
                    record.virtual,
                    record.body_length,
                    flags,
                    recent,
                )
                before.advance()
                continue
            drop(record)
        stored, grows = put(writer, source, message, letters, notes)
        progress(1, stored)
        size += stored
        bare_lf += grows
        count += 1
        written += 1
    while before.block is not None:
        if box is not None and result.get(
            "broken_off"
        ):  # whether they are still good is asked later
            block, place = before.block, before.place
            notes.keep(block, place, block.count, 0)
            writer.keep_lines(before.lines[place:])
            before.advance(block.count - place)
        else:
            drop(before.record)
    result.update(
        messages=count,
        bytes=size,
        written=written,
        renamed=renamed,
        removed=removed,
        bare_lf=bare_lf,
    )
