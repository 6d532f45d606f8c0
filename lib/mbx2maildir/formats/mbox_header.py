"""What c-client keeps in the headers of a mbox: flags, keywords and UIDs, in fields of its own.

Source: unix_parse(), unix_header() and mail_filter() of c-client 2007f. It believes a field only in
the spelling it writes itself; it hides the field in any spelling, with a colon or without.
"""

import re

from mbx2maildir.formats import mbx, mbx_header
from mbx2maildir.patterns import Pattern

OWN = Pattern(rb"^(Status:|X-Status:|X-Keywords:|X-IMAP:|X-IMAPbase:|X-UID:)([^\n]*)", re.MULTILINE)
HIDDEN = Pattern(
    rb"^(?:x-(?:status|keywords|uid|imapbase|imap)|status)(?=[: \t\n\0]|\Z)"
    rb"[^\n]*\n?(?:[ \t][^\n]*\n?)*",
    re.MULTILINE | re.IGNORECASE,
)
NAME_WITH_NUL = Pattern(rb"^([^:\0 \t\n]*)\0", re.MULTILINE)
NUMBERS = Pattern(rb" *(\d+) +(\d+)([^\r]*)")
LETTERS = {
    ord("R"): mbx.SEEN,
    ord("O"): mbx.OLD,
    ord("D"): mbx.DELETED,
    ord("F"): mbx.FLAGGED,
    ord("A"): mbx.ANSWERED,
    ord("T"): mbx.DRAFT,
}
LARGEST = 0xEFFFFFFF  # UID that is kept: those of later messages must fit 32 bits, too
WORD = (1 << 64) - 1  # in which c-client counts


def number(digits):
    """Digits as c-client reads them, however many: 10^64 is a multiple of 2^64."""
    return int(digits[-64:] or 0) & WORD


class Uids:
    """UIDs and keywords of a mailbox, as c-client gives them while it reads on.

    uidvalidity: 0 when the mailbox states none, and from a bad X-UID on: no X-UID is believed then.
    stated: the one it stated. pseudo: the first message only holds this, and is none. cut: the file
    ends within this line. ended: all messages are read. too_large: c-client shows numbers that IMAP
    does not allow, or nearly so. uidlast, previous: c-client's. last: the UID of the last message;
    highest: of any so far, and stated. kept: the outcome of the mailbox to which the rest is
    appended.
    """

    def __init__(self):
        self.count = self.uidvalidity = self.stated = self.uidlast = self.previous = 0
        self.last = self.highest = 0
        self.pseudo = self.ended = self.cut = self.too_large = False
        self.keywords, self.kept = [], None

    def restart(self):
        """Go on behind the end of a mbox. Its UIDVALIDITY stays, and the rest gets UIDs from its
        UIDNEXT on: what a sender writes into a message gives it no UID that mail programs pass
        over, and changes nothing of the messages before it."""
        self.ended = True
        if self.count:
            self.kept = self.outcome()
            self.uidvalidity, self.uidlast = 0, self.highest

    def outcome(self):
        """(UIDVALIDITY, or 0 where c-client takes the time of day; whether the stated one is
        dropped). Ours is then the stated one plus one, so that every pass gives the same."""
        if self.kept or not self.ended:
            return self.kept or (0, False)
        if self.uidvalidity and not self.too_large:
            return self.uidvalidity, False
        return (self.stated % 0xFFFFFFFF + 1 if self.stated else 0), bool(self.stated)

    def base(self, value, pseudo, cut):
        """X-IMAP and X-IMAPbase: UIDVALIDITY, the last UID, keywords. Only the first counts."""
        match = NUMBERS.match(value)
        if self.count > 1 or self.uidvalidity or not match or not number(match.group(1)):
            return
        self.pseudo, self.cut = self.pseudo or pseudo, cut
        self.uidvalidity, self.uidlast = map(number, match.group(1, 2))
        self.stated = self.uidvalidity
        self.too_large = self.stated > 0xFFFFFFFF or self.uidlast > LARGEST
        self.highest = self.uidlast if self.uidlast <= LARGEST else 0
        words = [word for word in match.group(3).split(b" ") if word]
        for slot, word in enumerate(words[: mbx_header.KEYWORD_SLOTS]):  # others stay
            if slot == len(self.keywords):
                self.keywords.append(None)
            if len(word) <= mbx_header.KEYWORD_LENGTH:
                self.keywords[slot] = word

    def stated_uid(self, value, uid):
        """X-UID of a message that has `uid` or 0 so far → its UID or 0."""
        if not self.uidvalidity or (self.count == 1 and self.pseudo):
            return uid
        stated = number(re.match(rb" *(\d*)", value).group(1))
        if uid or stated <= self.previous:
            self.uidvalidity = 0
            return 0
        self.previous, self.uidlast = stated, max(self.uidlast, stated)
        return stated

    def given(self, uid):
        """The UID of a message whose header is read: c-client's, unless it is too large."""
        if not uid:
            self.uidlast = self.uidlast + 1 & WORD
            self.previous = uid = self.uidlast
        if not self.last < uid <= LARGEST:
            self.too_large = True
            uid = self.highest + 1
        self.last, self.highest = uid, max(self.highest, uid)
        return uid

    def bits(self, words):
        """Keyword bits of the names of a message. c-client finds no name after the first that it
        did not keep."""
        names = self.keywords
        names = names[: names.index(None)] if None in names else names
        known = [name.lower() for name in names]
        words = {word.lower() for word in words if word}
        return sum(1 << known.index(word) for word in words if word in known)


def read(header, uids):
    """A message's header (its CRs included) → (flags, keyword bits, UID or 0)."""
    uids.count += 1
    flags = bits = uid = 0
    for match in OWN.finditer(header):
        name, value = match.groups()
        value = value[:-1] if value.endswith(b"\r") else value
        if name in (b"Status:", b"X-Status:"):
            for letter in value.partition(b"\0")[0]:
                flags |= LETTERS.get(letter, 0)
        elif name == b"X-Keywords:":
            bits |= uids.bits(re.split(b"[ \r]", value.partition(b"\0")[0]))
        elif name == b"X-UID:":
            uid = uids.stated_uid(value, uid)
        else:
            uids.base(value, name == b"X-IMAP:", match.end() == len(header))
    return flags, bits, uid


def shown(header):
    """The header as c-client shows it, with LF line ends."""
    header = header.replace(b"\r", b"")
    kept = HIDDEN.sub(b"", header)
    if b"\0" in kept:
        kept = NAME_WITH_NUL.sub(rb"\1 ", kept)
    if kept and not kept.endswith(b"\n") and len(kept) == len(header):
        kept += b"\n"  # where the file ends in it
    return kept
