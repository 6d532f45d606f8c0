"""Two readings of one folder, compared message by message."""

import dataclasses

from cutover.connect import imap

SHOWN = 20  # differences told in full for one folder


def compare(
    old: imap.Folder, new: imap.Folder, lost_keywords=(), same_text=lambda uid: False
) -> dict:
    """Two readings of one folder, whose messages come by ascending UID; iterators will do, and little is kept of them.

    → `{"old": n, "new": n, "extra": [messages on the new side alone, by UID], "differences": [text, …], "differing": n,
    "lost": n, "line_ends": n, "contents": n whose digests were compared, "look": what is the same for the same messages in any
    order}`. Every message of the old side must be on the new side under its UID, with the same flags, keywords, INTERNALDATE,
    size and, where both were read, digest. Two things no Maildir can keep are counted apart from what differs: `lost_keywords`
    that found no letter among its 26, as the conversion reported, and bare LFs, which Dovecot sends as CRLF: then the size
    differs and the text, line ends aside, must not. `same_text(uid)` reads it where no digest is there.
    """
    found, extra, differing = [], [], 0
    lost = line_ends = count = missing = contents = 0
    look = Look()
    allowed = frozenset(lost_keywords)

    def wrong(text):
        nonlocal differing
        differing += 1
        if len(found) < SHOWN:
            found.append(text)

    if old.uidvalidity != new.uidvalidity:
        wrong(f"UIDVALIDITY {old.uidvalidity} became {new.uidvalidity}")
    olds, news = iter(old.messages), iter(new.messages)
    message, other = next(olds, None), next(news, None)
    while message is not None or other is not None:
        if message is None or other is not None and other.uid < message.uid:
            extra.append(other)
            if other.uid < (old.uidnext or 0):
                wrong(
                    f"UID {other.uid}: not in the old folder, and below its UIDNEXT {old.uidnext}"
                )
            other = next(news, None)
            continue
        count += 1
        look.add(message)
        if other is None or message.uid < other.uid:
            missing += 1
            wrong(f"UID {message.uid}: missing")
            message = next(olds, None)
            continue
        lost += bool(message.flags & allowed)
        read = message.digest is not None and other.digest is not None
        contents += read
        if message.size != other.size and (
            message.digest == other.digest if read else same_text(message.uid)
        ):
            line_ends += 1
            other = dataclasses.replace(other, size=message.size)
        for what in _differs(message, other, allowed):
            wrong(f"UID {message.uid}: {what}")
        message, other = next(olds, None), next(news, None)
    if old.uidnext and new.uidnext < old.uidnext:
        wrong(f"UIDNEXT {old.uidnext} became {new.uidnext}")
    return {
        "old": count,
        "new": count - missing + len(extra),
        "extra": extra,
        "differences": found,
        "differing": differing,
        "lost": lost,
        "line_ends": line_ends,
        "contents": contents,
        "look": look,
    }


def counted(old, new):
    """As compare(), of two folders that were only opened."""
    lacking = [f"{old.exists - new.exists} messages are missing"] if new.exists < old.exists else []
    look = Look()
    look.count = old.exists
    return {
        "old": old.exists,
        "new": new.exists,
        "extra": [],
        "differences": lacking,
        "differing": len(lacking),
        "lost": 0,
        "line_ends": 0,
        "contents": 0,
        "look": look,
    }


class Look:
    """What a number of messages look like together, whatever their order: by their digests where all have one."""

    def __init__(self, messages=()):
        self.count = self.size = self.dates = self.digests = 0
        self.whole = True
        for message in messages:
            self.add(message)

    def add(self, message):
        self.count, self.size = self.count + 1, self.size + message.size
        self.dates += int(message.internaldate.timestamp())
        self.whole = self.whole and message.digest is not None
        self.digests = (self.digests + int(message.digest, 16)) % 2**256 if self.whole else 0

    def like(self, other) -> bool:
        return (self.count, self.size, self.dates) == (other.count, other.size, other.dates) and (
            not (self.whole and other.whole) or self.digests == other.digests
        )


def _differs(old, new, allowed):
    if old.flags - allowed != new.flags - allowed:
        lost, gained = sorted(old.flags - allowed - new.flags), sorted(new.flags - old.flags)
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
