"""The snapshot of the seeded mail: made once in a running lab, copied into every fresh lab."""

import hashlib
import json
import os
import pathlib
import shutil
import tempfile

from lab import inside, manifest, paths, resources, store, system, topology

# the files that decide what the mail is; a change in any of them makes a new snapshot
SOURCES = (
    "people.py",
    "messages.py",
    "seeder.py",
    "delivery.py",
    "sessions.py",
    "oddities.py",
    "old_users.py",
    "manifest.py",
    "antispam.py",
    "files/rspamd.conf",
    "files/procmailrc.old",
    "files/mailbox.mc",
    "files/postino.mc",
    "files/lab.m4",
    "nis.py",
    "files/nis-answers",
    "files/procmail-nis",
)


def path(base):
    """Where the snapshot for a base is, or will be. It has home/, spool/ and manifest.json."""
    digest = hashlib.sha256(str(base).encode())
    for name in SOURCES:
        digest.update(resources.read(name).encode())
    return paths.CACHE / f"seed-{digest.hexdigest()[:16]}"


def save(base):
    """Stop mailboxold's mail services and take the snapshot; returns its path."""
    inside.run("mailboxold", ["systemctl", "stop", "sendmail", "xinetd", "stunnel4"])
    inside.run("mailboxold", ["pkill", "-x", "imapd"], check=False)
    snapshot = path(base)
    part = pathlib.Path(
        tempfile.mkdtemp(prefix=f"{snapshot.name}.", suffix=".part", dir=snapshot.parent)
    )
    part.chmod(0o755)
    (part / "manifest.json").write_text(json.dumps(manifest.take(), indent=1) + "\n")
    for name in ("home", "spool"):
        system.call("cp", "-a", store.STORE / name, part / name)
    try:
        part.rename(snapshot)
    except OSError:
        # another process was faster; both have the same mail
        shutil.rmtree(part)
        if not snapshot.is_dir():
            raise
    return snapshot


def restore(snapshot):
    """Fill the first store of a new lab from a snapshot, or with empty homes and spool."""
    store.STORE.mkdir(parents=True)
    if snapshot is not None:
        for name in ("home", "spool"):
            system.call("cp", "-a", "--reflink=auto", snapshot / name, store.STORE / name)
        shutil.copy(snapshot / "manifest.json", manifest.PLACE)
        return
    store.make_old(store.STORE)
    for user, number in topology.USERS.items():
        home = store.STORE / "home" / user
        home.mkdir(mode=0o700)
        os.chown(home, number, number)
