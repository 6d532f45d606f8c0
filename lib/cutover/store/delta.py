"""Write a folder's messages: all of them (write), or what differs from the pass before (update).

MBX messages never change but for their line: a message with the UID, date and size it had is the same message. That does not
hold for what comes from a mbox (the spool): its UIDs are given here, and new mail in front of it moves them. Both loops
go through the old file once, in UID order, beside the index of the pass before: memory does not grow with the folder.
"""

import os

from . import digest, index, maildir

PROVISIONAL = 0x4000  # in a record's flags: from a mbox, whose UIDs can still go to other messages
PROGRESS_EVERY = 512  # messages between looks at the clock


def put(writer, message, letters, notes):
    """Write one message and its index record → (bytes stored, whether bare LFs make it grow)."""
    uid, recent, flags, bits, seconds, size, offset, text, box = message
    if text is None and size <= maildir.COPY_CHUNK:
        text = os.pread(box.fd, size, offset)
        if len(text) < size:
            box.shrank(offset)
    if text is None:
        stored_size, virtual = writer.copy(uid, recent, letters, seconds, box.fd, offset, size)
        length = index.UNKNOWN_LENGTH
    else:
        stored, virtual = (text, size) if box.format == "mbox" else maildir.to_lf(text)
        writer.add(uid, recent, letters, seconds, stored, virtual)
        stored_size, length = len(stored), digest.body_length(stored)
    if box.format == "mbox":
        flags |= PROVISIONAL
    notes.add(uid, bits, seconds, size, stored_size, virtual, length, flags, recent)
    return stored_size, virtual != size


def write(writer, messages, keywords, notes, result, progress):
    """Every message, into an empty folder."""
    letters_by_flags, letters_of, known = maildir.LETTERS_BY_FLAGS, keywords.letters, keywords.known
    counted = size = bare_lf = done = 0
    for message in messages:
        letters = letters_by_flags[message[2] & 0x2f]
        if message[3] & known:
            letters += letters_of(message[3] & known)
        stored, grows = put(writer, message, letters, notes)
        bare_lf += grows
        size += stored
        counted += 1
        if counted >= PROGRESS_EVERY:
            progress(counted, size - done)
            result["messages"] += counted
            counted, done = 0, size
    progress(counted, size - done)
    result["messages"] += counted
    result.update(bytes=size, written=result["messages"], bare_lf=bare_lf)


def update(writer, messages, records, old_keywords, keywords, notes, result, progress):
    """The difference between the messages wanted and the records of the pass before."""
    suffix = writer.suffix
    record = next(records, None)
    size = bare_lf = written = renamed = removed = count = 0

    def drop(old):
        writer.drop(index.base_name(old, suffix), old[8], index.letters(old_keywords, old[7], old[1]))

    for message in messages:
        uid, recent, flags, bits, seconds, old_size = message[:6]
        while record is not None and record[0] < uid:
            drop(record)
            removed += 1
            record = next(records, None)
        count += 1
        letters = index.letters(keywords, flags, bits)
        if (record is not None and record[0] == uid and record[2] == seconds and record[3] == old_size
                and not record[7] & PROVISIONAL and message[8].format == "mbx"):
            before = (record[8], index.letters(old_keywords, record[7], record[1]))
            after = (int(recent), letters)
            writer.keep(uid, index.base_name(record, suffix), before, after)
            renamed += before != after
            notes.add(uid, bits, seconds, old_size, record[4], record[5], record[6], flags, recent)
            size += record[4]
            bare_lf += record[5] != old_size
            record = next(records, None)
            continue
        if record is not None and record[0] == uid:
            drop(record)
            removed += 1
            record = next(records, None)
        stored, grows = put(writer, message, letters, notes)
        progress(1, stored)
        size += stored
        bare_lf += grows
        written += 1
    while record is not None:
        drop(record)
        removed += 1
        record = next(records, None)
    result.update(messages=count, bytes=size, written=written, renamed=renamed, removed=removed, bare_lf=bare_lf)
