"""TCP ports of a host, seen from this machine and on the host itself."""

from collections.abc import Iterable

from cutover import model
from cutover.model import errors

MAIL_PORTS = (25, 110, 143, 993, 995)  # SMTP, POP3, IMAP, then IMAP and POP3 over TLS
LISTENING = "0A"  # in /proc/net/tcp


def accepting(hosts, name: str, ports: Iterable[int]) -> dict[str, bool]:
    """`{port: accepts connections}`; ports as text, since JSON has no other keys."""
    return {str(port): hosts.port_open(name, port) for port in ports}


def listens(hosts, name: str, port: int) -> bool:
    """Whether anything on a host listens at a TCP port, on any of its addresses.

    Raises Unreadable.
    """
    # a kernel without IPv6 has no tcp6
    return port in parse(
        hosts.run(name, ["cat", "/proc/net/tcp", "/proc/net/tcp6"], check=False).text
    )


def parse(text: str) -> set[int]:
    """The ports at which something listens, of /proc/net/tcp. Raises Unreadable."""
    rows = [line.split() for line in model.lines(text)]
    if not rows or rows[0][:2] != ["sl", "local_address"]:
        raise errors.Unreadable(f"/proc/net/tcp holds unexpected text: {text[:200]!r}")
    return {
        int(row[1].rpartition(":")[2], 16) for row in rows if len(row) > 3 and row[3] == LISTENING
    }
