"""Where an MX would deliver mail, by sendmail(8) -bv."""

import re


def parse(text: str) -> dict:
    """The output of `sendmail -bv USER …`: `{user as asked: [final recipients]}`.

    Sendmail prints a line a final recipient, `ADDRESS... deliverable: mailer M, host H, user U`; the address is the one
    given, or the one that userdb made of it. Recipients are grouped by their local part.
    """
    found = {}
    for line in text.splitlines():
        match = re.match(r"^(\S+?)\.\.\. (deliverable: .*)$", line.strip())
        if match:
            final = re.search(r"user (\S+)$", match[2])
            address = (final[1] if final and "@" in final[1] else match[1]).strip("<>").lower()
            found.setdefault(address.partition("@")[0], []).append(address)
    return found


def read(hosts, name: str, users) -> dict:
    """Where an MX would deliver each user's mail, by `sendmail -bv`, see parse()."""
    found = {user: [] for user in users}
    for start in range(0, len(users), 200):
        result = hosts.run(
            name,
            ["sendmail", "-bv", *users[start : start + 200]],
            sudo=True,
            check=False,
            timeout=300,
        )
        found.update(parse(result.text))
    return found
