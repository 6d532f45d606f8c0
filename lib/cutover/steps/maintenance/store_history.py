"""What a run has done so far to move the store, by its journal."""

import dataclasses
import datetime

from cutover.changes.store_switch import SwitchStore


@dataclasses.dataclass(frozen=True)
class Freeze:
    """since: when the run stopped the first service; until: when it had started the last."""

    since: str
    until: str

    @property
    def seconds(self) -> float:
        since, until = map(datetime.datetime.fromisoformat, (self.since, self.until))
        return (until - since).total_seconds()


def _own(events):
    """The step's events since the last rollback that passed."""
    rolled_back = max(
        (
            event["seq"]
            for event in events
            if event["event"] == "verified" and event["step"] == "rollback" and event["passed"]
        ),
        default=-1,
    )
    return [
        event
        for event in events
        if event["seq"] > rolled_back and event.get("step") == "move-store"
    ]


def begun(events) -> bool:
    """Whether the run has begun to switch."""
    return any(
        event["event"] == "intent" and event["change"]["kind"] == SwitchStore.kind
        for event in _own(events)
    )


def freeze(events) -> Freeze | None:
    """The freeze of this run; None while it is not over."""
    own = _own(events)
    intents = {
        event["seq"]: event
        for event in own
        if event["event"] == "intent" and event["change"]["kind"] == "service"
    }
    stops = [event["time"] for event in intents.values() if event["change"]["action"] == "stop"]
    starts = [
        event["time"]
        for event in own
        if event["event"] == "result"
        and event["outcome"] == "done"
        and event["intent"] in intents
        and intents[event["intent"]]["change"]["action"] == "start"
    ]
    if not stops or not starts:
        return None
    return Freeze(min(stops), max(starts))
