"""Whether an address still accepts mail, as far as an MX can tell without sending any."""

import dataclasses
import re

from cutover import model
from cutover.model import errors

_DELIVERABLE = re.compile(
    r"\.\.\. deliverable: mailer (?P<mailer>[^,\s]+)(?:, host (?P<host>[^,]+))?, user "
)
_OVER_SMTP = ("smtp", "esmtp", "smtp8", "dsmtp")


@dataclasses.dataclass(frozen=True)
class Target:
    """valid: the address may be forwarded to; said: where its mail goes, or why it is not valid."""

    valid: bool
    said: str


def read(hosts, mx: str, address: str) -> Target:
    """Where an MX would deliver mail for an address. Raises Unreadable.

    sendmail resolves the address (`-bv`); for SMTP it looks for a host that accepts mail (`/mx` of
    its test mode). Whether the mailbox exists there, only a message would show.
    """
    if address.startswith("-"):
        return Target(False, "sendmail would read it as an option")
    output = hosts.run(mx, ["sendmail", "-bv", address], sudo=True, check=False).text
    routes = list(_DELIVERABLE.finditer(output))
    if not routes:
        return Target(False, (model.lines(output.strip()) or ["no answer"])[-1][:200])
    for route in routes:
        host = (route["host"] or "").rstrip(".")
        if route["mailer"] in _OVER_SMTP and not _mail_hosts(hosts, mx, host):
            return Target(False, f"no host accepts mail for {host}")
    names = (f"{route['mailer']} {route['host'] or ''}".strip() for route in routes)
    return Target(True, ", ".join(dict.fromkeys(names)))


def _mail_hosts(hosts, mx, domain):
    """How many hosts accept mail for a domain, as sendmail on the MX sees it."""
    argv, question = ["sendmail", "-bt"], f"/mx {domain}\n".encode()
    output = hosts.run(mx, argv, sudo=True, input=question, check=False).text
    count = re.search(r"returns (\d+) value", output)
    if count is None:
        raise errors.Unreadable(
            f"{mx}: sendmail -bt did not understand /mx {domain}: {output.strip()[-200:]}"
        )
    return int(count[1])
