"""A mail to a user that lists what went to the SPAM folder."""

import dataclasses
import datetime
import email.errors
import email.header
import email.utils
import re
import time
import unicodedata
from collections.abc import Iterable
from typing import ClassVar, NamedTuple

from cutover import model
from cutover.connect import smtp
from cutover.facts import mailboxes, spam_folders

WIDE = 100  # characters of a sender or subject
RAW = 4096  # characters that are decoded: a long value could keep the decoder busy for hours


def safe(raw: str) -> str:
    """A header's value as text that is harmless in a mail.

    Decoded (RFC 2047), on one line, without control and direction characters, at most WIDE long,
    and without any address that a client would turn into a link.
    """
    raw = re.sub(r"\r?\n[ \t]+", " ", raw[:RAW])
    try:
        text = str(email.header.make_header(email.header.decode_header(raw)))
    except (ValueError, LookupError, email.errors.MessageError):
        text = raw
    text = "".join(" " if letter.isspace() else letter for letter in text)
    text = "".join(
        letter
        for letter in text
        if unicodedata.category(letter) not in ("Cc", "Cf", "Cs", "Co", "Cn")
    )
    text = re.sub(r"(?i)\b(https?|ftp|mailto|javascript|data):", r"\1[:]", " ".join(text.split()))
    text = re.sub(r"(?i)\bwww\.", "www[.]", text)
    return text if len(text) <= WIDE else text[: WIDE - 1] + "…"


class Row(NamedTuple):
    """A message that the digest lists; headers as they were sent."""

    arrived: datetime.datetime
    sender: str
    subject: str


def body(folder: str, since: str, rows: Iterable[Row]) -> str:
    """The digest's text. `rows`: in the order in which they arrived."""
    lines = [
        f"Since {since} these messages were put into your folder {folder}. Nothing was deleted. If",
        f"one of them is not SPAM, move it out of {folder}.",
        "",
    ]
    for row in rows:
        lines += [
            f"{row.arrived:%Y-%m-%d %H:%M}  {safe(row.sender) or '(no sender)'}",
            f"    {safe(row.subject) or '(no subject)'}",
        ]
    return "\n".join([*lines, ""])


@dataclasses.dataclass(frozen=True)
class SendDigest(model.Change):
    """The mail is made when it is sent: what users received is in no plan and no journal."""

    kind: ClassVar[str] = "spam-digest"
    no_inverse: ClassVar[str] = "sent mail stays sent"
    host: str  # the MX that takes it
    port: int
    mailbox: str  # the host of the mailboxes
    user: str
    sender: str
    recipient: str
    folder: str
    since: str  # first day, YYYY-MM-DD
    until: str  # the day after the last
    message_id: str
    wait: int  # seconds until it has arrived

    def title(self):
        return f"write to {self.recipient}"

    def describe(self):
        return (
            f"SMTP to {self.host}:{self.port}, from {self.sender} to {self.recipient}, "
            f"Message-ID {self.message_id}:\ndate, sender and subject of what arrived in "
            f"{self.folder} since {self.since} and before {self.until}"
        )

    def settled(self, ctx):
        there = spam_folders.has_id(ctx.hosts, self.mailbox, self.user, self.message_id)
        state = "" if there else "not "
        return model.Settled(there, f"the digest is {state}in a folder of {self.user}")

    def apply(self, ctx, report):
        if self.settled(ctx).done:
            return model.Result("already sent")
        rows = self._rows(ctx.hosts)
        if not rows:
            return model.Result("nothing is left to list")
        ctx.hosts.prove()
        smtp.send(
            ctx.site.address(self.host),
            self.port,
            self.sender,
            [self.recipient],
            self._message(rows),
            timeout=30,
            name=self.host,
        )
        until, figures = time.monotonic() + self.wait, {"messages": len(rows)}
        while not self.settled(ctx).done:
            if time.monotonic() > until:
                return model.Result(
                    f"sent, {len(rows)} messages listed; in no folder of {self.user} after "
                    f"{self.wait} s",
                    figures,
                )
            time.sleep(0.3)
        return model.Result(f"sent and delivered, {len(rows)} messages listed", figures)

    def _rows(self, hosts):
        """What arrived in those days, oldest first."""
        uids = set(
            spam_folders.between(
                hosts, self.mailbox, self.user, self.folder, self.since, self.until
            )
        )
        if not uids:
            return []
        with mailboxes.new_session(hosts, self.user) as session:
            messages = session.read(self.folder, "metadata").messages
            senders, subjects = (session.headers(self.folder, name) for name in ("From", "Subject"))
        listed = [message for message in messages if message.uid in uids]
        return [
            Row(message.internaldate, senders.get(message.uid, ""), subjects.get(message.uid, ""))
            for message in sorted(listed, key=lambda message: message.internaldate)
        ]

    def _message(self, rows) -> bytes:
        head = [
            f"From: <{self.sender}>",
            f"To: <{self.recipient}>",
            f"Message-ID: {self.message_id}",
            f"Subject: {len(rows)} messages in your folder {self.folder}",
            f"Date: {email.utils.formatdate()}",
            "Auto-Submitted: auto-generated",
            "MIME-Version: 1.0",
            "Content-Type: text/plain; charset=utf-8",
            "Content-Transfer-Encoding: 8bit",
            "",
        ]
        text = "\n".join([*head, body(self.folder, self.since, rows)])
        return text.encode("utf-8", "replace")
