"""dovecot-uidlist: its first line (UIDVALIDITY, next UID, GUID) and a line per message."""

import io
import os

from mbx2maildir import files
from mbx2maildir.formats import file_names

HEAD_SIZE = (
    80  # bytes kept free at the top of dovecot-uidlist; its numbers are known only at the end
)
LARGEST = 256 << 20
DIGITS, LAST = 10, 0xFFFFFFFF


def write_head(fd, uidvalidity, uidnext, guid):
    """The first line of dovecot-uidlist, padded between its fields to HEAD_SIZE bytes."""
    head = b"3 V%d" % uidvalidity
    rest = b"N%d G%b\n" % (uidnext, guid)
    os.pwrite(fd, head + b" " * (HEAD_SIZE - len(head) - len(rest)) + rest, 0)


def open_lines(path):
    """A folder's dovecot-uidlist, as an open file behind its head."""
    lines = os.fdopen(files.open_regular(os.path.join(path, b"dovecot-uidlist")), "rb")
    lines.readline()
    return lines


def part_name(part):
    return b"dovecot-uidlist.part%d" % part


def guid(*parts):
    """A mailbox GUID (32 hexadecimal digits) that is the same in every pass."""
    import hashlib

    return hashlib.sha256(b"\0".join(parts)).hexdigest()[:32].encode("ascii")


def number(text, largest):
    """A number in the file → int; None when Dovecot would not write it."""
    value = int(text) if len(text) <= DIGITS and text.isdigit() else None
    return value if value is not None and value <= largest else None


def read(directory):
    """dovecot-uidlist → (uidvalidity, next uid, {base name: uid}); (0, 0, {}) without that file.

    Errors: UnreadableMail when something else is there, or more than LARGEST bytes.
    """
    uids, fields = {}, {b"V": 0, b"N": 0}
    try:
        content = files.read_small(os.path.join(directory, b"dovecot-uidlist"), LARGEST)
    except FileNotFoundError:
        return 0, 0, uids
    lines = io.BytesIO(content)
    head = lines.readline()
    if head.startswith(b"3 "):
        for field in head.split()[1:]:
            value = number(field[1:], LAST)
            if field[:1] in fields and value is not None:
                fields[field[:1]] = value
    for line in lines:
        uid, colon, name = line.rstrip(b"\n").partition(b":")
        uid = number(uid.split()[0] if uid.split() else b"", LAST)
        if colon and uid is not None:
            uids[file_names.NAME_FLAGS.match(name).group(1)] = uid
    return fields[b"V"], fields[b"N"], uids
