"""Values that must never be shown: a registry, and their removal at the edge, before a cell, a log or the journal.

Each value has a label that stays the same, `‹secret alice›`, so that a text with it removed still tells which one it was.
Spellings in which a value may travel (JSON, HTML, URL, base64, a Python literal) are removed as well.
"""

import base64
import contextlib
import html
import json
import re
import threading
import urllib.parse

SHORTEST = 4  # characters; a shorter secret cannot be told from ordinary text

_labels = {}  # spelling → label
_pattern = None
_lock = threading.Lock()


def register(name: str, value: str) -> None:
    """From now on `value` shows as `‹secret name›`."""
    global _pattern
    if len(value) < SHORTEST:
        raise ValueError(f"the secret {name} is shorter than {SHORTEST} characters")
    label = "‹secret " + re.sub(r"[^A-Za-z0-9_.@-]", "_", name)[:64] + "›"
    with _lock:
        for spelling in _spellings(value):
            if len(spelling) >= SHORTEST:
                _labels.setdefault(spelling, label)
        # the longest first: a secret may hold another
        _pattern = re.compile(
            "|".join(re.escape(each) for each in sorted(_labels, key=len, reverse=True))
        )


def _spellings(value: str):
    raw = value.encode("utf-8", "surrogateescape")
    found = [
        value,
        json.dumps(value)[1:-1],
        json.dumps(value, ensure_ascii=False)[1:-1],
        repr(value)[1:-1],
        repr(raw)[2:-1],
        html.escape(value),
        html.escape(json.dumps(value)[1:-1]),
        urllib.parse.quote(raw, safe=""),
        urllib.parse.quote_plus(raw),
        *value.splitlines(),
        raw.hex(),
    ]
    for before in range(3):
        # base64 of a longer text that holds the value, at each of the three places it may begin in a group; what shares a
        # group with the neighbours is left off
        coded = base64.b64encode(b"\0" * before + raw).decode().rstrip("=")
        found.append(coded[(before * 8 + 5) // 6 : (before + len(raw)) * 8 // 6])
    return found


def redact(text: str) -> str:
    """The text with every registered value replaced by its label."""
    pattern = _pattern
    return text if pattern is None else pattern.sub(lambda found: _labels[found[0]], text)


def redact_bytes(data: bytes) -> bytes:
    """The same for a file's content, whatever its bytes are."""
    if _pattern is None:
        return data
    return redact(data.decode("utf-8", "surrogateescape")).encode("utf-8", "surrogateescape")


def redact_value(value):
    """The same for plain JSON, keys included."""
    if _pattern is None:
        return value
    if isinstance(value, str):
        return redact(value)
    if isinstance(value, dict):
        return {
            redact(key) if isinstance(key, str) else key: redact_value(each)
            for key, each in value.items()
        }
    if isinstance(value, list | tuple):
        return type(value)(redact_value(each) for each in value)
    return value


@contextlib.contextmanager
def apart():
    """What is registered within is forgotten at the end; for tests."""
    global _pattern
    before = dict(_labels), _pattern
    try:
        yield
    finally:
        with _lock:
            _labels.clear()
            _labels.update(before[0])
            _pattern = before[1]


def forget() -> None:
    """Empty the registry; for tests."""
    global _pattern
    with _lock:
        _labels.clear()
        _pattern = None
