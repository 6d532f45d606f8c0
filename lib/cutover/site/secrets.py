"""Secrets by reference, and the registry of values that must never be shown.

Registered values are removed before a cell, a log or the journal shows them. Each has a label that
does not change, `‹secret alice›`, so that a text without it still says which secret it was. All
spellings in which a value may travel (JSON, HTML, URL, base64, a Python literal) are removed.
"""

import base64
import contextlib
import html
import json
import operator
import os
import re
import threading
import urllib.parse
from pathlib import Path
from typing import Any

from cutover.model import errors

SHORTEST = 4  # characters; a shorter secret cannot be distinguished from ordinary text

_labels = {}  # spelling → label
_pattern = None
_lock = threading.Lock()


class SecretUnreadable(errors.CutoverError):
    """A secret that the parameters refer to cannot be read."""


def secret(reference: str) -> str:
    """The value behind `file:/path` or `env:NAME`, registered. Raises SecretUnreadable.

    Never store or print it.
    """
    scheme, _, rest = reference.partition(":")
    if scheme == "env":
        value = os.environ.get(rest)
        if value is None:
            raise SecretUnreadable(f"{reference}: the environment variable is not set")
    else:
        try:
            value = Path(rest).read_text().rstrip("\n")
        except OSError as error:
            raise SecretUnreadable(f"{reference}: {error.strerror}") from error
        except UnicodeDecodeError as error:
            raise SecretUnreadable(f"{reference}: not text") from error
    try:
        register(Path(rest).name, value)
    except ValueError as error:
        raise SecretUnreadable(
            f"{reference}: {error}, so it cannot be kept out of the record. Choose a longer one."
        ) from error
    return value


def register(name: str, value: str) -> None:
    """From now on show `value` as `‹secret name›`."""
    global _pattern
    if len(value) < SHORTEST:
        raise ValueError(f"the secret {name} is shorter than {SHORTEST} characters")
    label = "‹secret " + re.sub(r"[^A-Za-z0-9_.@-]", "_", name)[:64] + "›"
    with _lock:
        for spelling in _spellings(value):
            if len(spelling) >= SHORTEST:
                _labels.setdefault(spelling, label)
        # longest first: a secret may contain another
        longest_first = sorted(_labels, key=len, reverse=True)
        _pattern = re.compile("|".join(re.escape(spelling) for spelling in longest_first))


def _spellings(value: str) -> list[str]:
    raw = value.encode("utf-8", "surrogateescape")
    spellings = [
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
        # base64 of a longer text that contains the value, for each of its three possible offsets in
        # a group; characters that also depend on the neighbours are left out
        coded = base64.b64encode(b"\0" * before + raw).decode().rstrip("=")
        spellings.append(coded[(before * 8 + 5) // 6 : (before + len(raw)) * 8 // 6])
    return spellings


def redact(text: str) -> str:
    """The text with every registered value replaced by its label."""
    pattern = _pattern
    return text if pattern is None else pattern.sub(lambda match: _labels[match[0]], text)


def redact_bytes(data: bytes) -> bytes:
    """The same for a file's content, whatever its bytes."""
    if _pattern is None:
        return data
    return redact(data.decode("utf-8", "surrogateescape")).encode("utf-8", "surrogateescape")


def redact_value(value: Any) -> Any:
    """The same for plain JSON, keys included. What holds none is not copied: facts may be large."""
    if _pattern is None:
        return value
    if isinstance(value, str):
        return redact(value)
    if isinstance(value, dict):
        clean = {
            redact(key) if isinstance(key, str) else key: redact_value(item)
            for key, item in value.items()
        }
        return value if _same(value, clean) and _same(value.values(), clean.values()) else clean
    if isinstance(value, list | tuple):
        clean = type(value)(redact_value(item) for item in value)
        return value if _same(value, clean) else clean
    return value


def _same(before, after):
    return all(map(operator.is_, before, after))


@contextlib.contextmanager
def apart():
    """Forget at the end what was registered within; for tests."""
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
