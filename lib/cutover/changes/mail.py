"""Mail in transit: queues drained, test messages sent."""

import dataclasses
import email.utils
import re
import time
from typing import ClassVar

from cutover import model
from cutover.connect import smtp
from cutover.facts import alias_service as live
from cutover.facts import mail_queue, processes

AGAIN = 2.0  # seconds until a message that was put off is sent again


def flush(hosts, name: str):
    """Run both queues of a host once: the daemon's, and that of mail handed in on the host itself."""
    for argv in (["sendmail", "-q"], ["sendmail", "-Ac", "-q"]):
        hosts.run(name, argv, sudo=True, check=False, timeout=120)


def waits_for(item: str) -> set:
    """The domains of the recipients of a queued message, by its line of mail_queue.parse."""
    item = re.sub(r"\(.*\)", "", item)  # the reason
    before, _, rest = item.partition("<")
    recipients = item if "MAILER-DAEMON" in before else rest.partition(">")[2]
    return {domain.rstrip(".").lower() for domain in re.findall(r"[^\s<>]@([^\s<>]+)", recipients)}


@dataclasses.dataclass(frozen=True)
class DrainQueue(model.Change):
    """Flush sendmail's queue on some hosts and wait until all that stood in it is delivered, or say what is left."""

    kind: ClassVar[str] = "drain-queue"
    no_inverse: ClassVar[str] = "mail that was delivered stays delivered"
    queues: list  # host names
    wait: int  # seconds
    but: str = ""  # full name of a mail host that is closed: what waits for it alone may stay

    @property
    def target(self):
        return ", ".join(self.queues)

    def title(self):
        return (
            f"flush the mail queue and wait until what stands in it{self._left_out()} is delivered"
        )

    def describe(self):
        return (
            f"sendmail -q; sendmail -Ac -q (repeated until `mailq` lists none of what it lists now{self._left_out()}, "
            f"at most {self.wait} s)"
        )

    def _left_out(self):
        return f", but for {self.but} alone," if self.but else ""

    def settled(self, ctx):
        left = {name: mail_queue.read(ctx.hosts, name)["requests"] for name in self.queues}
        return model.Settled(
            not any(left.values()),
            ", ".join(f"{name}: {count} queued" for name, count in left.items()),
        )

    def apply(self, ctx, report):
        deadline = time.monotonic() + self.wait
        first = self._listed(ctx.hosts)
        while True:
            # what comes in meanwhile is routed by what is so now; only what was there before must be gone
            left = {key: item for key, item in self._listed(ctx.hosts).items() if key in first}
            report(
                {"event": "queue", "text": f"{len(first) - len(left)} of {len(first)} delivered"}
            )
            if not left:
                return f"{len(first)} queued, all delivered"
            if time.monotonic() > deadline:
                raise model.ChangeFailed(
                    f"after {self.wait} s {len(left)} of {len(first)} queued messages are not delivered: "
                    + "; ".join(f"{name}: {item}" for (name, _), item in list(left.items())[:10])
                    + ". Mend the cause it names and run this step again."
                )
            ctx.hosts.each(self.queues, lambda name: flush(ctx.hosts, name))
            time.sleep(0.3)

    def _listed(self, hosts):
        """`{(host, queue id): line}`"""
        found = hosts.each(self.queues, lambda name: mail_queue.read(hosts, name)["items"])
        return {
            (name, item.partition(" ")[0]): item
            for name, items in found.items()
            for item in items
            if not self.but or waits_for(item) != {self.but}
        }


@dataclasses.dataclass(frozen=True)
class SendTestMail(model.Change):
    """Send one message through an MX and wait until it lies in a folder of its recipient."""

    kind: ClassVar[str] = "send-test-mail"
    no_inverse: ClassVar[str] = "the test message stays in the mailbox; its subject says what it is"
    host: str
    port: int
    sender: str
    recipient: str
    user: str
    token: str
    spam: bool
    line: str = dataclasses.field(
        default="", kw_only=True
    )  # by which the site's antispam knows spam

    def title(self):
        return f"send test mail to {self.recipient}" + (
            ", spam for the antispam to mark" if self.spam else ""
        )

    def describe(self):
        return (
            f"SMTP {self.host}:{self.port} MAIL FROM:<{self.sender}> RCPT TO:<{self.recipient}>\n"
            f"Subject: cutover test {self.token}" + (f"\n\n{self.line}" if self.line else "")
        )

    @property
    def users(self):
        """Those who get it."""
        return [self.user]

    def settled(self, ctx):
        for user in self.users:
            folder = live.look(ctx.hosts, user, [(self.token, self.spam)])["found"][self.token]
            if folder is None:
                return model.Settled(False, f"in no folder of {user}")
        return model.Settled(True, f"found in {folder}")

    def hand_in(self, hosts, message: bytes) -> str:
        """Give the message to a server. → its queue id there"""
        return smtp.send(
            hosts.site.address(self.host),
            self.port,
            self.sender,
            [self.recipient],
            message,
            timeout=30,
            name=self.host,
        )

    def apply(self, ctx, report):
        lines = [
            f"From: <{self.sender}>",
            f"To: <{self.recipient}>",
            f"Subject: cutover test {self.token}",
            f"Message-ID: <{self.token}@cutover.invalid>",
            f"Date: {email.utils.formatdate()}",
            "",
            "This message tests the mail service after its move. It may be deleted.",
            self.line,
            "",
        ]
        ctx.hosts.prove()
        deadline = time.monotonic() + ctx.site.production_test.wait
        answer = self._handed_over(ctx.hosts, "\r\n".join(lines).encode(), deadline, report)
        while True:
            settled = self.settled(ctx)
            if settled.done:
                return f"{answer}; {settled.detail}"
            if time.monotonic() > deadline:
                raise model.ChangeFailed(
                    f"the message {self.token} was taken by {self.host} ({answer}) but is {settled.detail} after "
                    f"{ctx.site.production_test.wait} s. `mailq` on {self.host} and on the mail hosts says where it is."
                )
            time.sleep(0.5)

    def _handed_over(self, hosts, message, deadline, report):
        """Send it, and again as a mail server would while it is put off, as by greylisting. → the queue id"""
        began, times = time.monotonic(), 0
        while True:
            try:
                answer = self.hand_in(hosts, message)
                return answer + (
                    f", after {time.monotonic() - began:.0f} s: it was put off {times} times"
                    if times
                    else ""
                )
            except smtp.SmtpError as error:
                if not error.put_off:
                    if self.spam and isinstance(error, smtp.MessageRefused):
                        raise model.ChangeFailed(
                            f"{error}. production_test.spam_line must be a line by which the antispam "
                            "marks a message and does not refuse it."
                        ) from error
                    raise
                times += 1
                if time.monotonic() + AGAIN > deadline:
                    raise model.ChangeFailed(
                        f"{error}. It was put off {times} times. Greylisting? Let it pass mail from this machine, or give it the "
                        "time: production_test.wait."
                    ) from error
                report({"event": "log", "text": f"put off, trying again: {error}"})
            time.sleep(AGAIN)


@dataclasses.dataclass(frozen=True)
class AwaitDeliveries(model.Change):
    """Wait until no delivering process is left: what was begun before the service stopped is finished, not cut."""

    kind: ClassVar[str] = "await-deliveries"
    no_inverse: ClassVar[str] = "it only waits"
    host: str
    commands: list
    wait: int  # seconds

    def title(self):
        return "wait until deliveries in progress have ended"

    def describe(self):
        return f"ps -e (until none of {', '.join(self.commands)} is left, at most {self.wait} s)"

    def settled(self, ctx):
        alive = processes.running(ctx.hosts, self.host, self.commands)
        return model.Settled(not alive, f"{len(alive)} delivering")

    def apply(self, ctx, report):
        deadline = time.monotonic() + self.wait
        while not self.settled(ctx).done:
            if time.monotonic() > deadline:
                alive = ", ".join(
                    f"{each['command']} {each['pid']} ({each['user']})"
                    for each in processes.running(ctx.hosts, self.host, self.commands)
                )
                raise model.ChangeFailed(
                    f"{self.host}: after {self.wait} s these still deliver: {alive}. "
                    "See what they wait for; run this step again."
                )
            time.sleep(0.3)
        return "nothing is being delivered"
