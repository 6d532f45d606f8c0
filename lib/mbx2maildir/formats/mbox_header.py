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
LAST = 0xFFFFFFFE
WORD = (1 << 64) - 1  # in which c-client counts


class Uids:
    """UIDs and keywords of a mailbox, as c-client gives them while it reads on.

    uidvalidity: 0 when the mailbox states none, and from a bad X-UID on: no X-UID is believed then.
    stated: the one it stated. pseudo: the first message only holds this, and is none. ended: all
    messages are read. restarted: c-client took the time of day for UIDVALIDITY. too_large: c-client
    believes a number that IMAP does not allow; here it counts as none.
    """

    def __init__(self):
        self.count = self.uidvalidity = self.stated = self.uidlast = self.previous = 0
        self.pseudo = self.ended = self.restarted = self.too_large = False
        self.keywords = []

    def restart(self):
        """Go on behind the end of a mbox, which c-client has given a UIDVALIDITY."""
        if self.count and not self.uidvalidity:
            self.uidvalidity, self.restarted = 1, True

    def outcome(self):
        """(UIDVALIDITY, or 0 where c-client takes the time of day; whether it drops a stated
        one). Ours is then the stated one plus one, so that every pass gives the same."""
        if not self.ended:
            return 0, False
        if self.uidvalidity and not self.restarted:
            return self.uidvalidity, False
        return (self.stated % 0xFFFFFFFF + 1 if self.stated else 0), bool(self.stated)

    def base(self, value, pseudo):
        """X-IMAP and X-IMAPbase: UIDVALIDITY, the last UID, keywords. Only the first counts."""
        match = NUMBERS.match(value)
        if self.count > 1 or self.uidvalidity or not match or not int(match.group(1)) & WORD:
            return
        self.pseudo = self.pseudo or pseudo
        stated, last = (int(number) & WORD for number in match.group(1, 2))
        if stated > 0xFFFFFFFF or last > LAST:
            self.too_large = True
        else:
            self.uidvalidity, self.stated, self.uidlast = stated, stated, last
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
        digits = re.match(rb" *(\d*)", value).group(1)
        number = int(digits or 0) & WORD
        if uid or not self.previous < number <= LAST:
            self.too_large = self.too_large or not uid and number > LAST
            self.uidvalidity = 0
            return 0
        self.previous, self.uidlast = number, max(self.uidlast, number)
        return number

    def given(self, uid):
        """The UID of a message whose header is read."""
        if not uid:
            self.uidlast += 1
            self.previous = uid = self.uidlast
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
            uids.base(value, name == b"X-IMAP:")
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
