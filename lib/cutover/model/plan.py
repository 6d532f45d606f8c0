"""What a step would do: changes in order, or the reason why there is nothing to do."""

import dataclasses

from cutover.model import errors


class CannotPlan(errors.CutoverError):
    """The step has no safe way forward from the current state. The message says what to do."""


@dataclasses.dataclass(frozen=True)
class Plan:
    """Changes in the order in which they are applied; an empty plan says why in `reason`.

    `notes`: (title, text) pairs for the person who approves it. `undoes`, of a rollback: for each
    change the journal's number of the intent it undoes, or None.
    """

    changes: tuple = ()
    reason: str = ""
    notes: tuple = ()
    undoes: tuple = ()

    def __post_init__(self):
        if not self.changes and not self.reason:
            raise ValueError("an empty plan must say why")
