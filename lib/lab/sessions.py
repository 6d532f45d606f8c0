"""What users did with their mail: set flags and keywords, copy, expunge, subscribe."""

from lab import old_users, people, topology

KEYWORDS = ("$Forwarded", "$MDNSent", "NonJunk", "Junk", "$Label1", "Importante")
MANY_KEYWORDS = tuple(f"etichetta{number:02}" for number in range(1, 29))


def all_users():
    """A session of every user that has an INBOX."""
    without = people.NO_INBOX, people.SPOOL_ONLY
    old_users.for_all([user for user in topology.USERS if user not in without], _session)


def _session(user):
    """What a mail program does: flags, keywords, copies, deletions, subscriptions."""
    dice, _ = old_users.maker(user, "session")
    names = [name for name, _, _ in people.folders(user)]
    with old_users.session(user) as client:
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
            # some folders stay unopened since they were filled: all Recent, some with UID 0
            if dice.random() < 0.7:
                _tidy(client, dice, name)
        if user == people.KEYWORDS:
            client.select_folder("mail/etichette")
            for uid, word in zip(
                client.search("ALL"), (*MANY_KEYWORDS, *MANY_KEYWORDS), strict=False
            ):
                client.add_flags([uid], [word, *dice.sample(MANY_KEYWORDS, 2)])
        if user not in people.SUBSCRIPTIONS:
            for name in names:
                if dice.random() < 0.7:
                    client.subscribe_folder(name)


def _tidy(client, dice, name):
    """Open a folder other than INBOX, flag some messages, and sometimes expunge."""
    client.select_folder(name)
    uids = client.search("ALL")
    for word in dice.sample(KEYWORDS, 4):
        if uids:
            client.add_flags(dice.sample(uids, max(len(uids) // 12, 1)), [word])
    if dice.random() < 0.5:
        client.expunge()
