"""What a plan is made of. A change describes itself exactly, applies itself, and gives its inverse.

Every change is a frozen dataclass of plain values, so that one journal line holds all of it
(`to_json` and `change_from_json`). `settled` asks the host whether the change is already done: so a
rerun and a rollback recognise finished work. A change without an inverse says why in `no_inverse`.
"""

import dataclasses
from typing import ClassVar

from cutover.model import errors

KINDS = {}


class ChangeFailed(errors.CutoverError):
    """A change was refused or had no effect. The message says what the state is now."""


class UnknownChange(errors.CutoverError):
    """A journal has a change of a kind that this version does not know."""


@dataclasses.dataclass(frozen=True)
class Settled:
    """done: the change has already been made. detail: what the host shows."""

    done: bool
    detail: str


@dataclasses.dataclass(frozen=True)
class Result:
    """The result of applying a change: `text` for people, `figures` (plain JSON) for code."""

    text: str
    figures: dict = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class Change:
    kind: ClassVar[str] = ""
    no_inverse: ClassVar[str] = ""
    # runs at the same time as changes of the same word in other lanes; "" never does
    beside: ClassVar[str] = ""

    def __init_subclass__(cls, **kwargs):
        super().__init_subclass__(**kwargs)
        KINDS[cls.kind] = cls

    @property
    def target(self) -> str:
        """The host, or hosts, the change touches."""
        return self.host

    @property
    def lane(self) -> str:
        """Changes of one lane follow each other: those at the same host, as a rule."""
        return self.target

    @property
    def resource(self) -> str:
        """What it changes. Changes of a run to the same resource are undone in reverse order."""
        return f"{self.kind} {self.target}"

    def title(self) -> str:
        raise NotImplementedError

    def describe(self) -> str:
        """The exact commands, DNS update or diff, as text of one or more lines."""
        raise NotImplementedError

    def settled(self, ctx) -> Settled:
        raise NotImplementedError

    def apply(self, ctx, report) -> Result:
        """Do it. `report(dict)` takes progress events. Raises CutoverError."""
        raise NotImplementedError

    def inverse(self):
        """The change that undoes this one, or None, and then `no_inverse` says why."""
        return None

    def to_json(self) -> dict:
        return {"kind": self.kind, **dataclasses.asdict(self)}

    def undo_text(self) -> str:
        inverse = self.inverse()
        return inverse.describe() if inverse else f"none: {self.no_inverse}"


def change_from_json(data: dict) -> Change:
    fields = dict(data)
    kind = fields.pop("kind", None)
    if kind not in KINDS:
        raise UnknownChange(
            f"the journal has a change of kind {kind!r}, which this version does not know. "
            "Use the version the run began with."
        )
    return KINDS[kind](**fields)
