"""Where an MX would deliver mail, by `sendmail -bv`."""

import re
from collections.abc import Mapping, Sequence
from types import MappingProxyType

DELIVERABLE = re.compile(r"^(.+?)\.\.\. (deliverable: .*)$")
AT_ONCE = 200  # users per command


def parse(text: str, owners: Mapping[str, str] = MappingProxyType({})) -> dict[str, list[str]]:
    """The output of `sendmail -bv USER …`: `{user: [final recipients]}`.

    Sendmail prints one line per final recipient:
    `ADDRESS... deliverable: mailer M, host H, user U`.
    The address is the one asked for, or the one that userdb made of it. Recipients are grouped by
    their local part. owners: `{local part: user}` of those who get another one's mail.
    """
    routes = {}
    for line in text.split("\n"):
        match = DELIVERABLE.match(line.strip())
        if match:
            final = re.search(r"user (\S+)$", match[2])
            address = final[1] if final and "@" in final[1] else match[1]
            address = address.rpartition("<")[2].rstrip(">").lower()
            local = address.partition("@")[0]
            routes.setdefault(owners.get(local, local), []).append(address)
    return routes


def read(
    hosts,
    name: str,
    users: Sequence[str],
    recipients: Mapping[str, Sequence[str]] = MappingProxyType({}),
) -> dict[str, list[str]]:
    """`{user: [final recipients]}` by an MX; [] for a user it cannot deliver to.

    recipients: `{user: [addresses]}` that the userdb gives.
    """
    routes = {user: [] for user in users}
    for owners in _commands(users, recipients):
        asked = list(dict.fromkeys(owners.values()))
        argv = ["sendmail", "-bv", *asked]
        result = hosts.run(name, argv, sudo=True, check=False, timeout=300)
        routes.update(parse(result.text, owners))
    return routes


def _commands(users, recipients) -> list[dict[str, str]]:
    """What to ask in one command each, as `{local part: user}`.

    sendmail does not say whom it asked for, and reports a recipient of two users once: whose mail
    goes to the same local part is asked for apart.
    """
    commands = []
    for user in users:
        addresses = recipients.get(user.lower(), ())
        owned = dict.fromkeys((address.partition("@")[0] for address in addresses), user)
        owned[user.lower()] = user
        for owners in commands:
            if owners.keys().isdisjoint(owned) and len(owners) < AT_ONCE:
                owners.update(owned)
                break
        else:
            commands.append(owned)
    return commands
