"""Long lists in short texts."""

from collections.abc import Sequence

SHOWN = 8


def listed(texts: Sequence[str], limit: int = SHOWN) -> str:
    """The first texts, separated by semicolons, and how many more there are."""
    more = f"; and {len(texts) - limit} more" if len(texts) > limit else ""
    return "; ".join(texts[:limit]) + more
