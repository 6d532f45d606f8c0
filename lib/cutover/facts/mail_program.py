"""A user's mail program: mbsync, with its own copy of a test user's mail on this machine.

It names folders as on the old server, runs there before the night, and again, with the same
settings, after the move. What it notices is in its own files and exit status: its copy is a Maildir
per folder, with the UIDVALIDITY that it knows. The copy is next to the run's folder, not in it.
The password is passed in the environment.
"""

import collections
import dataclasses
import hashlib
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

from cutover.connect import relay
from cutover.facts import alias_service

PROGRAM, PACKAGE = "mbsync", "isync"
PATIENCE = 600  # seconds that one run may take
LATE = 124  # exit status of a run that took longer
BEFORE, OUTCOME, COPY, SETTINGS = "before.json", "outcome.json", "mail", "mbsyncrc"


@dataclasses.dataclass(frozen=True)
class Before:
    """The copy as the old server filled it. status: the program's exit status."""

    status: int
    folders: int
    messages: int


@dataclasses.dataclass(frozen=True)
class Outcome:
    """A run after the move.

    folders: of the copy. lost: those that the program cannot open any more, or that have another
    UIDVALIDITY. again: messages transferred again. changed: messages with other flags, or gone.
    """

    status: int
    folders: int
    lost: list[str]
    again: int
    changed: int
    failed_before: bool

    @property
    def opened(self) -> bool:
        """Whether the program runs without an error that it did not have before."""
        return not self.lost and (not self.status or self.failed_before)

    @property
    def passed(self) -> bool:
        return self.opened and not self.again


@dataclasses.dataclass(frozen=True)
class State:
    """before: None until the program ran on the old server, and once its copy is removed."""

    installed: bool
    place: str
    before: Before | None = None
    outcome: Outcome | None = None


def installed() -> bool:
    return shutil.which(PROGRAM) is not None


def read(place: Path) -> State:
    """What the program left in its directory."""
    before, outcome = _load(place / BEFORE), _load(place / OUTCOME)
    return State(
        installed(),
        str(place),
        before
        and Before(
            before["status"],
            len(before["folders"]),
            sum(len(folder["messages"]) for folder in before["folders"].values()),
        ),
        outcome and Outcome(**outcome),
    )


def _load(path):
    return json.loads(path.read_bytes()) if path.exists() else None


def settings(site, user: str, place: Path) -> str:
    """As a user of the old server has them. It only pulls; it removes nothing on a server."""
    path, ca = site.old_store.imap_prefix, site.production_test.ca
    trust = f"CertificateFile {_quoted(ca)}\nSystemCertificates no\n" if ca else ""
    join = shlex.join([sys.executable, "-I", relay.__file__])
    tunnel = f'{join} "$CUTOVER_ADDRESS" {site.production_test.imap_port}'
    return f"""\
IMAPAccount site
Host {site.fqdn(site.alias)}
Tunnel {_quoted(tunnel)}
SSLType IMAPS
{trust}User {user}
PassCmd "printenv CUTOVER_PASSWORD"

IMAPStore far
Account site
{f"Path {_quoted(path)}" if path else ""}

MaildirStore near
Path {_quoted(f"{place}/{COPY}/")}
Inbox {_quoted(f"{place}/{COPY}/INBOX")}
SubFolders Verbatim

Channel all
Far :far:
Near :near:
Patterns INBOX *
Create Near
Expunge Near
Sync Pull
SyncState *
"""


def _quoted(text):
    return '"' + re.sub(r'(["\\])', r"\\\1", str(text)) + '"'


def run(hosts, user: str, place: Path, folder: str = "") -> int:
    """Let the program bring all folders, or one of its own, up to date. Returns its exit status.

    The users' name is resolved at the primary name server: this machine may still cache another
    address.
    """
    hosts.prove()
    address = alias_service.resolve(hosts, hosts.site.fqdn(hosts.site.alias))
    secret = {
        "CUTOVER_ADDRESS": address,
        "CUTOVER_PASSWORD": alias_service.password(hosts, user),
    }
    argv = [PROGRAM, "-q", "-c", str(place / SETTINGS), f"all:{folder}" if folder else "all"]
    try:
        return subprocess.run(
            argv,
            env={"PATH": os.environ["PATH"], "HOME": str(place), **secret},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=PATIENCE,
        ).returncode
    except subprocess.TimeoutExpired:
        return LATE


def folders(place: Path) -> dict[str, dict]:
    """`{folder: {"uidvalidity", "messages": [[digest, flags]]}}` of the program's copy."""
    copy, listed = place / COPY, {}
    for state in sorted(copy.rglob(".mbsyncstate")):
        validity = re.search(rb"^FarUidValidity (\d+)$", state.read_bytes(), re.MULTILINE)
        files = [path for part in ("cur", "new") for path in (state.parent / part).iterdir()]
        listed[str(state.parent.relative_to(copy))] = {
            "uidvalidity": int(validity[1]) if validity else 0,
            "messages": sorted([_digest(path), path.name.partition(":2,")[2]] for path in files),
        }
    return listed


def _digest(path):
    # without the header field that the program itself adds
    text = re.sub(rb"^X-TUID: .*\n", b"", path.read_bytes(), count=1, flags=re.MULTILINE)
    return hashlib.blake2b(text, digest_size=16).hexdigest()


def compare(before: dict, after: dict, status: int, lost: list[str]) -> Outcome:
    """before: as kept in BEFORE. after: as folders() shows the copy now. lost: not opened."""
    had, has = before["folders"], after
    renumbered = [
        name
        for name, folder in had.items()
        if has.get(name, folder)["uidvalidity"] != folder["uidvalidity"]
    ]
    texts, texts_now = _texts(had), _texts(has)
    return Outcome(
        status,
        len(had),
        sorted({*lost, *renumbered}),
        sum(count for text, count in (texts_now - texts).items() if text in texts),
        sum((_flagged(had) - _flagged(has)).values()),
        bool(before["status"]),
    )


def _texts(listed):
    return collections.Counter(
        digest for folder in listed.values() for digest, _ in folder["messages"]
    )


def _flagged(listed):
    return collections.Counter(
        (name, *message) for name, folder in listed.items() for message in folder["messages"]
    )
