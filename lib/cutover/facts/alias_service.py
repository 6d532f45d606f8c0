"""The service as a user of the site sees it: by the alias, over TLS, with a password."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from cutover import site
from cutover.connect import imap
from cutover.facts import mailboxes, prefixes, users
from cutover.model import errors, moving


class NoAddress(errors.CutoverError):
    """A name users rely on has no address."""


@dataclass(frozen=True)
class Visit:
    """What a test user sees after logging in by the alias.

    address: where the alias leads. folders: selectable ones, sorted. read: bytes of INBOX's newest
    message, 0 when INBOX is empty. found: `{token of a test message: its folder or None}`.
    """

    address: str
    folders: list[str] = moving()
    read: int = moving()
    found: dict[str, str | None]


def resolve(hosts, name: str) -> str:
    """The address of a name by the primary name server, following CNAMEs. Raises NoAddress."""
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
    raise NoAddress(f"{name} has no address on {server.name}. Add it to the zone.")


def password(hosts, user: str) -> str:
    """A test user's password. Never store or show it. Raises site.SecretUnreadable."""
    return next(
        site.secret(account.password) for account in hosts.site.accounts if account.user == user
    )


def has_password(hosts, user: str) -> bool:
    """True when a test user's password is set; else raises site.SecretUnreadable."""
    if not password(hosts, user):
        raise site.SecretUnreadable(f"the password of {user} is empty")
    return True


def login(hosts, user: str, address: str, server_name: str, timeout: float = 30):
    """A logged-in imap.Session of a test user; the certificate must be valid for server_name."""
    parameters = hosts.site.production_test
    hosts.prove()
    session = imap.login(
        address,
        parameters.imap_port,
        server_name,
        Path(parameters.ca) if parameters.ca else None,
        user,
        password(hosts, user),
        timeout,
    )
    if address == hosts.site.address(hosts.site.roles.new):
        session.besides = mailboxes.besides(hosts.site)
    return session


def look(hosts, user: str, tokens: Iterable[tuple[str, bool]]) -> Visit:
    """Log in by the alias and look around. tokens: (token, is spam) of test messages."""
    alias = hosts.site.fqdn(hosts.site.alias)
    address = resolve(hosts, alias)
    session = login(hosts, user, address, alias)
    try:
        folders = [name for name, _, selectable in session.folders("*") if selectable]
        newest = session.all("INBOX")[-1:]
        size = len(session.fetch("INBOX", newest[0])) if newest else 0
        places = {token: where(session, token, spam, folders) for token, spam in tokens}
        return Visit(address, sorted(folders), size, places)
    finally:
        session.logout()


def names_missing(hosts, account: users.Account) -> list[str]:
    """What a test user who logs in by the alias misses under the old server's names, as text."""
    site = hosts.site
    alias = site.fqdn(site.alias)
    session = login(hosts, account.user, resolve(hosts, alias), alias)
    try:
        return prefixes.missing(session, site.new_store.compatibility or (), account)
    finally:
        session.logout()


def where(session, token: str, spam: bool, folders: Sequence[str]) -> str | None:
    """The folder that holds a test message, or None. The expected folder is searched first."""
    for folder in ("SPAM", "INBOX") if spam else ("INBOX", "SPAM"):
        if folder in folders and session.find(folder, "Message-ID", f"{token}@cutover.invalid"):
            return folder
    return None
