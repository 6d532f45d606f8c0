"""Send mail through the lab's MX hosts and wait until it is in place on mailboxold."""

import concurrent.futures
import smtplib
import time

from lab import errors, old_users, people, store, topology

ROUNDS = 11
TOGETHER = 4  # messages sent at a time: an MX waits for its antispam and for NIS


def send(server, user, mail):
    with smtplib.SMTP(
        topology.HOSTS[server].address, 25, local_hostname="control.lab.test", timeout=30
    ) as client:
        client.sendmail(
            "anna.bianchi@elsewhere.test",
            [f"{user}@{topology.DOMAIN}"],
            mail,
            mail_options=["BODY=8BITMIME"],
        )


def deliver(batch, patience=60):
    """Send mail through each MX in turn, both at once, and wait until it is in place.

    batch: [(user, mail as bytes, whether it is spam)].
    Raises errors.LabError naming the users whose mail did not arrive.
    """
    waiting = {}
    for user, mail, spam in batch:
        place = store.home(user) / "mail/SPAM" if spam else store.home(user) / "INBOX"
        place = place if place.exists() else store.spool(user)
        marker = next(
            line for line in mail.split(b"\r\n") if line.lower().startswith(b"message-id:")
        ).split(b" ")[1]
        waiting[marker] = (place, place.stat().st_size if place.exists() else 0, user)
    with concurrent.futures.ThreadPoolExecutor(TOGETHER) as pool:
        servers = ("postino3", "postino4") * len(batch)
        users, mails, _ = zip(*batch, strict=True)
        list(pool.map(send, servers, users, mails))
    until = time.monotonic() + patience
    while waiting:
        for marker, (place, offset, _) in list(waiting.items()):
            if marker in store.tail(place, offset):
                del waiting[marker]
        if time.monotonic() > until:
            raise errors.LabError(
                f"mail sent to the lab did not arrive on mailboxold within {patience} s, for "
                + ", ".join(sorted({user for _, _, user in waiting.values()}))
            )
        time.sleep(0.02)


def rounds():
    """Some months of mail: one message per user and round; every fifth round is spam."""
    makers = {user: old_users.maker(user, "smtp") for user in people.delivered()}
    for number in range(ROUNDS):
        batch = []
        for user, (_, maker) in makers.items():
            spam = number % 5 == 4 and people.gets_spam(user)
            size = min(maker.size(), 200_000)
            batch.append(
                (user, maker.message(user, maker.date(), size=size, spam=spam, marked=False), spam)
            )
        deliver(batch)


def last():
    """Mail that arrives after everybody's last session: UID 0 and Recent."""
    makers = {user: old_users.maker(user, "last") for user in people.FRESH}
    for number in range(4):
        spam = number == 3
        deliver(
            [
                (
                    user,
                    maker.message(
                        user, maker.date(), size=min(maker.size(), 60_000), spam=spam, marked=False
                    ),
                    spam,
                )
                for user, (_, maker) in makers.items()
            ]
        )
