"""What of a user's mail stands on the new host alone, after the user has worked there: found, and put into the old folders.

A comparison of three states: what the conversion took over (the store's `base`), Dovecot now, c-client now. Both servers are
read in PREAUTH; the old one is written through c-client alone. It works by what is there, so that done again, or after it was
killed anywhere, it finds what is still missing and nothing else:

- A UID below the UIDNEXT of the conversion is the same message on both sides, as long as the UIDVALIDITYs are. Its flags are
  carried as the user changed them; a message that was taken over from that very UID (date and size as recorded) and is gone
  from Dovecot was removed by the user.
- Any other message is recognised by its digest (store.digest, as for dual delivery), each copy once: in the same folder it is
  there already, in another one it was moved, and without a partner it is appended.

What the user removed is removed from the old folder too, for a message that comes back is what users complain about; but a
copy is kept first, by c-client, in a folder of the same name below the set-aside directory. A moved message is not kept
twice: its copy stands in the folder it was moved to, before the other one goes. Mail that came to the old host since the switch
and that Dovecot does not have stays: nobody can tell whether it was removed there or never arrived. A folder that the user
renamed is renamed; one that is gone stays, with what is in it.
"""

import collections
import contextlib
import dataclasses
import hashlib
import os
import re
import time

from mbx2maildir.formats import message_key as digest

from cutover.carryback import refusals
from cutover.connect import imap
from cutover.facts import mailboxes
from cutover.model import errors
from cutover.remote import converter

KEYWORDS = 30  # c-client's, in one folder
KEYWORD_LENGTH = 64  # its longest
NAME_BYTES = 255  # of one part of a folder's name on disk
BATCH = 500  # messages in one command
TRIES, PAUSE = 3, 1  # an estimate, while the user is at work; seconds


@dataclasses.dataclass(frozen=True)
class Known:
    """A folder as the conversion left it: `key` is its Maildir name, `limit` the UIDNEXT up to which UIDs tell, `old` None when
    only the new side had it."""

    key: str
    old: str | None
    new: str
    uidvalidity: int
    limit: int
    lost: frozenset


@dataclasses.dataclass(frozen=True)
class Pair:
    """A folder on both sides. `new`: Dovecot's name, None when it is gone; `old`: its name on the old host, once carried;
    `stands`: the name it has there now, None when it has to be made."""

    new: str | None
    old: str
    stands: str | None
    known: Known | None


@dataclasses.dataclass(frozen=True)
class One:
    """A message with no partner by UID. `kind`: "new" on the new side; on the old "gone" (below the limit, and not on the new
    side any more), "came" (since the switch), "untold" (UIDs do not tell), "kept" (its folder is gone) or "spool"."""

    kind: str
    pair: Pair
    message: imap.Message


@dataclasses.dataclass
class Wanted:
    """What is missing on the old side of one user, in the order in which it is done."""

    renames: list = dataclasses.field(default_factory=list)  # (from, to)
    creates: list = dataclasses.field(default_factory=list)  # names
    subscribes: list = dataclasses.field(default_factory=list)  # (name, wanted)
    appends: list = dataclasses.field(default_factory=list)  # (Pair, message, flags)
    flags: list = dataclasses.field(
        default_factory=list
    )  # (old folder, uid, flags to set, flags to clear)
    moved: list = dataclasses.field(
        default_factory=list
    )  # (old folder, message): stands elsewhere, once appended
    removed: list = dataclasses.field(default_factory=list)  # (old folder, message)
    known_by: dict = dataclasses.field(
        default_factory=dict
    )  # (old folder, uid) of flags: (date, bytes) of the message
    unread: list = dataclasses.field(
        default_factory=list
    )  # (Pair, message, why): new in a folder c-client cannot read
    elsewhere: dict = dataclasses.field(
        default_factory=dict
    )  # (new folder, uid) to append: the old folder it was in
    left: list = dataclasses.field(default_factory=list)  # texts: what cannot be carried
    notes: list = dataclasses.field(default_factory=list)  # texts: what stays as it is, on purpose

    def counts(self) -> dict:
        """`{what: number}` of what is missing; empty when nothing is."""
        figures = {
            "folders renamed": len(self.renames),
            "folders created": len(self.creates),
            "subscriptions": len(self.subscribes),
            "messages appended": len(self.appends),
            "bytes": sum(message.size for _, message, _ in self.appends),
            "flags changed": len(self.flags),
            "messages moved": len(self.moved),
            "messages removed": len(self.removed),
        }
        return {what: number for what, number in figures.items() if number}


def known(site, state: dict) -> list:
    """A user's folders as the store's `state` tells them. → [Known]"""
    found = []
    for folder in state["folders"]:
        old, new = mailboxes.folder_names(site, folder["old"], folder["name"])
        found.append(
            Known(
                folder["name"],
                old,
                new,
                folder["uidvalidity"],
                folder["uidnext"] - folder["spool"] - folder["appended"] if old else 0,
                frozenset(word.lower() for word in folder["lost_keywords"]),
            )
        )
    return found


# -- folders


def pair_up(site, old, new, folders: list, wanted: Wanted) -> list:
    """The folders of both sides, and in `wanted` those to be renamed and made. → [Pair]"""
    prefix = site.old_store.imap_prefix
    there = {name: selectable for name, _, selectable in old.folders(prefix + "*")} | {
        "INBOX": True
    }
    here = sorted({name for name, _, selectable in new.folders("*") if selectable} | {"INBOX"})
    by_new = {folder.new: folder for folder in folders}
    gone = [folder for folder in folders if folder.old and folder.new not in here]
    strange = [name for name in here if not (name in by_new and by_new[name].old)]
    names = _Names(prefix, there, [folder.old for folder in folders if folder.old])
    pairs = [
        Pair(folder.new, folder.old, folder.old if there.get(folder.old) else None, folder)
        for folder in folders
        if folder.old and folder not in gone
    ]
    were = _renamed(new, strange, gone)
    for name in strange:
        was = were.get(name)
        target = names.give(name)
        if target != prefix + name:
            wanted.left.append(
                f"{name}: the old server cannot have a folder of that name; its mail is put into {target}"
            )
        stands = next(
            (each for each in (target, was.old if was else None) if each and there.get(each)), None
        )
        pairs.append(Pair(name, target, stands, was))
        if stands and stands != target:
            wanted.renames.append((stands, target))
    wanted.creates += [pair.old for pair in pairs if pair.stands is None and pair.old != "INBOX"]
    pairs += [
        Pair(None, folder.old, folder.old, folder)
        for folder in gone
        if folder not in were.values() and there.get(folder.old)
    ]
    return pairs


def _renamed(new, strange, gone) -> dict:
    """`{new name: Known}` of folders that kept their UIDVALIDITY under another name, each told by it alone."""
    by_validity = collections.defaultdict(list)
    if gone:
        for name in strange:
            by_validity[new.status(name, ["UIDVALIDITY"])["UIDVALIDITY"]].append(name)
    told = collections.Counter(folder.uidvalidity for folder in gone)
    return {
        by_validity[folder.uidvalidity][0]: folder
        for folder in gone
        if len(by_validity[folder.uidvalidity]) == 1 and told[folder.uidvalidity] == 1
    }


class _Names:
    """Names on the old host for folders that only Dovecot has: the same where that can be, else one close to it.

    c-client keeps a folder as a file, so none can have folders below it; the same answer each time it is asked.
    """

    def __init__(self, prefix, there, taken):
        self.prefix, self.taken = prefix, set(taken)
        self.files = self.taken | {name for name, selectable in there.items() if selectable}
        self.directories = {
            name.rstrip("/") for name, selectable in there.items() if not selectable
        }

    def give(self, name: str) -> str:
        parts = [self._part(part) for part in name.split("/")]
        above = next(
            (
                count
                for count in range(1, len(parts))
                if self.prefix + "/".join(parts[:count]) in self.files
            ),
            len(parts),
        )
        target = (
            self.prefix + "/".join(parts[:above]) + "".join("_" + part for part in parts[above:])
        )
        while (
            target in self.taken
            or target in self.directories
            or any(other.startswith(target + "/") for other in self.taken)
        ):
            target += "_"
        self.taken.add(target)
        self.files.add(target)
        return target

    def _part(self, part):
        """One level of a name; what c-client takes for another place (`..`, `~user`, `#driver`, `{host}`) is kept from that."""
        if part in ("", ".", "..") or not self.prefix and part[0] in "~#{":
            part = "_" + part[1:].replace(".", "_")
        if len(imap.encode_name(part)) <= NAME_BYTES:
            return part
        return part[:20] + "-" + hashlib.sha256(imap.encode_name(part)).hexdigest()[:12]


def _subscriptions(prefix, old, new, pairs, wanted):
    """A subscription follows where the user subscribed or unsubscribed; others of the old list stay."""
    was, now = collections.defaultdict(list), set(new.subscribed())
    for line in old.subscribed():
        was[_spelled(line, prefix)].append(line)
    for pair in pairs:
        if pair.new in now and pair.old not in was:
            wanted.subscribes.append((pair.old, True))
        elif pair.new is not None and pair.new not in now:
            wanted.subscribes += [(line, False) for line in was.get(pair.old, ())]
        if pair.known is not None and pair.known.old != pair.old:
            wanted.subscribes += [(line, False) for line in was.get(pair.known.old, ())]


def _spelled(line, prefix):
    """A folder's name of a line of the old list: relative to the home, perhaps with a host, perhaps without the prefix."""
    name = re.sub(r"^(\{[^}]*\})?(~/)?", "", line)
    return name if name.startswith(prefix) or name == "INBOX" else prefix + name


# -- messages


def look(ctx, entry: dict, state: dict, old, new, spool: bool) -> Wanted:
    """What is missing on the old side of one user; reads only.

    `entry`: the user's of the store plan; `state`: what the store's `state` says of it; `old`, `new`: sessions; `spool`: mail in
    the spool counts as there, for the old INBOX was not opened for writing.
    """
    site, wanted = ctx.site, Wanted()
    pairs = pair_up(site, old, new, known(site, state), wanted)
    _subscriptions(site.old_store.imap_prefix, old, new, pairs, wanted)
    ones, changed = [], []
    keywords = {}
    for pair in pairs:
        _compare(pair, old, new, ones, changed, keywords, wanted)
    if spool:
        ones += _spooled(old, site.old_store.spool.format(user=entry["user"], home=""), ones, pairs)
    _match(old, new, ones, changed, wanted)
    _settle(ctx, entry, changed, [one for one in ones if one.kind == "gone"], wanted)
    _budget(keywords, wanted)
    return wanted


def _compare(pair, old, new, ones, changed, keywords, wanted):
    """Pair the messages of one folder by UID. `changed` takes (pair, old message, new message); `ones` those without partner."""
    try:
        there = (
            old.stream(pair.stands, "metadata") if pair.stands else imap.Folder(pair.old, 0, 1, [])
        )
    except imap.FolderUnreadable as error:
        if pair.old != "INBOX" or pair.known is not None and pair.known.limit > 1:
            if pair.new is not None:
                here = new.stream(pair.new, "metadata")
                fresh = _fresh(pair, here, error.reason)
                wanted.unread += fresh
                wanted.left.append(
                    f"{pair.old}: c-client cannot read it ({error.reason}); {len(fresh)} messages that are new in "
                    "the new host's folder stay there"
                )
            return
        there = imap.Folder("INBOX", 0, 1, [])  # a user who never had one
    keywords[pair.old] = {word.lower() for word in there.keywords}
    if pair.new is None:
        wanted.notes.append(
            f"{pair.old}: not on the new host any more, with {there.exists} messages"
        )
        ones += [One("kept", pair, message) for message in there.messages]
        return
    here = new.stream(pair.new, "metadata")
    tell = pair.known is None or pair.known.uidvalidity == here.uidvalidity == there.uidvalidity
    limit = pair.known.limit if pair.known is not None and tell else 0
    for message, other in _beside(there.messages, here.messages, limit):
        if message is None:
            ones.append(One("new", pair, other))
        elif other is None:
            ones.append(
                One("gone" if message.uid < limit else "came" if tell else "untold", pair, message)
            )
        elif _folded(message.flags) != _folded(other.flags):
            changed.append((pair, message, other))


def _beside(old, new, limit):
    """(old message, new message) with the same UID below the limit, else one of them and None; both come in UID order."""
    old, new = iter(old), iter(new)
    message, other = next(old, None), next(new, None)
    while message is not None or other is not None:
        if message is not None and other is not None and message.uid == other.uid < limit:
            yield message, other
            message, other = next(old, None), next(new, None)
        elif other is None or message is not None and message.uid <= other.uid:
            yield message, None
            message = next(old, None)
        else:
            yield None, other
            other = next(new, None)


def _folded(flags):
    """c-client and Dovecot both take keywords for the same whatever their case."""
    return {flag.lower() for flag in flags}


def _spooled(old, path, ones, pairs):
    inbox = next(pair for pair in pairs if pair.old == "INBOX")
    try:
        messages = old.read(path, "metadata").messages
    except imap.FolderUnreadable:
        return []  # no spool file, or an empty one
    shown = sorted(
        (one.message.size, one.message.internaldate)
        for one in ones
        if one.pair is inbox and one.kind in ("came", "gone", "untold")
    )
    if shown == sorted((message.size, message.internaldate) for message in messages):
        return []  # the spool is what the old server shows as INBOX
    return [One("spool", dataclasses.replace(inbox, stands=path), message) for message in messages]


def _match(old, new, ones, changed, wanted):
    """Find the partners of messages that have none by UID, by digest, each copy once; `ones` keeps what has none."""
    mine = [one for one in ones if one.kind == "new"]
    theirs = [one for one in ones if one.kind != "new"]
    sizes = {one.message.size for one in mine}
    # a message that Dovecot moved has its size; the other copy of mail that was delivered twice has not
    theirs = (
        [one for one in theirs if one.kind not in ("gone", "kept") or one.message.size in sizes]
        if mine
        else []
    )
    if all(one.kind in ("gone", "kept") for one in theirs):
        sizes = {one.message.size for one in theirs}
        mine = [one for one in mine if one.message.size in sizes]
    same, anywhere, taken = collections.defaultdict(list), collections.defaultdict(list), set()
    if mine and theirs:
        for key, one in _keys(old, theirs, lambda one: one.pair.stands):
            same[one.pair.old, key].append(one)
            anywhere[key].append(one)
    rest, here = [], set()
    for key, one in _keys(new, mine, lambda one: one.pair.new) if same else ():
        here.add(key)
        partner = next(
            (
                each
                for each in same[one.pair.old, key]
                if id(each) not in taken and each.kind != "kept"
            ),
            None,
        )
        if partner is None:
            rest.append((key, one))
            continue
        taken |= {id(partner), id(one)}
        if partner.kind != "spool" and _folded(partner.message.flags) != _folded(one.message.flags):
            changed.append((partner.pair, partner.message, one.message))
    for key, one in rest:
        partner = next((each for each in anywhere[key] if id(each) not in taken), None)
        if partner is not None:
            taken.add(id(partner))
            wanted.moved.append((partner.pair.stands, partner.message))
            wanted.elsewhere[one.pair.new, one.message.uid] = partner.pair.stands
    # more copies of what came to both than the new host has: moved, and killed before the old place was cleared
    surplus = [
        one for key in here for one in anywhere[key] if one.kind == "came" and id(one) not in taken
    ]
    wanted.removed = [(one.pair.stands, one.message) for one in surplus]
    taken |= {id(one) for one in surplus}
    wanted.appends = [
        (one.pair, one.message, one.message.flags)
        for one in ones
        if one.kind == "new" and id(one) not in taken
    ]
    for kind, texts, why in (
        (
            "came",
            wanted.notes,
            "mail that came since the switch and is on the old host alone, removed on the new one or "
            "never there",
        ),
        (
            "untold",
            wanted.left,
            "messages on the old host alone, of which UIDs do not tell whether they were removed on the "
            "new one",
        ),
    ):
        stay = collections.Counter(
            one.pair.old for one in ones if one.kind == kind and id(one) not in taken
        )
        if stay:
            texts.append(
                f"{why}: " + ", ".join(f"{count} in {name}" for name, count in sorted(stay.items()))
            )
    ones[:] = [one for one in ones if id(one) not in taken]


def _keys(session, ones, name):
    """(digest key, One) of some messages, folder by folder, a batch of texts in memory at a time."""
    folders = collections.defaultdict(list)
    for one in ones:
        folders[name(one)].append(one)
    for folder, listed in folders.items():
        by_uid = {one.message.uid: one for one in listed}
        for message, text in session.texts(folder, [one.message for one in listed]):
            yield digest.key(text.replace(b"\r\n", b"\n")), by_uid[message.uid]


def _settle(ctx, entry, changed, gone, wanted):
    """What is to become of flags that differ and of messages that are gone, by what the conversion took over."""
    asked = collections.defaultdict(set)
    for pair, message, _ in changed:
        if pair.known is not None and message.uid < pair.known.limit:
            asked[pair.known.key].add(message.uid)
    for one in gone:
        asked[one.pair.known.key].add(one.message.uid)
    base = _base(ctx, entry, asked)
    unknown = collections.Counter()

    def taken_over(pair, message):
        """The flags under which it was published, or None when it cannot be shown that this is that message."""
        values = (
            base.get(pair.known.key, {}).get(str(message.uid)) if pair.known is not None else None
        )
        if (
            values is None
            or values[0] != int(message.internaldate.timestamp())
            or message.size not in values[1:3]
        ):
            return None
        return {flag.lower() for flag in values[3]}

    for pair, message, other in changed:
        before, now, lost = (
            _folded(message.flags),
            _folded(other.flags),
            pair.known.lost if pair.known else frozenset(),
        )
        by_uid = (
            pair.known is not None and message.uid == other.uid and message.uid < pair.known.limit
        )
        was = taken_over(pair, message) if by_uid else before - lost
        if was is None:
            unknown[pair.old] += 1
            continue
        add = {flag for flag in other.flags if flag.lower() in now - was - before}
        clear = {flag for flag in message.flags if flag.lower() in (was - now) & before}
        if add or clear:
            wanted.flags.append((pair.stands, message.uid, frozenset(add), frozenset(clear)))
            wanted.known_by[pair.stands, message.uid] = (
                message.internaldate.isoformat(),
                message.size,
            )
    for one in gone:
        if taken_over(one.pair, one.message) is None:
            unknown[one.pair.old] += 1
        else:
            wanted.removed.append((one.pair.stands, one.message))
    wanted.left += [
        f"{name}: of {count} messages there is no record that they were taken over from these UIDs; their flags "
        "stay, and none is removed"
        for name, count in unknown.items()
    ]


def _base(ctx, entry, asked) -> dict:
    """`{Maildir name: {UID as text: [seconds, bytes, bytes, flags]}}` by the store's `base`."""
    if not asked:
        return {}
    site = ctx.site
    plan = converter.plan(site, ctx.run_name, [], 1)
    plan["users"] = [{**entry, "asked": {key: sorted(uids) for key, uids in asked.items()}}]
    return converter.read(ctx.hosts, site.roles.new, plan, "base")["users"][entry["user"]][
        "folders"
    ]


def _budget(keywords, wanted):
    """Take out keywords a folder of the old host has no room for, and say so."""
    known, refused = keywords, collections.defaultdict(collections.Counter)

    def fitting(folder, flags):
        words = known.setdefault(folder, set())
        for flag in sorted(flags):
            word = flag.lower()
            if flag.startswith("\\") or word in words:
                yield flag
            elif len(words) < KEYWORDS and len(flag) <= KEYWORD_LENGTH:
                words.add(word)
                yield flag
            else:
                refused[folder][flag] += 1

    names = {was: name for was, name in wanted.renames}
    wanted.flags = [
        (folder, uid, frozenset(fitting(names.get(folder, folder), add)), clear)
        for folder, uid, add, clear in wanted.flags
    ]
    wanted.flags = [each for each in wanted.flags if each[2] or each[3]]
    wanted.appends = [
        (pair, message, frozenset(fitting(pair.old, flags)))
        for pair, message, flags in wanted.appends
    ]
    for folder, words in refused.items():
        wanted.left += [
            f"{folder}: no room for the keyword {word} of {count} messages: c-client has {KEYWORDS} in a folder, of "
            f"{KEYWORD_LENGTH} characters at most"
            for word, count in words.items()
        ]


# -- doing it


def carry(
    ctx, entry: dict, state: dict, aside, report
) -> tuple[Wanted, Wanted, "refusals.Refusals"]:
    """Put what is missing into the old folders, and look again. → (what was done, what is missing now, what was refused)

    `aside(folder)`: makes the directory in which c-client keeps copies, and gives the name of the folder's copy there;
    `report(text)` is told what goes on. What c-client refuses is passed over, and what rests on it. Raises imap's other errors;
    then the same call goes on with what is missing.
    """
    with (
        mailboxes.old_session(ctx.hosts, entry["user"]) as old,
        mailboxes.new_session(ctx.hosts, entry["user"]) as new,
    ):
        with contextlib.suppress(imap.FolderUnreadable):  # there may be none yet
            old.select("INBOX")  # mail in the spool comes into it
        first, refused = Wanted(), refusals.Refusals()
        pairs = pair_up(ctx.site, old, new, known(ctx.site, state), first)
        _subscriptions(ctx.site.old_store.imap_prefix, old, new, pairs, first)
        first.renames = [
            (name, other)
            for name, other in first.renames
            if refused.does(other, lambda name=name, other=other: old.rename(name, other))
        ]
        first.creates = [
            name for name in first.creates if refused.does(name, lambda name=name: old.create(name))
        ]
        first.subscribes = [
            (name, wanted)
            for name, wanted in first.subscribes
            if refused.does(None, lambda name=name, wanted=wanted: old.subscribe(name, wanted))
        ]
        done = look(ctx, entry, state, old, new, spool=False)
        wanted = done.counts()
        done.renames, done.creates, done.subscribes = first.renames, first.creates, first.subscribes
        done.appends = _append(old, new, done.appends, refused, report)
        done.flags = _each_folder(done.flags, refused, lambda listed: flag(old, listed))
        done.removed = _each_folder(
            done.removed, refused, lambda listed: remove(old, listed, aside)
        )
        # what was moved may go from its old place once it stands in the new one
        done.moved = (
            _each_folder(done.moved, refused, lambda listed: remove(old, listed, None))
            if not refused.messages
            else []
        )
        missing = (
            look(ctx, entry, state, old, new, spool=False)
            if wanted or done.counts() or refused.texts
            else done
        )
        refused.note(new, missing)
        return done, missing, refused


def unknown(ctx, entry: dict, state: dict, why: str) -> tuple[Wanted, "refusals.Refusals"]:
    """What is missing of a user with whom carry() came to no end: by a look at both sides or, where the old one cannot be read,
    all that the conversion did not take over. Raises imap's errors when the new one cannot be read either."""
    refused = refusals.Refusals([why])
    try:
        with (
            mailboxes.old_session(ctx.hosts, entry["user"]) as old,
            mailboxes.new_session(ctx.hosts, entry["user"]) as new,
        ):
            missing = look(ctx, entry, state, old, new, spool=True)
            refused.note(new, missing)
            return missing, refused
    except imap.ImapError:
        missing, refused = Wanted(), refusals.Refusals([why])
    folders = {folder.new: folder for folder in known(ctx.site, state)}
    with mailboxes.new_session(ctx.hosts, entry["user"]) as new:
        for name in sorted(
            {name for name, _, selectable in new.folders("*") if selectable} | {"INBOX"}
        ):
            here, was = new.stream(name, "metadata"), folders.get(name)
            pair = Pair(name, (was and was.old) or ctx.site.old_store.imap_prefix + name, None, was)
            missing.unread += _fresh(pair, here, why)
        refused.note(new, missing)
    return missing, refused


def _fresh(pair, here, why):
    """What came to a folder of the new host since the conversion, as Wanted.unread has it."""
    limit = (
        pair.known.limit
        if pair.known is not None and pair.known.uidvalidity == here.uidvalidity
        else 0
    )
    return [(pair, message, why) for message in here.messages if message.uid >= limit]


def _append(old, new, appends, refused, report):
    """→ those of the appends that were done"""
    by_pair, done = collections.defaultdict(list), []
    for each in appends:
        by_pair[each[0]].append(each)
    for pair, listed in by_pair.items():
        if pair.old in refused.folders:
            refused.messages.update(
                ((pair.new, message.uid), refused.folders[pair.old]) for _, message, _ in listed
            )
            continue
        by_uid = {each[1].uid: each for each in listed}
        keywords, count = [], 0
        for message, text in new.texts(pair.new, [message for _, message, _ in listed]):
            flags = by_uid[message.uid][2]
            uid = refused.append(
                old, pair, message, text, sorted(word for word in flags if word.startswith("\\"))
            )
            if uid is False:
                continue
            count += 1
            done.append(by_uid[message.uid])
            words = frozenset(word for word in flags if not word.startswith("\\"))
            if words and uid is not None:
                keywords.append((pair.old, uid, words, frozenset()))
        # c-client's APPEND makes no keywords
        _each_folder(keywords, refused, lambda listed: flag(old, listed))
        report(f"{pair.old}: {count} messages appended")
    return done


def _each_folder(listed, refused, do):
    """Do something to messages, `(folder, …)` each, folder by folder. → those for which it was not refused"""
    by_folder, done = collections.defaultdict(list), []
    for each in listed:
        by_folder[each[0]].append(each)
    for each in by_folder.values():
        if refused.does(None, lambda each=each: do(each)):
            done += each
    return done


def flag(old, flags):
    by_change = collections.defaultdict(list)
    for folder, uid, add, clear in flags:
        if add:
            by_change[folder, add, True].append(uid)
        if clear:
            by_change[folder, clear, False].append(uid)
    opened = None
    for (folder, words, add), uids in sorted(by_change.items(), key=lambda item: item[0][0]):
        if folder != opened:
            old.change(folder)
            opened = folder
        for part in _parts(uids):
            old.store(part, sorted(words), add)


def remove(old, removals, aside):
    """Expunge these messages and no others; with `aside`, after c-client has copied them there."""
    by_folder = collections.defaultdict(list)
    for folder, message in removals:
        by_folder[folder].append(message)
    for folder, messages in by_folder.items():
        for part in _parts(sorted(messages, key=lambda message: message.uid)):
            uids = [message.uid for message in part]
            if aside is not None:
                _set_aside(old, folder, part, uids, aside(folder))
            old.delete(folder, uids)


def _set_aside(old, folder, messages, uids, target):
    old.change(folder)  # nothing is copied from where nothing can be removed
    try:
        old.status(target)
    except imap.FolderUnreadable:
        old.create(target)
    old.select(folder)
    old.copy(uids, target)
    # c-client's COPY makes no keywords either
    copies = old.all(target)[-len(uids) :]
    flag(
        old,
        [
            (target, uid, words, frozenset())
            for uid, message in zip(copies, messages, strict=True)
            if (words := frozenset(flag for flag in message.flags if not flag.startswith("\\")))
        ],
    )


def _parts(listed):
    return [listed[start : start + BATCH] for start in range(0, len(listed), BATCH)]


def estimate(ctx, entry: dict, state: dict) -> dict:
    """What would be carried if it were done now; reads only. → `{"counts", "left": [text], "notes": [text]}` or `{"error"}`"""
    for attempt in range(TRIES):
        time.sleep(PAUSE * attempt)
        try:
            with (
                mailboxes.old_session(ctx.hosts, entry["user"]) as old,
                mailboxes.new_session(ctx.hosts, entry["user"]) as new,
            ):
                found = look(ctx, entry, state, old, new, spool=True)
            return {"counts": found.counts(), "left": found.left, "notes": found.notes}
        except errors.CutoverError as failed:
            error = failed  # the user may be at work: what was listed a moment ago is moved
    return {"error": str(error)}


def name_aside(base: str, folder: str) -> str:
    """Where the copy of an old folder's removed messages is kept: below `base`, under the folder's own name."""
    return os.path.join(base, *[part for part in folder.split("/") if part not in ("", ".", "..")])
