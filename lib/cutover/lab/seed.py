"""Seeded mail."""

import os

from cutover.lab import hosts


def ensure(base, say):
    return None


def restore(snapshot, store):
    (store / "home").mkdir(parents=True)
    (store / "spool").mkdir()
    os.chmod(store / "spool", 0o3777)
    os.chown(store / "spool", 0, 8)
    for user, number in hosts.USERS.items():
        (store / "home" / user).mkdir(mode=0o700)
        os.chown(store / "home" / user, number, number)
