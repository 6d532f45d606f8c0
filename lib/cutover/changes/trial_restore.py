"""A test restore: some messages of a test user come from the backup, next to the live mailbox.

Nothing is merged. What was restored stays next to the mailbox, so that anybody can read it again,
as decommission does before it switches the old server off. The evidence is the mail, not a log.
"""

import dataclasses
import json
from typing import ClassVar

from cutover import model
from cutover.changes import bacula_restore, bring_beside
from cutover.facts import bacula, bacula_files, clock, copied_tree, copies, trial_restore, users

MESSAGES = 5  # the latest of the user's INBOX that have a UID
LOOKED_AT = 200  # of the latest, when a source does not have all of them


@dataclasses.dataclass(frozen=True)
class TrialRestore(model.Change):
    """Restore some messages next to the live mailbox, and compare them."""

    kind: ClassVar[str] = "restore-test"
    host: str
    user: str
    source: str  # a key of facts.trial_restore.NAMES
    place: str
    origin: str  # the backup host

    @property
    def resource(self):
        return f"{self.place} on {self.host}"

    def title(self):
        return f"test a restore from {trial_restore.NAMES[self.source]}"

    def describe(self):
        origin = {
            trial_restore.CURRENT: f"from the copy on {self.origin}",
            trial_restore.BACULA: f"restored by Bacula on {self.origin}",
        }[self.source]
        return (
            f"bring to {self.place}, {origin}: the last {MESSAGES} messages of {self.user}'s INBOX "
            "that have a UID, and its lists of UIDs and keywords\n"
            "read these and the live ones by Dovecot: UID FETCH BODY.PEEK[] gives the same octets. "
            "Nothing is added to the mailbox."
        )

    def settled(self, ctx):
        return model.Settled(False, "each attempt restores again")

    def inverse(self):
        return RemoveTrial(self.host, self.place)

    def apply(self, ctx, report):
        account = users.find(ctx.hosts, ctx.site.roles.new, self.user)
        if account is None:
            raise model.ChangeFailed(
                f"{self.host} has no mail user {self.user!r}. Check production_test.users."
            )
        ctx.hosts.ssh(self.host).run(["rm", "-f", "--", f"{self.place}.json"], sudo=True)
        job = self._bring(ctx, account, report)
        comparison = trial_restore.compare(ctx.hosts, account, self.place)
        if comparison.differ or not comparison.same:
            raise model.ChangeFailed(
                f"the test restore from {trial_restore.NAMES[self.source]} differs from the live "
                f"INBOX of {self.user}: {comparison.same} messages are the same, "
                f"{comparison.gone} are gone since, "
                f"other text: {', '.join(comparison.differ) or 'none'}. Compare them: it is in "
                f"{self.place} on {self.host}."
            )
        note = {"user": self.user, "job": job, "at": clock.now(ctx.hosts, self.host)}
        ctx.hosts.ssh(self.host).put(json.dumps(note).encode(), f"{self.place}.json", sudo=True)
        origin = f" of JobId {job}" if job else ""
        gone = f"; {comparison.gone} gone since" if comparison.gone else ""
        return model.Result(
            f"{comparison.same} messages{origin} have the same octets{gone}",
            {"job": job, **dataclasses.asdict(comparison)},
        )

    def _bring(self, ctx, account, report):
        """Bring the messages next to the live mailbox. Returns the JobId, None without Bacula."""
        job, base, where = None, ctx.site.backup.target, None
        try:
            names = copied_tree.newest(ctx.hosts, f"{base}/{self.user}", LOOKED_AT)
            if self.source == trial_restore.BACULA:
                where = bacula_files.scratch(ctx.site, ctx.run_name, "test")
                job, names = self._from_bacula(ctx.hosts, names, where, report)
                base = f"{where}{base}"
            names = names[-MESSAGES:]
            if not names:
                raise model.ChangeFailed(
                    f"{trial_restore.NAMES[self.source]} has no message of {self.user}'s INBOX to "
                    "test with. Run production-test, then this step again."
                )
            bring_beside.bring(
                ctx.hosts,
                bring_beside.packing(f"{base}/{self.user}", [*bacula_files.LISTS, *names]),
                f"{account.uid}:{account.gid}",
                self.place,
            )
        finally:
            if where:
                bacula_restore.remove_scratch(ctx.hosts, where)
        return job

    def _from_bacula(self, hosts, names, where, report):
        """(JobId, those of the messages' files that it has)"""
        good = [job for job in bacula.status(hosts).saved if job.status == bacula.GOOD]
        if not good:
            raise model.ChangeFailed(
                f"Bacula on {self.origin} has saved nothing yet. Run the step backup."
            )
        chain = bacula.chain(hosts, good[-1].id)
        inbox = bacula_files.inbox(hosts, chain, self.user)
        there = [name for name in names if name in inbox.messages][-MESSAGES:]
        if there:
            fileids = [*(inbox.messages[name] for name in there), *inbox.lists]
            files = bacula_restore.Files(chain, [], fileids)
            bacula_restore.restore(hosts, files, where, hosts.site.backup.bacula.wait, report)
        return good[-1].id, there


@dataclasses.dataclass(frozen=True)
class RemoveTrial(model.Change):
    """Remove what a test restore brought."""

    kind: ClassVar[str] = "restore-test-remove"
    no_inverse: ClassVar[str] = "make another one"
    host: str
    place: str

    @property
    def resource(self):
        return f"{self.place} on {self.host}"

    def title(self):
        return f"remove the test restore {self.place}"

    def describe(self):
        return f"rm -rf -- {self.place} {self.place}.json"

    def settled(self, ctx):
        there = copies.brought(ctx.hosts, self.place)
        return model.Settled(not there, f"{self.place} {'exists' if there else 'is gone'}")

    def apply(self, ctx, report):
        paths = [self.place, f"{self.place}.part", f"{self.place}.json"]
        ctx.hosts.run(self.host, ["rm", "-rf", "--", *paths], sudo=True)
        return model.Result("removed")
