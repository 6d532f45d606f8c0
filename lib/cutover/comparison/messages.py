"""Two readings of one folder, compared message by message."""

import dataclasses
from collections.abc import Callable, Collection, Iterable, Iterator

from mbx2maildir.formats import mbox_header

from cutover.connect import imap

SHOWN = 20  # differences listed for one folder


class Digests:
    """What a number of messages have in common, in any order: by digests where all have one."""

    def __init__(self, messages: Iterable[imap.Message] = (), count: int = 0):
        self.count, self.size, self.dates, self.digests = count, 0, 0, 0
        self.whole = True  # all messages so far have a digest
        for message in messages:
            self.add(message)

    def add(self, message: imap.Message) -> None:
        self.count, self.size = self.count + 1, self.size + message.size
        self.dates += int(message.internaldate.timestamp())
        self.whole = self.whole and message.digest is not None
        self.digests = (self.digests + int(message.digest, 16)) % 2**256 if self.whole else 0

    def same(self, other: "Digests") -> bool:
        """Whether both may be the same messages."""
        return (self.count, self.size, self.dates) == (other.count, other.size, other.dates) and (
            not (self.whole and other.whole) or self.digests == other.digests
        )


@dataclasses.dataclass
class Comparison:
    """What two readings of a folder have in common and what differs.

    old, new: numbers of messages. extra: messages of the new side only, by UID.
    differences: the first SHOWN, as text; differing counts them all.
    uidvalidity: the text in `differences` that says UIDVALIDITY changed, or "".
    renumbered: the old side shows UIDs or a UIDVALIDITY that IMAP does not allow, the new side
    others: then messages are compared in their order.
    lost: messages that lost a keyword Maildir has no letter for. line_ends: messages whose size
    differs by bare LFs only. contents: messages whose digests were compared.
    summary: the old side's messages.
    """

    old: int = 0
    new: int = 0
    extra: list[imap.Message] = dataclasses.field(default_factory=list)
    differences: list[str] = dataclasses.field(default_factory=list)
    differing: int = 0
    uidvalidity: str = ""
    renumbered: bool = False
    lost: int = 0
    line_ends: int = 0
    contents: int = 0
    summary: Digests = dataclasses.field(default_factory=Digests)

    def differs(self, text: str) -> None:
        self.differing += 1
        if len(self.differences) < SHOWN:
            self.differences.append(text)


def pairs(old: Iterable, new: Iterable, renumbered: bool = False) -> Iterator[tuple]:
    """(old message or None, new message or None) by ascending UID; both come in that order."""
    olds, news = iter(old), iter(new)
    left, right = next(olds, None), next(news, None)
    while left is not None or right is not None:
        in_order = renumbered and left is not None and right is not None
        if left is None or right is not None and right.uid < left.uid and not in_order:
            yield None, right
            right = next(news, None)
        elif right is None or left.uid < right.uid and not in_order:
            yield left, None
            left = next(olds, None)
        else:
            yield left, right
            left, right = next(olds, None), next(news, None)


def compare(
    old: imap.Folder,
    new: imap.Folder,
    lost_keywords: Collection[str] = (),
    same_text: Callable[[int, int], bool] = lambda *uids: False,
) -> Comparison:
    """Compare two readings whose messages come by ascending UID. Iterators do; few are kept.

    Every old message must be on the new side under its UID, with the same flags, keywords,
    INTERNALDATE, size and, where both were read, digest. Two things that no Maildir can keep are
    counted and are no difference: `lost_keywords`, for which the conversion found no letter among
    26, and bare LFs, which Dovecot sends as CRLF: then the size differs and the text must not.
    same_text(old UID, new UID) compares the texts where no digest was read.
    """
    result = Comparison()
    allowed = frozenset(lost_keywords)
    if old.uidvalidity != new.uidvalidity:
        result.renumbered = too_large(old)
        if not result.renumbered:
            result.uidvalidity = f"UIDVALIDITY {old.uidvalidity} became {new.uidvalidity}"
            result.differs(result.uidvalidity)
    uidnext = 0 if result.renumbered else old.uidnext or 0
    for message, other in pairs(old.messages, new.messages, result.renumbered):
        if message is None:
            result.extra.append(other)
            if other.uid < uidnext:
                result.differs(
                    f"UID {other.uid}: not in the old folder, and below its UIDNEXT {uidnext}"
                )
            continue
        result.old += 1
        result.summary.add(message)
        if other is None:
            result.differs(f"UID {message.uid}: missing")
            continue
        result.new += 1
        result.lost += bool(message.flags & allowed)
        read = message.digest is not None and other.digest is not None
        result.contents += read
        if message.size != other.size and (
            message.digest == other.digest if read else same_text(message.uid, other.uid)
        ):
            result.line_ends += 1
            other = dataclasses.replace(other, size=message.size)
        for text in _differences(message, other, allowed):
            result.differs(f"UID {message.uid}: {text}")
    result.new += len(result.extra)
    if new.uidnext < uidnext:
        result.differs(f"UIDNEXT {uidnext} became {new.uidnext}")
    return result


def too_large(folder: imap.Folder) -> bool:
    """Whether a mbox shows numbers that the conversion does not keep."""
    return (
        folder.wrapped
        or folder.uidvalidity > 0xFFFFFFFF
        or (folder.uidnext or 0) > mbox_header.LARGEST + 1
    )


def compare_counts(old: imap.Folder, new: imap.Folder) -> Comparison:
    """Compare two folders that were opened and not read. `extra` stays empty."""
    result = Comparison(old.exists, new.exists, summary=Digests(count=old.exists))
    if new.exists < old.exists:
        result.differs(f"{old.exists - new.exists} messages are missing")
    return result


def _differences(old, new, allowed):
    # Dovecot's keywords ignore case
    before, after = ({flag.lower(): flag for flag in side.flags} for side in (old, new))
    lost = sorted(
        before[flag] for flag in before.keys() - after.keys() if before[flag] not in allowed
    )
    gained = sorted(
        after[flag] for flag in after.keys() - before.keys() if after[flag] not in allowed
    )
    if lost or gained:
        yield "flags " + " and ".join(
            [
                *([f"lost {' '.join(lost)}"] if lost else []),
                *([f"gained {' '.join(gained)}"] if gained else []),
            ]
        )
    if old.internaldate != new.internaldate:
        yield f"INTERNALDATE {old.internaldate.isoformat()} became {new.internaldate.isoformat()}"
    if old.size != new.size:
        yield f"size {old.size} became {new.size}"
    if None not in (old.digest, new.digest) and old.digest != new.digest:
        yield f"content {str(old.digest)[:12]}… became {str(new.digest)[:12]}…"
