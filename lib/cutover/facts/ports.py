"""TCP ports of a host, seen from this machine."""

from collections.abc import Iterable

MAIL_PORTS = (25, 110, 143, 993, 995)  # SMTP, POP3, IMAP, then IMAP and POP3 over TLS


def accepting(hosts, name: str, ports: Iterable[int]) -> dict[str, bool]:
    """`{port: accepts connections}`; ports as text, since JSON has no other keys."""
    return {str(port): hosts.port_open(name, port) for port in ports}
