"""Mail files as twenty years leave them: building blocks, chosen by a random generator.

Each function takes a random.Random and returns bytes.
"""

DATES = [
    b"Tue Nov 10 11:02:03 2026",
    b"Tue Nov 10 11:02 2026",
    b"Wed Nov 11 11:02:03 2026 +0100",
    b"Wed Nov 11 11:02 CET 2026",
    b"Thu Nov 12 11:02:03 PST 2026",
    b"Thu Nov 12 11:02:03 PST 2026 remote from host.example.org",
    b"Thu Jan  1 00:00:00 1970",
    b"Thu Jan  1 00:00:00 1970 +0100",
    b"Mer M\xe4r  2 05:53:22 1992",
    b"Wed Dec  2 05:53:22 +02 1992",
    b"Wed Dec  2 05:53:22  100",
    b"Wed Dec  2 05:53:22 1992 +02",
    b"Wed Dec  2 25:53:22 1992",
    b"Wed Feb 30 05:53:22 2000",
    b"Wed Dec 32 05:53:22 2000",
    b"Wed Dec  2 05:53:22 2037",
    b"Wed Dec  2 05:53:22 2097 GMT",
    b"Wed Dec  2 05:53:22 2098 GMT",
    b"xxx xxx xx xx:xx xxxx",
    b"Wed Dec  2  5:53:22 1992",
]
NO_DATES = [
    b"Thursday Aug  6 05:53:22 1992",
    b"Wed\tDec  2 05:53:22 1992",
    b"Wed Dec 2 05:53:22 1992",
    b"Dec  2 05:53:22 1992",
    b"the start of a line",
    b"",
    b"Wed Dec  2 05.53.22 1992",
    b"Wed Dec  2 05:53:22 1992 Rome",
]
SENDERS = [
    b"a@example.org",
    b"a b c",
    b"",
    b"MAILER-DAEMON",
    b"x" * 1100,
    b"From me",
    b"j\xf6rg@x",
    b"a@b Mon",
]
FIELDS = [
    b"Subject: plain",
    b"Subject: folded\n continued\n\tmore",
    b"Status: RO",
    b"Status: O",
    b"Status:  ",
    b"Status : RO",
    b"Status",
    b"STATUS: R",
    b"X-Status: AF",
    b"X-Status: DT",
    b"X-Status",
    b"x-status: A",
    b"X-Statusline: kept",
    b"X-Keywords: work urgent",
    b"X-Keywords: WORK",
    b"X-Keywords: unknown\n continued",
    b"x-keywords: work",
    b"X-UIDL: kept",
    b"X-UID : 7",
    b"X-IMAPbase",
    b"X-IMAP: 1 2",
    b"Content-Length: 99999",
    b"X-\0odd: 1",
    b"S\0tatus: 1",
    b"Sub\0ject: 2",
    b"Status\0: R",
    b"no colon at all",
    b"From a@b Tue Nov 10 11:02:03 2026",
    b">From a@b Tue Nov 10 11:02:03 2026",
    b"Subject: bare\rCR",
    b"Subject: 8 bit \xe4\xf6",
    b"Subject: " + b"long" * 400,
]
BODIES = [
    b"",
    b"\n",
    b"body\n",
    b"body without an end",
    b"body\n\n",
    b"body\n\n\n",
    b"Status: in the body\n",
    b"bare\rCR\n\r\n",
    b"\r\r\n",
    b"text\n\r\r\n",
    b">From quoted\nFrom not a separator\n",
    b"NUL\0NUL\n",
    b"x" * 5000 + b"\n",
    b"line\n" * 300,
    bytes(range(128, 256)) + b"\n",
    b"\1\1\1\1\n",
]
MBX_DATES = [
    b" 3-Feb-2009 01:02:03 +0100",
    b"03-Feb-2009 01:02:03 +0100",
    b" 3-Feb-98 01:02:03 +0000",
    b" 3-Feb-1998 01:02:03-PST",
    b" 3-Feb-1998 01:02:03 PST",
    b" 3-Feb-1998",
    b"3-February-1998 01:02 +0000",
    b" 1-Jan-1970 00:00:00 +0100",
    b" 1-Jan-1970 00:00:00 -0100",
    b"31-Feb-2009 00:00:00 +0000",
    b"31-Dec-2097 23:59:60 +0000",
    b" 3-Feb-2009 01:02:03 +9959",
    b" 3-Feb-1998 01:02:03 Rome",
]


def from_line(choose, valid=0.9):
    date = choose.choice(DATES if choose.random() < valid else NO_DATES)
    return b"From %b %b\n" % (choose.choice(SENDERS), date)


def header(choose, uids):
    fields = choose.sample(FIELDS, choose.randrange(5))
    if choose.random() < uids:
        number = choose.choice(
            [b"%d" % choose.randrange(30), b"%d" % choose.randrange(8), b"", b"x"]
        )
        fields.insert(choose.randrange(len(fields) + 1), b"X-UID: " + number)
    choose.shuffle(fields)
    return b"".join(field + b"\n" for field in fields)


def base(choose):
    """X-IMAP or X-IMAPbase, at times none or an odd one."""
    return choose.choice(
        [
            b"",
            b"",
            b"X-IMAPbase: 1254000000 10\n",
            b"X-IMAPbase: 1254000000 0000000010 work urgent\n",
            b"X-IMAPbase: 1254000000 10 work  WORK %b urgent \n" % (b"l" * 51),
            b"X-IMAPbase: 0 10\n",
            b"X-IMAPbase: 1254000000\n",
            b"X-IMAP: 1254000000 0000000010 work urgent\nStatus: RO\n",
            b"X-IMAP: 125400000010\n",
        ]
    )


def message(choose, first, uids, subject):
    """A message of a mbox without its "From " line."""
    text = (base(choose) if first else b"") + b"Message-ID: <%b>\n" % subject
    text += header(choose, uids)
    end = choose.random()
    if end < 0.05:
        return text  # no blank line: what follows is still header
    return text + b"\n" + choose.choice(BODIES)


def mbox(choose):
    """A mbox file."""
    uids = choose.choice([0, 0, 0.8, 1])
    text = choose.choice([b"", b"", b"", b"\n", b"\r\n \t\n"])
    for number in range(choose.randrange(1, 7)):
        line = from_line(choose, 1 if not number else 0.85)
        text += line + message(choose, not number, uids, b"%d" % number)
        if text[-1:] == b"\n" and choose.random() < 0.8:
            text += b"\n"
    if choose.random() < 0.1:
        text = text[: -choose.randrange(1, 40)]
    if choose.random() < 0.15:
        text = text.replace(b"\n", b"\r\n")
    return text


def mmdf(choose):
    line = b"\1\1\1\1\n"
    text = b""
    uids = choose.choice([0, 0, 0.8])
    for number in range(choose.randrange(1, 6)):
        start = from_line(choose) if choose.random() < 0.8 else b""
        body = message(choose, not number, uids, b"%d" % number).replace(b"\1", b"")
        if not body.endswith(b"\n"):
            body += b"\n"
        text += line + start + body + line
    return text


def tenex(choose, end=b"\n"):
    """A tenex file; with CRLF, a mtx file."""
    text = b""
    for number in range(choose.randrange(1, 6)):
        mail = b"Subject: %d\n\n" % number + choose.choice(BODIES).replace(b"\r", b"")
        mail = mail.replace(b"\n", end)
        date = choose.choice(MBX_DATES[:10])
        text += b"%b,%d;%010o%02o" % (date, len(mail), 0, choose.randrange(64)) + end + mail
    return text


def mtx(choose):
    return tenex(choose, b"\r\n")


def mbx(choose):
    """A MBX file."""
    keywords = choose.choice([[], [b"work"], [b"Lavoro", b"lavoro", b"x"], [b"a", b"b"]])
    head = b"*mbx*\r\n%08x%08x\r\n" % (1234567890, 12)
    head += b"".join(word + b"\r\n" for word in keywords)
    text = head.ljust(2048 - 10, b"\0") + b"00000000\r\n"
    uid = 0
    for number in range(choose.randrange(6)):
        uid += choose.choice([1, 1, 1, 2])
        mail = b"Subject: %d\n\n" % number + choose.choice(BODIES).replace(b"\r", b"")
        mail = mail.replace(b"\n", b"\r\n")
        date = choose.choice(MBX_DATES)
        flags = choose.randrange(64) | (0x8000 if choose.random() < 0.1 else 0)
        bits = choose.randrange(1 << len(keywords))
        known = uid if choose.random() < 0.8 else 0
        text += b"%b,%d;%08x%04x-%08x\r\n" % (date, len(mail), bits, flags, known) + mail
    return text


FILES = {"mbox": mbox, "mmdf": mmdf, "tenex": tenex, "mtx": mtx, "mbx": mbx}
