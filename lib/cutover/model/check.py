"""A module a step: `ID`, `TITLE`, `REQUIRES`, `REVERSIBLE`, `probe`, `plan`, `verify`.

`probe(hosts, site) -> dict` reads the world and changes nothing; its answer is plain JSON. `plan(facts, site) ->
changes.Plan` is pure. `verify(facts, site) -> [Check]` judges fresh facts. There is no apply: the engine applies the
plan's changes. The engine adds `run`, the run's name, to the facts.

What some steps say besides: `ONLY_READS`: it never plans a change, and is judged by the facts it read a moment ago, since reading
all mail once more would tell nothing new. `gate(facts, site) -> [Check]`: go or no-go, judged before the plan and again before
the first change; nothing is changed unless each check passed. `PREDICTS`: after it the outage is predicted (run/predict.py).
"""

import dataclasses

from cutover.model import errors


class CannotPlan(errors.CutoverError):
    """The world is in a state from which this step has no safe way; the message says what was found and what to do."""


@dataclasses.dataclass(frozen=True)
class Check:
    """One question: what was expected, what was found, whether that will do, and what to do if not."""

    question: str
    expected: str
    actual: str
    passed: bool
    todo: str = ""
    warning: bool = False  # passed, but worth a look

    @property
    def mark(self) -> str:
        return "FAIL" if not self.passed else "warn" if self.warning else "ok"


def equal(question: str, expected, actual, todo: str = "") -> Check:
    """A Check that passes when both texts are the same."""
    return Check(question, str(expected), str(actual), str(expected) == str(actual), todo)


def attempt(function, *arguments):
    """`{"value": …}` or, where the operator can act on what went wrong, `{"error": text}`."""
    try:
        return {"value": function(*arguments)}
    except errors.CutoverError as error:
        return {"error": str(error)}
    except OSError as error:
        return {"error": f"{type(error).__name__}: {error}"}
