"""What a mail host's journal says of logins and deliveries: sendmail's and UW imapd's lines, facility mail."""

import re

LINE = re.compile(r"(\d+\.\d+) \S+ ([^\s\[:]+)(?:\[\d+\])?: (.*)")
LOGIN = re.compile(
    r"(?:Login|Authenticated|Auth|APOP) user=(\S+)(?: host=(.*))?"
)  # not Preauthenticated: that is verify's
FROM = re.compile(r"(\w+): from=.*?, msgid=(<[^>]*>|[^,]*),.* relay=([^=]*)$")
TO = re.compile(r"(\w+): to=(.*?), (?:ctladdr=.*?, )?delay=.*, mailer=local,.* stat=Sent")
ADDRESS = re.compile(r"\[(?:IPv6:)?([0-9A-Fa-f.:]+)\]")
SERVERS = {"imapd", "ipop3d", "ipop2d"}
SHOWN = 20  # told in full


class Reader:
    """Takes a journal line by line (`journalctl -o short-unix`); keeps logins, and deliveries into mailboxes of the host.

    `logins`: `[{"at", "user", "host"}]`; `deliveries`: `[{"at", "users", "msgid", "relay"}]`, `relay` the address that handed the
    message in, "" for the host itself.
    """

    def __init__(self):
        self.logins, self.deliveries, self._open = [], [], {}

    def line(self, raw: bytes):
        found = LINE.match(raw.decode("utf-8", "backslashreplace"))
        if not found:
            return
        at, program, text = float(found[1]), found[2], found[3]
        if program in SERVERS and (login := LOGIN.match(text)):
            self.logins.append({"at": at, "user": login[1], "host": login[2] or ""})
        elif came := FROM.match(text):
            address = ADDRESS.search(came[3])
            self._open[came[1]] = (came[2], address[1] if address else "")
        elif (went := TO.match(text)) and went[1] in self._open:
            msgid, relay = self._open[went[1]]
            users = [each.strip(" <>").partition("@")[0].lower() for each in went[2].split(",")]
            self.deliveries.append({"at": at, "users": users, "msgid": msgid, "relay": relay})


def read(hosts, name: str, since: float) -> Reader:
    """A host's journal of mail from a time on (seconds since the epoch)."""
    reader = Reader()
    hosts.ssh(name).stream(
        [
            "journalctl",
            "-q",
            "--no-pager",
            "-o",
            "short-unix",
            f"--since=@{int(since)}",
            "SYSLOG_FACILITY=2",
        ],
        sudo=True,
        on_line=reader.line,
        idle_timeout=600,
    )
    return reader


def first(hosts, name: str) -> float:
    """When a host's journal begins, seconds since the epoch."""
    out = hosts.run(
        name, ["sh", "-c", "journalctl -q --no-pager -o short-unix | head -n 1"], sudo=True
    ).text
    found = re.match(r"\d+\.\d+", out)
    return float(found[0]) if found else float("inf")


def old_host(hosts, since: float, users) -> dict:
    """What happened on the old host since a time.

    → `{"first": when its journal begins, "logins": number, "direct": number, "dual": number, "shown": {"logins": [text],
    "direct": [text]}}`. Deliveries to `users` that an MX handed in are dual delivery's; any other is direct.
    """
    site = hosts.site
    reader = read(hosts, site.roles.old, since)
    mx, names = {site.address(name) for name in site.roles.mx}, set(users)
    mine = [each for each in reader.deliveries if names.intersection(each["users"])]
    direct = [each for each in mine if each["relay"] not in mx]
    return {
        "first": first(hosts, site.roles.old),
        "logins": len(reader.logins),
        "direct": len(direct),
        "dual": len(mine) - len(direct),
        "shown": {
            "logins": [
                f"{each['user']} from {each['host'] or 'unknown'}"
                for each in reader.logins[-SHOWN:]
            ],
            "direct": [
                f"{each['msgid']} to {', '.join(each['users'])} by {each['relay'] or 'the host itself'}"
                for each in direct[-SHOWN:]
            ],
        },
    }


def delivered(hosts, since: float) -> set:
    """`{(user, message id)}` of what was delivered into mailboxes of the new host since a time."""
    return {
        (user, each["msgid"])
        for each in read(hosts, hosts.site.roles.new, since).deliveries
        for user in each["users"]
    }
