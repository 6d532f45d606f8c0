"""Reader of MMDF mailboxes by the rules of c-client's mmdf driver: as a mbox, but that a line of
four Control-A stands before and behind each message."""

import os

from mbx2maildir.formats import dates, mbox

LINE = b"\1\1\1\1\n"


def is_mmdf(block):
    """Whether a file that begins with these bytes is a MMDF mailbox to c-client."""
    return block.startswith(LINE)


class Mailbox(mbox.Mailbox):
    """The same shape as mbox.Mailbox."""

    format = "mmdf"

    def frames(self):
        """As mbox.Mailbox.frames(). A message without a "From " line has the file's date."""
        offset = 0
        while offset < self.size:
            start = offset
            line = self.line_at(offset)
            if line == LINE:
                offset += len(LINE)
                line = self.line_at(offset)
            elif not start:
                self.note(0, self.size, "no line of Control-A at the beginning")
                return
            when = dates.from_line(line, drop_cr=False)
            if when is None:
                when = int(os.fstat(self.fd).st_mtime)
            else:
                offset += len(line)
            header, body, blank = self.header_at(offset)
            end, after = self.next_line(offset), 0
            if end < body:  # the message ends within its header
                header, body, blank = header[: end - offset], end, False
            if end < self.size:
                after = len(LINE)
            yield start, when, header, blank, body, end - body
            offset = end + after

    def next_line(self, position):
        """The offset of the next line of Control-A; the file's size when no line follows."""
        tail = b"\n"
        while position < self.size:
            block = self.read(mbox.CHUNK, position)
            place = (tail + block).find(b"\n" + LINE)
            if place >= 0:
                return position - len(tail) + place + 1
            tail = (tail + block)[-len(LINE) :]
            position += len(block)
        return self.size
