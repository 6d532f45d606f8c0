"""CRLF line ends of the old store to the LF line ends a Maildir keeps, and the size IMAP shows."""

import io
import itertools
import os

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


class LongText:
    """A text too large to be held: header (bytes, as stored), and the range of the file that
    follows it.

    crlf: it is kept as it stands, CRs and all; else its CRs go, as c-client's mbox drivers do.
    Attributes: size (bytes before line ends are changed), virtual (as IMAP shows it; with crlf, as
    the old file counts it).
    """

    def __init__(self, fd, header, offset, size, crlf=False):
        self.fd, self.header, self.range, self.crlf = fd, header, (offset, size), crlf
        self.size = self.virtual = len(header) + size
        if not crlf:
            self.size = self.virtual = 0
            for piece in self.pieces():
                self.size += len(piece)
                self.virtual += len(piece) + piece.count(b"\n")

    def pieces(self):
        """The text in pieces."""
        yield self.header
        for piece in files.pieces(self.fd, *self.range):
            yield piece if self.crlf else piece.replace(b"\r", b"")


def sizes(text):
    """(bytes as stored, bytes as IMAP shows them) of a text as it is stored, or of a LongText."""
    if isinstance(text, bytes):
        return len(text), virtual_size(text)
    return text.size, text.virtual


def stored_text(fd, offset, size, large):
    """A text with CRLF line ends as bytes with LF line ends, or a LongText above `large` bytes;
    None when the file is shorter."""
    if size > large:
        return LongText(fd, b"", offset, size, crlf=True)
    text = os.pread(fd, size, offset)
    return to_lf(text)[0] if len(text) == size else None


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
        files.write_sparse(target, stored)
        length += len(stored)
        before = stored[-1:] or before
    os.ftruncate(target, length)
    return length, virtual


def copy_plain(texts, target):
    """Write text with LF line ends and no CRs that comes in pieces → (bytes written, bytes as IMAP
    shows them)."""
    length = virtual = 0
    for piece in texts:
        files.write_sparse(target, piece)
        length += len(piece)
        virtual += len(piece) + piece.count(b"\n")
    os.ftruncate(target, length)
    return length, virtual
