"""Test messages that each MX sent to both mail hosts, as their reader would see them."""

import contextlib
from collections.abc import Sequence

from cutover.connect import imap
from cutover.facts import mailboxes


def token_from(token: str, mx: str) -> str:
    """What the message of one MX is known by."""
    return f"{token}-{mx}"


def read(hosts, user: str, token: str, mx: Sequence[str]) -> dict[str, list[str]]:
    """`{mail host: [MX whose message is delivered to the user]}`"""
    site = hosts.site
    tokens = {name: token_from(token, name) for name in mx}

    def old(name):
        with mailboxes.old_session(hosts, user) as session:
            listed = _listed(session, tokens)
        # c-client takes mail from the spool only when it opens INBOX for writing
        spool = site.old_store.spool.format(user=user)
        return [
            mx
            for mx, own in tokens.items()
            if mx in listed
            or not hosts.run(name, ["grep", "-qsF", own, spool], as_user=user, check=False).rc
        ]

    def new(_):
        with mailboxes.new_session(hosts, user) as session:
            return _listed(session, tokens)

    look = {site.roles.old: old, site.roles.new: new}
    return hosts.each(site.mail_hosts, lambda name: look[name](name))


def _listed(session, tokens):
    listed = []
    # an account that never had mail may have no INBOX yet
    with contextlib.suppress(imap.FolderUnreadable):
        for mx, own in tokens.items():
            if session.find("INBOX", "Message-ID", f"{own}@cutover.invalid"):
                listed.append(mx)
    return listed
