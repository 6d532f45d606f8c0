"""Make a copy of the mail store."""

import dataclasses
import time
from typing import ClassVar

from cutover import model
from cutover.connect import ssh
from cutover.facts import backup_copy, services

PAUSE = 0.5  # seconds between two looks


@dataclasses.dataclass(frozen=True)
class RunBackup(model.Change):
    """Start the backup's unit and wait for its end. It survives a lost connection."""

    kind: ClassVar[str] = "backup-run"
    no_inverse: ClassVar[str] = "the copy stays on the backup host: a copy is never deleted"
    host: str
    unit: str
    copy: str  # directory of the copy
    wait: int  # seconds

    @property
    def resource(self):
        return f"{self.copy} on {self.host}"

    def title(self):
        return f"copy the mail store to {self.copy}"

    def describe(self):
        return f"systemctl start --no-block {self.unit}   (until it ends, at most {self.wait} s)"

    def settled(self, ctx):
        return model.Settled(False, "each attempt makes a copy")

    def apply(self, ctx, report):
        former = backup_copy.last_run(ctx.hosts)
        ctx.hosts.run(self.host, ["systemctl", "start", "--no-block", "--", self.unit], sudo=True)
        state, last = self._follow(ctx.hosts, report)
        if last is None or (former and last.ended == former.ended):
            reason = services.log_end(ctx.hosts, self.host, self.unit)
        elif last.succeeded:
            return model.Result(last.in_words(), dataclasses.asdict(last))
        else:
            reason = last.error or services.log_end(ctx.hosts, self.host, self.unit)
        raise model.ChangeFailed(
            f"{self.unit} on {self.host} failed ({state}): {reason}. Fix this and run this step "
            "again."
        )

    def _follow(self, hosts, report):
        """The unit's state and the report of the last run, once the unit has ended."""
        began = time.monotonic()
        while True:
            try:
                state = _state(hosts, self.host, self.unit)
                last = backup_copy.last_run(hosts)
            except (ssh.LinkLost, ssh.Unreachable, ssh.TimedOut) as error:
                state, last = str(error), None
            if state in ("inactive", "failed"):
                return state, last
            report({"event": "backup", "text": f"copying for {time.monotonic() - began:.0f} s"})
            if time.monotonic() - began > self.wait:
                raise model.ChangeFailed(
                    f"{self.unit} on {self.host} has not ended after {self.wait} s ({state}). It "
                    "still runs: run this step again when it has ended."
                )
            time.sleep(PAUSE)


def _state(hosts, host, unit):
    """A unit's state; "queued" while its start has not begun: it is inactive then as well."""
    argv = ["systemctl", "show", "--property=ActiveState,Job", unit]
    lines = model.lines(hosts.run(host, argv).text)
    values = dict(line.split("=", 1) for line in lines if "=" in line)
    return "queued" if values.get("Job", "0") not in ("", "0") else values["ActiveState"]
