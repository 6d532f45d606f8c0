"""A mail to a user with the page that the run of the night wrote for the user."""

import dataclasses
import email.message
import email.policy
import email.utils
import os
from typing import ClassVar

from cutover import model
from cutover.connect import smtp
from cutover.facts import user_pages


@dataclasses.dataclass(frozen=True)
class SendPage(model.Change):
    """Figures: `queue_id` of the message that the MX took, or `refused`, its reply.

    A refusal concerns this user alone, so the change succeeds and the others are still sent.
    """

    kind: ClassVar[str] = "user-page"
    no_inverse: ClassVar[str] = "sent mail stays sent"
    host: str  # the MX that takes it
    port: int
    user: str
    sender: str
    recipient: str
    file: str  # its first line is the subject
    digest: str  # SHA-256 of the text
    message_id: str

    def title(self):
        return f"write to {self.recipient}"

    def describe(self):
        return (
            f"SMTP to {self.host}:{self.port}, from {self.sender} to {self.recipient}, "
            f"Message-ID {self.message_id}:\n{self.file} (SHA-256 {self.digest})"
        )

    def settled(self, ctx):
        times = [
            event["time"]
            for event in ctx.history
            if event["event"] == "intent" and event["change"] == self.to_json()
        ]
        done = times and user_pages.accepted(ctx.hosts, self.host, times[0], [self.message_id])
        return model.Settled(bool(done), f"{self.host} {'took' if done else 'did not take'} it")

    def apply(self, ctx, report):
        text = user_pages.read(*os.path.split(self.file))
        if user_pages.digest(text) != self.digest:
            raise model.ChangeFailed(
                f"{self.file} changed after the plan was made, so it was not sent to "
                f"{self.recipient}. Run this step again and approve the new plan."
            )
        ctx.hosts.prove()
        try:
            queue_id = smtp.send(
                ctx.site.address(self.host),
                self.port,
                self.sender,
                [self.recipient],
                self._message(text),
                timeout=30,
                name=self.host,
            )
        except (smtp.RecipientsRefused, smtp.MessageRefused) as error:
            return model.Result(f"not sent: {error}", {"refused": str(error)})
        return model.Result(f"sent, {queue_id} on {self.host}", {"queue_id": queue_id})

    def _message(self, text) -> bytes:
        subject, _, body = text.lstrip().partition("\n")
        message = email.message.EmailMessage(email.policy.SMTP)
        message["From"] = self.sender
        message["To"] = self.recipient
        message["Message-ID"] = self.message_id
        message["Subject"] = subject.strip()
        message["Date"] = email.utils.formatdate()
        message["Auto-Submitted"] = "auto-generated"
        message.set_content(body.lstrip("\n"), cte="quoted-printable")
        return message.as_bytes()
