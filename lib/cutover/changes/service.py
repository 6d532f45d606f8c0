"""Services stopped and started, live sessions ended."""

import dataclasses
import time
from typing import ClassVar

from cutover import model
from cutover.connect import ssh
from cutover.facts import processes, services


@dataclasses.dataclass(frozen=True)
class ServiceAction(model.Change):
    """Stop or start one service, in a way that a reboot does not undo."""

    kind: ClassVar[str] = "service"
    beside: ClassVar[bool] = True
    host: str
    manager: str
    name: str
    action: str  # "stop" or "start"
    at_boot: bool  # whether it starts at boot when it is on

    @property
    def resource(self):
        return f"service {self.name} on {self.host}"

    def title(self):
        return f"{self.action} {self.name}"

    def _service(self):
        return {"manager": self.manager, "name": self.name}

    def _argvs(self):
        if self.action == "stop":
            return services.stop_argvs(self._service())
        return services.start_argvs(self._service(), starts_at_boot=self.at_boot)

    def describe(self):
        return "\n".join(" ".join(argv) for argv in self._argvs())

    def settled(self, ctx):
        state = services.read(ctx.hosts, self.host, self._service())
        wanted = self.action == "start"
        at_boot = self.at_boot if wanted else False
        return model.Settled(
            state["running"] == wanted and state["starts_at_boot"] == at_boot, state["detail"]
        )

    def apply(self, ctx, report):
        if self.action == "start" and services.read(ctx.hosts, self.host, self._service())[
            "detail"
        ].startswith("active (exited)"):
            # a unit of an init script whose daemon is gone counts as active: systemctl would start nothing
            ctx.hosts.run(
                self.host, services.stop_argvs(self._service())[0], sudo=True, timeout=120
            )
        for argv in self._argvs():
            try:
                ctx.hosts.run(self.host, argv, sudo=True, timeout=120)
            except ssh.CommandFailed as error:
                raise model.ChangeFailed(
                    f"{self.host}: {self.name} does not {self.action}. {error}"
                    f"{self._last_words(ctx.hosts)}. Mend it and run this step again."
                ) from error
        deadline = time.monotonic() + 30
        while True:
            settled = self.settled(ctx)
            if settled.done:
                return settled.detail
            if time.monotonic() > deadline:
                raise model.ChangeFailed(
                    f"{self.host}: after `{self.describe().splitlines()[-1]}` {self.name} is "
                    f"{settled.detail}, expected {'running' if self.action == 'start' else 'stopped'}"
                    f"{self._last_words(ctx.hosts)}. Mend it and run this step again."
                )
            time.sleep(0.3)

    def _last_words(self, hosts):
        said = services.log_end(hosts, self.host, self.name)
        return (
            f". Its log ends: {said}"
            if said
            else f". `journalctl -u {self.name}` there may say why"
        )

    def inverse(self):
        return dataclasses.replace(self, action="start" if self.action == "stop" else "stop")


@dataclasses.dataclass(frozen=True)
class EndSessions(model.Change):
    """End live IMAP sessions that outlive their service (xinetd's children): TERM, then KILL after 10 s."""

    kind: ClassVar[str] = "end-sessions"
    beside: ClassVar[bool] = True
    no_inverse: ClassVar[str] = "a client reconnects by itself; nothing on disk is changed"
    host: str
    commands: list  # process names

    def title(self):
        return f"end live sessions of {', '.join(self.commands)}"

    def describe(self):
        return "\n".join(
            f"kill -TERM (each process named {name}); -KILL after 10 s" for name in self.commands
        )

    def settled(self, ctx):
        alive = processes.running(ctx.hosts, self.host, self.commands)
        return model.Settled(not alive, f"{len(alive)} alive")

    def apply(self, ctx, report):
        ended = 0
        for signal, patience in (("TERM", 10.0), ("KILL", 5.0)):
            alive = processes.running(ctx.hosts, self.host, self.commands)
            ended = max(ended, len(alive))
            if alive:
                ctx.hosts.run(
                    self.host,
                    ["kill", f"-{signal}", *[str(each["pid"]) for each in alive]],
                    sudo=True,
                    check=False,
                )
            deadline = time.monotonic() + patience
            while time.monotonic() < deadline:
                if self.settled(ctx).done:
                    return f"{ended} sessions ended"
                time.sleep(0.2)
        raise model.ChangeFailed(
            f"{self.host}: processes named {', '.join(self.commands)} do not end, even by KILL: "
            f"{processes.running(ctx.hosts, self.host, self.commands)}"
        )
