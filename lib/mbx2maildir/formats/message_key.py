"""The key by which a message delivered to both hosts is recognised as one.

Both copies left the same MX; the hosts that delivered them put different trace fields on top, may
escape "From " at line starts, and may end the text with different blank lines. So the key is
SHA-256 over
  - the header fields in order, without the TRACE fields (wherever they stand), CR dropped; then
  - a NUL, and the text after the header without any CR, LF or ">".
Two messages that differ only there are the same mail twice: that is why both sides are compared as
multisets.
"""

import os

from mbx2maildir.patterns import Pattern

TRACE = frozenset(
    (
        b"received",
        b"return-path",
        b"delivered-to",
        b"x-original-to",
        b"envelope-to",
        b"delivery-date",
        b"x-envelope-to",
        b"x-envelope-from",
        b"lines",
        b"content-length",
        b"status",
        b"x-status",
        b"x-keywords",
        b"x-uid",
        b"x-imap",
        b"x-imapbase",
    )
)
FIELD = Pattern(rb"([^\n:]*)[^\n]*\n?(?:[ \t][^\n]*\n?)*")
DROPPED = b">\r\n"
PIECE = 1 << 20


def header_end(stored):
    """Offset behind the header of a text with LF line ends (the empty line included); its length
    when there is none."""
    if stored.startswith(b"\n"):
        return 1
    end = stored.find(b"\n\n")
    return len(stored) if end < 0 else end + 2


def header_hash(header):
    """A hash object fed with the header block."""
    import hashlib

    digest = hashlib.sha256()
    for match in FIELD.finditer(header.replace(b"\r", b"")):
        field = match.group()
        if (
            field
            and field != b"\n"
            and not field.startswith(b"From ")
            and match.group(1).lower() not in TRACE
        ):
            digest.update(field.rstrip(b"\n") + b"\n")
    digest.update(b"\0")
    return digest


def key(stored):
    """The key of a text with LF line ends (32 bytes)."""
    end = header_end(stored)
    digest = header_hash(stored[:end])
    digest.update(stored[end:].translate(None, DROPPED))
    return digest.digest()


def key_of_file(fd):
    """The key of a message file, read in pieces; its line ends may be LF or CRLF.

    → (key, range of the body_length() the other copy may have: "From " lines may be escaped there
    or here).
    """
    head = os.pread(fd, PIECE, 0)
    if b"\r\n" in head:
        head = head.replace(b"\r\n", b"\n")
    end = header_end(head)
    digest = header_hash(head[:end])
    body = head[end:]
    plain = escaped = trailing = length = 0
    position = PIECE
    before = b"\n"
    while body:
        digest.update(body.translate(None, DROPPED))
        body = body.replace(b"\r", b"")
        seen = before + body
        escaped += seen.count(b"\n>From ")
        plain += seen.count(b"\nFrom ")
        length += len(body)
        stripped = body.rstrip(b"\n")
        trailing = len(body) - len(stripped) + (0 if stripped else trailing)
        before = seen[-7:]
        body = os.pread(fd, PIECE, position)
        position += len(body)
    length -= trailing
    return digest.digest(), range(length - escaped, length + plain + 1)


def body_length(stored):
    """Bytes of the body without blank lines at its end: a cheap first comparison before the key is
    worked out."""
    end = header_end(stored)
    length = len(stored)
    if stored[-1:] == b"\n":
        length = len(stored.rstrip(b"\n")) if stored[-2:-1] == b"\n" else length - 1
    length = max(0, length - end)
    return length - stored.count(b"\r", end) if b"\r" in stored else length
