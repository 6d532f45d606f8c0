"""What identifies a message by its text, as IMAP sends it (CRLF line ends)."""

import re

from mbx2maildir.formats import message_key

_MESSAGE_ID = re.compile(rb"^message-id:\s*(<[^>\r\n]*>|\S+)", re.IGNORECASE | re.MULTILINE)


def key(text: bytes) -> bytes:
    """The digest that both copies of a message delivered twice share; see message_key."""
    return message_key.key(text.replace(b"\r\n", b"\n"))


def message_id(text: bytes) -> str:
    """The value of the Message-ID field, angle brackets included; "" when there is none."""
    header = text.replace(b"\r\n", b"\n").partition(b"\n\n")[0]
    match = _MESSAGE_ID.search(header)
    return match[1].decode("utf-8", "backslashreplace") if match else ""
