"""Services stopped and started, live sessions ended."""

import dataclasses
import time
from collections.abc import Sequence
from typing import ClassVar

from cutover import model
from cutover.connect import ssh
from cutover.facts import processes, services

SETTLING = 30.0  # seconds until a service must be as its command leaves it


def stop_all(host: str, listed: Sequence[services.Service]) -> list["ServiceAction"]:
    """The changes that stop what runs, or would run after a reboot."""
    return [
        ServiceAction(host, service.manager, service.name, "stop", service.starts_at_boot)
        for service in listed
        if not service.off
    ]


def start_all(host: str, listed: Sequence[services.Service]) -> list["ServiceAction"]:
    """The changes that start what does not run and start at boot; last stopped, first started."""
    return [
        ServiceAction(host, service.manager, service.name, "start", True)
        for service in reversed(listed)
        if not service.on
    ]


@dataclasses.dataclass(frozen=True)
class ServiceAction(model.Change):
    """Stop or start one service, in a way that a reboot does not undo."""

    kind: ClassVar[str] = "service"
    beside: ClassVar[str] = "services"
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

    def _argvs(self):
        if self.action == "stop":
            return services.stop_argvs(self.manager, self.name)
        return services.start_argvs(self.manager, self.name, starts_at_boot=self.at_boot)

    def describe(self):
        return "\n".join(" ".join(argv) for argv in self._argvs())

    def _state(self, ctx):
        return services.state(ctx.hosts, self.host, self.manager, self.name)

    def settled(self, ctx):
        state, on = self._state(ctx), self.action == "start"
        at_boot = self.at_boot if on else False
        done = state.running == on and state.starts_at_boot == at_boot
        return model.Settled(done, state.detail)

    def apply(self, ctx, report) -> model.Result:
        argvs = self._argvs()
        if self.action == "start" and self._state(ctx).exited:
            # systemctl would start nothing: it takes such a unit for active
            stop = services.stop_argvs(self.manager, self.name)[0]
            ctx.hosts.run(self.host, stop, sudo=True, timeout=120)
        for argv in argvs:
            try:
                ctx.hosts.run(self.host, argv, sudo=True, timeout=120)
            except ssh.CommandFailed as error:
                raise model.ChangeFailed(
                    f"{self.host}: {self.name} does not {self.action}. {error}. "
                    f"{self._log_end(ctx.hosts)} Fix the cause and run this step again."
                ) from error
        deadline = time.monotonic() + SETTLING
        while True:
            settled = self.settled(ctx)
            if settled.done:
                return model.Result(settled.detail)
            if time.monotonic() > deadline:
                goal = "running" if self.action == "start" else "stopped"
                raise model.ChangeFailed(
                    f"{self.host}: after `{' '.join(argvs[-1])}` {self.name} is {settled.detail}, "
                    f"expected {goal}. "
                    f"{self._log_end(ctx.hosts)} Fix the cause and run this step again."
                )
            time.sleep(0.3)

    def _log_end(self, hosts):
        lines = services.log_end(hosts, self.host, self.name)
        if lines:
            return f"Its log ends: {lines}."
        if self.manager == "systemd":
            return f"See `journalctl -u {self.name}` there."
        return "See /var/log/messages and /var/log/maillog there."

    def inverse(self):
        return dataclasses.replace(self, action="start" if self.action == "stop" else "stop")


@dataclasses.dataclass(frozen=True)
class EndSessions(model.Change):
    """End live IMAP sessions that outlive their service, as xinetd's do: TERM, KILL after 10 s."""

    kind: ClassVar[str] = "end-sessions"
    beside: ClassVar[str] = "services"
    no_inverse: ClassVar[str] = "clients reconnect by themselves; nothing on disk changes"
    host: str
    commands: list  # process names

    def title(self):
        return f"end live sessions of {', '.join(self.commands)}"

    def describe(self):
        return "\n".join(
            f"kill -TERM (each process named {name}); -KILL after 10 s" for name in self.commands
        )

    def _alive(self, hosts):
        return processes.running(hosts, self.host, self.commands)

    def settled(self, ctx):
        alive = self._alive(ctx.hosts)
        return model.Settled(not alive, f"{len(alive)} alive")

    def apply(self, ctx, report) -> model.Result:
        ended = 0
        for signal, patience in (("TERM", 10.0), ("KILL", 5.0)):
            alive = self._alive(ctx.hosts)
            ended = max(ended, len(alive))
            if alive:
                argv = ["kill", f"-{signal}", *[str(process.pid) for process in alive]]
                ctx.hosts.run(self.host, argv, sudo=True, check=False)
            deadline = time.monotonic() + patience
            while time.monotonic() < deadline:
                if self.settled(ctx).done:
                    return model.Result(f"{ended} sessions ended", {"ended": ended})
                time.sleep(0.2)
        raise model.ChangeFailed(
            f"ending sessions on {self.host} failed: these processes survive KILL: "
            f"{', '.join(map(str, self._alive(ctx.hosts)))}. Find out what they wait for, then run "
            "this step again."
        )
