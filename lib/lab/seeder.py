"""Fills mailboxold of a running lab with the planned mail.

Only real programs write mail: sendmail, procmail, dmail, mailutil and imapd. What no program makes
(a stray text file, a hand-written .mailboxlist) is written as the user.
"""

import time

import imapclient

from lab import delivery, oddities, old_users, people, sessions, topology

MORE = "mail/lungo"  # what more() fills


def plant(say):
    """Create all mail, in a real site's order: old mail, deliveries, sessions, last deliveries."""
    for step, action in (
        ("old mail", _old_mail),
        ("deliveries", delivery.rounds),
        ("sessions", sessions.all_users),
        ("oddities", oddities.plant),
        ("last deliveries", delivery.last),
    ):
        began = time.monotonic()
        action()
        say(f"seeding: {step} in {time.monotonic() - began:.1f} s")


def more(messages):
    """Add at least that many messages, spread over all users, in the folder MORE of each."""
    share = -(-messages // len(topology.USERS))

    def fill(user):
        dice, maker = old_users.maker(user, "more")
        for at in range(0, share, 500):
            dates = [maker.date() for _ in range(min(500, share - at))]
            _mailutil(
                user,
                None,
                MORE,
                [(maker.message(user, date), old_users.flags(dice, MORE), date) for date in dates],
            )

    for user in topology.USERS:
        old_users.shell(user, f'mailutil create "#driver.mbx/{MORE}" > /dev/null')
    old_users.for_all(topology.USERS, fill)


def skeleton():
    """Make the users' INBOX and SPAM folders, empty, by c-client."""
    for user in topology.USERS:
        names = []
        if user not in (people.NO_INBOX, people.SPOOL_ONLY):
            names.append("INBOX")
        if people.gets_spam(user):
            names.append("mail/SPAM")
        for name in names:
            old_users.shell(user, f'mailutil create "#driver.mbx/{name}" > /dev/null')


def _old_mail():
    """The largest mailboxes first, so that the last to end is a small one."""

    def messages(user):
        return sum(count for _, count, _ in people.folders(user))

    old_users.for_all(sorted(topology.USERS, key=messages, reverse=True), _fill)


def _fill(user):
    dice, maker = old_users.maker(user, "old")
    with old_users.session(user, tls=False) as client:
        for name, count, method in people.folders(user):
            if name not in ("INBOX", "mail/SPAM"):
                client.create_folder(name)
            dates = [maker.date() for _ in range(count)]
            mails = [
                (
                    maker.message(user, date, spam=name == "mail/SPAM"),
                    old_users.flags(dice, name),
                    date,
                )
                for date in dates
            ]
            {"append": _append, "multi": _multi, "mailutil": _mailutil}[method](
                user, client, name, mails
            )


def _append(user, client, name, mails):
    for mail, flags, date in mails:
        client.append(name, mail, flags, date)


def _multi(user, client, name, mails):
    for at in range(0, len(mails), 100):
        client.multiappend(
            name,
            [
                {"msg": mail, "flags": flags, "date": date}
                for mail, flags, date in mails[at : at + 100]
            ],
        )


def _mailutil(user, client, name, mails):
    """Copy from a mail file, through c-client.

    The From line carries the date and its zone, Status headers carry the flags.
    """
    letters = {"\\Answered": "A", "\\Flagged": "F", "\\Deleted": "D"}
    parts = []
    for mail, flags, date in mails:
        head, _, body = mail.replace(b"\r\n", b"\n").partition(b"\n\n")
        seen = "RO" if "\\Seen" in flags else "O"
        status = "".join(letters[flag] for flag in flags if flag in letters)
        parts.append(
            f"From sender@elsewhere.test {date:%a %b %e %H:%M:%S %Y %z}\n".encode()
            + head
            + f"\nStatus: {seen}\nX-Status: {status}\n\n".encode()
            + body
            + b"\n"
        )
    encoded = imapclient.imap_utf7.encode(name).decode()
    old_users.shell(
        user,
        f'cat > .old; mailutil append .old "{encoded}" > /dev/null; rm .old',
        input=b"".join(parts),
    )
