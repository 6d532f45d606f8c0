"""One question about the hosts: what was expected, what is so, and what to do if it is wrong."""

import dataclasses
from collections.abc import Mapping
from typing import Any


@dataclasses.dataclass(frozen=True)
class Check:
    """What a person reads is in `question`, `expected`, `actual` and `todo`. Code reads the rest.

    id: stable name of the check, from the frozen list; the same for every subject.
    subject: the host, user or folder it is about, or "".
    data: figures and names behind `actual`, as plain JSON.
    warning: passed, but worth a look.
    """

    question: str
    expected: str
    actual: str
    passed: bool
    todo: str = ""
    warning: bool = False
    id: str = dataclasses.field(kw_only=True)
    subject: str = ""
    data: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    @property
    def mark(self) -> str:
        return "FAIL" if not self.passed else "warn" if self.warning else "ok"


def equal(question: str, expected, actual, todo: str = "", **more) -> Check:
    """A Check that passes when both values are the same, which it shows as text.

    more: its id, subject, data.
    """
    return Check(question, str(expected), str(actual), expected == actual, todo, **more)


def holds(
    question: str, passed: bool, expected: str, otherwise: str, todo: str = "", **more
) -> Check:
    """A Check of a condition: it shows `expected` when passed, else `otherwise`."""
    return Check(question, expected, expected if passed else otherwise, passed, todo, **more)
