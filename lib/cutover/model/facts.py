"""The one JSON form of facts: dataclasses in the code, plain JSON in the run's folder.

A fact that moves by itself while nothing is wrong (a size, a serial, live sessions) is declared
with `moving()`. An approved plan depends on the rest (`lasting`).
"""

import dataclasses
import functools
import json
from typing import Any

import pydantic

from cutover.model.reading import Reading


def moving(**options) -> Any:
    """A dataclass field that no plan depends on."""
    return dataclasses.field(metadata={"moving": True}, **options)


def gated(**options) -> Any:
    """A moving field that only the step's gate judges; pages show it in brief."""
    return dataclasses.field(metadata={"moving": True, "gated": True}, **options)


def lines(text: str) -> list[str]:
    """The lines of what a program wrote. str.splitlines also splits at a CR, VT, FF, U+0085, …,
    which names and texts of users hold."""
    return text.removesuffix("\n").split("\n") if text else []


def to_json(facts: Any) -> Any:
    """Facts as plain JSON. Values that are JSON already stay as they are."""
    return _plain(facts, lambda field: True)


def lasting(facts: Any) -> Any:
    """The JSON of facts without the fields declared with moving()."""
    return _plain(facts, lambda field: not field.metadata.get("moving"))


def from_json(kind: type, data: Any) -> Any:
    """Facts of the class `kind` from their JSON. Raises pydantic.ValidationError."""
    return _adapter(kind).validate_python(data)


def from_text(kind: type, text: bytes) -> Any:
    """Facts of the class `kind` from the text of their JSON. Raises ValueError.

    It takes half the memory: facts of thousands of users never become Python's dicts.
    """
    try:
        return _adapter(kind).validate_json(text)
    except pydantic.ValidationError:
        # it reads no name with a byte that is not UTF-8, which is half of a surrogate pair here
        return from_json(kind, json.loads(text))


@functools.cache
def _adapter(kind):
    return pydantic.TypeAdapter(kind)


def _plain(value, keep):
    if isinstance(value, Reading):
        return {"value": _plain(value.value, keep)} if value.ok else {"error": value.error}
    if dataclasses.is_dataclass(value):
        return {
            field.name: _plain(getattr(value, field.name), keep)
            for field in dataclasses.fields(value)
            if keep(field)
        }
    if isinstance(value, dict):
        return {key: _plain(item, keep) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        items = sorted(value) if isinstance(value, set | frozenset) else value
        return [_plain(item, keep) for item in items]
    return value
