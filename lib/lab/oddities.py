"""The oddities of a twenty-year-old mail store; people.py says who has which."""

import contextlib
import socket

from lab import inside, messages, old_users, people, store


def plant():
    """Create all of them, in a store that has its old mail."""
    for user, text in people.SUBSCRIPTIONS.items():
        old_users.shell(user, "cat > .mailboxlist", input=text)
    old_users.shell(people.EIGHT_BIT, 'mv "mail/vecchio nome" "$(printf "mail/caff\\350")"')
    _stray_files()
    _big_mail()
    _odd_bodies()
    _spool_leftovers()
    _expunged_under_sharing()


def _stray_files():
    dice, maker = old_users.maker(people.STRAY_FILES, "stray")
    old_users.shell(
        people.STRAY_FILES,
        "cat > mail/appunti.txt",
        input="Appunti: questo file non è una cartella.\n" * 20,
    )
    parts = []
    for _ in range(6):
        date = maker.date()
        mail = maker.message(people.STRAY_FILES, date, size=2000).replace(b"\r\n", b"\n")
        parts.append(f"From x@elsewhere.test {date:%a %b %e %H:%M:%S %Y}\n".encode() + mail + b"\n")
    old_users.shell(people.STRAY_FILES, "cat > mail/vecchio-mbox", input=b"".join(parts))


def _big_mail():
    dice, maker = old_users.maker(people.BIG_MAIL, "big")
    with old_users.session(people.BIG_MAIL) as client:
        for size in (2.2, 3.1, 4.4, 5.2, 7.5):
            date = maker.date()
            client.append(
                "mail/allegati",
                maker.message(people.BIG_MAIL, date, size=int(size * messages.MEGABYTE)),
                old_users.flags(dice, "mail/allegati"),
                date,
            )


def _odd_bodies():
    dice, maker = old_users.maker(people.ODD_BODIES, "odd")
    with old_users.session(people.ODD_BODIES, tls=False) as client:
        for mail in maker.odd(people.ODD_BODIES, maker.date()):
            # not append(): imaplib would fix the line ends
            client.multiappend(
                "mail/strani",
                [
                    {
                        "msg": mail,
                        "flags": old_users.flags(dice, "mail/strani"),
                        "date": maker.date(),
                    }
                ],
            )


def _spool_leftovers():
    """Mail that procmail put into the spool, as when dmail fails.

    Only a read-write open of INBOX moves it out.
    """
    dice, maker = old_users.maker(people.LEFTOVERS, "spool")
    script = 'procmail -f anna.bianchi@elsewhere.test DEFAULT=/var/mail/"$USER" /dev/null'
    for _ in range(5):
        mail = maker.message(
            people.LEFTOVERS, maker.date(), size=min(maker.size(), 20_000)
        ).replace(b"\r\n", b"\n")
        old_users.shell(people.LEFTOVERS, script, input=mail)


def _expunged_under_sharing():
    """Expunge in a folder that another session has open.

    c-client then only marks the messages; killing the session keeps them so.
    """
    dice, _ = old_users.maker(people.SHARED, "shared")
    server = store.old_server(people.SHARED)
    for name in ("INBOX", "mail/condivisa"):
        with (
            old_users.session(people.SHARED, tls=False) as first,
            old_users.session(people.SHARED, tls=False) as second,
        ):
            first.select_folder(name)
            second.select_folder(name)
            first.add_flags(dice.sample(first.search("ALL"), 4), ["\\Deleted"])
            first.expunge()
            inside.run(server, ["pkill", "-KILL", "-u", people.SHARED, "imapd"], check=False)
            for client in (first, second):
                with contextlib.suppress(OSError):
                    client.socket().shutdown(socket.SHUT_RDWR)
