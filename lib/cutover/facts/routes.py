"""Where an MX would deliver mail, by `sendmail -bv`."""

import re
from collections.abc import Mapping, Sequence
from types import MappingProxyType

DELIVERABLE = re.compile(r"^(.+?)\.\.\. (deliverable: .*)$")
AT_ONCE = 200  # users per process of sendmail
# runs sendmail once per line of names between tabs, and ends each answer with a line of its own
_SCRIPT = r"""
while IFS= read -r names; do
    printf '%s' "$names" | tr '\t' '\0' | xargs -0 sendmail -bv
    echo; echo "$1"
done
"""
SECONDS = 0.1  # per user, at most
_END = "-- end of an answer --"


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
    commands = _commands(users, recipients)
    lines = "".join("\t".join(dict.fromkeys(owners.values())) + "\n" for owners in commands)
    argv = ["sh", "-c", _SCRIPT, "routes", _END]
    limit = 300 + SECONDS * len(users)
    result = hosts.run(name, argv, sudo=True, input=lines.encode(), check=False, timeout=limit)
    for owners, answer in zip(commands, result.text.split(f"{_END}\n"), strict=False):
        routes.update(parse(answer, owners))
    return routes


def _commands(users, recipients) -> list[dict[str, str]]:
    """What to ask one process of sendmail each, as `{local part: user}`.

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
