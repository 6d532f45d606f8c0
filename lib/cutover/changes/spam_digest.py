"""A mail to a user that lists what went to the SPAM folder."""

import dataclasses
import email.header
import email.utils
import re
import time
import unicodedata
from typing import ClassVar

from cutover import model
from cutover.connect import smtp
from cutover.facts import mailboxes
from cutover.facts import spam_folders as spam

WIDE = 100  # characters of a sender or subject


def safe(raw: str) -> str:
    """A header's value as text that can do no harm in a mail: decoded (RFC 2047), on one line, without control and direction
    characters, not longer than WIDE, and with no address that a client would make a link of."""
    try:
        text = str(
            email.header.make_header(email.header.decode_header(re.sub(r"\r?\n[ \t]+", " ", raw)))
        )
    except (ValueError, LookupError, UnicodeError):
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


def body(folder: str, since: str, rows) -> str:
    """The digest's text. `rows`: (date, sender, subject), as they came in."""
    lines = [
        f"Since {since} these messages were put into your folder {folder}. Nothing was deleted. If one of them is no SPAM,",
        f"move it out of {folder}.",
        "",
    ]
    for when, sender, subject in rows:
        lines += [
            f"{when}  {safe(sender) or '(no sender)'}",
            f"    {safe(subject) or '(no subject)'}",
        ]
    return "\n".join([*lines, ""])


@dataclasses.dataclass(frozen=True)
class SendDigest(model.Change):
    """The mail is made on the way: what users were sent is in no plan and no journal."""

    kind: ClassVar[str] = "spam-digest"
    no_inverse: ClassVar[str] = "a mail that was sent stays sent"
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
            f"SMTP to {self.host}:{self.port}, from {self.sender} to {self.recipient}, Message-ID {self.message_id}:\n"
            f"date, sender and subject of what came to {self.folder} since {self.since} and before {self.until}"
        )

    def settled(self, ctx):
        there = spam.has_id(ctx.hosts, self.mailbox, self.user, self.message_id)
        return model.Settled(
            there, f"the digest is {'' if there else 'not '}in a folder of {self.user}"
        )

    def apply(self, ctx, report):
        if self.settled(ctx).done:
            return "already sent"
        wanted = set(
            spam.between(ctx.hosts, self.mailbox, self.user, self.folder, self.since, self.until)
        )
        if not wanted:
            return "nothing to tell any more"
        with mailboxes.new_session(ctx.hosts, self.user) as session:
            dates = {
                message.uid: message.internaldate
                for message in session.read(self.folder, "metadata").messages
            }
            senders, subjects = (session.headers(self.folder, name) for name in ("From", "Subject"))
        rows = [
            (f"{when:%Y-%m-%d %H:%M}", senders.get(uid, ""), subjects.get(uid, ""))
            for uid, when in sorted(dates.items(), key=lambda pair: pair[1])
            if uid in wanted
        ]
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
        text = "\n".join([*head, body(self.folder, self.since, rows)]).encode("utf-8", "replace")
        ctx.hosts.prove()
        smtp.send(
            ctx.site.address(self.host),
            self.port,
            self.sender,
            [self.recipient],
            text,
            timeout=30,
            name=self.host,
        )
        until = time.monotonic() + self.wait
        while not self.settled(ctx).done:
            if time.monotonic() > until:
                return f"sent, {len(rows)} messages listed; in no folder of {self.user} after {self.wait} s"
            time.sleep(0.3)
        return f"sent and delivered, {len(rows)} messages listed"
