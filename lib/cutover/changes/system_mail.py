"""Test messages through the systems around the mailboxes: the submission host, and lists."""

import dataclasses
from typing import ClassVar

from cutover.changes.mail import SendTestMail
from cutover.connect import smtp
from cutover.facts import submission


@dataclasses.dataclass(frozen=True)
class SubmitTestMail(SendTestMail):
    """Submit a message to the submission host in one of its ways and wait until it arrives."""

    kind: ClassVar[str] = "submit-test-mail"
    way: str  # see facts.submission
    shown: str  # the way, in words

    def title(self):
        return f"submit test mail to {self.recipient}, {self.shown}"

    def describe(self):
        return f"{super().describe()}\n({self.shown})"

    def submit(self, hosts, message: bytes) -> str:
        site = hosts.site
        return smtp.send(
            site.address(site.submission.host),
            site.submission.port,
            self.sender,
            [self.recipient],
            message,
            submission.TIMEOUT,
            name=site.submission.host,
            client=submission.client(hosts, self.way),
        )


@dataclasses.dataclass(frozen=True)
class PostTestMail(SendTestMail):
    """Post a message to a list through an MX and wait until every subscriber has it."""

    kind: ClassVar[str] = "post-test-mail"
    subscribers: list  # test users

    @property
    def users(self) -> list[str]:
        return self.subscribers

    def title(self):
        return f"post test mail to the list {self.recipient}"

    def describe(self):
        return f"{super().describe()}\n(must reach {', '.join(self.subscribers)})"
