"""A value read from a host, or the reason why it could not be read."""

import dataclasses
from collections.abc import Callable
from typing import Generic, TypeVar

from cutover.model import errors

T = TypeVar("T")


@dataclasses.dataclass(frozen=True)
class Reading(Generic[T]):
    """Either `value` or, when the operator can act on what went wrong, `error`.

    Its JSON form is `{"value": …}` or `{"error": text}`; see facts.to_json.
    """

    value: T | None = None
    error: str | None = None

    @property
    def ok(self) -> bool:
        return self.error is None


def read(function: Callable[..., T], *arguments) -> Reading[T]:
    """Call `function(*arguments)`. A CutoverError or OSError becomes the reading's error."""
    try:
        return Reading(function(*arguments))
    except errors.CutoverError as error:
        return Reading(error=str(error))
    except OSError as error:
        return Reading(error=f"{type(error).__name__}: {error}")
