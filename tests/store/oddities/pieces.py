"""What mail files are made of, as twenty years leave it: "From " lines, dates, header fields, texts.

Each function takes a random.Random and returns bytes. About half of what it returns is as a program
of today writes it; the rest is odd in one way or several.
"""

DAYS = [b"Mon", b"Tue", b"Wed", b"Thu", b"Fri", b"Sat", b"Sun"]
ODD_DAYS = [b"Mer", b"xxx", b"Thursday", b"Do,", b"m\xe9r", b"\xe6\x9c\x88", b"wed", b"   ", b""]
MONTHS = [b"Jan", b"Feb", b"Mar", b"Apr", b"May", b"Jun", b"Jul", b"Aug", b"Sep", b"Oct", b"Nov"]
MONTHS += [b"Dec"]
ODD_MONTHS = [b"M\xe4r", b"Dez", b"MAI", b"ago", b"August", b"xxx", b"012", b"f\xe9v", b"mar", b""]
ODD_NUMBERS = [b" 0", b"32", b"31", b"30", b"5", b"+5", b"-1", b"  ", b"xx", b"\xb2 "]
ODD_TIMES = [
    b"5:53:22",
    b"05:53",
    b"05.53.22",
    b"24:00:00",
    b"23:59:60",
    b"23:60:00",
    b"05:53:2",
    b"05:53:22.5",
    b"05:53:",
    b"xx:xx",
    b"xx:xx:xx",
    b"-1:05:06",
    b"05 53",
    b"\xb205:53",
]
ODD_YEARS = [b" 100", b" 92", b"92", b"0092", b"1969", b"1970", b"2037", b"2038", b"2097", b"2098"]
ODD_YEARS += [b"2106", b"9999", b"xxxx", b"    ", b"'92", b"19100", b"102", b"\xff\xff\xff\xff"]
ZONES = [b"+0100", b"-0800", b"+0545", b"-0330", b"+0000", b"-0000", b"EST", b"PDT", b"GMT", b"MET"]
ODD_ZONES = [b"+02", b"-08", b"CET", b"CEST", b"+1", b"+9959", b"+0160", b"Z", b"A", b"J", b"LCL"]
ODD_ZONES += [b"Rome", b"METDST", b"(CET)", b"+01:00", b"UT", b"est", b"+\xb2\xb3\xb9\xb9", b""]
SENDERS = [
    b"a@example.org",
    b"MAILER-DAEMON",
    b"a b c",
    b"",
    b"x" * 1100,
    b"x" * 4200,
    b"From me",
    b"j\xf6rg@x",
    b'"a b"@example.org',
    b"<>",
    b"a@b Mon",
    b"host!user Tue Nov 10 11:02:03 2026",
    b"-",
    b"\xe5\xb1\xb1@x",
]


def odd(choose, usual, rare, share=0.07):
    return choose.choice(rare if choose.random() < share else usual)


def disturbed(choose, line, share):
    """The line, at times with a byte in it that does not belong there."""
    if choose.random() >= share or not line:
        return line
    at = choose.randrange(len(line))
    how = choose.choice([b"\t", b"\0", b" ", b"", b"\r", b"\xa0", b":", b"\x7f", b"  "])
    return line[:at] + how + line[at + choose.choice([0, 1, 1]) :]


def time_of_day(choose):
    usual = b"%02d:%02d:%02d" % tuple(choose.randrange(limit) for limit in (24, 60, 60))
    return odd(choose, [usual, usual, usual[:5]], ODD_TIMES)


def from_date(choose):
    """The date of a "From " line."""
    if choose.random() < 0.05:  # the mark of an mbox reader, and the epoch around the world
        zone = choose.choice([b"", b" +0100", b" -0100", b" +1200", b" MET", b" EST"])
        return b"Thu Jan  1 00:00:00 1970" + zone
    number = choose.choice([b"%2d", b"%2d", b"%02d"]) % choose.randrange(1, 29)
    number = odd(choose, [number], ODD_NUMBERS)
    year = odd(choose, [b"%d" % choose.randrange(1970, 2037)], ODD_YEARS)
    zone = odd(choose, ZONES, ODD_ZONES, 0.3)
    parts = [odd(choose, DAYS, ODD_DAYS), odd(choose, MONTHS, ODD_MONTHS), number]
    parts += [time_of_day(choose), year]
    place = choose.choice([None, None, None, 4, 5])
    if place is not None:
        parts.insert(place, zone)
    text = b" ".join(parts)
    return text + odd(
        choose, [b""], [b" remote from host.example.org", b" remote from x", b" x"], 0.1
    )


NO_DATES = [
    b"Thursday Aug  6 05:53:22 1992",
    b"Wed\tDec  2 05:53:22 1992",
    b"Wed Dec 2 05:53:22 1992",
    b"Dec  2 05:53:22 1992",
    b"the start of a line",
    b"",
    b"Wed Dec  2 05.53.22 1992",
    b"Wed Dec  2 05:53:22 1992 Rome",
    b"Wed Dec  2 05:53:22 1992\0",
    b"Wed, 02 Dec 1992 05:53:22 +0100",
    b"1992-12-02 05:53:22",
]


def from_line(choose, valid=0.9):
    """A "From " line. valid: how probably its date is one, odd as it may be."""
    date = from_date(choose) if choose.random() < valid else choose.choice(NO_DATES)
    line = b"From %b %b" % (odd(choose, SENDERS[:2], SENDERS, 0.3), date)
    if valid < 1:
        line = line[:5] + disturbed(choose, line[5:], 0.1)
    return line.replace(b"\n", b"") + b"\n"


FIELDS = [
    b"Subject: plain",
    b"Subject: folded\n continued\n\tmore",
    b"X-Statusline: kept",
    b"X-UIDL: kept",
    b"X-Keywords: work urgent",
    b"Content-Length: 99999",
    b"no colon at all",
    b"From a@b Tue Nov 10 11:02:03 2026",
    b">From a@b Tue Nov 10 11:02:03 2026",
    b"Subject: bare\rCR",
    b"Subject: 8 bit \xe4\xf6",
    b"Subject: \xe6\x97\xa5\xe6\x9c\xac",
    b"Subject: " + b"long" * 400,
    b"Sub\0ject: 2",
    b": no name",
    b"Subject:",
    b" begins with a blank",
    b"\1\1\1\1",
]
OWN = [b"Status", b"X-Status", b"X-Keywords", b"X-UID", b"X-IMAP", b"X-IMAPbase"]
VALUES = {
    b"Status": [b"RO", b"O", b"R", b"", b" ", b"OR", b"ro", b"RORO", b"R O", b"N", b"R\0O", b"U"],
    b"X-Status": [b"AF", b"DT", b"A", b"F", b"D", b"T", b"", b"AFDT", b"a", b"A F", b"R", b"A\rF"],
    b"X-Keywords": [b"work", b"WORK urgent", b"unknown\n continued", b"", b"  work  ", b"work,x"],
    b"X-UID": [b"7", b" 7", b"", b"x", b"7x", b"4294967200", b"99999", b"-1", b"0", b"007"]
    + [b"4294967295", b"4294967296", b"4294967306", b"18446744073709551617"],
    b"X-IMAP": [b"1 2", b"", b"1254000001 9 work", b"0 0", b"x"],
    b"X-IMAPbase": [b"1254000002 20 home", b"", b"1254000000", b"x", b"1254000000 x"],
}
COLONS = [
    b": ",
    b": ",
    b": ",
    b": ",
    b":",
    b":  ",
    b" : ",
    b"",
    b" ",
    b"\t: ",
    b"\0: ",
    b":\t",
    b";",
]


def own_field(choose):
    """A field in which c-client keeps what is its own, in one spelling or another."""
    name = choose.choice(OWN)
    value = choose.choice(VALUES[name])
    spelling = choose.random()
    if spelling < 0.1:
        name = choose.choice([name.lower(), name.upper(), name.swapcase()])
    elif spelling < 0.2:
        at = choose.randrange(len(name) + 1)
        name = name[:at] + choose.choice([b"\0", b"\0", b" ", b"-", b"x", b"\r"]) + name[at:]
    elif spelling < 0.3:
        return name[: choose.randrange(len(name) + 1)]
    return name + choose.choice(COLONS) + value


def uids(choose, count):
    """A UID or None for each message of a mbox, as X-UID says them."""
    kind = choose.choice(["none", "none", "none", "rising", "one bad", "joined", "random", "odd"])
    if kind == "none":
        return [None] * count
    numbers, uid = [], 0
    for _ in range(count):
        uid += choose.choice([1, 1, 2, 5])
        numbers.append(b"%d" % uid)
    if kind == "one bad" and numbers:
        at = choose.randrange(count)
        bad = [None, b"", b"0", b"1", numbers[at - 1], b"4294967200", b"99999", b"x", b"3 4"]
        bad += [b"4294967295", b"4294967306"]
        numbers[at] = choose.choice(bad)
    elif kind == "joined":
        at = choose.randrange(count + 1)
        numbers = numbers[at:] + numbers[:at]
    elif kind == "random":
        numbers = [choose.choice([b"%d" % choose.randrange(30), None]) for _ in numbers]
    elif kind == "odd":
        numbers = [choose.choice([number, b"00" + number, number + b" "]) for number in numbers]
    return numbers


PSEUDO = (
    b"Date: 10 Nov 2026 11:02:03 +0100\nFrom: Mail System Internal Data <MAILER-DAEMON@old>\n"
    b"Subject: DON'T DELETE THIS MESSAGE -- FOLDER INTERNAL DATA\nMessage-ID: <1@old>\n"
    b"X-IMAP: %b\nStatus: RO\n\nThis text is part of the internal format of your mail folder.\n"
)
BASES = [
    b"1254000000 10",
    b"1254000000 0000000010 work urgent",
    b"1254000000 10 work  WORK %b urgent " % (b"l" * 51),
    b"1254000000 10 Lavoro lavoro x",
    b"1254000000 3",
    b"1254000000 4294967200",
    b"1254000000 10 \xe9t\xe9",
    b"0 10",
    b"1254000000",
    b"1254000000 4294967306",
    b"4294967295 10",
    b"4294967296 10",
    b"4294967297 10 work",
    b"18446744073709551617 10",
    b"125400000010",
    b"1254000000 10 " + b" ".join(b"k%d" % number for number in range(33)),
    b"1254000000 10 $Forwarded NonJunk $Label1 Junk",
]


def base(choose):
    """X-IMAP or X-IMAPbase, at times none."""
    field = odd(choose, [b"", b"X-IMAPbase: "], [b"X-IMAP: ", b"X-IMAPbase:", b"x-imapbase: "], 0.2)
    return field and field + odd(choose, BASES[:4], BASES, 0.5) + b"\n"


def header(choose, uid):
    """The fields of a message. uid: what its X-UID says, or None."""
    fields = choose.sample(FIELDS, choose.choice([0, 1, 1, 2, 3]))
    fields += [own_field(choose) for _ in range(choose.choice([0, 0, 1, 1, 2, 4]))]
    if uid is not None:
        fields.append(b"X-UID: " + uid)
    choose.shuffle(fields)
    return b"".join(field + b"\n" for field in fields)


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
    b"\0" * 600,
    b"x" * 5000 + b"\n",
    b"line\n" * 300,
    bytes(range(128, 256)) + b"\n",
    b"\1\1\1\1\n",
    b" 3-Feb-2009 01:02:03 +0100,5;000000000000-00000001\r\nhello",
    b"*mbx*\n",
    b".\n..\n",
    b"\n\n\nFrom the start of a line\n",
]


def body(choose):
    return odd(choose, BODIES[:5], BODIES, 0.5)


ODD_MBX_DATES = [
    b"3-February-1998 01:02 +0000",
    b" 3-Feb-1998",
    b"31-Feb-2009 00:00:00 +0000",
    b"1998-02-03 01:02",
    b"02/03/98",
    b"Tue, 3 Feb 1998 01:02:03 +0100",
    b" 3 Feb 1998 01:02:03 +0100",
    b" 0-Feb-1998 01:02:03 +0100",
]


def mbx_date(choose, odd_share=0.3):
    """The date of a message line of MBX, tenex and mtx."""
    number = choose.choice([b"%2d", b"%02d"]) % choose.randrange(1, 29)
    month, year = choose.choice(MONTHS), b"%d" % choose.randrange(1970, 2037)
    clock = b"%02d:%02d:%02d" % tuple(choose.randrange(limit) for limit in (24, 60, 60))
    zone = b" " + choose.choice(ZONES[:6])
    if choose.random() < odd_share:
        what = choose.randrange(7)
        if what == 0:
            return choose.choice(ODD_MBX_DATES)
        if what == 1:
            year = choose.choice([b"98", b"0098", b"1969", b"2097", b"2098", b"102", b"20"])
        elif what == 2:
            zone = choose.choice([b" ", b"-"]) + choose.choice([*ZONES, *ODD_ZONES])
        elif what == 3:
            clock = choose.choice(ODD_TIMES)
        elif what == 4:
            number = choose.choice([b"31", b"30", b"29", b"32", b" 0", b"5"])
        elif what == 5:
            number, month, year = b" 1", b"Jan", b"1970"
            clock = choose.choice([b"00:00:00", b"00:59:59", b"11:00:00"])
        else:
            month = choose.choice([b"FEB", b"feb", b"Febr", b"Dez", b"M\xe4r"])
    return b"%b-%b-%b %b%b" % (number, month, year, clock, zone)
