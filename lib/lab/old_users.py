"""Acting as a user of mailboxold: a shell on it, an IMAP session with it, dice of one's own."""

import concurrent.futures
import contextlib
import random
import ssl

import imapclient

from lab import inside, keys, messages, people, topology

OLD = "mailboxold"


def shell(user, script, input=None):
    """Standard output of a shell script run as a user in its home on mailboxold."""
    return inside.run(OLD, ["sh", "-euc", script], user=user, input=input, timeout=300).stdout


@contextlib.contextmanager
def session(user, tls=True):
    """An IMAP session of a user with mailboxold, as a mail program would have it."""
    context = ssl.create_default_context(cafile=str(keys.CA)) if tls else None
    if context is not None:
        # the certificate names the host and the alias; this machine resolves neither, so connect by address
        context.check_hostname = False
    client = imapclient.IMAPClient(
        topology.HOSTS[OLD].address,
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
    """(random.Random, messages.Maker) of a user for a purpose: what one user gets does not depend on another's turn."""
    dice = random.Random(f"{people.SEED}-{purpose}-{user}")
    return dice, messages.Maker(dice, f"{purpose}.{user}")


def each(action, users):
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        list(pool.map(action, users))


def flags(dice, folder):
    """Flags of a message that has been in a folder for a while. Keywords come with sessions: APPEND makes no new ones."""
    if folder in ("mail/Drafts", "mail/Bozze"):
        return ["\\Seen", "\\Draft"]
    chances = (("\\Seen", 0.86), ("\\Answered", 0.14), ("\\Flagged", 0.05), ("\\Deleted", 0.01))
    return [flag for flag, chance in chances if dice.random() < chance]
