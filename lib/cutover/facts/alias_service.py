"""The service as a user of the site meets it: by the alias, through TLS, with a password."""

from pathlib import Path

from cutover import site
from cutover.connect import imap
from cutover.model import errors


class NoAddress(errors.CutoverError):
    """The alias users know leads to no address."""


def resolve(hosts, name: str) -> str:
    """The address a name leads to, following CNAMEs, as the primary name server says."""
    server = hosts.dns(hosts.site.roles.nameservers[0])
    for _ in range(8):
        cname = server.lookup(name, "CNAME")
        if cname is None:
            break
        name = cname.values[0].rstrip(".")
    for kind in ("A", "AAAA"):
        rrset = server.lookup(name, kind)
        if rrset is not None:
            return rrset.values[0]
    raise NoAddress(f"{name} has no address on {server.name}")


def password(hosts, user: str) -> str:
    """A test user's password; never to be stored or shown. Raises site.SecretUnreadable."""
    return next(site.secret(each.password) for each in hosts.site.accounts if each.user == user)


def has_password(hosts, user: str) -> bool:
    """Whether a test user's password is there and not empty. Raises site.SecretUnreadable, saying where it should be."""
    if not password(hosts, user):
        raise site.SecretUnreadable(f"the password of {user} is empty")
    return True


def login(hosts, user: str, address: str, server_name: str, timeout: float = 30):
    """A logged-in imap.Session of one of the test users; the certificate must be valid for `server_name`."""
    parameters = hosts.site.production_test
    hosts.prove()
    return imap.login(
        address,
        parameters.imap_port,
        server_name,
        Path(parameters.ca) if parameters.ca else None,
        user,
        password(hosts, user),
        timeout,
    )


def look(hosts, user: str, tokens) -> dict:
    """Log in by the alias and look around.

    `tokens`: `[(token, spam)]` of test messages. → `{"address", "folders": [names], "read": bytes of the newest message of
    INBOX, "found": {token: folder or None}}`.
    """
    alias = hosts.site.fqdn(hosts.site.alias)
    address = resolve(hosts, alias)
    session = login(hosts, user, address, alias)
    try:
        names = [name for name, _, selectable in session.folders("*") if selectable]
        newest = session.all("INBOX")[-1:]
        read = len(session.fetch("INBOX", newest[0])) if newest else 0
        found = {token: where(session, token, spam, names) for token, spam in tokens}
        return {"address": address, "folders": sorted(names), "read": read, "found": found}
    finally:
        session.logout()


def where(session, token: str, spam: bool, names) -> str | None:
    """The folder in which the test message lies (the expected one is looked into first), or None."""
    for name in ("SPAM", "INBOX") if spam else ("INBOX", "SPAM"):
        if name in names and session.find(name, "Message-ID", f"{token}@cutover.invalid"):
            return name
    return None
