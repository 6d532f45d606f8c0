"""Acting as a user of an old server: a shell, an IMAP session, a random generator per user."""

import concurrent.futures
import contextlib
import random
import ssl

import imapclient

from lab import inside, keys, messages, people, store, topology


def shell(user, script, input=None):
    """Standard output of a shell script, run as a user in the user's home."""
    return inside.run(
        store.old_server(user), ["sh", "-euc", script], user=user, input=input, timeout=300
    ).stdout


@contextlib.contextmanager
def session(user, tls=True):
    """A user's IMAP session with the old server, as a mail program has it."""
    context = ssl.create_default_context(cafile=str(keys.CA)) if tls else None
    if context is not None:
        # the certificate names the host and the alias; this machine resolves neither
        context.check_hostname = False
    client = imapclient.IMAPClient(
        topology.EVER[store.old_server(user)].address,
        port=993 if tls else 143,
        ssl=tls,
        timeout=60,
        ssl_context=context,
    )
    client.login(user, (keys.SECRETS / user).read_text())
    try:
        yield client
    finally:
        with contextlib.suppress(OSError, imapclient.exceptions.IMAPClientError):
            client.logout()


def maker(user, purpose):
    """(random.Random, messages.Maker) per user and purpose: no user's mail depends on another's."""
    dice = random.Random(f"{people.SEED}-{purpose}-{user}")
    return dice, messages.Maker(dice, f"{purpose}.{user}")


def for_all(users, action):
    """Call `action(user)` for users, four at a time."""
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        list(pool.map(action, users))


def flags(dice, folder):
    """Flags of a message that has been in a folder for a while.

    Keywords are set in sessions: APPEND creates none.
    """
    if folder in ("mail/Drafts", "mail/Bozze"):
        return ["\\Seen", "\\Draft"]
    chances = (("\\Seen", 0.86), ("\\Answered", 0.14), ("\\Flagged", 0.05), ("\\Deleted", 0.01))
    return [flag for flag, chance in chances if dice.random() < chance]
