"""Mail in transit: queues drained, test messages sent, deliveries awaited."""

import collections
import dataclasses
import email.utils
import time
from typing import ClassVar

from cutover import model
from cutover.connect import smtp
from cutover.facts import alias_service, mail_queue, processes
from cutover.remote import queue_release

AGAIN = 2.0  # seconds until a deferred message is sent again
MEASURED = 1.0  # seconds after which the rate of a falling queue is taken as measured


@dataclasses.dataclass(frozen=True)
class DrainQueue(model.Change):
    """Flush sendmail's queue on some hosts and wait until everything in it is delivered.

    Figures: queued, delivered (messages). Raises ChangeFailed with what is left.
    """

    kind: ClassVar[str] = "drain-queue"
    no_inverse: ClassVar[str] = "delivered mail stays delivered"
    alone: ClassVar[int] = 30  # seconds for which the hosts go on once nobody waits
    queues: list  # host names
    wait: int  # seconds
    but: str = ""  # full name of a closed mail host: mail for it alone may stay
    only: list = dataclasses.field(default_factory=list)  # domains; mail for others may stay

    @property
    def target(self):
        return ", ".join(self.queues)

    def title(self):
        return f"flush the mail queue and wait until it is delivered{self._exception()}"

    def describe(self):
        return (
            "sendmail -qf; sendmail -Ac -qf (in the background, two passes at a time, repeated "
            f"until `mailq` lists nothing it lists now{self._domains()}{self._exception()}, at "
            f"most {self.wait} s)"
        )

    def _exception(self):
        return f", except mail for {self.but} alone" if self.but else ""

    def _domains(self):
        return f", of mail for {', '.join(self.only)}" if self.only else ""

    def settled(self, ctx):
        left = collections.Counter(name for name, _ in self._queued(ctx.hosts))
        detail = ", ".join(f"{name}: {left[name]} queued" for name in self.queues)
        return model.Settled(not left, detail)

    def apply(self, ctx, report) -> model.Result:
        began = fell = still = time.monotonic()
        # sendmail replaces a queue file after each try, and a listing may miss it just then: two
        # must agree that nothing is left
        first = left = self._queued(ctx.hosts) or self._queued(ctx.hosts)
        total, seconds = len(first), 0.0
        while True:
            report({"event": "queue", "text": _progress(total, len(left), seconds)})
            if not first or not left and not self._queued(ctx.hosts).keys() & first.keys():
                figures = {"queued": total, "delivered": total}
                return model.Result(f"{total} queued, all delivered", figures)
            if self._enough(first, left, seconds):
                return _falling(total, len(left), seconds)
            self._give_up(total, left, began, fell)
            ctx.hosts.each(
                self.queues, lambda name: queue_release.release(ctx.hosts, name, self.alone)
            )
            # to list a long queue takes long, and from the host what it needs to deliver; shorter
            # than `alone`
            time.sleep(min(15.0, max(0.1, (time.monotonic() - began) / 20)))
            # mail that arrives meanwhile follows the new routing; only the earlier mail must go
            now = {key: item for key, item in self._queued(ctx.hosts).items() if key in first}
            if len(now) == total:  # sendmail takes its time before the first delivery
                still = time.monotonic()
            if len(now) < len(left):
                fell = time.monotonic()
            left, seconds = now, time.monotonic() - still

    def _enough(self, first, left, seconds) -> bool:
        """Whether the rest may be delivered later."""
        return False

    def _give_up(self, total, left, began, fell):
        """Raises ChangeFailed once the time is over."""
        if time.monotonic() - began > self.wait:
            raise _not_delivered(self.wait, total, left)

    def _queued(self, hosts):
        """`{(host, queue id): line}`"""
        queues = hosts.each(self.queues, lambda name: mail_queue.read(hosts, name))
        return {
            (name, key): item
            for name, queue in queues.items()
            for key, item in queue.by_id().items()
            if mail_queue.is_for(item, self.only)
            if not self.but or mail_queue.recipient_domains(item) != {self.but}
        }


def _not_delivered(wait, total, left):
    items = "; ".join(f"{name}: {item}" for (name, _), item in list(left.items())[:10])
    return model.ChangeFailed(
        f"after {wait} s {len(left)} of {total} queued messages are not delivered: {items}. Fix "
        "the cause it gives and run this step again."
    )


def _progress(total, left, seconds):
    text = f"{total - left} of {total} delivered"
    if left and left < total:
        text += f", the rest in about {mail_queue.time_text(left * seconds / (total - left))}"
    return text


def _falling(total, left, seconds):
    """The result of a release while mail is left."""
    rate = (total - left) / seconds
    figures = {
        "queued": total,
        "delivered": total - left,
        "left": left,
        "rate": round(rate, 2),
        "seconds_left": round(left / rate),
    }
    text = (
        f"{total} queued, {total - left} delivered in {seconds:.1f} s; the hosts go on delivering "
        f"the other {left}, which takes about {mail_queue.time_text(left / rate)} at this rate; a "
        "long queue falls faster later"
    )
    return model.Result(text, figures)


@dataclasses.dataclass(frozen=True)
class ReleaseQueue(DrainQueue):
    """Have the MX deliver what they held, and wait until it is seen to go out.

    The MX flush by themselves, in one sequence each. Unless `whole`, it is over as soon as each
    queue falls and the rate is known. Figures: queued, delivered; while some is left also left,
    rate (messages per second), seconds_left. Raises ChangeFailed when nothing was delivered for
    `wait` seconds.
    """

    kind: ClassVar[str] = "release-queue"
    beside: ClassVar[str] = "services"
    lane: ClassVar[str] = "delivery"  # after the proof, perhaps while services are still starting
    alone: ClassVar[int] = 7200
    whole: bool = False

    def title(self):
        if self.whole:
            return "wait until the mail that was held is delivered"
        return "release the mail queue and see that it falls"

    def describe(self):
        until = "until `mailq` lists nothing it lists now" if self.whole else "until each falls"
        until += self._domains()
        return (
            "sendmail -qf; sendmail -Ac -qf (on each host in the background, two passes at a time, "
            f"repeated until `mailq` is empty; watched {until}; fails after {self.wait} s without "
            "a delivery)"
        )

    def _enough(self, first, left, seconds):
        def of(keys):
            return collections.Counter(name for name, _ in keys)

        before, now = of(first), of(left)
        falls = all(now[name] < count for name, count in before.items())
        return falls and seconds >= MEASURED and not self.whole

    def _give_up(self, total, left, began, fell):
        if time.monotonic() - fell > self.wait:
            raise _not_delivered(self.wait, total, left)


def test_message(token: str, sender: str, recipient: str, line: str = "") -> bytes:
    """A message that says it is a test, with CRLF; its Message-ID is TOKEN@cutover.invalid."""
    lines = [
        f"From: <{sender}>",
        f"To: <{recipient}>",
        f"Subject: cutover test {token}",
        f"Message-ID: <{token}@cutover.invalid>",
        f"Date: {email.utils.formatdate()}",
        "",
        "This message tests the mail service after its move. It may be deleted.",
        line,
        "",
    ]
    return "\r\n".join(lines).encode()


@dataclasses.dataclass(frozen=True)
class SendTestMail(model.Change):
    """Send one message through an MX and wait until it is in a folder of its recipient.

    Figures: deferrals.
    """

    kind: ClassVar[str] = "send-test-mail"
    beside: ClassVar[str] = "test mail"
    no_inverse: ClassVar[str] = "the test message stays in the mailbox; its subject says what it is"
    host: str
    port: int
    sender: str
    recipient: str
    user: str
    token: str
    spam: bool
    line: str = dataclasses.field(default="", kw_only=True)  # the site's antispam marks it

    def title(self):
        return f"send test mail to {self.recipient}" + (", marked as spam" if self.spam else "")

    def describe(self):
        return (
            f"SMTP {self.host}:{self.port} MAIL FROM:<{self.sender}> RCPT TO:<{self.recipient}>\n"
            f"Subject: cutover test {self.token}" + (f"\n\n{self.line}" if self.line else "")
        )

    @property
    def users(self) -> list[str]:
        """The users who receive it."""
        return [self.user]

    def settled(self, ctx):
        for user in self.users:
            visit = alias_service.look(ctx.hosts, user, [(self.token, self.spam)])
            folder = visit.found[self.token]
            if folder is None:
                return model.Settled(False, f"in no folder of {user}")
        return model.Settled(True, f"found in {folder}")

    def submit(self, hosts, message: bytes) -> str:
        """Give the message to a server. Returns its queue id there. Raises smtp.SmtpError."""
        return smtp.send(
            hosts.site.address(self.host),
            self.port,
            self.sender,
            [self.recipient],
            message,
            timeout=30,
            name=self.host,
        )

    def apply(self, ctx, report) -> model.Result:
        ctx.hosts.prove()
        wait = ctx.site.production_test.wait
        deadline = time.monotonic() + wait
        message = test_message(self.token, self.sender, self.recipient, self.line)
        queue_id, deferrals = self._send(ctx.hosts, message, deadline, report)
        while True:
            settled = self.settled(ctx)
            if settled.done:
                return model.Result(f"{queue_id}; {settled.detail}", {"deferrals": deferrals})
            if time.monotonic() > deadline:
                raise model.ChangeFailed(
                    f"{self.host} accepted the message {self.token} ({queue_id}), but after {wait} "
                    f"s it is {settled.detail}. Run `mailq` on {self.host} and on the mail hosts "
                    "to see where it is."
                )
            time.sleep(0.5)

    def _send(self, hosts, message, deadline, report):
        """Submit it, and again while it is deferred, as by greylisting.

        Returns (its queue id, how often it was deferred).
        """
        began, deferrals = time.monotonic(), 0
        while True:
            try:
                queue_id = self.submit(hosts, message)
                if deferrals:
                    seconds = time.monotonic() - began
                    queue_id += f", after {seconds:.0f} s: it was deferred {deferrals} times"
                return queue_id, deferrals
            except smtp.SmtpError as error:
                if not error.put_off:
                    self._explain(error)
                    raise
                deferrals += 1
                if time.monotonic() + AGAIN > deadline:
                    raise model.ChangeFailed(
                        f"{error}. It was deferred {deferrals} times. If this is greylisting, let "
                        "it pass mail from this machine, or raise production_test.wait."
                    ) from error
                report({"event": "log", "text": f"deferred, trying again: {error}"})
            time.sleep(AGAIN)

    def _explain(self, error):
        if self.spam and isinstance(error, smtp.MessageRefused):
            raise model.ChangeFailed(
                f"{error}. production_test.spam_line must be a line by which the antispam marks a "
                "message without refusing it."
            ) from error


@dataclasses.dataclass(frozen=True)
class AwaitDeliveries(model.Change):
    """Wait until no delivering process is left, so that deliveries in progress are not cut."""

    kind: ClassVar[str] = "await-deliveries"
    no_inverse: ClassVar[str] = "it only waits"
    host: str
    commands: list  # process names
    wait: int  # seconds

    def title(self):
        return "wait until deliveries in progress have ended"

    def describe(self):
        return f"ps -e (until no {', '.join(self.commands)} is left, at most {self.wait} s)"

    def _alive(self, hosts):
        return processes.running(hosts, self.host, self.commands)

    def settled(self, ctx):
        alive = self._alive(ctx.hosts)
        return model.Settled(not alive, f"{len(alive)} delivering")

    def apply(self, ctx, report) -> model.Result:
        deadline = time.monotonic() + self.wait
        while alive := self._alive(ctx.hosts):
            if time.monotonic() > deadline:
                raise model.ChangeFailed(
                    f"{self.host}: after {self.wait} s these still deliver: "
                    f"{', '.join(map(str, alive))}. Find out what they wait for, then run this "
                    "step again."
                )
            time.sleep(0.3)
        return model.Result("nothing is being delivered")
