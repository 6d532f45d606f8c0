"""Folder names on the wire (modified UTF-7, RFC 3501 §5.1.3) and LIST replies."""

import contextlib
import re

from imapclient import imap_utf7


def decode_name(raw: bytes) -> str:
    """A folder name from the wire. What is no proper modified UTF-7 keeps every byte: those that
    are no printable ASCII, and "&", become U+DC00 plus the byte, as Python's surrogateescape does.
    Inverse of encode_name.
    """
    with contextlib.suppress(UnicodeError, ValueError):
        text = imap_utf7.decode(raw)
        if raw.isascii() and imap_utf7.encode(text) == raw:
            return text
    return "".join(
        chr(byte) if 0x20 <= byte <= 0x7E and byte != 0x26 else chr(0xDC00 + byte) for byte in raw
    )


def encode_name(name: str) -> bytes:
    """A folder name for the wire, the very bytes the server listed."""
    if any(0xDC00 <= ord(letter) <= 0xDCFF for letter in name):
        return bytes(ord(letter) & 0xFF for letter in name)
    return imap_utf7.encode(name)


# LIST and LSUB: (flags) delimiter name; imaplib gives the head of a name sent as a literal and the
# literal apart
_LIST = re.compile(rb'\((?P<flags>[^)]*)\) (?:"(?P<delimiter>\\?.)"|NIL) (?P<name>.*)', re.DOTALL)


def _listed(item) -> tuple[str, str | None, bool] | None:
    head, literal = item if isinstance(item, tuple) else (item, None)
    if head is None or not (match := _LIST.fullmatch(head)):
        return None  # None: an empty list; b"": what imaplib leaves after a literal
    name = match["name"] if literal is None else literal
    if literal is None and len(name) >= 2 and name[:1] == name[-1:] == b'"':
        name = re.sub(rb"\\(.)", rb"\1", name[1:-1], flags=re.DOTALL)
    delimiter = match["delimiter"][-1:].decode("latin-1") if match["delimiter"] else None
    return decode_name(name), delimiter, b"\\noselect" not in match["flags"].lower()
