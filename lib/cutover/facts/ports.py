"""TCP ports of a host."""

MAIL_PORTS = (25, 110, 143, 993, 995)  # SMTP, POP3, IMAP, and the last two by TLS


def accepting(hosts, name: str, wanted) -> dict:
    """`{str(port): accepted?}` tried from this machine."""
    return {str(port): hosts.port_open(name, port) for port in wanted}
