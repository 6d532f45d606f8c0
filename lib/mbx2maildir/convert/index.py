"""What a pass leaves behind for the next: for each staged folder an index of its messages and the
state it was read in.

Below <work>/index/USER/ a directory for each folder, named as in the staged tree (INBOX for the
top): `index`, a record a message in UID order, and `state.json`. A state is believed only when it
is of this version, of this staged tree and host, and when tree and index still look as they were
left: otherwise the folder is converted anew.

The index is a row of blocks. Each holds a number of records in columns: special (numbers of the
records that cannot be known by their lines alone), lines (places of the message lines in the old
file), heads (HEAD bytes from there, the line and what follows it), records. So that a block can be
compared with the old file as a whole (delta.py).
"""

import array
import collections
import json
import os
import struct
import zlib

from mbx2maildir import errors, files
from mbx2maildir.formats import file_names, maildir, mbx_lines

VERSION = 4
# size: in the old file. stored, virtual: bytes in the Maildir, and as IMAP shows them.
Record = collections.namedtuple(
    "Record", "uid bits seconds size stored virtual body_length flags recent"
)
RECORD = struct.Struct("<IIqQQQQHB")
FRAME = struct.Struct("<II")  # records in the block, special ones among them
HEAD = mbx_lines.LINE_LIMIT
BUFFERED = 1024
LARGEST_STATE = 1 << 30  # bytes
UNKNOWN_LENGTH = (1 << 64) - 1  # body length of a text that was too large to be held
CLOCK_SKEW = 2 * 10**9  # nanoseconds; a file changed this shortly before it was read is read again


def paths(user, name):
    """(index file, state file) of a staged folder."""
    directory = os.path.join(os.fsencode(user["index"]), maildir.folder_directory(name) or b"INBOX")
    return os.path.join(directory, b"index"), os.path.join(directory, b"state.json")


def stamp(status):
    """What tells one state of an old file from another. ctime: c-client sets mtime back when it
    appends."""
    return [status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns]


def tree_stamp(directory):
    """What tells whether anybody touched a staged folder since."""
    uidlist = os.stat(os.path.join(directory, b"dovecot-uidlist"))
    return [
        uidlist.st_size,
        uidlist.st_mtime_ns,
        os.stat(os.path.join(directory, b"cur")).st_mtime_ns,
        os.stat(os.path.join(directory, b"new")).st_mtime_ns,
    ]


class Writer:
    """Writes an index next to the one in use; finish() puts it in its place. part: number of a
    range of a folder's messages."""

    def __init__(self, user, name, part=None):
        self.path = paths(user, name)[0]
        os.makedirs(os.path.dirname(self.path), 0o700, exist_ok=True)
        self.temporary = self.path + (b".new" if part is None else b".part%d" % part)
        self.fd = files.create(self.temporary)
        self.records, self.heads, self.lines, self.special = (
            [],
            [],
            array.array("Q"),
            array.array("I"),
        )
        self.crc = self.count = self.size = 0

    def add(self, line, head, special, *fields):
        """One record; fields as RECORD has them."""
        if special:
            self.special.append(len(self.lines))
        self.lines.append(line)
        self.heads.append(head if len(head) == HEAD else head.ljust(HEAD, b"\0"))
        self.records.append(RECORD.pack(*fields))
        if len(self.lines) >= BUFFERED:
            self.flush()

    def keep(self, block, start, stop, moved):
        """Records start … stop of a block of the index of the pass before; moved: bytes by which
        their lines stand elsewhere now."""
        lines = block.lines[start:stop]
        self.special.extend(
            array.array(
                "I",
                (
                    place - start + len(self.lines)
                    for place in block.special
                    if start <= place < stop
                ),
            )
        )
        self.lines.extend(array.array("Q", map(moved.__add__, lines)) if moved else lines)
        self.heads.append(block.heads[start * HEAD : stop * HEAD])
        self.records.append(block.records[start * RECORD.size : stop * RECORD.size])
        if len(self.lines) >= BUFFERED:
            self.flush()

    def flush(self):
        if not self.lines:
            return
        self.put(
            b"".join(
                [
                    FRAME.pack(len(self.lines), len(self.special)),
                    self.special.tobytes(),
                    self.lines.tobytes(),
                    *self.heads,
                    *self.records,
                ]
            )
        )
        self.count += len(self.lines)
        self.records, self.heads, self.lines, self.special = (
            [],
            [],
            array.array("Q"),
            array.array("I"),
        )

    def put(self, data):
        data = memoryview(data)
        self.crc = zlib.crc32(data, self.crc)
        self.size += len(data)
        while data:
            data = data[os.write(self.fd, data) :]

    def take(self, part):
        """Append the index of a range of the messages, and remove it. part: what finish_part()
        gave."""
        path = self.path + b".part%d" % part["part"]
        with os.fdopen(files.open_regular(path), "rb") as source:
            for piece in iter(lambda: source.read(1 << 20), b""):
                self.put(piece)
        os.unlink(path)
        self.count += part["count"]

    def finish_part(self):
        """→ number of records."""
        self.flush()
        self.abandon()
        return self.count

    def finish(self):
        """→ [number of records, bytes, CRC-32]."""
        self.flush()
        self.abandon()
        os.rename(self.temporary, self.path)
        return [self.count, self.size, self.crc]

    def abandon(self):
        if self.fd >= 0:
            os.close(self.fd)
        self.fd = -1


class Block:
    """Some records of an index, in columns."""

    __slots__ = ("count", "special", "lines", "heads", "records")

    def __init__(self, count, special, lines, heads, records):
        self.count, self.special, self.lines, self.heads, self.records = (
            count,
            special,
            lines,
            heads,
            records,
        )

    def record(self, place):
        return Record._make(RECORD.unpack_from(self.records, place * RECORD.size))


def open_blocks(user, name):
    """The blocks of a folder's index. Opened at once: later we may act as a user who may not."""
    return blocks(os.fdopen(files.open_regular(paths(user, name)[0]), "rb"))


def blocks(source):
    with source:
        for frame in iter(lambda: source.read(FRAME.size), b""):
            count, specials = FRAME.unpack(frame)
            yield Block(
                count,
                array.array("I", source.read(4 * specials)),
                array.array("Q", source.read(8 * count)),
                source.read(HEAD * count),
                source.read(RECORD.size * count),
            )


def read(user, name):
    """The records of a folder's index, in UID order."""
    for block in open_blocks(user, name):
        yield from map(Record._make, RECORD.iter_unpack(block.records))


def base_name(record, suffix):
    """File name without flags of the message a record describes; suffix as maildir.FolderWriter
    makes it."""
    return b"%d.M%d%b%d,W=%d" % (record.seconds, record.uid, suffix, record.stored, record.virtual)


def save(user, name, state):
    path = paths(user, name)[1]
    state = dict(state, version=VERSION, tree_id=user["tree_id"], host=user["host"])
    text = json.dumps(state, default=lambda value: {"bytes": value.decode("latin-1")})
    files.replace_file(path, text.encode("ascii"))


def restore(values):
    """json's object hook: bytes come back."""
    return (
        values["bytes"].encode("latin-1")
        if set(values) == {"bytes"} and isinstance(values["bytes"], str)
        else values
    )


def load(user, name):
    """The state of a staged folder; None when it is missing or cannot be trusted."""
    index_path, state_path = paths(user, name)
    try:
        state = json.loads(files.read_small(state_path, LARGEST_STATE), object_hook=restore)
        if (state["version"], state["tree_id"], state["host"]) != (
            VERSION,
            user["tree_id"],
            user["host"],
        ):
            return None
        directory = os.path.join(os.fsencode(user["staging"]), maildir.folder_directory(name))
        if (
            state["tree"] != tree_stamp(directory)
            or os.path.getsize(index_path) != state["index"][1]
        ):
            return None
        return state
    except (
        *(OSError, errors.StoreError, RecursionError),
        *(ValueError, KeyError, TypeError, IndexError),
    ):
        return None


def intact(user, name, state):
    """Whether the index still has the checksum it was left with."""
    crc = 0
    with os.fdopen(files.open_regular(paths(user, name)[0]), "rb") as source:
        for block in iter(lambda: source.read(1 << 20), b""):
            crc = zlib.crc32(block, crc)
    return crc == state["index"][2]


def forget(user, name):
    """Remove what is known about a folder that goes."""
    remove(os.path.dirname(paths(user, name)[0]))


def remove(directory):
    """Remove the index of a folder, or all of a user's."""
    if os.path.isdir(directory):
        for entry in os.listdir(directory):
            path = os.path.join(directory, entry)
            remove(path) if os.path.isdir(path) else os.unlink(path)
        os.rmdir(directory)


def forget_state(user, name):
    """Mark the folder as unfinished: after a crash the next pass rewrites it."""
    path = paths(user, name)[1]
    if os.path.exists(path):
        os.unlink(path)


def letters(keywords, flags, bits):
    """Flag and keyword letters of a message file."""
    return file_names.LETTERS_BY_FLAGS[flags & 0x2F] + keywords.letters(bits & keywords.known)
