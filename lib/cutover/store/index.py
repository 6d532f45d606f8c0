"""What a pass leaves behind for the next: for each staged folder an index of its messages and the state it was read in.

Below <work>/index/USER/ : <key>.index, a record a message in UID order, and <key>.json, its state. A state is believed only
when it is of this version, of this staged tree and host, and when tree and index still look as they were left: otherwise the
folder is converted anew.
"""

import hashlib
import json
import os
import struct
import zlib

from . import existing, maildir

VERSION = 1
# uid, keyword bits, seconds, size in the old file, bytes stored, bytes as IMAP shows it, body length, flags, recent
RECORD = struct.Struct("<IIQQQQQHB")
BUFFERED = 4096
UNKNOWN_LENGTH = (1 << 64) - 1  # body length of a text that was too large to be held
CLOCK_SKEW = 2 * 10**9  # nanoseconds; a file changed this shortly before it was read is read again


def paths(user, name):
    """(index file, state file) of a staged folder."""
    key = hashlib.sha256(name).hexdigest()[:24].encode("ascii")
    directory = os.fsencode(user["index"])
    return os.path.join(directory, key + b".index"), os.path.join(directory, key + b".json")


def stamp(status):
    """What tells one state of an old file from another. ctime: c-client sets mtime back when it appends."""
    return [status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns]


def tree_stamp(directory):
    """What tells whether anybody touched a staged folder since."""
    uidlist = os.stat(os.path.join(directory, b"dovecot-uidlist"))
    return [uidlist.st_size, uidlist.st_mtime_ns, os.stat(os.path.join(directory, b"cur")).st_mtime_ns,
            os.stat(os.path.join(directory, b"new")).st_mtime_ns]


class Writer:
    """Writes an index beside the one in use; finish() puts it in its place."""

    def __init__(self, user, name):
        self.path = paths(user, name)[0]
        self.fd = os.open(self.path + b".new", os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        self.records, self.crc, self.count = [], 0, 0

    def add(self, *fields):
        self.records.append(RECORD.pack(*fields))
        if len(self.records) >= BUFFERED:
            self.flush()

    def flush(self):
        data = memoryview(b"".join(self.records))
        self.count += len(self.records)
        self.crc = zlib.crc32(data, self.crc)
        self.records = []
        while data:
            data = data[os.write(self.fd, data):]

    def finish(self):
        """→ [number of records, CRC-32]."""
        self.flush()
        self.abandon()
        os.rename(self.path + b".new", self.path)
        return [self.count, self.crc]

    def abandon(self):
        if self.fd >= 0:
            os.close(self.fd)
        self.fd = -1


def read(user, name):
    """The records of a folder's index, in UID order. Opened at once: later we may act as a user who may not."""
    return records(open(paths(user, name)[0], "rb"))


def records(source):
    with source:
        for block in iter(lambda: source.read(RECORD.size * BUFFERED), b""):
            yield from RECORD.iter_unpack(block)


def base_name(record, suffix):
    """File name without flags of the message a record describes; suffix as maildir.FolderWriter makes it."""
    return b"%d.M%d%b%d,W=%d" % (record[2], record[0], suffix, record[4], record[5])


def save(user, name, state):
    path = paths(user, name)[1]
    state = dict(state, version=VERSION, tree_id=user["tree_id"], host=user["host"])
    with open(path + b".new", "w") as target:
        json.dump(state, target, default=lambda value: {"bytes": value.decode("latin-1")})
    os.rename(path + b".new", path)


def restore(values):
    """json's object hook: bytes come back."""
    return values["bytes"].encode("latin-1") if set(values) == {"bytes"} and isinstance(values["bytes"], str) else values


def load(user, name):
    """The state of a staged folder, or None when there is none that can be believed."""
    index_path, state_path = paths(user, name)
    try:
        with open(state_path) as source:
            state = json.load(source, object_hook=restore)
        if (state["version"], state["tree_id"], state["host"]) != (VERSION, user["tree_id"], user["host"]):
            return None
        directory = os.path.join(os.fsencode(user["staging"]), existing.folder_directory(name))
        if state["tree"] != tree_stamp(directory) or os.path.getsize(index_path) != state["index"][0] * RECORD.size:
            return None
        return state
    except (OSError, ValueError, KeyError, TypeError):
        return None


def intact(user, name, state):
    """Whether the index still has the checksum it was left with."""
    crc = 0
    with open(paths(user, name)[0], "rb") as source:
        for block in iter(lambda: source.read(1 << 20), b""):
            crc = zlib.crc32(block, crc)
    return crc == state["index"][1]


def forget(user, name):
    """Say that a folder is about to be changed by other hands than a pass."""
    for path in paths(user, name):
        if os.path.exists(path):
            os.unlink(path)


def forget_state(user, name):
    """From here on the folder is in between: a crash makes the next pass write it anew."""
    path = paths(user, name)[1]
    if os.path.exists(path):
        os.unlink(path)


def letters(keywords, flags, bits):
    """Flag and keyword letters of a message file."""
    return maildir.LETTERS_BY_FLAGS[flags & 0x2f] + keywords.letters(bits & keywords.known)
