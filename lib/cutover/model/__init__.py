"""The vocabulary of every room: Check, Reading, Change, Plan, Step, Context. No I/O."""

from cutover.model.change import (
    KINDS,
    Change,
    ChangeFailed,
    Result,
    Settled,
    UnknownChange,
    change_from_json,
)
from cutover.model.check import Check, equal, holds
from cutover.model.context import Context
from cutover.model.facts import from_json, from_text, gated, lasting, lines, moving, to_json
from cutover.model.plan import CannotPlan, Plan
from cutover.model.reading import Reading, read
from cutover.model.step import Step, as_they_are, logins, the_alias

__all__ = [
    "KINDS",
    "CannotPlan",
    "Change",
    "ChangeFailed",
    "Check",
    "Context",
    "Plan",
    "Reading",
    "Result",
    "Settled",
    "Step",
    "UnknownChange",
    "as_they_are",
    "change_from_json",
    "equal",
    "from_json",
    "from_text",
    "gated",
    "holds",
    "lasting",
    "logins",
    "lines",
    "moving",
    "read",
    "the_alias",
    "to_json",
]
