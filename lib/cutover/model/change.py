"""What a plan is made of. A change describes itself exactly, applies itself, and gives its inverse.

Every change is a frozen dataclass of plain values, so that a journal line holds it whole: `to_json` and `change_from_json`.
`settled` asks the world whether it already is as the change would leave it; this is how a rerun and a rollback
recognise work that is done. What has no inverse says why in `no_inverse`; there is no silent empty one.
"""

import dataclasses
from typing import ClassVar

from cutover.model import errors

KINDS = {}


class ChangeFailed(errors.CutoverError):
    """A change was refused or did not have its effect; the message says what is so now."""


class UnknownChange(errors.CutoverError):
    """A journal holds a change of a kind this version does not know."""


@dataclasses.dataclass(frozen=True)
class Settled:
    """`done`: the world is already as the change would leave it; `detail` says what was seen."""

    done: bool
    detail: str


@dataclasses.dataclass(frozen=True)
class Result:
    """What applying a change gave: `text` for people, `figures` (plain JSON) for code."""

    text: str
    figures: dict = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class Change:
    kind: ClassVar[str] = ""
    no_inverse: ClassVar[str] = ""
    beside: ClassVar[bool] = (
        False  # may go on while other changes of this kind go on at other hosts
    )

    def __init_subclass__(cls, **kwargs):
        super().__init_subclass__(**kwargs)
        KINDS[cls.kind] = cls

    @property
    def target(self) -> str:
        """The host, or hosts, the change touches."""
        return self.host

    @property
    def resource(self) -> str:
        """What of the world it changes; the changes of one run to one resource undo each other in their reverse order."""
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
            f"the journal holds a change of kind {kind!r}, which this version does not know; "
            "use the version the run began with"
        )
    return KINDS[kind](**fields)
