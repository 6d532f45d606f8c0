"""The folders of small messages that a restore is measured with, in one user's copy.

To the restore, the user has lost them: the copy on the backup host has them, the live mailbox does
not. One folder holds all messages; eight more hold as many again.
"""

import os

from lab import store, topology

NAME, USER = "misura", "alice"
EIGHT = "ottavi"
FOLDERS = [f"{EIGHT}/{number}" for number in range(1, 9)]
BACKUP = store.STORE / "backup"  # the backup host has it as /backup
ARCHIVE = "bench-misura.tar"
COPY = BACKUP / "posta/mailboxvm/current" / USER
TREE = COPY / f".{NAME}"


def directory(folder: str) -> str:
    """The Maildir++ directory of a folder."""
    return "." + folder.replace("/", ".")


def plant(tree, messages: int) -> int:
    """Make a folder with that many messages in the copy. → its bytes"""
    owner, total = topology.USERS[USER], 0
    for part in ("cur", "new", "tmp"):
        (tree / part).mkdir(parents=True, exist_ok=True)
    with open(tree / "dovecot-uidlist", "w") as uids:
        uids.write(f"3 V1700000000 N{messages + 1} G{'0' * 31}1\n")
        for number in range(1, messages + 1):
            text = (
                f"From: a@elsewhere.test\nSubject: {number}\nMessage-ID: <{number}@bench>\n\n"
                + f"line {number} of it\n" * 250
            )
            time = 1_600_000_000 + number
            name = f"{time}.M{number}P1.bench,S={len(text)}"
            path = tree / "cur" / f"{name}:2,S"
            path.write_text(text)
            os.utime(path, (time, time))
            uids.write(f"{number} :{name}\n")
            total += len(text)
    for path in (tree, *tree.rglob("*")):
        os.chown(path, owner, owner)
    return total


def forget(top):
    """Drop a file, or a tree's files, from this machine's page cache."""
    for path in (top, *top.rglob("*")):
        if path.is_file():
            with open(path) as file:
                os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
