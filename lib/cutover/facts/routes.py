"""Where an MX would deliver mail, by `sendmail -bv`."""

import re
from collections.abc import Sequence

DELIVERABLE = re.compile(r"^(\S+?)\.\.\. (deliverable: .*)$")
AT_ONCE = 200  # users per command


def parse(text: str) -> dict[str, list[str]]:
    """The output of `sendmail -bv USER …`: `{user: [final recipients]}`.

    Sendmail prints one line per final recipient:
    `ADDRESS... deliverable: mailer M, host H, user U`.
    The address is the one asked for, or the one that userdb made of it. Recipients are grouped by
    their local part.
    """
    routes = {}
    for line in text.splitlines():
        match = DELIVERABLE.match(line.strip())
        if match:
            final = re.search(r"user (\S+)$", match[2])
            address = (final[1] if final and "@" in final[1] else match[1]).strip("<>").lower()
            routes.setdefault(address.partition("@")[0], []).append(address)
    return routes


def read(hosts, name: str, users: Sequence[str]) -> dict[str, list[str]]:
    """`{user: [final recipients]}` by an MX; [] for a user it cannot deliver to."""
    routes = {user: [] for user in users}
    for start in range(0, len(users), AT_ONCE):
        argv = ["sendmail", "-bv", *users[start : start + AT_ONCE]]
        result = hosts.run(name, argv, sudo=True, check=False, timeout=300)
        routes.update(parse(result.text))
    return routes
