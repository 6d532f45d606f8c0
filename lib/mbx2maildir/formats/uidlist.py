"""dovecot-uidlist: its first line (UIDVALIDITY, next UID, GUID) and a line per message."""

import os

from mbx2maildir.formats import file_names

HEAD_SIZE = (
    80  # bytes kept free at the top of dovecot-uidlist; its numbers are known only at the end
)


def write_head(fd, uidvalidity, uidnext, guid):
    """The first line of dovecot-uidlist, padded between its fields to HEAD_SIZE bytes."""
    head = b"3 V%d" % uidvalidity
    rest = b"N%d G%b\n" % (uidnext, guid)
    os.pwrite(fd, head + b" " * (HEAD_SIZE - len(head) - len(rest)) + rest, 0)


def open_lines(path):
    """A folder's dovecot-uidlist, as an open file behind its head."""
    lines = open(os.path.join(path, b"dovecot-uidlist"), "rb")  # noqa: SIM115
    lines.readline()
    return lines


def part_name(part):
    return b"dovecot-uidlist.part%d" % part


def guid(*parts):
    """A mailbox GUID (32 hexadecimal digits) that is the same in every pass."""
    import hashlib

    return hashlib.sha256(b"\0".join(parts)).hexdigest()[:32].encode("ascii")


def read(directory):
    """dovecot-uidlist → (uidvalidity, next uid, {base name: uid}); (0, 0, {}) when there is
    none."""
    uidvalidity = uidnext = 0
    uids = {}
    path = os.path.join(directory, b"dovecot-uidlist")
    if not os.path.exists(path):
        return 0, 0, uids
    with open(path, "rb") as lines:
        head = lines.readline()
        if head.startswith(b"3 "):
            for field in head.split()[1:]:
                if field[:1] in (b"V", b"N") and field[1:].isdigit():
                    if field[:1] == b"V":
                        uidvalidity = int(field[1:])
                    else:
                        uidnext = int(field[1:])
        for line in lines:
            uid, colon, name = line.rstrip(b"\n").partition(b":")
            uid = uid.split()[0] if uid.split() else b""
            if colon and uid.isdigit():
                uids[file_names.NAME_FLAGS.match(name).group(1)] = int(uid)
    return uidvalidity, uidnext, uids
