"""A test restore: some messages of a test user come from the backup beside the live mailbox, and Dovecot reads both.

Nothing is merged. What was brought stays beside, so that whoever doubts, and decommission before it switches the old server off,
reads it again: the evidence is the mail, not a line that says so.
"""

import dataclasses
import json
from typing import ClassVar

from cutover import model
from cutover.changes import bacula_jobs as jobs
from cutover.connect import ssh
from cutover.facts import bacula, clock, copies, mailboxes, users

CURRENT, BACULA = "current", "bacula"
NAMES = {CURRENT: "the copy", BACULA: "Bacula"}
MESSAGES = 5  # the latest of the user's INBOX that have a UID
LOOKED_AT = 200  # of the latest, when a source has not all of them

# $1 the user's tree, $2 how many; prints the files of messages that the list of UIDs names, the latest last
_NEWEST = r"""
cd -- "$1" || exit 3
sed 1d dovecot-uidlist | tail -n "$2" | sed -n 's/^[0-9][^:]*://p' | while read -r base; do
    for each in "cur/$base" "cur/$base:2,"* "new/$base" "new/$base:2,"*; do
        [ ! -f "$each" ] || printf '%s\0' "$each"
    done
done
"""


def place(site, source: str) -> str:
    """Where on the new host it lies; the next one takes its place."""
    return f"{site.new_store.work}/restore-test/{source}"


def sources(site) -> list:
    """What a test restore is made from."""
    return [CURRENT, *([BACULA] if site.backup.bacula else [])]


def look(hosts, source: str) -> dict | None:
    """The last test restore as it is now, both sides read by Dovecot: `{"user", "job": JobId or None, "age": seconds, "same",
    "gone": that the user has removed or changed the UID of since, "differ": [texts]}`; None when there was none."""
    site = hosts.site
    new, where = site.roles.new, place(site, source)
    try:
        note = json.loads(hosts.ssh(new).get(f"{where}.json", sudo=True))
    except ssh.NoSuchFile:
        return None
    account = users.find(hosts, new, note["user"])
    if account is None or not copies.brought(hosts, where):
        return None
    age = clock.now(hosts, new) - note["at"]
    return {
        "user": note["user"],
        "job": note["job"],
        "age": age,
        **_compared(hosts, account, where),
    }


def _compared(hosts, account, where):
    """Each message that was brought and the live one of its UID: the same octets, flags aside. One that the list of UIDs which
    was brought does not name has no UID to be compared by."""
    said = hosts.run(
        hosts.site.roles.new, ["sed", "1d", f"{where}/dovecot-uidlist"], sudo=True
    ).text
    named = {int(line.split(" ")[0]) for line in said.splitlines()}
    same, gone, differ = 0, 0, []
    with (
        copies.session(hosts, account, where) as copy,
        mailboxes.new_session(hosts, account["user"]) as live,
    ):
        ours, theirs = copy.read("INBOX", "metadata"), live.read("INBOX", "metadata")
        there = (
            {each.uid for each in theirs.messages}
            if ours.uidvalidity == theirs.uidvalidity
            else set()
        )
        for each in ours.messages:
            if each.uid not in named:
                continue
            if each.uid not in there:
                gone += 1
            elif copy.fetch("INBOX", each.uid) == live.fetch("INBOX", each.uid):
                same += 1
            else:
                differ.append(f"UID {each.uid}")
    return {"same": same, "gone": gone, "differ": differ}


@dataclasses.dataclass(frozen=True)
class TrialRestore(model.Change):
    """Restore some messages beside the live mailbox, and compare them."""

    kind: ClassVar[str] = "restore-test"
    host: str
    user: str
    source: str  # CURRENT or BACULA
    place: str
    origin: str  # the backup host

    @property
    def resource(self):
        return f"{self.place} on {self.host}"

    def title(self):
        return f"test a restore from {NAMES[self.source]}"

    def describe(self):
        first = f"the last {MESSAGES} messages of {self.user}'s INBOX that have a UID, and its lists of UIDs and keywords"
        taken = {
            CURRENT: f"from the copy on {self.origin}",
            BACULA: f"restored by Bacula on {self.origin}",
        }[self.source]
        return (
            f"{first}, {taken}, brought to {self.place}\nby Dovecot, of these and of the live ones: UID FETCH BODY.PEEK[] "
            "each, the same octets. Nothing is added to the mailbox."
        )

    def settled(self, ctx):
        return model.Settled(False, "it is made each time it is asked for")

    def inverse(self):
        return RemoveTrial(self.host, self.place)

    def apply(self, ctx, report):
        account = users.find(ctx.hosts, ctx.site.roles.new, self.user)
        if account is None:
            raise model.ChangeFailed(
                f"{self.host} knows no mail user {self.user!r}, of production_test.users"
            )
        owner, job, where = f"{account['uid']}:{account['gid']}", None, None
        ctx.hosts.ssh(self.host).run(["rm", "-f", "--", f"{self.place}.json"], sudo=True)
        try:
            base = ctx.site.backup.target
            said = ctx.hosts.run(
                self.origin,
                ["sh", "-c", _NEWEST, "newest", f"{base}/{self.user}", str(LOOKED_AT)],
                sudo=True,
                check=False,
            )
            names = [
                name.decode("utf-8", "surrogateescape") for name in said.out.split(b"\0") if name
            ]
            if self.source == BACULA:
                where = bacula.scratch(ctx.site, ctx.run_name, "test")
                job, names = self._from_bacula(ctx.hosts, names, where, report)
                base = f"{where}{base}"
            names = names[-MESSAGES:]
            if not names:
                raise model.ChangeFailed(
                    f"{NAMES[self.source]} has no message in {self.user}'s INBOX to be tested with: run "
                    "production-test, then this step again"
                )
            copies.bring(
                ctx.hosts,
                copies.packing(f"{base}/{self.user}", [*bacula.LISTS, *names]),
                owner,
                self.place,
            )
        finally:
            if where:
                bacula.remove_scratch(ctx.hosts, where)
        found = _compared(ctx.hosts, account, self.place)
        if found["differ"] or not found["same"]:
            raise model.ChangeFailed(
                f"what came from {NAMES[self.source]} of {self.user}'s INBOX is not what is there: "
                f"{found['same']} messages the same, {found['gone']} not there any more, other text: "
                f"{', '.join(found['differ']) or 'none'}. It lies in {self.place} on {self.host}."
            )
        at = clock.now(ctx.hosts, self.host)
        ctx.hosts.ssh(self.host).put(
            json.dumps({"user": self.user, "job": job, "at": at}).encode(),
            f"{self.place}.json",
            sudo=True,
        )
        return f"{found['same']} messages{f' of JobId {job}' if job else ''}, the same octets" + (
            f"; {found['gone']} not there any more" if found["gone"] else ""
        )

    def _from_bacula(self, hosts, names, where, report):
        """→ (JobId, those of the messages' files that it has)"""
        good = [each for each in bacula.status(hosts)["saved"] if each["status"] == bacula.GOOD]
        if not good:
            raise model.ChangeFailed(f"{self.origin}: Bacula has saved nothing yet")
        chain = bacula.chain(hosts, good[-1]["id"])
        files, lists = bacula.inbox(hosts, chain, self.user)
        there = [name for name in names if name in files][-MESSAGES:]
        if there:
            wanted = [*(files[name] for name in there), *lists]
            jobs.restored(hosts, chain, [], wanted, where, hosts.site.backup.bacula.wait, report)
        return good[-1]["id"], there


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
        return model.Settled(not there, f"it is {'there' if there else 'gone'}")

    def apply(self, ctx, report):
        ctx.hosts.run(
            self.host,
            ["rm", "-rf", "--", self.place, f"{self.place}.part", f"{self.place}.json"],
            sudo=True,
        )
        return "removed"
