"""A copy of the mail store is made."""

import dataclasses
import time
from typing import ClassVar

from cutover import model
from cutover.connect import ssh
from cutover.facts import backup_copy as backups
from cutover.facts import services

PAUSE = 0.5  # seconds between two looks


@dataclasses.dataclass(frozen=True)
class RunBackup(model.Change):
    """Start the backup's unit and wait for its end. It runs apart from the link: one that is lost is made again."""

    kind: ClassVar[str] = "backup-run"
    no_inverse: ClassVar[str] = "the copy stays on the backup host: a copy is never deleted here"
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
        return (
            f"systemctl start --no-block {self.unit}   (until it has ended, at most {self.wait} s)"
        )

    def settled(self, ctx):
        return model.Settled(False, "a run is made each time it is asked for")

    def apply(self, ctx, report):
        before, began = (backups.last(ctx.hosts) or {}).get("ended"), time.monotonic()
        ctx.hosts.run(self.host, ["systemctl", "start", "--no-block", "--", self.unit], sudo=True)
        while True:
            try:
                state, last = _state(ctx.hosts, self.host, self.unit), backups.last(ctx.hosts)
            except (ssh.LinkLost, ssh.Unreachable, ssh.TimedOut) as error:
                state, last = str(error), None
            if state in ("inactive", "failed"):
                break
            report({"event": "backup", "text": f"copying for {time.monotonic() - began:.0f} s"})
            if time.monotonic() - began > self.wait:
                raise model.ChangeFailed(
                    f"{self.host}: {self.unit} has not ended after {self.wait} s ({state}). It goes on; "
                    "run this step again when it has ended."
                )
            time.sleep(PAUSE)
        if last is None or last["ended"] == before or last["result"] != 0:
            said = last["error"] if last and last["ended"] != before else ""
            raise model.ChangeFailed(
                f"{self.host}: {self.unit} did not end well ({state}). "
                f"{said or services.log_end(ctx.hosts, self.host, self.unit)}. "
                "Mend it and run this step again."
            )
        return told(last)


def _state(hosts, host, unit):
    """A unit's state, "queued" while its start has not begun: it is inactive then as well."""
    said = hosts.run(
        host, ["systemctl", "show", "--property=ActiveState,Job", unit]
    ).text.splitlines()
    values = dict(line.split("=", 1) for line in said if "=" in line)
    return "queued" if values.get("Job", "0") not in ("", "0") else values["ActiveState"]


def told(last: dict) -> str:
    """The figures of a run in a line."""
    copied, received = (sum(each[key] for each in last["passes"]) for key in ("copied", "received"))
    moving = (
        f"; the mail of {last['unsettled']} users moved all the time, {last['kept']} old files of theirs stay"
        if last["unsettled"]
        else ""
    )
    return (
        f"{last['before']} files before, {last['after']} after; {copied} copied, {last['removed']} removed, {received} bytes "
        f"transferred in {last['ended'] - last['began']} s and {len(last['passes'])} passes{moving}"
    )
