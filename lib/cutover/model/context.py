"""What a step or a change works with: the site's hosts, and what the run knows."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any


def _keep_nothing(name: str, data: bytes) -> None:
    """Outside a recorded run there is no folder to keep a file in."""


@dataclasses.dataclass(frozen=True)
class Context:
    """Passed to `Step.probe`, `Change.settled` and `Change.apply`.

    hosts: connect.hosts.Hosts, which opens connections and nothing else.
    run_name: the run's name; it marks what the run leaves on the hosts.
    chosen: what the operator asked of a step that has choices, by name.
    history: the journal's events so far, oldest first.
    keep: writes a file into the run's folder.
    aside: a directory next to the run's folder, for what the run's record must not hold.
    kept: a Reading of the facts with which a step passed in this run; None if it did not.
    """

    hosts: Any
    run_name: str = "RUN"
    chosen: Mapping[str, str] = dataclasses.field(default_factory=dict)
    history: Sequence[dict] = ()
    keep: Callable[[str, bytes], Any] = _keep_nothing
    aside: Path = Path("RUN.aside")
    kept: Callable[[str], Any] = lambda step: None

    @property
    def site(self):
        """The site whose hosts these are (cutover.site.Site)."""
        return self.hosts.site
