"""Mail comes back from the copy: first beside the live mailbox, then what is missing is added to it through Dovecot.

A message is missing from a folder when the live folder has neither its UID (same UIDVALIDITY, size and date) nor another
message of the same text that stands for it. Nothing live is written over, moved or removed; what is added gets the next UIDs, in
the order of the copy, with its flags and date. Both sides are read by Dovecot.
"""

import collections
import concurrent.futures
import dataclasses
import threading
from typing import ClassVar

from cutover import model
from cutover.connect import imap
from cutover.facts import copies, mailboxes

SESSIONS = 2  # pairs of sessions at work at the same time, each on a folder of its own; one link to a host holds three
SHOWN = 10  # messages of a folder told in full
# $1 the directory, $2 UID:GID, $3 its mode; it has its name only when it is the user's
_MAKE = r"""
[ ! -d "$1" ] || exit 0
made=$(mktemp -d -- "${1%/*}/.cutover-XXXXXX")
chown -- "$2" "$made"; chmod -- "$3" "$made"
mv -T -- "$made" "$1"
"""
_COUNT = """find "$1" -type f '(' -path '*/cur/*' -o -path '*/new/*' ')' | wc -l"""
# $1 the directory, $2 where it goes if it is not empty; looked into when nothing can come any more
_AWAY = rf"""
[ -d "$1" ] || {{ echo "was not there"; exit 0; }}
! rmdir -- "$1" 2> /dev/null || {{ echo removed; exit 0; }}
aside=$(mktemp -d -- "$2.XXXXXX")
mv -T -- "$1" "$aside/mail"
number=$(set -- "$aside/mail"; {_COUNT})
[ "$number" = 0 ] || {{ mv -T -- "$aside/mail" "$1"; rmdir -- "$aside"; echo "stays: $number messages are in it"; exit 0; }}
echo "set aside in $aside: it held no mail"
"""


@dataclasses.dataclass
class Match:
    """One folder of both sides. `missing`: messages of the copy, in UID order; `there`: how many others the live folder has;
    `added`: (message of the copy, the live one of the same text); `live`: the live folder or None."""

    missing: list
    there: int
    added: list
    live: object


def match(copy, live, name: str, message: str = "") -> Match:
    """Compare a folder of two sessions. `message`: a Message-ID; then only the copy's messages with it count."""
    folder = copy.read(name, "metadata")
    wanted = folder.messages
    if message:
        uids = {uid for uid, value in copy.headers(name, "Message-ID").items() if value == message}
        wanted = [each for each in wanted if each.uid in uids]
    try:
        there = live.read(name, "metadata")
    except imap.FolderUnreadable:
        return Match(wanted, 0, [], None)
    same = (
        {each.uid: each for each in there.messages}
        if there.uidvalidity == folder.uidvalidity
        else {}
    )
    kept = {each.uid for each in folder.messages if _alike(each, same.get(each.uid))}
    open_ones = [
        each for each in wanted if each.uid not in kept and each.size
    ]  # Dovecot takes no message of 0 bytes
    others = [each for each in there.messages if each.uid not in kept]
    sizes = {each.size for each in open_ones}
    waiting = collections.defaultdict(collections.deque)
    for each in _digests(live, name, [each for each in others if each.size in sizes]):
        waiting[each.digest].append(each)
    missing, added = [], []
    for each in _digests(copy, name, open_ones):
        if waiting[each.digest]:
            added.append((each, waiting[each.digest].popleft()))
        else:
            missing.append(each)
    return Match(missing, len(wanted) - len(missing), added, there)


def _alike(each, other):
    return other is not None and (other.size, other.internaldate) == (each.size, each.internaldate)


def _digests(session, name, messages):
    if not messages:
        return []
    uids = {each.uid for each in messages}
    return [
        each
        for each in session.read(name, "content", wanted=lambda uid: uid in uids).messages
        if each.uid in uids
    ]


def look(hosts, account: dict, place: str, names: list, message: str) -> dict:
    """The tree that was brought beside the live mailbox: `{folder: {"copy", "missing", "first": [texts], "live": messages
    there or None, "uidvalidity", "uidnext", "added": that came with a restore, "wrong": [texts], "before": copies.note's,
    "kept": messages of before}}`; reads only."""
    noted = copies.note(hosts, place)

    def one(copy, live, name, stopped):
        seen, before = match(copy, live, name, message), noted.get(name)
        ours = [
            (each, other) for each, other in seen.added if before and other.uid >= before["uidnext"]
        ]
        wrong = [
            f"UID {other.uid}: {' and '.join(said)}"
            for each, other in ours
            if (said := [*_differs(each, other)])
        ]
        pairs = [other.uid for _, other in ours]
        if pairs != sorted(pairs):
            wrong.append("the UIDs do not ascend as in the copy")
        return {
            "copy": seen.there + len(seen.missing),
            "missing": len(seen.missing),
            "first": [
                f"{name} UID {each.uid} of {each.internaldate:%Y-%m-%d %H:%M}"
                for each in seen.missing[:SHOWN]
            ],
            "live": seen.live and seen.live.exists,
            "uidvalidity": seen.live and seen.live.uidvalidity,
            "uidnext": seen.live and seen.live.uidnext,
            "added": len(ours),
            "wrong": wrong[:SHOWN],
            "before": before,
            "kept": before
            and sum(
                each.uid < before["uidnext"] for each in (seen.live.messages if seen.live else ())
            ),
        }

    return each_folder(hosts, account, place, names, one)


def each_folder(hosts, account: dict, place: str, names: list, do) -> dict:
    """`{folder: do(session of the tree beside, live session, folder, stopped)}`. SESSIONS pairs of sessions take one folder after
    the other, each folder whole. When one has failed `stopped`, a threading.Event, is set: no other folder is begun, and the
    first error is raised once all have ended."""
    waiting, lock, found, stopped = iter(names), threading.Lock(), {}, threading.Event()

    def following():
        with lock:
            return None if stopped.is_set() else next(waiting, None)

    def go():
        try:
            with (
                copies.session(hosts, account, place) as copy,
                mailboxes.new_session(hosts, account["user"]) as live,
            ):
                while (name := following()) is not None:
                    found[name] = do(copy, live, name, stopped)
        except BaseException:
            stopped.set()
            raise

    number = max(1, min(SESSIONS, len(names)))
    with concurrent.futures.ThreadPoolExecutor(number) as pool:
        try:
            for future in concurrent.futures.as_completed([pool.submit(go) for _ in range(number)]):
                future.result()
        except BaseException:
            stopped.set()
            raise
    return {name: found[name] for name in names}


def _differs(each, other):
    if each.internaldate != other.internaldate:
        yield f"its date is {other.internaldate.isoformat()}, not {each.internaldate.isoformat()}"
    if not each.flags <= other.flags:
        yield f"it lacks the flags {', '.join(sorted(each.flags - other.flags))}"


@dataclasses.dataclass(frozen=True)
class BringBeside(model.Change):
    """Pack some folders of a user's copy and unpack them beside the live mailbox."""

    kind: ClassVar[str] = "restore-beside"
    no_inverse: ClassVar[str] = (
        "what was brought stays beside: it is a copy, and no part of anybody's mailbox"
    )
    host: str
    user: str
    owner: str  # UID:GID
    place: str
    directories: list  # of the user's tree in the copy
    source: list  # the command that packs them
    origin: str  # the host where it runs

    @property
    def resource(self):
        return f"{self.place} on {self.host}"

    def title(self):
        return f"bring {len(self.directories)} folders of {self.user} beside the live mailbox"

    def describe(self):
        return (
            f"on {self.origin}: tar --create of {', '.join(self.directories)} in {self.source[4]}\n"
            f"on {self.host}: tar --extract --directory {self.place}; chown -R {self.owner}"
        )

    def settled(self, ctx):
        there = copies.brought(ctx.hosts, self.place)
        return model.Settled(there, f"{self.place} is {'there' if there else 'not there'}")

    def apply(self, ctx, report):
        number, sent = copies.bring(
            ctx.hosts,
            self.source,
            self.owner,
            self.place,
            lambda sent: report({"event": "restore", "text": f"{sent / 1e6:.0f} MB brought"}),
        )
        return f"{number} messages, {sent} bytes"


@dataclasses.dataclass(frozen=True)
class MakeMailDirectory(model.Change):
    """Make the directory of a user's mail, which is gone; what is in it is made by Dovecot."""

    kind: ClassVar[str] = "restore-directory"
    host: str
    user: str
    path: str
    owner: str  # UID:GID
    mode: str  # octal
    aside: str  # where the rollback puts what Dovecot made in it

    @property
    def resource(self):
        return f"{self.path} on {self.host}"

    def title(self):
        return f"make the mail directory of {self.user}, which is gone"

    def describe(self):
        return f"mkdir -m {self.mode} {self.path}\nchown {self.owner} {self.path}"

    def settled(self, ctx):
        there = copies.is_directory(ctx.hosts, self.path)
        return model.Settled(there, f"{self.path} is {'there' if there else 'not there'}")

    def inverse(self):
        return RemoveMailDirectory(self.host, self.user, self.path, self.aside)

    def apply(self, ctx, report):
        ctx.hosts.run(
            self.host, ["sh", "-ec", _MAKE, "make", self.path, self.owner, self.mode], sudo=True
        )
        return "made"


@dataclasses.dataclass(frozen=True)
class RemoveMailDirectory(model.Change):
    """Remove a mail directory that a restore made; with mail in it, it stays."""

    kind: ClassVar[str] = "restore-directory-away"
    no_inverse: ClassVar[str] = "restore once more"
    host: str
    user: str
    path: str
    aside: str

    @property
    def resource(self):
        return f"{self.path} on {self.host}"

    def title(self):
        return f"remove the mail directory of {self.user}, which was not there"

    def describe(self):
        return (
            f"rmdir {self.path}; what Dovecot made in it is set aside in {self.aside}.*\n"
            "It stays when there is mail in it: that came since."
        )

    def settled(self, ctx):
        said = ctx.hosts.run(
            self.host,
            ["sh", "-c", f'[ ! -d "$1" ] && echo gone || {_COUNT}', "count", self.path],
            sudo=True,
        ).text.strip()
        if said == "gone":
            return model.Settled(True, f"{self.path} is not there")
        return model.Settled(
            said != "0",
            f"{self.path} holds {said} messages" + (" and stays" if said != "0" else ""),
        )

    def apply(self, ctx, report):
        return ctx.hosts.run(
            self.host, ["sh", "-ec", _AWAY, "away", self.path, self.aside], sudo=True
        ).text.strip()


@dataclasses.dataclass(frozen=True)
class AddMissing(model.Change):
    """Add to the live folders what they lack of the tree beside them."""

    kind: ClassVar[str] = "restore-add"
    host: str
    user: str
    account: dict  # user, uid, gid, home
    place: str
    folders: list  # names as IMAP says them
    message: str  # a Message-ID, or "" for all

    @property
    def resource(self):
        return f"restored mail of {self.user} on {self.host}"

    def title(self):
        return f"add to {self.user}'s mailbox what it lacks"

    def describe(self):
        what = f"the messages with Message-ID {self.message}" if self.message else "each message"
        return (
            f"for {what} of {', '.join(self.folders)} in {self.place}, in UID order, by Dovecot:\nnothing when the live "
            "folder has its UID (same UIDVALIDITY, size, date) or its text; else APPEND with its flags and date. A folder "
            "that is not there is created and subscribed."
        )

    def settled(self, ctx):
        return model.Settled(False, "what is missing is asked when it is applied")

    def inverse(self):
        return TakeOut(self.host, self.user, self.account, self.place, self.folders, self.message)

    def apply(self, ctx, report):
        noted, lock = copies.note(ctx.hosts, self.place), threading.Lock()

        def one(copy, live, name, stopped):
            seen = match(copy, live, name, self.message)
            if seen.live is None and (seen.missing or not self.message):
                try:
                    live.create(name)
                except (
                    imap.CommandRefused
                ):  # Dovecot makes some by itself, and a client or a delivery may have
                    seen = match(copy, live, name, self.message)
                    if seen.live is None:
                        raise
                live.subscribe(name)
            if seen.missing:
                now = seen.live or live.read(name)
                with lock:
                    if name not in noted:
                        noted[name] = {
                            "uidvalidity": now.uidvalidity,
                            "uidnext": now.uidnext,
                            "exists": now.exists,
                        }
                        copies.write_note(ctx.hosts, self.place, noted)
            number = 0
            for batch in imap.batches(seen.missing):
                if stopped.is_set():
                    break
                live.append_all(
                    name,
                    [
                        (text, sorted(each.flags), each.internaldate)
                        for each, text in copy.texts(name, batch)
                    ],
                )
                number += len(batch)
                report(
                    {
                        "event": "restore",
                        "text": f"{name}: {number} of {len(seen.missing)} messages added",
                    }
                )
            return seen.there + len(seen.missing), number

        found = each_folder(ctx.hosts, self.account, self.place, self.folders, one)
        if self.message and not any(there for there, _ in found.values()):
            raise model.ChangeFailed(
                f"the copy has no message of {self.user} with Message-ID {self.message} in "
                f"{', '.join(self.folders)}. Look at its spelling, <…> included."
            )
        told = [f"{name} {number}" for name, (_, number) in found.items() if number]
        return f"added: {', '.join(told) or 'nothing, nothing was missing'}"


@dataclasses.dataclass(frozen=True)
class TakeOut(model.Change):
    """Take out again what a restore added. Each such message is in the tree beside, which stays."""

    kind: ClassVar[str] = "restore-take-out"
    no_inverse: ClassVar[str] = "restore once more"
    host: str
    user: str
    account: dict
    place: str
    folders: list
    message: str

    @property
    def resource(self):
        return f"restored mail of {self.user} on {self.host}"

    def title(self):
        return f"take out of {self.user}'s mailbox what was added"

    def describe(self):
        return (
            f"for each of {', '.join(self.folders)}: UID EXPUNGE of messages that came since the restore began and whose "
            f"text is in {self.place}, which stays. Folders stay."
        )

    def _each(self, hosts, do):
        """`{folder: do(live session, folder, UIDs)}` for what was added."""
        noted = copies.note(hosts, self.place)

        def one(copy, live, name, stopped):
            seen, before = match(copy, live, name, self.message), noted[name]
            same = seen.live is not None and seen.live.uidvalidity == before["uidvalidity"]
            return do(
                live,
                name,
                [other.uid for _, other in seen.added if other.uid >= before["uidnext"]]
                if same
                else [],
            )

        if not noted or not copies.is_directory(hosts, mailboxes.maildir(hosts.site, self.account)):
            return {}
        return each_folder(hosts, self.account, self.place, list(noted), one)

    def settled(self, ctx):
        left = sum(self._each(ctx.hosts, lambda live, name, uids: len(uids)).values())
        return model.Settled(not left, f"{left} messages that were added are there")

    def apply(self, ctx, report):
        def out(live, name, uids):
            live.delete(name, uids)
            return len(uids)

        told = [f"{name} {number}" for name, number in self._each(ctx.hosts, out).items()]
        copies.write_note(ctx.hosts, self.place, {})
        return f"taken out: {', '.join(told) or 'nothing'}"
