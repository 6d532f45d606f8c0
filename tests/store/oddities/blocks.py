"""Mail files in each format of c-client, made of pieces by a random generator → bytes."""

from store.oddities import pieces

COUNTS = [1, 1, 2, 2, 3, 4, 6]
BEFORE = [b"\n", b"\r\n \t\n", b"\n\n\n", b" \n"]


def message(choose, first, uid, name):
    """A message of a mbox without its "From " line."""
    text = pieces.base(choose) if first else b""
    if not first and choose.random() < 0.03:
        text = pieces.base(choose)
    text += b"Message-ID: <%b>\n" % name + pieces.header(choose, uid)
    if choose.random() < 0.05:
        return text  # no blank line: what follows is still header
    return text + b"\n" + pieces.body(choose)


def part(choose):
    """A mbox as one program wrote it."""
    text = b""
    uids = pieces.uids(choose, choose.choice(COUNTS))
    pseudo = choose.random() < 0.15
    if pseudo:
        base = pieces.odd(choose, pieces.BASES[:4], pieces.BASES, 0.3)
        text = pieces.from_line(choose, 1) + pieces.PSEUDO % base + b"\n"
    for number, uid in enumerate(uids):
        text += pieces.from_line(choose, 0.85 if text else 1)
        text += message(choose, not number and not pseudo, uid, b"%d" % number)
        if text[-1:] == b"\n" and choose.random() < 0.8:
            text += b"\n"
    return text


def mbox(choose):
    """A mbox file; at times two joined, cut off, or with CRLF."""
    text = choose.choice(BEFORE) if choose.random() < 0.15 else b""
    text += part(choose)
    if choose.random() < 0.15:
        text += part(choose)
    if choose.random() < 0.1:
        text = text[: -choose.randrange(1, 60)]
    if choose.random() < 0.12:
        text = text.replace(b"\n", b"\r\n")
    return text


def mmdf(choose):
    line = b"\1\1\1\1\n"
    text = b""
    for number, uid in enumerate(pieces.uids(choose, choose.choice(COUNTS))):
        start = pieces.from_line(choose) if choose.random() < 0.8 else b""
        body = message(choose, not number, uid, b"%d" % number).replace(b"\1", b"")
        if not body.endswith(b"\n"):
            body += b"\n"
        text += line + start + body + line
    return text


def tenex(choose, end=b"\n"):
    """A tenex file; with CRLF, a mtx file."""
    text = b""
    for number in range(choose.choice(COUNTS)):
        mail = b"Subject: %d\n\n" % number + pieces.body(choose).replace(b"\r", b"")
        mail = mail.replace(b"\n", end)
        date = pieces.mbx_date(choose, 0.2)
        bits, flags = choose.choice([0, 0, choose.randrange(1 << 20)]), choose.randrange(64)
        text += b"%b,%d;%010o%02o" % (date, len(mail), bits, flags) + end + mail
    if choose.random() < 0.03:
        text = text[: -choose.randrange(1, 20)]
    return text


def mtx(choose):
    return tenex(choose, b"\r\n")


KEYWORDS = [
    [],
    [],
    [b"work"],
    [b"Lavoro", b"lavoro", b"x"],
    [b"a", b"b"],
    [b"work", b"l" * 51, b"urgent"],
    [b"$Forwarded", b"NonJunk", b"$Label1", b"JUNK", b"Junk"],
    [b"k%d" % number for number in range(30)],
    [b"K%d" % (number % 20) if number < 20 else b"k%d" % (number % 20) for number in range(30)],
    [b"\xe9t\xe9", b"a(b", b"c]d", b"e\\f"],
]


def mbx_uids(choose, count):
    """(UIDs as hexadecimal numbers, UIDLAST); 0 for what is not assigned yet."""
    uid, numbers = 0, []
    for _ in range(count):
        uid += choose.choice([1, 1, 1, 2, 40])
        numbers.append(uid if choose.random() < 0.9 else 0)
    last = uid + choose.choice([0, 0, 3])
    what = choose.random()
    if what < 0.08 and numbers:
        numbers[choose.randrange(count)] = choose.choice([1, 0xFFFFFF00, last + 9, 0])
    elif what < 0.12:
        last = choose.randrange(3)
    return numbers, last


def mbx(choose):
    """A MBX file."""
    words = choose.choice(KEYWORDS)
    numbers, last = mbx_uids(choose, choose.choice([0, *COUNTS]))
    head = b"*mbx*\r\n%08x%08x\r\n" % (choose.choice([1234567890, 1, 0xFFFFFFFF]), last)
    head += b"".join(word + b"\r\n" for word in words)
    text = head.ljust(2048 - 10, b"\0") + b"00000000\r\n"
    for number, uid in enumerate(numbers):
        mail = b"Subject: %d\n\n" % number + pieces.body(choose).replace(b"\r", b"")
        mail = mail.replace(b"\n", b"\r\n")
        flags = choose.randrange(64) | (0x8000 if choose.random() < 0.1 else 0)
        bits = choose.choice([0, choose.randrange(1 << len(words)), 1 << 29])
        text += b"%b,%d;" % (pieces.mbx_date(choose), len(mail))
        text += b"%08x%04x-%08x\r\n" % (bits, flags, uid) + mail
    if choose.random() < 0.04:
        text = text[: -choose.randrange(1, 60)]
    if choose.random() < 0.03:
        at = choose.randrange(len(text))
        text = text[:at] + bytes([choose.randrange(256)]) + text[at + 1 :]
    return text


FILES = {"mbox": mbox, "mmdf": mmdf, "tenex": tenex, "mtx": mtx, "mbx": mbx}
NO_MAIL = [
    b"",
    b"\n",
    b"\r\n \t\n",
    b"# not mail\n",
    b"JMF6",
    b"\0",
    b"\0" * 100,
    b"\0" * 3000,
    b"From me to you\n",
    b"From a@b Thursday Aug  6 05:53:22 1992\n\nbody\n",
    b"*mbx\r\n",
    b"*mbx*\n",
    b"\1\1\1\n",
    b"Subject: no From line\n\nbody\n",
    b"From: a@example.org\n\nbody\n",
    b" \0\n",
    b"\xef\xbb\xbfFrom a@b Tue Nov 10 11:02:03 2026\n\nbehind a BOM\n",
]
