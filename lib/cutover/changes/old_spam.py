"""Old SPAM out of users' folders, into a Maildir outside of their view, and back; or gone for good, when its time is over."""

import dataclasses
from typing import ClassVar

from cutover import model
from cutover.facts import spam_folders as spam


@dataclasses.dataclass(frozen=True)
class SetAside(model.Change):
    """Dovecot moves some messages of one folder of a user into a Maildir of the user's outside of the mailbox. Flags and dates
    stay; nothing is deleted."""

    kind: ClassVar[str] = "spam-aside"
    host: str
    user: str
    folder: str
    uidvalidity: int
    uids: str  # e.g. "1:7,9"
    count: int
    place: str  # directory of the host: the user's Maildir for what this run sets aside

    @property
    def resource(self):
        return f"{self.place} on {self.host}"

    def title(self):
        return f"set {self.count} messages of {self.user}'s {self.folder} aside"

    def describe(self):
        return (
            f"install -d -m 0700 -o {self.user} {self.place}\n"
            f"doveadm {spam.shown(self.place)} move -u {self.user} {spam.TARGET} mailbox {self.folder} uid {self.uids}"
        )

    def settled(self, ctx):
        left = self._left(ctx.hosts)
        return model.Settled(not left, f"{left} of {self.count} messages are in {self.folder}")

    def apply(self, ctx, report):
        now = spam.uidvalidity(ctx.hosts, self.host, self.user, self.folder)
        if now != self.uidvalidity:
            raise model.ChangeFailed(
                f"{self.user}: {self.folder} has got other UIDs since the plan was made. Nothing was "
                "moved; run this step again."
            )
        before, wanted = (
            spam.aside(ctx.hosts, self.host, self.user, self.place),
            self._left(ctx.hosts),
        )
        spam.make(ctx.hosts, self.host, self.user, self.place)
        spam.move(
            ctx.hosts,
            self.host,
            self.user,
            self.place,
            spam.TARGET,
            ["mailbox", self.folder, "uid", self.uids],
        )
        after = spam.aside(ctx.hosts, self.host, self.user, self.place)
        gone = wanted - self._left(ctx.hosts)
        if after - before != gone:
            raise model.ChangeFailed(
                f"{self.user}: {gone} messages left {self.folder}, and {after - before} came to "
                f"{self.place}. Look there before anything else is done."
            )
        return f"{after - before} set aside"

    def _left(self, hosts):
        return spam.among(hosts, self.host, self.user, self.folder, self.uids)

    def inverse(self):
        return PutBack(self.host, self.user, self.folder, self.place)


@dataclasses.dataclass(frozen=True)
class PutBack(model.Change):
    """What was set aside comes back into the folder, under new UIDs."""

    kind: ClassVar[str] = "spam-back"
    no_inverse: ClassVar[str] = "run the step again to set it aside once more"
    host: str
    user: str
    folder: str
    place: str

    @property
    def resource(self):
        return f"{self.place} on {self.host}"

    def title(self):
        return f"put back what was set aside of {self.user}'s {self.folder}"

    def describe(self):
        return f"doveadm {spam.shown(self.place)} move -u {self.user} {self.folder} mailbox {spam.TARGET} all"

    def settled(self, ctx):
        left = spam.aside(ctx.hosts, self.host, self.user, self.place)
        gone = "" if left else spam.gone(ctx.hosts, self.host, self.place)
        return model.Settled(not left and not gone, gone or f"{left} messages are set aside")

    def apply(self, ctx, report):
        count = spam.aside(ctx.hosts, self.host, self.user, self.place)
        if count:
            spam.move(
                ctx.hosts,
                self.host,
                self.user,
                self.place,
                self.folder,
                ["mailbox", spam.TARGET, "all"],
            )
        left = spam.aside(ctx.hosts, self.host, self.user, self.place)
        if left:
            raise model.ChangeFailed(
                f"{self.user}: {left} of {count} messages are still in {self.place}"
            )
        return (
            f"{count} put back"
            if count
            else spam.gone(ctx.hosts, self.host, self.place) or "nothing to put back"
        )


@dataclasses.dataclass(frozen=True)
class Expunge(model.Change):
    """Dovecot deletes for good what an earlier run set aside of one user, once the grace time is over."""

    kind: ClassVar[str] = "spam-expunge"
    no_inverse: ClassVar[str] = (
        "deleted for good; the backup holds it for as long as its days go back"
    )
    host: str
    user: str
    run: str  # the run that set it aside
    place: str  # directory of the host: the user's Maildir for what that run set aside
    count: int
    grace: int  # days for which it was kept at least

    @property
    def resource(self):
        return f"{self.place} on {self.host}"

    def title(self):
        return f"delete for good {self.count} messages of {self.user} that {self.run} set aside"

    def describe(self):
        return f"doveadm {spam.shown(self.place)} expunge -u {self.user} mailbox {spam.TARGET} all"

    def settled(self, ctx):
        left = spam.aside(ctx.hosts, self.host, self.user, self.place)
        return model.Settled(not left, f"{left} messages are set aside")

    def apply(self, ctx, report):
        below = f"{self.run}/{self.user}"
        kept = spam.kept(ctx.hosts, self.host, self.place[: -len(below) - 1], below).get(
            self.run, {"users": {}, "days": 0}
        )
        there = kept["users"].get(self.user, 0)
        if there != self.count or kept["days"] < self.grace:
            raise model.ChangeFailed(
                f"{self.user}: {there} messages of {self.run} are set aside, the latest {kept['days']} "
                f"days ago; {self.count}, for {self.grace} days, were approved. Nothing was deleted; run "
                "this step again."
            )
        spam.expunge(
            ctx.hosts,
            self.host,
            self.user,
            self.place,
            f"{self.count} messages were deleted for good by {ctx.run_name}",
        )
        left = spam.aside(ctx.hosts, self.host, self.user, self.place)
        if left:
            raise model.ChangeFailed(
                f"{self.user}: {left} of {self.count} messages are still in {self.place}"
            )
        return f"{self.count} deleted"
