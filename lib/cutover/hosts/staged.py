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

from cutover import errors
from cutover.hosts import imap, mailboxes

PART = 50           # messages read of one folder at most
USERS = 4           # users in the sample, times those read at the same time
SHOWN = 20          # differences told in full

_SCRIPT = """
set -e
mount -t tmpfs tmpfs /mnt
mkdir /mnt/upper /mnt/work
chown --reference "$1" /mnt/upper
chmod --reference "$1" /mnt/upper
mount -t overlay overlay -o "lowerdir=$1,upperdir=/mnt/upper,workdir=/mnt/work" "$2"
exec setpriv --reuid "$3" --regid "$4" --init-groups --reset-env doveadm exec imap
"""


@contextlib.contextmanager
def session(hosts, user: dict):
    """Dovecot over a user's staged tree. `user`: an entry of facts.users. → imap.Session"""
    site = hosts.site
    maildir = site.new_store.maildir.format(user=user["user"], home=user["home"])
    argv = ["unshare", "--mount", "--propagation", "private", "sh", "-c", _SCRIPT, "staged",
            f"{site.new_store.work}/staging/{user['user']}", maildir, str(user["uid"]), str(user["gid"])]
    stream = hosts.ssh(site.roles.new).open(argv, sudo=True)
    try:
        opened = imap.preauth(stream, timeout=300)
        yield opened
        opened.logout()
    finally:
        stream.close()


def order(seed: str, names) -> list:
    """Names in an order that only the seed decides."""
    return sorted(names, key=lambda name: hashlib.sha256(f"{seed}\0{name}".encode("utf-8", "surrogateescape")).digest())


def sample(hosts, users: list, count: int, seed: str) -> dict:
    """Read about `count` messages of some of the users (entries of facts.users), as many users at a time as verify does.

    → `{"seed", "parallel", "messages", "folders", "changed": flags or presence differ, "differences": [text], "errors":
    {user: text}, "users": {user: {"sessions": s, "folders": n, "opening": s, "messages": n, "metadata": s, "bytes": n,
    "content": s}}}`; seconds are those both sides took together.
    """
    parallel = hosts.site.verify.parallel
    known = {user["user"]: user for user in users}
    chosen = order(seed, known)[:USERS * parallel]
    found = {"seed": seed, "parallel": parallel, "messages": 0, "folders": 0, "changed": 0, "differences": [], "errors": {},
             "users": {}}
    if not chosen:
        return found
    quota = -(-count // len(chosen))
    with concurrent.futures.ThreadPoolExecutor(parallel) as pool:
        futures = {name: pool.submit(_user, hosts, known[name], quota, seed) for name in chosen}
    for name, future in futures.items():
        try:
            costs, changed, differences = future.result()
        except (errors.CutoverError, OSError) as error:
            found["errors"][name] = str(error)
            continue
        found["users"][name] = costs
        found["messages"] += costs["messages"]
        found["folders"] += costs["folders"]
        found["changed"] += changed
        found["differences"] += differences
    found["differences"] = found["differences"][:SHOWN]
    return found


def _user(hosts, user, quota, seed):
    """→ (costs, messages changed since, [difference])"""
    prefix = hosts.site.old_store.imap_prefix
    costs = dict.fromkeys(("sessions", "folders", "opening", "messages", "metadata", "bytes", "content"), 0)
    changed, differences, began = 0, [], time.monotonic()
    with mailboxes.old_session(hosts, user["user"]) as old, session(hosts, user) as new:
        there = {name for name, _, selectable in new.folders("*") if selectable} | {"INBOX"}
        names = order(seed, mailboxes.old_folders(old, prefix))
        costs["sessions"] = time.monotonic() - began
        for name in names:
            new_name = name if name == "INBOX" else name.removeprefix(prefix)
            if costs["messages"] >= quota:
                break
            if new_name not in there:       # no folder to the conversion, made since, or one whose name has a dot
                continue
            try:
                some, wrong = _folder(old, new, name, new_name, quota - costs["messages"], seed, costs)
            except imap.FolderUnreadable:
                continue        # c-client refuses it: the conversion said what it made of it
            changed += some
            differences += [f"{user['user']}: {name}: {text}" for text in wrong]
    return costs, changed, differences


def _folder(old, new, name, new_name, quota, seed, costs):
    """Read a part of one folder at each level on both sides. → (messages changed since, [difference])"""
    clock = [time.monotonic()]

    def both(level, numbers=(None, None)):
        pair = old.read(name, level, numbers[0]), new.read(new_name, level, numbers[1])
        clock.append(time.monotonic())
        return pair

    one, other = both("count")
    size = min(quota, PART, one.exists)
    start = 1 + int(hashlib.sha256(f"{seed}\0{name}".encode("utf-8", "surrogateescape")).hexdigest(), 16) % max(
        1, one.exists - size + 1)
    numbers = [range(start, min(start + size, folder.exists + 1)) for folder in (one, other)]
    both("metadata", numbers)
    one, other = both("content", numbers)
    opening, metadata, content = (after - before for before, after in zip(clock, clock[1:], strict=False))
    # each level does again what the one below it does
    for key, value in {"folders": 1, "opening": opening, "messages": len(one.messages), "metadata": max(0, metadata - opening),
                       "bytes": sum(message.size for message in one.messages), "content": max(0, content - metadata)}.items():
        costs[key] += value
    wrong = []
    if one.uidvalidity != other.uidvalidity and _keeps(old, one):
        wrong.append(f"UIDVALIDITY {one.uidvalidity} became {other.uidvalidity}")
        return 0, wrong
    changed, unequal = compare(one.messages, other.messages)
    return changed, wrong + unequal


def _keeps(old, folder):
    """Whether the old server says the same UIDVALIDITY each time; of a file that holds none it says the time of day."""
    time.sleep(1.1)
    return old.read(folder.name, "count").uidvalidity == folder.uidvalidity and folder.exists > 0


def compare(old: list, new: list) -> tuple:
    """Parts of one folder, imap.Messages by UID, the old one read after the new one was made. → (number changed, [difference])"""
    there = {message.uid: message for message in new}
    changed, wrong = 0, []
    first, last = (min(there), max(there)) if there else (1, 0)
    for message in old:
        other = there.pop(message.uid, None)
        if other is None:
            changed += not first <= message.uid <= last
            if first <= message.uid <= last:
                wrong.append(f"UID {message.uid}: not staged")
        elif message.internaldate != other.internaldate:
            wrong.append(f"UID {message.uid}: INTERNALDATE {message.internaldate} became {other.internaldate}")
        elif message.digest != other.digest:
            wrong.append(f"UID {message.uid}: content {str(message.digest)[:12]}… became {str(other.digest)[:12]}…")
        else:
            changed += message.flags != other.flags
    return changed + len(there), wrong
