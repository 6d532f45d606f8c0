"""Whether a session's folders are found under the prefixes of the old server, by real commands."""

from collections.abc import Iterable

from cutover import model
from cutover.connect import imap
from cutover.facts import dovecot_names, mailboxes, users

OPENED = 5  # folders of a user that are opened under each prefix
PROBE = "cutover-probe"  # a folder that a session alone sees


def staged(hosts, account: users.Account) -> list[str]:
    """What a user's mail program would miss in the staged mail, as text. Raises ImapError."""
    with mailboxes.tree_session(hosts, account) as session:
        return missing(session, hosts.site.new_store.compatibility or [], account)


def asked(
    hosts, names: model.Reading[dovecot_names.State], accounts: Iterable[users.Account]
) -> dict[str, model.Reading[list[str]]]:
    """`{user: what a mail program would miss under the prefixes Dovecot is configured for}`

    Of the first test user who has a Maildir; empty without one, and before there are prefixes. A
    folder in memory is added, so that there is something to find in an empty Maildir too.
    """
    site = hosts.site
    answers = names.value.names.answers if names.ok else lambda prefix: False
    templates = [prefix for prefix in site.new_store.compatibility or () if answers(prefix)]
    by_name = {account.user: account for account in accounts}
    for test in site.production_test.users if templates else ():
        if account := by_name.get(test.user):
            reading = model.read(_probed, hosts, account, templates)
            if not reading.ok or reading.value is not None:
                return {account.user: reading}
    return {}


def _probed(hosts, account, templates):
    """What is missing; None without a Maildir."""
    argv = ["test", "-d", mailboxes.maildir(hosts.site, account)]
    if hosts.run(hosts.site.roles.new, argv, as_user=account.user, check=False).rc:
        return None
    with mailboxes.tree_session(hosts, account, ".") as session:
        session.client.create_folder(PROBE)
        session.client.subscribe_folder(PROBE)
        return missing(session, templates, account)


def missing(session, templates: Iterable[str], account: users.Account) -> list[str]:
    """What LIST, LSUB, STATUS and EXAMINE do not show under prefixes of the parameters, as text."""
    plain = _listed(session, "")
    subscribed = set(session.subscribed()) - {"INBOX"}
    wrong = []
    for template in templates:
        prefix = account.fill(template)
        for command, expected, shown in (
            ("LIST", plain, _listed(session, prefix)),
            ("LSUB", subscribed, set(session.subscribed(prefix + "*"))),
        ):
            expected = {prefix + name for name in expected}
            wrong += [f"{command} does not show {name}" for name in sorted(expected - shown)]
            wrong += [f"{command} shows {name}" for name in sorted(shown - expected)]
        for name in sorted(plain)[:OPENED]:
            wrong += _opened(session, prefix, name)
    return wrong


def _listed(session, prefix):
    return {name for name, _, selectable in session.folders(prefix + "*") if selectable} - {"INBOX"}


def _opened(session, prefix, name):
    """STATUS and EXAMINE find the same folder under both names."""
    items = ("MESSAGES", "UIDNEXT", "UIDVALIDITY")
    try:
        own, under = (session.status(spelling, items) for spelling in (name, prefix + name))
        opened = session.examine(prefix + name)
    except imap.FolderUnreadable as error:
        return [str(error)]
    if own != under or opened.uidvalidity != own["UIDVALIDITY"]:
        return [f"{prefix + name} is not {name}"]
    return []


def staged_of(hosts, accounts: Iterable[users.Account]) -> dict[str, model.Reading[list[str]]]:
    """`{user: what staged() shows}`"""
    return {account.user: model.read(staged, hosts, account) for account in accounts}
