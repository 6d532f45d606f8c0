"""CRLF line ends of the old store to the LF line ends a Maildir keeps, and the size IMAP shows."""

import io
import itertools

from mbx2maildir import files
from mbx2maildir.patterns import Pattern

LF_AFTER_CR = Pattern(rb"(?<!\r)\r\n")


def to_lf(text, decoder=io.IncrementalNewlineDecoder):
    """Text with CRLF line ends → (as stored, its size as IMAP shows it).

    Dovecot gives a CR back to each LF that has none; so a CRLF stays one where the byte before it
    is a CR, and the way back is exact, but for bare LFs, which no LF storage can tell from line
    ends. The decoder is C code, three times as fast as bytes.replace, and says whether any line end
    was not CRLF.
    """
    newlines = decoder(None, True)
    stored = newlines.decode(text.decode("latin-1"), True).encode("latin-1")
    if newlines.newlines == "\r\n" or newlines.newlines is None:
        return stored, len(text)
    stored = LF_AFTER_CR.sub(b"\n", text)
    return stored, virtual_size(stored)


def virtual_size(stored):
    """Bytes of a stored text as IMAP shows it (RFC822.SIZE)."""
    size = len(stored) + stored.count(b"\n")
    return size - stored.count(b"\r\n") if b"\r" in stored else size


def copy_lf(texts, target):
    """Write CRLF text that comes in pieces, with LF line ends → (bytes written, bytes as IMAP shows
    them)."""
    length = virtual = 0
    before = b""  # the last byte written: to_lf() must see whether a CR came before
    held = b""  # a CR at the end of a piece waits for what follows
    for piece in itertools.chain(texts, (None,)):
        at_end = piece is None
        piece, held = held + (piece or b""), b""
        if not at_end and piece.endswith(b"\r"):
            piece, held = piece[:-1], b"\r"
        if before == b"\r":
            stored, size = to_lf(before + piece)
            stored, size = stored[1:], size - 1
        else:
            stored, size = to_lf(piece)
        virtual += size
        files.write_all(target, stored)
        length += len(stored)
        before = stored[-1:] or before
    return length, virtual


def copy_plain(texts, target):
    """Write text with LF line ends and no CRs that comes in pieces → (bytes written, bytes as IMAP
    shows them)."""
    length = virtual = 0
    for piece in texts:
        files.write_all(target, piece)
        length += len(piece)
        virtual += len(piece) + piece.count(b"\n")
    return length, virtual
