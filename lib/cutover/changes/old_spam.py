"""Old SPAM is set aside in a Maildir that users do not see, put back, or finally deleted."""

import dataclasses
from typing import ClassVar

from cutover import model
from cutover.facts import spam_folders
from cutover.remote import own_directories


def _shown(place):
    """The options of a doveadm call in short, for a plan."""
    return f"-o (namespace aside/ = maildir:{place})"


def _make(hosts, host, user, place):
    """Make the user's directory, below one that others can pass through and not list."""
    top, _, _ = place.rpartition("/")
    above, _, _ = top.rpartition("/")
    hosts.run(host, own_directories.command("0711", above, top), sudo=True)
    group = hosts.run(host, ["id", "-gn", "--", user]).text.strip()
    owner = ["-o", user, "-g", group]
    hosts.run(host, ["install", "-d", "-m", "0700", *owner, "--", place], sudo=True)


def _move(hosts, host, user, place, target, query):
    """Have Dovecot move what a query finds into a folder, which is made if there is none."""
    doveadm = spam_folders.doveadm(hosts, host, place)
    if spam_folders.uidvalidity(hosts, host, user, target, doveadm) is None:
        hosts.run(host, [*doveadm, "mailbox", "create", "-u", user, target], sudo=True)
    hosts.run(host, [*doveadm, "move", "-u", user, target, *query], sudo=True, timeout=600)


def _expunge(hosts, host, user, place, note):
    """Have Dovecot delete all messages of a Maildir; before that, a note is left next to it."""
    hosts.ssh(host).put(f"{note}\n".encode(), place + spam_folders.GONE, mode=0o644, sudo=True)
    doveadm = spam_folders.doveadm(hosts, host, place)
    expunge = [*doveadm, "expunge", "-u", user, "mailbox", spam_folders.TARGET, "all"]
    hosts.run(host, expunge, sudo=True, timeout=600)


@dataclasses.dataclass(frozen=True)
class SetAside(model.Change):
    """Dovecot moves some messages of a user's folder into the user's Maildir for such messages.

    Flags and dates stay; nothing is deleted.
    """

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
            f"doveadm {_shown(self.place)} move -u {self.user} {spam_folders.TARGET} mailbox "
            f"{self.folder} uid {self.uids}"
        )

    def settled(self, ctx):
        left = self._left(ctx.hosts)
        return model.Settled(not left, f"{left} of {self.count} messages are in {self.folder}")

    def apply(self, ctx, report):
        now = spam_folders.uidvalidity(ctx.hosts, self.host, self.user, self.folder)
        if now != self.uidvalidity:
            raise model.ChangeFailed(
                f"nothing of {self.user} was moved: {self.folder} has other UIDs since the plan "
                "was made. Run this step again."
            )
        before, listed = self._aside(ctx.hosts), self._left(ctx.hosts)
        _make(ctx.hosts, self.host, self.user, self.place)
        query = ["mailbox", self.folder, "uid", self.uids]
        _move(ctx.hosts, self.host, self.user, self.place, spam_folders.TARGET, query)
        arrived = self._aside(ctx.hosts) - before
        gone = listed - self._left(ctx.hosts)
        if arrived != gone:
            raise model.ChangeFailed(
                f"setting SPAM of {self.user} aside failed: {gone} messages left {self.folder}, "
                f"and {arrived} arrived in {self.place}. Look there before you do anything else."
            )
        return model.Result(f"{arrived} set aside", {"messages": arrived})

    def _aside(self, hosts):
        return spam_folders.aside(hosts, self.host, self.user, self.place)

    def _left(self, hosts):
        return spam_folders.among(hosts, self.host, self.user, self.folder, self.uids)

    def inverse(self):
        return PutBack(self.host, self.user, self.folder, self.place)


@dataclasses.dataclass(frozen=True)
class PutBack(model.Change):
    """What was set aside returns to the folder, under new UIDs."""

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
        return (
            f"doveadm {_shown(self.place)} move -u {self.user} {self.folder} mailbox "
            f"{spam_folders.TARGET} all"
        )

    def settled(self, ctx):
        left = spam_folders.aside(ctx.hosts, self.host, self.user, self.place)
        gone = "" if left else spam_folders.gone(ctx.hosts, self.host, self.place)
        return model.Settled(not left and not gone, gone or f"{left} messages are set aside")

    def apply(self, ctx, report):
        count = spam_folders.aside(ctx.hosts, self.host, self.user, self.place)
        if not count:
            note = spam_folders.gone(ctx.hosts, self.host, self.place)
            return model.Result(note or "nothing to put back", {"messages": 0})
        query = ["mailbox", spam_folders.TARGET, "all"]
        _move(ctx.hosts, self.host, self.user, self.place, self.folder, query)
        left = spam_folders.aside(ctx.hosts, self.host, self.user, self.place)
        if left:
            raise model.ChangeFailed(
                f"putting SPAM of {self.user} back failed: {left} of {count} messages are still in "
                f"{self.place}. See Dovecot's log on {self.host}."
            )
        return model.Result(f"{count} put back", {"messages": count})


@dataclasses.dataclass(frozen=True)
class Expunge(model.Change):
    """Dovecot deletes what an earlier run set aside of one user, once the grace time is over."""

    kind: ClassVar[str] = "spam-expunge"
    no_inverse: ClassVar[str] = "deleted for good; the backup has it until its retention ends"
    host: str
    user: str
    run: str  # the run that set it aside
    place: str  # directory of the host: the user's Maildir for what that run set aside
    count: int
    grace: int  # days it was kept at least

    @property
    def resource(self):
        return f"{self.place} on {self.host}"

    def title(self):
        return f"delete for good {self.count} messages of {self.user} that {self.run} set aside"

    def describe(self):
        return (
            f"doveadm {_shown(self.place)} expunge -u {self.user} mailbox {spam_folders.TARGET} all"
        )

    def settled(self, ctx):
        left = spam_folders.aside(ctx.hosts, self.host, self.user, self.place)
        return model.Settled(not left, f"{left} messages are set aside")

    def apply(self, ctx, report):
        below = f"{self.run}/{self.user}"
        top = self.place[: -len(below) - 1]
        kept = spam_folders.kept(ctx.hosts, self.host, top, below).get(self.run)
        there, days = (kept.users.get(self.user, 0), kept.days) if kept else (0, 0)
        if there != self.count or days < self.grace:
            raise model.ChangeFailed(
                f"nothing of {self.user} was deleted: {there} messages of {self.run} are "
                f"set aside, the latest {days} days ago; {self.count}, set aside {self.grace} days "
                "ago, were approved. Run this step again."
            )
        note = f"{self.count} messages were deleted for good by {ctx.run_name}"
        _expunge(ctx.hosts, self.host, self.user, self.place, note)
        left = spam_folders.aside(ctx.hosts, self.host, self.user, self.place)
        if left:
            raise model.ChangeFailed(
                f"deleting SPAM of {self.user} failed: {left} of {self.count} messages are still "
                f"in {self.place}. See Dovecot's log on {self.host}."
            )
        return model.Result(f"{self.count} deleted", {"messages": self.count})
