"""Readers of c-client's mailboxes that are directories: mx and mix.

mx: a file with CRLF line ends for each message, named by its UID, its mtime the date; `.mxindex`
holds UIDVALIDITY, keywords and flags. mix: `.mixmeta`, `.mixindex`, `.mixstatus`, and files
`.mixNNNNNNNN` that hold the texts. Beside the mailbox's own files either may hold other folders.
"""

import os
import re
import stat

from mbx2maildir import errors, files
from mbx2maildir.formats import dates, line_ends, mbx, mbx_header
from mbx2maildir.patterns import Pattern

LARGEST = 64 << 20  # bytes of an index
MX = Pattern(rb"([VL])([0-9A-Fa-f]+)|K([^\n]*)\n|M([0-9A-Fa-f]+);([0-9A-Fa-f]+)\.([0-9A-Fa-f]+)")
MIX = Pattern(
    rb":([0-9A-Fa-f]+):(\d{14})([+-])(\d\d)(\d\d):" + rb"([0-9A-Fa-f]+):" * 5 + rb"[^\r\n]*\r?\n"
)
MIX_STATUS = Pattern(rb"^:([0-9A-Fa-f]+):([0-9A-Fa-f]+):([0-9A-Fa-f]+):", re.MULTILINE)
MIX_META = Pattern(rb"^([VLK])([^\r\n]*)\r\n", re.MULTILINE)


INDEXES = {b".mixmeta", b".mxindex"}  # what kind() looks for


def kind(path):
    """ "mx", "mix" or "": what c-client takes a directory for."""
    for name, index in (("mix", b".mixmeta"), ("mx", b".mxindex")):
        try:
            if stat.S_ISREG(os.stat(os.path.join(path, index)).st_mode):
                return name
        except OSError:
            continue
    return ""


def is_inside(format_, entry):
    """Whether an entry of such a directory belongs to the mailbox itself."""
    if format_ == "mx":
        return entry.isdigit() or entry == b".mxindex"
    return format_ == "mix" and entry.startswith(b".mix")


def size(path, format_):
    """Bytes of the messages in such a directory, and of its index."""
    total = 0
    for entry in os.listdir(path):
        if is_inside(format_, entry):
            try:
                total += os.stat(os.path.join(path, entry)).st_size
            except OSError:
                continue
    return total


class Mailbox:
    """One pass over an open directory; the same shape as mbox.Mailbox. unfinished: nothing tells
    cheaply that it did not change, so each pass reads it anew."""

    expunged = 0
    renumbered = False
    unfinished = True

    def __init__(self, fd, file="", strict=False, live=False):
        self.fd, self.path = fd, file
        self.file = errors.printable(file)
        self.strict = strict
        self.size = 0
        self.rewind()

    def rewind(self):
        """Begin again. Each pass over it does so by itself."""
        self.uidvalidity = self.uidlast = self.before_1970 = 0
        self.keywords, self.flags, self.damage = [], {}, []
        self.read_index()

    @property
    def uidnext(self):
        return self.uidlast + 1

    def note(self, what):
        if self.strict:
            raise errors.BadMessageLine(what, self.file)
        self.damage.append({"kind": "BadMessageLine", "offset": 0, "length": 0, "what": what})

    def content(self, name):
        """A file of the directory, whole; b"" when there is none."""
        try:
            return files.read_small(os.path.join(os.fsencode(self.path), name), LARGEST)
        except FileNotFoundError:
            return b""

    def text(self, name, offset=0, size=None):
        """(descriptor, text) of a message in a file of the directory, from an offset on."""
        fd = files.open_regular(os.path.join(os.fsencode(self.path), name))
        try:
            status = os.fstat(fd)
            size = status.st_size - offset if size is None else size
            return fd, line_ends.stored_text(fd, offset, size, mbx.LARGE)
        except BaseException:
            os.close(fd)
            raise

    def messages(self, texts=True):
        """As mbox.Mailbox.messages()."""
        self.rewind()
        for uid, when, name, offset, size in self.places():
            try:
                fd, text = self.text(name, offset, size)
            except FileNotFoundError:
                self.note("{} is missing".format(errors.printable(name)))
                continue
            try:
                if text is None:
                    self.note("{} is too short".format(errors.printable(name)))
                    continue
                if when is None:
                    when = int(os.fstat(fd).st_mtime)
                flags, bits, recent = self.flags.get(uid, (0, 0, self.format == "mix"))
                self.uidlast = max(self.uidlast, uid)
                shown = line_ends.sizes(text)[1]
                self.before_1970 += when < 0
                yield uid, recent, flags, bits, max(when, 0), shown, 0, text
            finally:
                os.close(fd)


class Mx(Mailbox):
    format = "mx"

    def read_index(self):
        for letter, number, word, uid, bits, flags in MX.findall(self.content(b".mxindex")):
            if letter == b"V":
                self.uidvalidity = int(number, 16) & 0xFFFFFFFF
            elif letter == b"L":
                self.uidlast = int(number, 16)
            elif uid:
                self.flags[int(uid, 16)] = int(flags, 16), int(bits, 16), False
            else:
                self.keywords.append(word if len(word) <= mbx_header.KEYWORD_LENGTH else None)
        del self.keywords[mbx_header.KEYWORD_SLOTS :]

    def places(self):
        """(UID, None, file, offset, None: the whole file) of each message."""
        names = [name for name in os.listdir(self.fd) if name.isascii() and name.isdigit()]
        numbers = {int(name): name for name in names}
        for uid in sorted(numbers):
            if uid:
                yield uid, None, os.fsencode(numbers[uid]), 0, None


class Mix(Mailbox):
    format = "mix"

    def read_index(self):
        for letter, value in MIX_META.findall(self.content(b".mixmeta")):
            if letter == b"V":
                self.uidvalidity = int(value, 16) & 0xFFFFFFFF
            elif letter == b"L":
                self.uidlast = int(value, 16)
            else:
                words = value.split(b" ")[: mbx_header.KEYWORD_SLOTS]
                self.keywords = words[: words.index(b"")] if b"" in words else words
        for uid, bits, flags in MIX_STATUS.findall(self.content(b".mixstatus")):
            flags = int(flags, 16)
            self.flags[int(uid, 16)] = flags, int(bits, 16), not flags & mbx.OLD

    def places(self):
        """(UID, seconds, file, offset, size) of each message."""
        index = self.content(b".mixindex")
        known = MIX.findall(index)
        if len(known) != index.count(b"\n:"):
            self.note("a record of .mixindex is unreadable")
        for uid, when, sign, hours, minutes, size, file, position, head, _header_size in known:
            parts = [int(when[at : at + 2]) for at in range(4, 14, 2)]
            east = (int(hours) * 3600 + int(minutes) * 60) * (-1 if sign == b"-" else 1)
            days = dates.days(int(when[:4]), parts[0], parts[1])
            seconds = days * 86400 + parts[2] * 3600 + parts[3] * 60 + parts[4] - east
            number = int(file, 16)
            name = b".mix%08x" % number if number else b".mix"
            yield (
                int(uid, 16),
                seconds,
                name,
                int(position, 16) + int(head, 16),
                int(size, 16),
            )
