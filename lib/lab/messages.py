"""Generated mail of realistic sizes and shapes; one seed always gives the same mail.

Messages are bytes with CRLF line ends.
"""

import base64
import datetime
import math
import quopri

from lab import antispam

ZONES = (0, 60, 120, 120, 120, -300, -480, 330, 540, 345)
FIRST = datetime.datetime(2009, 1, 5, 8, 0, tzinfo=datetime.UTC)
DAYS = 365 * 9
MEGABYTE = 1 << 20
WORDS = (  # noqa: SIM905 a list of a hundred quoted words reads worse
    "il la che di per con una del non sono alla come questo anche riunione progetto "
    "esperimento rivelatore misura dati turno calcolo griglia server posta allegato firma "
    "ordine bando missione rimborso aula seminario lezione esame tesi the and for with from "
    "that this will have meeting draft referee detector trigger luminosity analysis results "
    "plot please find attached minutes schedule deadline regards thanks caro cara grazie "
    "saluti domani venerdì lunedì perché così già più università attività qualità è"
).split()
PEOPLE = (
    "anna.bianchi",
    "marco.neri",
    "luigi.verdi",
    "sofia.russo",
    "j.smith",
    "h.mueller",
    "segreteria",
    "direzione",
    "calcolo",
    "noreply",
    "lista-fisica",
    "p.dupont",
    "ufficio.missioni",
    "k.tanaka",
)
DOMAINS = ("elsewhere.test", "lab.test", "uni.elsewhere.test", "collab.elsewhere.test")
SUBJECTS = (
    "Riunione di gruppo",
    "Re: turni di novembre",
    "Fwd: bando",
    "plots for the draft",
    "Ordine n.",
    "seminario",
    "Re: R: calcolo",
    "missione a Ginevra",
    "Minutes of the meeting",
    "=?iso-8859-1?Q?attivit=E0_di_luglio?=",
    "=?UTF-8?B?w4ggcHJvbnRvIGlsIHRlc3Rv?=",
    "tesi",
    "[lista-fisica] shutdown",
    "Re: referee report",
)


class Maker:
    """Makes messages from a random.Random; `number` counts them and is part of the Message-ID."""

    def __init__(self, random, label):
        self.random = random
        self.label = label
        self.number = 0
        # slices of one long text are far quicker than new words for every message
        self.text = " ".join(random.choices(WORDS, k=30000))

    def date(self):
        """A date in the nine years from FIRST, to the second, in one of several zones."""
        moment = FIRST + datetime.timedelta(seconds=self.random.randrange(DAYS * 86400))
        zone = datetime.timezone(datetime.timedelta(minutes=self.random.choice(ZONES)))
        return moment.astimezone(zone)

    def size(self):
        """A message's size in bytes: lognormal, around 3.5 kB, with the long tail that mail has."""
        return int(min(max(self.random.lognormvariate(math.log(3450), 1.4), 500), 2.5 * MEGABYTE))

    def message(self, to, date, size=None, spam=False, marked=True):
        """A message to a login, of about `size` bytes, with one of the usual kinds of body.

        marked: spam has its mark already, like mail in SPAM. Otherwise the MX has to mark it.
        """
        size = size or self.size()
        kinds = (self._plain, self._latin1, self._utf8, self._quoted, self._alternative)
        kind = self._attached if size > 12000 else self.random.choice(kinds)
        headers = self._headers(to, date, spam and marked)
        more, body = kind(max(size - len(headers) - 120, 40))
        # no mail reader shows a line before the first part of a multipart body
        return (
            headers + more + b"\r\n" + (f"{antispam.SPAM}\r\n\r\n".encode() if spam else b"") + body
        )

    def _headers(self, to, date, marked):
        self.number += 1
        sender = f"{self.random.choice(PEOPLE)}@{self.random.choice(DOMAINS)}"
        lines = [
            f"Date: {date:%a, %d %b %Y %H:%M:%S %z}",
            f"From: {sender}",
            f"To: {to}@lab.test",
            f"Subject: {self.random.choice(SUBJECTS)} {self.number}",
            f"Message-ID: <{self.label}.{self.number}.{self.random.getrandbits(40):x}"
            "@elsewhere.test>",
            "MIME-Version: 1.0",
        ]
        if self.random.random() < 0.3:
            lines.insert(
                0,
                "Received: from mx.elsewhere.test "
                f"(mx.elsewhere.test [192.0.2.{self.random.randrange(1, 250)}])\r\n"
                "\tby postino3.lab.test (8.14.4/8.14.4) "
                f"with ESMTP id {self.random.getrandbits(48):x}\r\n"
                f"\tfor <{to}@lab.test>; {date:%a, %d %b %Y %H:%M:%S %z}",
            )
        if marked:
            lines += ["X-Spam-Flag: YES", "X-Spam-Level: *******"]
        return "\r\n".join(lines).encode() + b"\r\n"

    def _slice(self, length):
        start = self.random.randrange(max(len(self.text) - length, 1))
        return self.text[start : start + length]

    def prose(self, length, width=72):
        """About `length` characters of text in CRLF lines of `width`."""
        piece = self._slice(min(length, 60000))
        lines = [piece[at : at + width].strip() for at in range(0, len(piece), width)]
        return "\r\n".join(line for line in lines if not line.startswith("From ")) + "\r\n"

    def _plain(self, size):
        text = self.prose(size).encode("ascii", "replace")
        return b"Content-Type: text/plain; charset=us-ascii\r\n", text

    def _latin1(self, size):
        return (
            b"Content-Type: text/plain; charset=iso-8859-1\r\nContent-Transfer-Encoding: 8bit\r\n",
            self.prose(size).encode("latin-1"),
        )

    def _utf8(self, size):
        return (
            b"Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n",
            self.prose(size).encode(),
        )

    def _quoted(self, size):
        text = self.prose(size).replace("\r\n", "\n").encode("latin-1")
        return (
            b"Content-Type: text/plain; charset=iso-8859-1\r\n"
            b"Content-Transfer-Encoding: quoted-printable\r\n",
            quopri.encodestring(text).replace(b"\n", b"\r\n"),
        )

    def _boundary(self):
        return f"=_{self.random.getrandbits(64):016x}".encode()

    def _alternative(self, size):
        mark = self._boundary()
        text = self.prose(size // 2 - 100 if size > 400 else 80)
        html = "<html><body><p>" + text.replace("\r\n", "<br>\r\n") + "</p></body></html>\r\n"
        return (
            b'Content-Type: multipart/alternative; boundary="' + mark + b'"\r\n',
            b"--"
            + mark
            + b"\r\nContent-Type: text/plain; charset=utf-8\r\n\r\n"
            + text.encode()
            + b"\r\n--"
            + mark
            + b"\r\nContent-Type: text/html; charset=utf-8\r\n\r\n"
            + html.encode()
            + b"\r\n--"
            + mark
            + b"--\r\n",
        )

    def _attached(self, size):
        mark = self._boundary()
        text = self.prose(600).encode()
        data = base64.encodebytes(self.random.randbytes(int(size * 0.73))).replace(b"\n", b"\r\n")
        return (
            b'Content-Type: multipart/mixed; boundary="' + mark + b'"\r\n',
            b"--"
            + mark
            + b"\r\nContent-Type: text/plain; charset=utf-8\r\n\r\n"
            + text
            + b"\r\n--"
            + mark
            + b'\r\nContent-Type: application/pdf; name="doc.pdf"\r\n'
            b"Content-Transfer-Encoding: base64\r\n"
            b'Content-Disposition: attachment; filename="doc.pdf"\r\n\r\n'
            + data
            + b"--"
            + mark
            + b"--\r\n",
        )

    def odd(self, to, date):
        """Messages that stores tend to damage: bare LF or CR, long lines, no body."""
        head = self._headers
        bare = (
            head(to, date, False)
            + b"\r\nThis line ends in a bare LF\nand this\nand this one in CRLF\r\n\n\nend\n"
        )
        cr = (
            head(to, date, False)
            + b"\r\nprogress 10%\rprogress 20%\rdone\r\nlast line without an end"
        )
        long = (
            head(to, date, False)
            + b"\r\n"
            + self._slice(12000).encode()
            + b"\r\nshort\r\n"
            + b"x" * 70000
            + b"\r\n"
        )
        raw = b"Subject: attivit\xe0 in latin-1, unencoded\r\nX-Raw: \xc3\xa8 \xff\xfe\r\n" + head(
            to, date, False
        )
        raw += b"\r\n" + bytes(range(1, 256)).replace(b"\r", b"").replace(b"\n", b"") + b"\r\n"
        lines = (
            head(to, date, False)
            + b"\r\nFrom the mbox trap: this line begins with From\r\n>From here too\r\n.\r\n..\r\n"
        )
        marks = (
            head(to, date, False)
            + b"\r\n*mbx*\r\n24-Nov-2009 03:20:10 +0000,697;000000000000-00000000\r\n"
            + b"not a message\r\n"
        )
        bare_headers = head(to, date, False).replace(b"\r\n", b"\n") + b"\nall in bare LF\n"
        empty = head(to, date, False) + b"\r\n"
        headless = head(to, date, False).rstrip(b"\r\n")
        return [bare, cr, long, raw, lines, marks, bare_headers, empty, headless]
