"""One mailbox as a server reads it, while the services are closed to users.

Old host: c-client's imapd, started as the user, begins its session in PREAUTH. New host: Dovecot's
imap by `doveadm exec`, the same way.
"""

import contextlib
import os

from cutover.connect import imap


def name(text: str) -> str:
    """A folder's name as it lies on disk (modified UTF-7 or raw bytes) as imap.Session says it."""
    return imap.decode_name(os.fsencode(text))


def maildir(site, user: dict) -> str:
    """Where the mail of a user (an entry of facts.users) lies on the new host."""
    return site.new_store.maildir.format(user=user["user"], home=user["home"])


def folder_names(site, folder: dict) -> tuple:
    """(old, new) names, as IMAP says them, of a folder of the store's `state`; old is None where only the new side has it."""
    old, new = folder["old"], folder["name"].replace(".", "/")
    if old:
        return name(site.old_store.imap_prefix + old), name(new) if new else "INBOX"
    return (None, name(new)) if new else ("INBOX", "INBOX")


@contextlib.contextmanager
def old_session(hosts, user: str):
    """c-client as the user, on the old host. → imap.Session"""
    site = hosts.site
    with preauth(hosts.ssh(site.roles.old).open([site.old_store.imapd], as_user=user)) as session:
        yield session


@contextlib.contextmanager
def new_session(hosts, user: str):
    """Dovecot as the user, on the new host. → imap.Session

    Run as the user and without -u: with it doveadm asks Dovecot's auth service, which is stopped like the rest.
    """
    with preauth(
        hosts.ssh(hosts.site.roles.new).open(["doveadm", "exec", "imap"], as_user=user)
    ) as session:
        yield session


@contextlib.contextmanager
def preauth(stream, server: str | None = None):
    """The IMAP session that a command opened on a host begins by itself; it ends with the command. `server`: what errors call it,
    if not by the command. → imap.Session"""
    try:
        session = imap.preauth(stream, timeout=300, server=server)
        yield session
        session.logout()
    finally:
        stream.close()


def old_folders(session, prefix: str) -> list:
    """The names c-client lists: INBOX, and all below the prefix that clients of the site use."""
    names = [name for name, _, selectable in session.folders(prefix + "*") if selectable]
    return ["INBOX", *sorted(name for name in names if name.upper() != "INBOX")]
