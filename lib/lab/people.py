"""Who has what mail in the seeded lab.

A folder is (name as a client shows it, messages, how it is filled): "mailutil" copies a mail file
through c-client; "append" and "multi" are IMAP APPEND and MULTIAPPEND with INTERNALDATEs. Names
are relative to the home, as UW serves them. Every oddity of an old mail store belongs to somebody.
"""

import random

from lab import topology

SEED = 1969
NO_INBOX = "quinto"  # neither ~/INBOX nor a spool file
SPOOL_ONLY = "luca"  # mail but no ~/INBOX: dmail put it into the spool
LEFTOVERS = "irene"  # ~/INBOX, and mail in the spool that no read-write open has moved yet
NESTED_ONLY = "rita"  # folders in directories only, so no SPAM either
EMPTY_INBOX = "zoe"  # ~/INBOX without a message, no folder
SHARED = "fabio"  # messages expunged while another session had the folder open
KEYWORDS = "carla"  # a folder with 28 keywords: more than Dovecot's file names can hold
BIG_MAIL = "giulia"  # attachments of several MB
ODD_BODIES = "hugo"  # bare LF, very long lines, 8-bit headers, no body
EIGHT_BIT = "davide"  # a folder name of raw latin-1 bytes
STRAY_FILES = "elena"  # in ~/mail: a text file, a mail file that is not MBX, an empty folder
# they get mail after their last session: UID 0
FRESH = ("alice", "bruno", "fabio", "irene", "teresa", "marta")

EXTRA = {
    "alice": [
        ("mail/Entwürfe", 9, "append"),
        ("mail/日本語", 7, "multi"),
        ("mail/progetti/2019/alfa", 60, "mailutil"),
        ("mail/progetti/2019/beta", 35, "append"),
        ("mail/progetti/2020/gamma", 22, "multi"),
        ("mail/Attività & varie", 12, "append"),
    ],
    "bruno": [
        ("mail/a.b", 31, "append"),
        ("mail/a_b", 23, "multi"),
        ("mail/x.y/z", 8, "append"),
        ("mail/x_y/z", 5, "append"),
        ("mail/lista.debian.org", 80, "mailutil"),
    ],
    "carla": [("mail/etichette", 60, "append"), ("mail/Posta inviata", 25, "multi")],
    "davide": [("mail/vecchio nome", 14, "append")],
    "elena": [("mail/vuota", 0, "append"), ("mail/Bozze", 11, "append")],
    "fabio": [("mail/condivisa", 40, "multi")],
    "giulia": [("mail/allegati", 30, "append")],
    "hugo": [("mail/strani", 0, "append")],
    "paolo": [("mail/lavori", 2000, "multi")],
    "rita": [
        ("mail/archivio/2017/gennaio", 40, "multi"),
        ("mail/archivio/2017/febbraio", 30, "append"),
        ("mail/archivio/2018/marzo", 45, "mailutil"),
        ("mail/esperimenti/na62", 20, "append"),
    ],
    "quinto": [("mail/archivio", 25, "append")],
    "sergio": [("mail/cs.ce", 28, "multi"), ("mail/concorsi", 33, "mailutil")],
    "ugo": [("mail/Trash", 40, "multi")],
    "walter": [("mail/archivio", 90, "mailutil"), ("mail/Drafts", 6, "append")],
}

# ~/.mailboxlist if it is not what SUBSCRIBE writes; bytes, one name per line
SUBSCRIPTIONS = {
    "sergio": b"cs.ce\nconcorsi\nsent-mail\n",
    "teresa": b"INBOX\nmail/sent-mail\nmail/SPAM\n",
    "ugo": b"~/mail/sent-mail\n~/mail/Trash\n",
    "vera": b"{mailbox.lab.test}mail/sent-mail\n{mailbox.lab.test}INBOX\n",
    "walter": b"mail/archivio\narchivio\n~/mail/Drafts\n"
    b"{mailbox.lab.test}mail/sent-mail\nmail/da-tempo-cancellata\n",
    "davide": b"mail/caff\xe8\nmail/sent-mail\n",
}


def folders(user):
    """The folders of a user, INBOX first, as (name, messages, method)."""
    dice = random.Random(f"{SEED}-plan-{user}")
    plan = []
    if user not in (NO_INBOX, SPOOL_ONLY):
        plan.append(
            (
                "INBOX",
                0 if user == EMPTY_INBOX else dice.randint(55, 115),
                dice.choice(("mailutil", "append")),
            )
        )
    if user not in (NO_INBOX, NESTED_ONLY, EMPTY_INBOX):
        plan.append(
            ("mail/sent-mail", dice.randint(20, 60), dice.choice(("mailutil", "append", "multi")))
        )
        plan.append(("mail/SPAM", dice.randint(2, 9), "append"))
    return plan + EXTRA.get(user, [])


def delivered():
    """The users who get mail over SMTP while the lab is seeded."""
    return [user for user in topology.USERS if user not in (NO_INBOX, EMPTY_INBOX)]


def gets_spam(user):
    return user not in (NO_INBOX, NESTED_ONLY, EMPTY_INBOX)
