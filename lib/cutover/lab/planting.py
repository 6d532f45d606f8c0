"""Fill a running lab's mailboxold with the planned mail, through the real programs only: sendmail, procmail, dmail,
mailutil and imapd. What no program makes (a stray text file, a hand-written .mailboxlist) is written as the user."""

import concurrent.futures
import contextlib
import random
import smtplib
import socket
import time

import imapclient

from cutover import errors
from cutover.lab import container, hosts, keys, messages, people, store

OLD = "mailboxold"
ROUNDS = 11
KEYWORDS = ("$Forwarded", "$MDNSent", "NonJunk", "Junk", "$Label1", "Importante")
MANY_KEYWORDS = tuple(f"etichetta{number:02}" for number in range(1, 29))


def plant(say):
    """Do all of it, in the order in which a site's years would: old mail, deliveries, sessions, the last deliveries."""
    for step, action in (("old mail", _old_mail), ("deliveries", _deliveries), ("sessions", _sessions),
                         ("oddities", _oddities), ("last deliveries", _last)):
        began = time.monotonic()
        action()
        say(f"seeding: {step} in {time.monotonic() - began:.1f} s")


def shell(user, script, input=None):
    """Standard output of a shell script run as a user in its home on mailboxold."""
    return container.run(OLD, ["sh", "-euc", script], user=user, input=input, timeout=300).stdout


def skeleton():
    """Give every user that has one an MBX INBOX and a SPAM folder, both empty, made by c-client."""
    for user in hosts.USERS:
        wanted = [name for name in ("INBOX", "mail/SPAM")
                  if (user not in (people.NO_INBOX, people.SPOOL_ONLY) if name == "INBOX" else people.gets_spam(user))]
        shell(user, "".join(f'mailutil create "#driver.mbx/{name}" > /dev/null\n' for name in wanted) or ":")


def _maker(user, purpose):
    dice = random.Random(f"{people.SEED}-{purpose}-{user}")
    return dice, messages.Maker(dice, f"{purpose}.{user}")


@contextlib.contextmanager
def session(user, tls=True):
    """An IMAP session of a user with mailboxold, as a mail program would have it."""
    context = None
    if tls:
        import ssl

        context = ssl.create_default_context(cafile=str(keys.CA))
    # the certificate names mailboxold and mailbox; the control host resolves neither, so connect by address
    client = imapclient.IMAPClient(hosts.HOSTS[OLD].address, port=993 if tls else 143, ssl=tls, timeout=60,
                                   ssl_context=_by_address(context))
    client.login(user, (keys.SECRETS / user).read_text())
    try:
        yield client
    finally:
        with contextlib.suppress(OSError, imapclient.exceptions.IMAPClientError):
            client.logout()


def _by_address(context):
    if context is not None:
        context.check_hostname = False
    return context


def _each_user(action, users):
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        list(pool.map(action, users))


def _flags(dice, folder):
    """Flags of a message that has been in a folder for a while. Keywords come with sessions: APPEND makes no new ones."""
    if folder in ("mail/Drafts", "mail/Bozze"):
        return ["\\Seen", "\\Draft"]
    chances = (("\\Seen", 0.86), ("\\Answered", 0.14), ("\\Flagged", 0.05), ("\\Deleted", 0.01))
    return [flag for flag, chance in chances if dice.random() < chance]


def _old_mail():
    # the longest first, so that the last to end is a short one
    _each_user(_fill, sorted(hosts.USERS, key=lambda user: -sum(count for _, count, _ in people.folders(user))))


def _fill(user):
    dice, maker = _maker(user, "old")
    with session(user, tls=False) as client:
        for name, count, method in people.folders(user):
            if name not in ("INBOX", "mail/SPAM"):
                client.create_folder(name)
            dates = [maker.date() for _ in range(count)]
            mails = [(maker.message(user, date, spam=name == "mail/SPAM"), _flags(dice, name), date) for date in dates]
            {"append": _append, "multi": _multi, "mailutil": _mailutil}[method](user, client, name, mails)


def _append(user, client, name, mails):
    for mail, flags, date in mails:
        client.append(name, mail, flags, date)


def _multi(user, client, name, mails):
    for at in range(0, len(mails), 100):
        client.multiappend(name, [{"msg": mail, "flags": flags, "date": date} for mail, flags, date in mails[at:at + 100]])


def _mailutil(user, client, name, mails):
    """Copy through c-client from a mail file; the date's zone goes along in the From line, flags in Status headers."""
    letters = {"\\Answered": "A", "\\Flagged": "F", "\\Deleted": "D"}
    parts = []
    for mail, flags, date in mails:
        head, _, body = mail.replace(b"\r\n", b"\n").partition(b"\n\n")
        status = "".join(letters[flag] for flag in flags if flag in letters)
        parts.append(f"From sender@elsewhere.test {date:%a %b %e %H:%M:%S %Y %z}\n".encode() + head
                     + f"\nStatus: {'R' if flags and flags[0] == chr(92) + 'Seen' else ''}O\nX-Status: {status}\n\n".encode()
                     + body + b"\n")
    encoded = imapclient.imap_utf7.encode(name).decode()
    shell(user, f'cat > .old; mailutil append .old "{encoded}" > /dev/null; rm .old', input=b"".join(parts))


def _send(server, user, mail):
    with smtplib.SMTP(hosts.HOSTS[server].address, 25, local_hostname="control.lab.test", timeout=30) as client:
        client.sendmail("anna.bianchi@elsewhere.test", [f"{user}@{hosts.DOMAIN}"], mail, mail_options=["BODY=8BITMIME"])


def deliver(batch, patience=60):
    """Send mail and wait until it is in place. `batch` is a list of (user, mail as bytes, spam?), in turns through each MX.

    Raises errors.CutoverError naming what did not arrive.
    """
    waiting = {}
    for index, (user, mail, spam) in enumerate(batch):
        place = store.home(user) / "mail/SPAM" if spam else store.home(user) / "INBOX"
        place = place if place.exists() else store.spool(user)
        marker = next(line for line in mail.split(b"\r\n") if line.lower().startswith(b"message-id:")).split(b" ")[1]
        waiting[marker] = (place, place.stat().st_size if place.exists() else 0, user)
        _send(("postino3", "postino4")[index % 2], user, mail)
    until = time.monotonic() + patience
    while waiting:
        for marker, (place, offset, _) in list(waiting.items()):
            if marker in store.tail(place, offset):
                del waiting[marker]
        if time.monotonic() > until:
            raise errors.CutoverError("mail did not arrive on mailboxold for " + ", ".join(
                sorted({user for _, _, user in waiting.values()})) + f" within {patience} s")
        time.sleep(0.02)


def _deliveries():
    makers = {user: _maker(user, "smtp") for user in people.delivered()}
    for number in range(ROUNDS):
        batch = []
        for user, (_, maker) in makers.items():
            spam = number % 5 == 4 and people.gets_spam(user)
            size = min(maker.size(), 200_000)
            batch.append((user, maker.message(user, maker.date(), size=size, spam=spam), spam))
        deliver(batch)


def _sessions():
    _each_user(_session, [user for user in hosts.USERS if user not in (people.NO_INBOX, people.SPOOL_ONLY)])


def _session(user):
    """What a mail program does in an evening: flags, keywords, copies, deletions, subscriptions."""
    dice, _ = _maker(user, "session")
    names = [name for name, _, _ in people.folders(user)]
    with session(user) as client:
        total = client.select_folder("INBOX")[b"EXISTS"]
        uids = client.search("ALL")
        if total:
            client.add_flags(dice.sample(uids, 20), ["\\Seen"])
            client.add_flags(dice.sample(uids, 3), ["\\Flagged"])
            client.add_flags(dice.sample(uids, 4), ["\\Answered", "\\Seen"])
            for word in dice.sample(KEYWORDS, 3):
                client.add_flags(dice.sample(uids, 3), [word])
            client.remove_flags(dice.sample(uids, 2), ["\\Seen"])
            target = next((name for name in names if name not in ("INBOX", "mail/SPAM")), None)
            if target:
                client.copy(dice.sample(uids, 4), target)
            client.add_flags(dice.sample(uids, 5), ["\\Deleted"])
            client.expunge()
            client.add_flags(dice.sample(client.search("ALL"), 2), ["\\Deleted"])
        for name in names[1:]:
            # some folders have not been opened since they were filled: all Recent, some with UID 0 throughout
            if dice.random() < 0.7:
                _tidy(client, dice, name)
        if user == people.KEYWORDS:
            client.select_folder("mail/etichette")
            for uid, word in zip(client.search("ALL"), (*MANY_KEYWORDS, *MANY_KEYWORDS), strict=False):
                client.add_flags([uid], [word, *dice.sample(MANY_KEYWORDS, 2)])
        if user not in people.SUBSCRIPTIONS:
            for name in names:
                if dice.random() < 0.7:
                    client.subscribe_folder(name)


def _tidy(client, dice, name):
    """Open a folder other than INBOX, mark some of it, and expunge where somebody had deleted."""
    client.select_folder(name)
    uids = client.search("ALL")
    for word in dice.sample(KEYWORDS, 4):
        if uids:
            client.add_flags(dice.sample(uids, max(len(uids) // 12, 1)), [word])
    if dice.random() < 0.5:
        client.expunge()


def _oddities():
    for user, text in people.SUBSCRIPTIONS.items():
        shell(user, "cat > .mailboxlist", input=text)
    shell(people.EIGHT_BIT, 'mv "mail/vecchio nome" "$(printf "mail/caff\\350")"')
    _stray_files()
    _big_mail()
    _odd_bodies()
    _spool_leftovers()
    _expunged_under_sharing()


def _stray_files():
    dice, maker = _maker(people.STRAY_FILES, "stray")
    shell(people.STRAY_FILES, "cat > mail/appunti.txt", input="Appunti: questo file non è una cartella.\n" * 20)
    parts = []
    for _ in range(6):
        date = maker.date()
        mail = maker.message(people.STRAY_FILES, date, size=2000).replace(b"\r\n", b"\n")
        parts.append(f"From x@elsewhere.test {date:%a %b %e %H:%M:%S %Y}\n".encode() + mail + b"\n")
    shell(people.STRAY_FILES, "cat > mail/vecchio-mbox", input=b"".join(parts))


def _big_mail():
    dice, maker = _maker(people.BIG_MAIL, "big")
    with session(people.BIG_MAIL) as client:
        for size in (2.2, 3.1, 4.4, 5.2, 7.5):
            date = maker.date()
            client.append("mail/allegati", maker.message(people.BIG_MAIL, date, size=int(size * messages.MEGABYTE)),
                          _flags(dice, "mail/allegati"), date)


def _odd_bodies():
    dice, maker = _maker(people.ODD_BODIES, "odd")
    with session(people.ODD_BODIES, tls=False) as client:
        for mail in maker.odd(people.ODD_BODIES, maker.date()):
            client.append("mail/strani", mail, _flags(dice, "mail/strani"), maker.date())


def _spool_leftovers():
    """procmail's own delivery, as when dmail failed: into the spool, which only a read-write open of INBOX empties."""
    dice, maker = _maker(people.LEFTOVERS, "spool")
    for _ in range(5):
        mail = maker.message(people.LEFTOVERS, maker.date(), size=min(maker.size(), 20_000)).replace(b"\r\n", b"\n")
        shell(people.LEFTOVERS, 'procmail -f anna.bianchi@elsewhere.test DEFAULT=/var/mail/"$USER" /dev/null', input=mail)


def _expunged_under_sharing():
    """Two sessions in one folder, one expunges: c-client only marks the messages, and a killed session leaves it so."""
    dice, _ = _maker(people.SHARED, "shared")
    for name in ("INBOX", "mail/condivisa"):
        with session(people.SHARED, tls=False) as first, session(people.SHARED, tls=False) as second:
            first.select_folder(name)
            second.select_folder(name)
            first.add_flags(dice.sample(first.search("ALL"), 4), ["\\Deleted"])
            first.expunge()
            container.run(OLD, ["pkill", "-KILL", "-u", people.SHARED, "imapd"], check=False)
            for client in (first, second):
                with contextlib.suppress(OSError):
                    client.socket().shutdown(socket.SHUT_RDWR)


def _last():
    """Mail that came after everybody's last session: UID 0 and Recent."""
    makers = {user: _maker(user, "last") for user in people.FRESH}
    for number in range(4):
        deliver([(user, maker.message(user, maker.date(), size=min(maker.size(), 60_000), spam=number == 3), number == 3)
                 for user, (_, maker) in makers.items()])
