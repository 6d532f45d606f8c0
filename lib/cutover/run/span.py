"""A time that is not known exactly: at best, likely, at worst."""

import dataclasses
import statistics
from collections.abc import Iterable, Mapping

from cutover.record import history

FLOOR_PART, FLOOR_SECONDS = 0.2, 0.5  # a span is never narrower than this on either side


@dataclasses.dataclass(frozen=True)
class Span:
    """Seconds: at best, likely, at worst."""

    low: float = 0.0
    likely: float = 0.0
    high: float = 0.0

    def __add__(self, other: "Span") -> "Span":
        return Span(self.low + other.low, self.likely + other.likely, self.high + other.high)

    def __mul__(self, factor: float) -> "Span":
        return Span(self.low * factor, self.likely * factor, self.high * factor)

    def __str__(self):
        low, likely, high = map(history.duration, (self.low, self.likely, self.high))
        return f"{low} to {high}, likely {likely}"

    @classmethod
    def of(cls, values: Iterable[float]) -> "Span":
        """Least, median, most."""
        values = list(values)
        return cls(min(values), statistics.median(values), max(values))

    @classmethod
    def sum(cls, spans: Iterable["Span"]) -> "Span":
        return sum(spans, cls())

    @classmethod
    def from_json(cls, figures: Mapping[str, float]) -> "Span":
        return cls(figures["low"], figures["likely"], figures["high"])

    def wide(self) -> "Span":
        """The same, at least as wide as the floor."""
        part, seconds = FLOOR_PART * self.likely, FLOOR_SECONDS
        return Span(
            max(0.0, min(self.low, self.likely - part, self.likely - seconds)),
            self.likely,
            max(self.high, self.likely + part, self.likely + seconds),
        )

    def as_json(self) -> dict[str, float]:
        return {
            "low": round(self.low, 2),
            "likely": round(self.likely, 2),
            "high": round(self.high, 2),
        }
