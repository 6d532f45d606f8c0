"""The old server's end: what is done here is not undone. Each change says why."""

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
    """Userdb entries lose the old server: mail goes to the users' name alone."""

    kind: ClassVar[str] = "userdb-single"
    no_inverse: ClassVar[str] = (
        "point of no return: from here on mail reaches the new server alone, and the old one is no "
        "longer complete"
    )

    def inverse(self):
        return None


@dataclasses.dataclass(frozen=True)
class RetireService(ServiceAction):
    """A service of the old server is stopped for good."""

    kind: ClassVar[str] = "service-retired"
    beside: ClassVar[bool] = False
    no_inverse: ClassVar[str] = "point of no return: a server that lacks mail must not serve again"

    def title(self):
        return f"stop {self.name} for good"

    def inverse(self):
        return None


@dataclasses.dataclass(frozen=True)
class RemoveName(DnsUpdate):
    """The old server's name goes from the zone."""

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
    """Shut a host down and see that it answers no more. The link dies with it, so silence is what is waited for."""

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
        return model.Settled(
            not answering,
            f"answers on port {', '.join(answering)}" if answering else "answers no more",
        )

    def apply(self, ctx, report):
        said = ""
        try:
            ctx.hosts.run(self.host, ["shutdown", "-h", "now"], sudo=True, timeout=30)
        except (ssh.LinkLost, ssh.TimedOut) as error:
            said = f"; {type(error).__name__} while asking"
        except ssh.Unreachable:
            said = "; it could not be asked"
        except ssh.CommandFailed as error:
            if not error.result.signal:
                raise
            said = "; the session was ended"
        began = silent = time.monotonic()
        while True:
            now = time.monotonic()
            answering = answers(ctx.hosts, self.host)
            if answering:
                silent = time.monotonic()
            if not answering and now - silent >= SILENT:
                return f"silent since {silent - began:.0f} s after it was asked{said}"
            if answering and now - began > self.wait:
                raise model.ChangeFailed(
                    f"{self.host} still answers on port {', '.join(answering)} {self.wait} s after "
                    "`shutdown`. See its console; run this step again."
                )
            report(
                {
                    "event": "shutdown",
                    "text": f"answers on {len(answering)} ports" if answering else "silent",
                }
            )
            time.sleep(0.5)


def answers(hosts, name: str) -> list:
    """The ports on which a host answers, as text, of those that matter here; ssh among them."""
    asked = hosts.each(
        [hosts.site.hosts[name].ssh_port, *ports.MAIL_PORTS],
        lambda port: hosts.port_open(name, port),
    )
    return [str(port) for port, is_open in asked.items() if is_open]
