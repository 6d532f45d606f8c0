"""One user's folders, read on both sides by servers that know nothing of the converter.

Old side: c-client. New side: Dovecot. Always EXAMINE: reading changes nothing.
"""

import base64
import dataclasses
import math
import time
from collections.abc import Callable, Collection

from cutover.comparison import carried, messages
from cutover.comparison.contents import Contents
from cutover.comparison.small_folders import SmallFolders
from cutover.connect import imap
from cutover.facts import mailboxes, pop3
from cutover.model import errors


@dataclasses.dataclass(frozen=True, slots=True)
class Converted:
    """A folder as the conversion reports it. Names are as IMAP says them.

    old: None for a folder of the new side only. added: messages from the spool and those that
    only the new side had. salvaged: messages read from a damaged file; None for a whole one.
    messages, bytes: how much there is to read, as far as the conversion knows.
    """

    old: str | None
    new: str
    added: int = 0
    lost_keywords: list[str] = dataclasses.field(default_factory=list)
    salvaged: int | None = None
    messages: float = dataclasses.field(default=math.inf, compare=False)
    bytes: float = dataclasses.field(default=math.inf, compare=False)


@dataclasses.dataclass(slots=True)
class Row:
    """One folder of one user, compared; it is filled while both sides are read.

    old, new: numbers of messages. extra: those of the new side only. spool: messages in the spool.
    differences: the first of them, as text; differing counts them all.
    lost, line_ends, contents: see messages.Comparison. uidls: messages whose POP3 identifiers were
    compared.
    proven: when its contents were read, before the outage, in seconds since the epoch; neither side
    was touched since, and nothing but `again` messages was read now. Else 0.
    unknown: the conversion does not know it as a folder. salvaged: it is damaged, and nothing was
    compared.
    """

    user: str = ""
    old_name: str | None = None
    new_name: str | None = None
    old: int = 0
    new: int = 0
    extra: int = 0
    spool: int = 0
    differences: list[str] = dataclasses.field(default_factory=list)
    differing: int = 0
    lost: int = 0
    line_ends: int = 0
    contents: int = 0
    uidls: int = 0
    proven: float = 0.0
    again: int = 0
    notes: list[str] = dataclasses.field(default_factory=list)
    unknown: bool = False
    salvaged: bool = False

    @property
    def name(self) -> str:
        """The folder's name on the old side, or on the new one where only that has it."""
        return self.old_name or self.new_name or ""

    def differs(self, text: str) -> None:
        self.differences.append(text)
        self.differing += 1

    def note_line_ends(self) -> None:
        if self.line_ends:
            self.notes.append(
                f"{self.line_ends} messages contain bare LFs, which Dovecot sends as CRLF: the "
                "size differs, the text is the same"
            )


def read_user(
    hosts,
    old: imap.Session,
    new: imap.Session,
    user: str,
    converted: list[Converted],
    level: str,
    contents: Contents,
    passed: Collection[str] = (),
    uidls: Callable[[], list[str]] | None = None,
    proofs: carried.Proofs | None = None,
    again: carried.Again | None = None,
) -> list[Row]:
    """All folders of one user, read on both sides and compared.

    old, new: the user's sessions. passed: old names of what the conversion passed over; nothing
    below them is looked at. level: "count", "metadata" or "content". contents: what is read at
    level "content". uidls: asks by POP3 what the new side shows of INBOX, or None. proofs: those
    that still hold, of which the messages of `again` are read again.
    """
    known = {folder.old: folder for folder in converted if folder.old is not None}

    def compared(old, new, old_name):
        folder, proof = known.get(old_name), proofs.get(old_name)
        row = Row(user, old_name, folder and folder.new)
        if proof and folder == Converted(old_name, proof.new_name):
            return again.carry(old, new, row, proof)
        chosen = contents.of(user, old_name)
        opened = _open_old(old, row, folder and folder.salvaged, chosen, small)
        if opened is not None and folder is not None:
            result = _compare_new(old, new, opened, row, level, folder, chosen, small)
            if result is not None:
                _check_uidvalidity(old, opened, row, result)
                if old_name == "INBOX":
                    _compare_inbox(hosts.site, old, opened, result, row, folder.salvaged, uidls)
        return row

    def compared_alone(new, old_name):
        with mailboxes.old_session(hosts, user) as old:
            return compared(old, new, old_name)

    rows, damaged = [], {name for name in known if known[name].salvaged is not None}
    proofs = carried.shown(new, proofs or {})
    only_new = {name for name, _, selectable in new.folders("*") if selectable} | {"INBOX"}
    names = mailboxes.old_folders(old, hosts.site.old_store.imap_prefix, passed)
    names += sorted(known.keys() - set(names))  # c-client opens long names it does not list
    read = [known[name] for name in names if name in known and name not in proofs]
    small = SmallFolders(old, new, read, level, contents)
    for old_name in names:
        small.prepare(old_name)
        # c-client's session ends at some damaged folders
        row = None if old_name in damaged else compared(old, new, old_name)
        # its tenex driver mixes up the texts of two folders in one session
        if row is None or row.differing and level == "content":
            row = compared_alone(new, old_name)
        rows.append(row)
        only_new.discard(row.new_name)
    rows += [_only_new(new, user, new_name) for new_name in sorted(only_new)]
    _compare_subscriptions(set(old.subscribed()), set(new.subscribed()), rows)
    return rows


def _only_new(new, user, name):
    count = new.status(name, ["MESSAGES"])["MESSAGES"]
    return Row(user, None, name, new=count, extra=count)


def _compare_inbox(site, old, opened, result, row, salvaged, uidls):
    path = site.old_store.spool.format(user=row.user, home="")
    _compare_spool(old, path, result, row, salvaged)
    if uidls and row.old and not (result.uidvalidity or result.renumbered):
        _compare_uidls(uidls, old, opened.uidvalidity, row)


def _compare_subscriptions(old, new, rows):
    """Every subscription of the old side must be on the new: many clients show nothing else."""
    for row in rows:
        if row.old_name in old and row.new_name and row.new_name not in new:
            row.differs("the subscription to it is missing")


def _open_old(old, row, salvaged, chosen, small):
    """The folder as c-client opens it, or None when there is nothing to compare."""
    try:
        folder = small.stream(old, row.old_name, chosen)
    except (imap.FolderUnreadable, imap.SessionLost) as error:
        if isinstance(error, imap.SessionLost) and salvaged is None:
            raise
        return _unreadable(error, row, salvaged)
    if row.new_name is None:
        row.unknown = True
        row.notes.append(f"c-client shows it as {folder.exists} message(s)")
        return None
    return folder


def _unreadable(error, row, salvaged):
    """Note a folder that c-client cannot open, or cannot read to its end.

    An empty folder stands for an INBOX that never existed; otherwise None.
    """
    if salvaged is not None:
        row.salvaged = True
        row.notes.append(
            f"c-client cannot read it ({error.reason}); {salvaged} messages were salvaged and not "
            "compared"
        )
    elif row.old_name == "INBOX":
        return imap.Folder("INBOX", 0, 0, [])
    elif row.new_name is None:
        row.unknown = True
        row.notes.append(f"c-client cannot read it as a folder either ({error.reason})")
    else:
        row.differs(f"c-client cannot read it: {error}")
    return None


def _compare_new(old, new, folder, row, level, converted, chosen, small):
    """Fill a row from both sides: a messages.Comparison, None where a side could not be read."""

    def same_text(uid, new_uid):
        texts = (old.fetch(row.old_name, uid), new.fetch(row.new_name, new_uid))
        return len({imap.Digest().update(text).hexdigest() for text in texts}) == 1

    try:
        # every content that only the new side has is read: the spool is looked for among it
        first = 0 if messages.too_large(folder) else folder.uidnext or 0
        opened = small.stream(new, row.new_name, lambda uid: uid >= first or chosen(uid))
        if folder.uidvalidity == 0:
            folder.uidvalidity = opened.uidvalidity
        result = (
            messages.compare_counts(folder, opened)
            if level == "count"
            else messages.compare(folder, opened, converted.lost_keywords, same_text)
        )
    except (imap.FolderUnreadable, imap.SessionLost) as error:
        if error.server == old.server and converted.salvaged is not None:
            _unreadable(error, row, converted.salvaged)
        else:
            row.differs(str(error))
        return None
    except errors.CutoverError as error:
        row.differs(str(error))
        return None
    row.old, row.new = result.old, result.new
    row.extra = max(0, result.new - result.old) if level == "count" else len(result.extra)
    row.differences, row.differing = list(result.differences), result.differing
    row.lost, row.line_ends, row.contents = result.lost, result.line_ends, result.contents
    row.note_line_ends()
    if result.renumbered:
        row.notes.append(
            f"the old server shows UIDNEXT {folder.uidnext} under UIDVALIDITY "
            f"{folder.uidvalidity}, which IMAP does not allow or nearly so: the folder has new "
            "UIDs, and messages were compared in their order"
        )
    if row.lost:
        row.notes.append(
            f"{row.lost} messages lost {', '.join(converted.lost_keywords)}: Maildir has 26 "
            "keywords"
        )
    return result


def _check_uidvalidity(old, folder, row, result):
    """Drop a changed UIDVALIDITY where the old server has none to keep.

    For a file that holds no UIDVALIDITY it takes the time of day at each reading, in seconds.
    """
    if not result.uidvalidity:
        return
    deadline = time.monotonic() + 3
    while time.monotonic() < deadline:
        if old.read(row.old_name, "count").uidvalidity != folder.uidvalidity:
            row.differences.remove(result.uidvalidity)
            row.differing -= 1
            row.notes.append("the old server reports a new UIDVALIDITY at each reading")
            return
        time.sleep(0.1)


def _compare_spool(session, path, inbox, row, salvaged):
    """Look by digest for each message of the spool among those the new INBOX has in addition."""
    try:
        spool = session.read(path, "content").messages
    except imap.FolderUnreadable:
        return  # no spool file, or an empty one
    except imap.SessionLost as error:
        if salvaged is None:
            raise
        _unreadable(error, row, salvaged)
        return
    digests = [message.digest for message in inbox.extra if message.digest]
    lost = len(spool) == 1 and spool[0].digest not in digests
    if lost and _is_no_mail(session.fetch(path, spool[0].uid), path):
        return
    row.spool = len(spool)
    summary = inbox.summary
    if summary.count == len(spool) and (not summary.size or summary.same(messages.Digests(spool))):
        return  # the spool is what the old server shows as INBOX
    if not digests:
        if row.extra < len(spool):
            row.differs(f"{len(spool)} messages in the spool, {row.extra} added to the new INBOX")
        return
    for message in spool:
        if message.digest in digests:
            digests.remove(message.digest)
        else:
            when = message.internaldate.isoformat()
            row.differs(f"the message of {when} in the spool is not in the new INBOX")


def _is_no_mail(text, path):
    """Whether a message is what c-client makes of a file of blanks and NULs."""
    header, _, body = text.partition(b"\r\n\r\n")
    fields = header.split(b"\r\n")
    if b"Subject: " + imap.encode_name(path) not in fields or b"MIME-Version: 1.0" not in fields:
        return False
    if b"Content-Transfer-Encoding: BASE64" in fields:
        try:
            body = base64.b64decode(body)
        except ValueError:
            return False
    return not body.strip(b"\r\n \t\0")


def _compare_uidls(uidls, old, uidvalidity, row):
    """Each message of the old INBOX keeps its POP3 identifier: else programs fetch it again.

    ipop3d's are calculated: asked itself, it would move mail from the spool.
    """
    try:
        shown = set(uidls())
        expected = [pop3.old_uidl(uidvalidity, uid) for uid in old.all("INBOX")]
    except errors.CutoverError as error:
        row.differs(str(error))
        return
    row.uidls = len(expected)
    missing = [uidl for uidl in expected if uidl not in shown]
    if missing:
        row.differs(
            f"POP3 gives {len(missing)} messages another UIDL; one of the old is {missing[0]}"
        )
