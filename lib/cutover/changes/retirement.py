"""Changes that retire the old server. They have no inverse; each says why."""

import dataclasses
import time
from typing import ClassVar

from cutover import model
from cutover.changes.dns_update import DnsUpdate
from cutover.changes.service import ServiceAction
from cutover.changes.userdb_edit import UserdbEdit
from cutover.connect import ssh
from cutover.facts import ports

SILENT = 5  # seconds in which nothing may answer


@dataclasses.dataclass(frozen=True)
class SingleDelivery(UserdbEdit):
    """Route users to their name alone instead of to both servers."""

    kind: ClassVar[str] = "userdb-single"
    no_inverse: ClassVar[str] = (
        "point of no return: from here on mail reaches only the new server, and the old one is no "
        "longer complete"
    )

    def inverse(self):
        return None


@dataclasses.dataclass(frozen=True)
class RetireService(ServiceAction):
    """Stop a service of the old server for good."""

    kind: ClassVar[str] = "service-retired"
    beside: ClassVar[str] = ""
    no_inverse: ClassVar[str] = (
        "point of no return: a server without all the mail must not serve again"
    )

    def title(self):
        return f"stop {self.name} for good"

    def inverse(self):
        return None


@dataclasses.dataclass(frozen=True)
class RemoveName(DnsUpdate):
    """Remove the old server's name from the zone."""

    kind: ClassVar[str] = "dns-remove"
    no_inverse: ClassVar[str] = "point of no return: the host behind the name is switched off"

    def title(self):
        return (
            "one DNS update: "
            + ", ".join(name for name, _ in self.forward["deletes"])
            + " is removed"
        )

    def inverse(self):
        return None


@dataclasses.dataclass(frozen=True)
class PowerOff(model.Change):
    """Shut a host down and check that it no longer answers.

    The ssh connection dies with the host, so the change waits for silence.
    """

    kind: ClassVar[str] = "power-off"
    no_inverse: ClassVar[str] = (
        "point of no return: the host can be switched on by hand, and must not serve mail again"
    )
    host: str
    wait: int  # seconds

    def title(self):
        return "shut the host down"

    def describe(self):
        return f"shutdown -h now   (until no port answers for {SILENT} s, at most {self.wait} s)"

    def settled(self, ctx):
        answering = answers(ctx.hosts, self.host)
        detail = f"answers on port {', '.join(answering)}" if answering else "no longer answers"
        return model.Settled(not answering, detail)

    def apply(self, ctx, report):
        detail = self._shut_down(ctx.hosts)
        began = silent_since = time.monotonic()
        while True:
            now = time.monotonic()
            answering = answers(ctx.hosts, self.host)
            if answering:
                silent_since = time.monotonic()
            if not answering and now - silent_since >= SILENT:
                seconds = silent_since - began
                return model.Result(
                    f"silent {seconds:.0f} s after the command{detail}", {"seconds": seconds}
                )
            if answering and now - began > self.wait:
                raise model.ChangeFailed(
                    f"shutting down {self.host} failed: it still answers on port "
                    f"{', '.join(answering)} {self.wait} s after `shutdown`. See its console; run "
                    "this step again."
                )
            text = f"answers on {len(answering)} ports" if answering else "silent"
            report({"event": "shutdown", "text": text})
            time.sleep(0.5)

    def _shut_down(self, hosts):
        """Give the command. Returns how the connection ended, "" when the command answered."""
        try:
            hosts.run(self.host, ["shutdown", "-h", "now"], sudo=True, timeout=30)
        except (ssh.LinkLost, ssh.TimedOut) as error:
            return f"; {type(error).__name__} during the command"
        except ssh.Unreachable:
            return "; it was not reachable"
        except ssh.CommandFailed as error:
            if not error.result.signal:
                raise
            return "; the session was ended"
        return ""


def answers(hosts, name: str) -> list[str]:
    """The ports on which a host answers, of ssh and those for mail."""
    asked = hosts.each(
        [hosts.site.hosts[name].ssh_port, *ports.MAIL_PORTS],
        lambda port: hosts.port_open(name, port),
    )
    return [str(port) for port, is_open in asked.items() if is_open]
