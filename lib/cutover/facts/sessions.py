"""Open mail sessions on the old server, at this moment, from /proc.

Read with sh, cat, grep and ls alone: hosts of 2006 have no ss(8), and their netstat(8) cuts
addresses. A session behind a TLS wrapper on the same host comes from a loopback address.
"""

import dataclasses
import ipaddress
import re
from collections.abc import Iterable

from cutover import model
from cutover.facts import logs, users
from cutover.model import moving

PORTS = {110, 143, 993, 995}
_ESTABLISHED = "01"
# errors: of processes that have ended meanwhile; -q: a user's file may have lines in its name
_SCRIPT = """
cat /proc/net/tcp /proc/net/tcp6 2>/dev/null
grep -H -e ^Name: -e ^Uid: /proc/[0-9]*/status 2>/dev/null
ls -lq /proc/[0-9]*/fd/0 2>/dev/null
:
"""
_SOCKET = re.compile(
    r"\s*\d+: ([0-9A-F]+):([0-9A-F]{4}) ([0-9A-F]+):[0-9A-F]{4} ([0-9A-F]{2}) "
    r"\S+ \S+ \S+\s+\d+\s+\d+ (\d+)"
)
_STATUS = re.compile(r"/proc/(\d+)/status:(Name|Uid):\s*(\S+)")
_INPUT = re.compile(r".* /proc/(\d+)/fd/0 -> socket:\[(\d+)\]")


@dataclasses.dataclass(frozen=True)
class Most:
    """The user and address with the most sessions between them; address: "" if there are none."""

    user: str = moving(default="")
    address: str = moving(default="")
    count: int = moving(default=0)


@dataclasses.dataclass(frozen=True)
class Sessions:
    """users: sessions of each user who is logged in. addresses: connections from each address,
    without loopback. pair: see Most. total: server processes, also before a login.
    """

    total: int = moving()
    users: dict[str, int] = moving()
    addresses: dict[str, int] = moving()
    pair: Most = moving()


def read(hosts, name: str, accounts: Iterable[users.Account]) -> Sessions:
    """The sessions on a host now. accounts: those whose sessions are counted by user."""
    text = hosts.run(name, ["sh", "-c", _SCRIPT], sudo=True).text
    return parse(text, {account.uid: account.user for account in accounts})


def parse(text: str, names: dict[int, str]) -> Sessions:
    """/proc/net/tcp, tcp6, names and uids of processes, and what their standard input is."""
    remote, addresses, status, inputs = {}, {}, {}, {}
    for line in model.lines(text):
        if socket := _SOCKET.match(line):
            _, port, there, state, inode = socket.groups()
            if state == _ESTABLISHED and int(port, 16) in PORTS:
                address = _address(there)
                remote[inode] = address
                if not address.is_loopback:
                    addresses[str(address)] = addresses.get(str(address), 0) + 1
        elif process := _STATUS.match(line):
            status.setdefault(process[1], {})[process[2]] = process[3]
        elif link := _INPUT.match(line):
            inputs[link[1]] = link[2]
    servers = [pid for pid, known in status.items() if known.get("Name") in logs.SERVERS]
    users_counted, pairs = {}, {}
    for pid in servers:
        user = names.get(int(status[pid].get("Uid", -1)))
        if user is not None:
            users_counted[user] = users_counted.get(user, 0) + 1
            key = user, str(remote.get(inputs.get(pid), ""))
            pairs[key] = pairs.get(key, 0) + 1
    (user, address), most = max(pairs.items(), key=lambda pair: pair[1], default=(("", ""), 0))
    return Sessions(
        len(servers),
        dict(sorted(users_counted.items())),
        dict(sorted(addresses.items())),
        Most(user, address, most),
    )


def _address(text):
    """An address of /proc/net/tcp: words of four bytes, each in the order of the machine (x86)."""
    raw = bytes.fromhex(text)
    words = b"".join(raw[place : place + 4][::-1] for place in range(0, len(raw), 4))
    address = ipaddress.ip_address(words)
    return getattr(address, "ipv4_mapped", None) or address
