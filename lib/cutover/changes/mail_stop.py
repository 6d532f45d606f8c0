"""Delivery stopped on both mail hosts in the right order, without waiting for the first to end."""

import dataclasses
import time
from typing import ClassVar

from cutover import model
from cutover.changes.mail import DrainQueue
from cutover.facts import ports


@dataclasses.dataclass(frozen=True)
class DrainOnceClosed(DrainQueue):
    """Drain queues once a mail host takes no more mail, while its service is still stopping.

    host: whose service stops next, as changes at one host follow each other.
    """

    kind: ClassVar[str] = "drain-once-closed"
    beside: ClassVar[str] = "services"
    closed: str = dataclasses.field(kw_only=True)
    host: str = dataclasses.field(kw_only=True)

    @property
    def target(self):
        return self.host

    def describe(self):
        listens = f"cat /proc/net/tcp /proc/net/tcp6 (on {self.closed}, until port 25 is closed)"
        return f"{listens}\non {', '.join(self.queues)}: {super().describe()}"

    def apply(self, ctx, report) -> model.Result:
        deadline = time.monotonic() + self.wait
        while ports.listens(ctx.hosts, self.closed, 25):
            if time.monotonic() > deadline:
                raise model.ChangeFailed(
                    f"{self.closed} still listens at port 25 after {self.wait} s. Run `ss -tlnp` "
                    "there to see which process does. Stop it, then run this step again."
                )
            time.sleep(0.02)
        return super().apply(ctx, report)
