"""What a server said, as text for a message."""

import re


def plain(error: Exception) -> str:
    """The server's words from an exception: imaplib puts bytes into it as b'…'."""
    return re.sub(r"""\bb(['"])(.*)\1""", r"\2", str(error)) or type(error).__name__


def words(data) -> str:
    parts = [part for part in data or () if isinstance(part, bytes)]
    return "; ".join(part.decode("utf-8", "backslashreplace") for part in parts)
