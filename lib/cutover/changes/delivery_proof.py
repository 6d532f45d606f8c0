"""A test message through every way from an MX to a mail host."""

import dataclasses
import time
from typing import ClassVar

from cutover import model
from cutover.changes import mail, service
from cutover.facts import arrivals, mail_queue

# seconds until each mail host must accept connections; a service that does not start says so before
OPENING = service.SETTLING + 10


@dataclasses.dataclass(frozen=True)
class ProveDelivery(model.Change):
    """Send a message from each MX to a user on both mail hosts, and wait until each has them all.

    It goes directly to the hosts, as dual delivery does, once they accept mail: their services'
    commands may take longer (Debian's script sleeps 2 s after it started sendmail). Figures:
    seconds. Raises ChangeFailed naming the host and what the MX say.
    """

    kind: ClassVar[str] = "prove-delivery"
    beside: ClassVar[str] = "services"
    lane: ClassVar[str] = "delivery"
    no_inverse: ClassVar[str] = "the test message stays in the mailbox; its subject says what it is"
    mx: list  # host names
    hosts: list  # mail hosts by name
    sender: str
    user: str
    token: str  # and "-" and the MX make up the message's own
    wait: int  # seconds

    @property
    def target(self):
        return ", ".join(self.hosts)

    def title(self):
        return f"send {self.user} a test message from each MX and see that each host delivers it"

    def _argv(self, site):
        recipients = [f"{self.user}@{site.fqdn(name)}" for name in self.hosts]
        return ["sendmail", "-Am", "-odb", "-i", "-f", self.sender, *recipients]

    def describe(self):
        return (
            f"sendmail -Am -odb -i -f {self.sender} (on {', '.join(self.mx)}, once port 25 of "
            f"{self.target} is open; to {self.user} there; waits until c-client and Dovecot list "
            f"it, at most {self.wait} s)"
        )

    def _missing(self, hosts):
        """`{mail host: [MX whose message it does not have]}` of those that miss one."""
        there = arrivals.read(hosts, self.user, self.token, self.mx)
        missing = {name: [mx for mx in self.mx if mx not in there[name]] for name in self.hosts}
        return {name: listed for name, listed in missing.items() if listed}

    def settled(self, ctx):
        missing = self._missing(ctx.hosts)
        text = "; ".join(f"{name} has none from {', '.join(mx)}" for name, mx in missing.items())
        return model.Settled(not missing, text or "each host has each message")

    def apply(self, ctx, report) -> model.Result:
        ctx.hosts.each(self.hosts, lambda name: _await_port(ctx.hosts, name))
        began = time.monotonic()

        def send(name):
            token = arrivals.token_from(self.token, name)
            message = mail.test_message(token, self.sender, f"{self.user}@{ctx.site.zone}")
            text = message.replace(b"\r\n", b"\n")
            ctx.hosts.run(name, self._argv(ctx.site), sudo=True, input=text)

        ctx.hosts.each(self.mx, send)
        while True:
            settled, seconds = self.settled(ctx), time.monotonic() - began
            if settled.done:
                figures = {"seconds": round(seconds, 1)}
                return model.Result(f"{settled.detail} after {seconds:.1f} s", figures)
            if seconds > self.wait:
                raise model.ChangeFailed(
                    f"test messages are not delivered after {self.wait} s: {settled.detail}. "
                    f"{self._reasons(ctx)} Fix the cause and run this step again."
                )
            time.sleep(0.3)

    def _reasons(self, ctx):
        """What the queues of the MX and of the mail hosts say of this user's mail."""
        names = [*self.mx, *self.hosts]
        queues = ctx.hosts.each(names, lambda name: mail_queue.read(ctx.hosts, name))
        items = [
            f"{name}: {item}"
            for name, queue in queues.items()
            for item in queue.items
            if f"<{self.user}@" in item or f" {self.user} " in item
        ]
        return "; ".join(items[:4]) + "." if items else f"No queue of {', '.join(names)} has them."


def _await_port(hosts, name):
    """Wait until a host accepts connections at port 25. Raises ChangeFailed."""
    deadline = time.monotonic() + OPENING
    while not hosts.port_open(name, 25):
        if time.monotonic() > deadline:
            raise model.ChangeFailed(
                f"port 25 of {name} is still closed after {OPENING:.0f} s. Run `ss -tlnp` there to "
                "see whether sendmail listens, and see its mail log. Then run this step again."
            )
        time.sleep(0.1)
