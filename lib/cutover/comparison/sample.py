"""A sample of what presync staged, read by Dovecot, beside c-client's reading of the old folders, while users are at work.

Dovecot reads the staged tree where the user's Maildir will be, in a mount namespace of its own, with a memory file system laid
over it: it sees what will be published, and what it writes (indexes) is gone with the session. Nothing outside notices.

Users work meanwhile, so flags, new mail and deletions may differ and are counted only. What may never differ for one UID is the
text and the date; and a message between others that is on the old side must be staged.
"""

import concurrent.futures
import contextlib
import hashlib
import time

from cutover.connect import imap
from cutover.facts import mailboxes
from cutover.model import errors

PART = 50  # messages read of one folder at most
USERS = 4  # users in the sample, times those read at the same time
SHOWN = 20  # differences told in full

_SCRIPT = """
set -e
[ -d "$2" ] || { echo "$2: no such directory on this host" >&2; exit 1; }
mount -t tmpfs tmpfs /mnt
mkdir /mnt/upper /mnt/work
chown --reference "$1" /mnt/upper
chmod --reference "$1" /mnt/upper
mount -t overlay overlay -o "lowerdir=$1,upperdir=/mnt/upper,workdir=/mnt/work" "$2"
exec setpriv --reuid "$3" --regid "$4" --init-groups --reset-env doveadm exec imap
"""


@contextlib.contextmanager
def session(hosts, user: dict, tree: str | None = None):
    """Dovecot over a user's staged tree, or another one that is his. `user`: an entry of facts.users. → imap.Session"""
    site = hosts.site
    tree = tree or f"{site.new_store.work}/staging/{user['user']}"
    argv = [
        "unshare",
        "--mount",
        "--propagation",
        "private",
        "sh",
        "-c",
        _SCRIPT,
        "staged",
        tree,
        mailboxes.maildir(site, user),
        str(user["uid"]),
        str(user["gid"]),
    ]
    with mailboxes.preauth(
        hosts.ssh(site.roles.new).open(argv, sudo=True), f"{site.roles.new}: Dovecot over {tree}"
    ) as opened:
        yield opened


def order(seed: str, names) -> list:
    """Names in an order that only the seed decides."""
    return sorted(
        names,
        key=lambda name: hashlib.sha256(
            f"{seed}\0{name}".encode("utf-8", "surrogateescape")
        ).digest(),
    )


def sample(hosts, users: list, count: int, seed: str) -> dict:
    """Read about `count` messages of some of the users (entries of facts.users), as many users at a time as verify does.

    → `{"seed", "messages", "folders", "users": [names], "changed": messages whose flags or presence differ,
    "differences": [text], "errors": {user: text}, "groups": [{"users", "folders", "messages", "bytes": numbers, "sessions",
    "opening", "metadata", "content": seconds}]}`. A group is read together; its seconds are by the clock, of what one stage adds
    to the one before.
    """
    parallel = hosts.site.verify.parallel
    known = {user["user"]: user for user in users}
    chosen = order(seed, known)[: USERS * parallel]
    found = {
        "seed": seed,
        "messages": 0,
        "folders": 0,
        "users": [],
        "changed": 0,
        "differences": [],
        "errors": {},
        "groups": [],
    }
    for start in range(0, len(chosen), parallel):
        pairs = [
            _Pair(hosts, known[name], -(-count // len(chosen)), seed)
            for name in chosen[start : start + parallel]
        ]
        group = _read_together(pairs)
        for pair in pairs:
            if pair.error:
                found["errors"][pair.user["user"]] = pair.error
            else:
                found["users"].append(pair.user["user"])
            found["changed"] += pair.changed
            found["differences"] += pair.differences
        found["groups"].append(group)
        found["messages"] += group["messages"]
        found["folders"] += group["folders"]
    found["differences"] = found["differences"][:SHOWN]
    return found


def _read_together(pairs):
    """Take some users through all stages, each stage begun by all at the same time. → their group, see sample()"""
    took = []
    with concurrent.futures.ThreadPoolExecutor(len(pairs)) as pool:
        try:
            for stage in (_Pair.open, _Pair.count, _Pair.metadata, _Pair.content):
                began = time.monotonic()
                list(pool.map(lambda pair, stage=stage: pair.attempt(stage), pairs))
                took.append(time.monotonic() - began)
        finally:
            list(pool.map(_Pair.close, pairs))
    sessions, opening, metadata, content = took
    read = [pair for pair in pairs if not pair.error]
    # each level does again what the one below it does
    return {
        "users": len(read),
        "folders": sum(len(pair.parts) for pair in read),
        "messages": sum(pair.messages for pair in read),
        "bytes": sum(pair.bytes for pair in read),
        "sessions": round(sessions, 4),
        "opening": round(opening, 4),
        "metadata": round(max(0.0, metadata - opening), 4),
        "content": round(max(0.0, content - metadata), 4),
    }


class _Pair:
    """One user's two sessions. What goes wrong is kept in `error`, and ends it."""

    def __init__(self, hosts, user, quota, seed):
        self.hosts, self.user, self.quota, self.seed = hosts, user, quota, seed
        self.prefix, self.held = hosts.site.old_store.imap_prefix, contextlib.ExitStack()
        self.error, self.parts, self.names = "", [], []
        self.messages = self.bytes = self.changed = 0
        self.differences = []

    def attempt(self, stage):
        if self.error:
            return
        try:
            stage(self)
        except (errors.CutoverError, OSError) as error:
            self.error = str(error)

    def open(self):
        self.old = self.held.enter_context(mailboxes.old_session(self.hosts, self.user["user"]))
        self.new = self.held.enter_context(session(self.hosts, self.user))
        there = {name for name, _, selectable in self.new.folders("*") if selectable} | {"INBOX"}
        for name in order(self.seed, mailboxes.old_folders(self.old, self.prefix)):
            new_name = name if name == "INBOX" else name.removeprefix(self.prefix)
            if (
                new_name in there
            ):  # others are no folders to the conversion, made since, or have a dot in their name
                self.names.append((name, new_name))

    def count(self):
        left = self.quota
        for name, new_name in self.names:
            if left <= 0:
                break
            try:
                old, new = self.old.read(name), self.new.read(new_name)
            except imap.FolderUnreadable:
                continue  # c-client refuses it: the conversion said what it made of it
            size = min(left, PART, old.exists)
            digest = hashlib.sha256(
                f"{self.seed}\0{name}".encode("utf-8", "surrogateescape")
            ).hexdigest()
            start = 1 + int(digest, 16) % (old.exists - size + 1)
            numbers = [range(start, min(start + size, folder.exists + 1)) for folder in (old, new)]
            self.parts.append((name, new_name, numbers))
            left -= size

    def _both(self, level):
        for name, new_name, numbers in self.parts:
            yield self.old.read(name, level, numbers[0]), self.new.read(new_name, level, numbers[1])

    def metadata(self):
        for _ in self._both("metadata"):
            pass

    def content(self):
        for old, new in self._both("content"):
            self.messages += len(old.messages)
            self.bytes += sum(message.size for message in old.messages)
            if old.uidvalidity != new.uidvalidity:
                wrong = (
                    [f"UIDVALIDITY {old.uidvalidity} became {new.uidvalidity}"]
                    if _keeps(self.old, old)
                    else []
                )
            else:
                changed, wrong = compare(old.messages, new.messages, waits=old.name == "INBOX")
                self.changed += changed
            self.differences += [f"{self.user['user']}: {old.name}: {text}" for text in wrong]

    def close(self):
        try:
            self.held.close()
        except (errors.CutoverError, OSError) as error:
            self.error = self.error or str(error)


def _keeps(old, folder):
    """Whether the old server says the same UIDVALIDITY each time; of a file that holds none it says the time of day."""
    if not folder.exists:
        return False
    time.sleep(1.1)
    return old.read(folder.name).uidvalidity == folder.uidvalidity


def compare(old: list, new: list, waits: bool = False) -> tuple:
    """Parts of one folder, imap.Messages by UID, the old one read after the new one was made. → (number changed, [difference])

    `waits`: mail may have waited in the spool. It was staged under the UIDs it would have got; what was delivered since got them
    before it. Then from some UID on each is another message, and all count as changed.
    """
    there = {message.uid: message for message in new}
    changed, wrong, others = 0, [], 0
    first, last = (min(there), max(there)) if there else (1, 0)
    for message in old:
        other = there.pop(message.uid, None)
        another = (
            other is not None
            and message.internaldate != other.internaldate
            and message.digest != other.digest
        )
        others = others + 1 if another else 0 if other is not None else others
        if other is None:
            changed += not first <= message.uid <= last
            if first <= message.uid <= last:
                wrong.append(f"UID {message.uid}: not staged")
        elif message.internaldate != other.internaldate:
            wrong.append(
                f"UID {message.uid}: INTERNALDATE {message.internaldate} became {other.internaldate}"
            )
        elif message.digest != other.digest:
            wrong.append(
                f"UID {message.uid}: content {str(message.digest)[:12]}… became {str(other.digest)[:12]}…"
            )
        else:
            changed += message.flags != other.flags
    if waits and others and len(wrong) == others:
        changed, wrong = changed + others, []
    return changed + len(there), wrong
