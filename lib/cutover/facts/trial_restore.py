"""The last test restore of each source, and whether its messages are those of the live mailbox."""

import dataclasses
import json

from cutover.connect import ssh
from cutover.facts import clock, copied_tree, copies, mailboxes, users

CURRENT, BACULA = "current", "bacula"
NAMES = {CURRENT: "the copy", BACULA: "Bacula"}


@dataclasses.dataclass(frozen=True)
class Comparison:
    """Messages that were restored, against the live ones of the same UID.

    same: with the same octets. gone: the user has removed them or changed their UID since.
    differ: names of those with other octets.
    """

    same: int
    gone: int
    differ: list[str]


@dataclasses.dataclass(frozen=True)
class Trial(Comparison):
    """A test restore as it is now. job: its JobId, from Bacula. age: seconds."""

    user: str = ""
    job: int | None = None
    age: float = 0.0


def place(site, source: str) -> str:
    """Where on the new host the test restore lies; the next one replaces it."""
    return f"{site.new_store.work}/restore-test/{source}"


def sources(site) -> list[str]:
    """What test restores are made from."""
    return [CURRENT, *([BACULA] if site.backup.bacula else [])]


def look(hosts, source: str) -> Trial | None:
    """The last test restore as it is now, both sides read by Dovecot; None when there is none."""
    new, where = hosts.site.roles.new, place(hosts.site, source)
    try:
        note = json.loads(hosts.ssh(new).get(f"{where}.json", sudo=True))
    except ssh.NoSuchFile:
        return None
    account = users.find(hosts, new, note["user"])
    if account is None or not copies.brought(hosts, where):
        return None
    age = clock.now(hosts, new) - note["at"]
    comparison = compare(hosts, account, where)
    return Trial(
        **dataclasses.asdict(comparison),
        user=note["user"],
        job=note["job"],
        age=age,
    )


def compare(hosts, account: users.Account, where: str) -> Comparison:
    """Compare each restored message with the live one of its UID, flags aside.

    One that the restored UID list does not name has no UID to be compared by.
    """
    named = copied_tree.uids(hosts, where)
    same, gone, differ = 0, 0, []
    with (
        mailboxes.tree_session(hosts, account, where) as copy,
        mailboxes.new_session(hosts, account.user) as live,
    ):
        ours, theirs = copy.read("INBOX", "metadata"), live.read("INBOX", "metadata")
        comparable = ours.uidvalidity == theirs.uidvalidity
        there = {message.uid for message in theirs.messages} if comparable else set()
        for uid in (message.uid for message in ours.messages if message.uid in named):
            if uid not in there:
                gone += 1
            elif copy.fetch("INBOX", uid) == live.fetch("INBOX", uid):
                same += 1
            else:
                differ.append(f"UID {uid}")
    return Comparison(same, gone, differ)
