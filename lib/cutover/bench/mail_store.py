"""The mail store that the conversion is measured on."""

import random

from lab import system

WORDS = (
    "alpha",
    "beta",
    "gamma",
    "delta",
    "epsilon",
    "zeta",
    "eta",
    "theta",
    "iota",
    "kappa",
    "lambda",
    "mu",
    "nu",
    "xi",
    "omicron",
    "pi",
    "rho",
    "sigma",
    "tau",
    "upsilon",
    "phi",
    "chi",
    "psi",
    "omega",
)


def texts(messages, size, seed=1):
    """Yield message texts with LF line ends; sizes are exponential with mean `size` bytes."""
    choose = random.Random(seed)
    lines = [
        (
            " ".join(choose.choice(WORDS) for _ in range(choose.randrange(2, 12)))[:76] + "\n"
        ).encode()
        for _ in range(1000)
    ]
    mean = sum(map(len, lines)) / len(lines)
    for number in range(1, messages + 1):
        count = max(1, round(choose.expovariate(1) * (size - 150) / mean))
        first = choose.randrange(len(lines))
        body = b"".join(lines[(first + place) % len(lines)] for place in range(count))
        yield (
            b"From: a%d@example.org\nTo: bench@example.org\nSubject: message %d\n"
            b"Message-ID: <%d@example.org>\nDate: Tue, 10 Nov 2009 10:00:00 +0100\n\n"
            % (number % 97, number, number)
        ) + body


def write_by_cclient(host, messages, size, say):
    """Write INBOX and one folder, half of the mail each, by c-client from an mbox. → the home"""
    say(f"c-client writes {messages} messages …")
    home = host.place / "home"
    for place, (name, seed) in enumerate((("INBOX", 1), ("mail/work", 2))):
        source = home / "source"
        with open(source, "wb") as target:
            for number, text in enumerate(
                texts(messages // 2 + messages % 2 * (1 - place), size, seed)
            ):
                target.write(
                    b"From a@example.org Tue Nov 10 %02d:%02d:%02d 2009\n"
                    % (10 + number // 3600 % 12, number // 60 % 60, number % 60)
                    + text
                    + b"\n"
                )
        host.own(home)
        host.run("mailutil", "create", "#driver.mbx/" + name)
        host.run("mailutil", "append", "source", name)
        source.unlink()
    settle(host)
    return home


def settle(host):
    """Open each folder once: every message then has a UID, and none is recent."""
    commands = (
        "".join(f"{number} SELECT {name}\r\n" for number, name in enumerate(("INBOX", "mail/work")))
        + "9 LOGOUT\r\n"
    )
    imap(host, commands)


def imap(host, commands):
    """Send commands to an imapd of the user. → its replies"""
    return system.call(*host.argv("/usr/sbin/imapd"), input=commands)


def flag(host, messages, every, turn):
    """Change the flags of one message in `every`, by c-client."""
    sign = "+-"[turn % 2]
    commands = ""
    for name in ("INBOX", "mail/work"):
        numbers = ",".join(
            str(number) for number in range(1 + turn % every, messages // 2 + 1, every)
        )
        commands += f"1 SELECT {name}\r\n2 STORE {numbers} {sign}FLAGS.SILENT (\\Flagged)\r\n"
    answer = imap(host, commands + "3 LOGOUT\r\n")
    assert answer.count("2 OK") == 2, answer[-500:]


def write_one(path, messages, size):
    """Write one MBX file directly: for its size c-client would take hours. → its bytes"""
    date = b"10-Nov-2009 10:00:00 +0100"
    with open(path, "wb") as target:
        head = b"*mbx*\r\n%08x%08x\r\n" % (1257843600, messages) + b"\r\n" * 30
        target.write(head.ljust(2038, b"\0") + b"00000000\r\n")
        for uid, text in enumerate(texts(messages, size), 1):
            text = text.replace(b"\n", b"\r\n")
            target.write(b"%b,%d;000000000011-%08x\r\n" % (date, len(text), uid) + text)
        return target.tell()
