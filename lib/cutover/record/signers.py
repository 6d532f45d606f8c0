"""Who may sign in a run: the copy of allowed_signers in its folder, and the key for its record.

At a production site the copy is the site's own file and the key is the operator's. A rehearsal
signs with a key made for its lab, which the copy lists: that proves that nothing was changed since,
not who signed.
"""

import hashlib
import os
from pathlib import Path

from cutover.record import signing, statement

FILE = "allowed_signers"
NAMESPACE = "record@mail-cutover"
ADVICE = "Restore it from a backup of the folder, or start a new run."


def key(site):
    """The file of the key that signs records. Raises signing.CannotSign.

    A rehearsal's key is created if it is missing.
    """
    if site.record is not None:
        return site.record.key
    from lab import paths, state

    # the lab's own key while it is up, otherwise the user's: no lab, no files of a lab
    if state.read():
        place = paths.STATE / "keys" / "record"
    else:
        home = Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state")
        place = home / "mail-cutover" / "record"
    if not place.exists():
        try:
            place.parent.mkdir(parents=True, exist_ok=True)
            part = place.with_name(f"record.{os.getpid()}")
            signing.make_key(part, "mail-cutover rehearsal")
            os.replace(f"{part}.pub", f"{place}.pub")
            os.replace(part, place)
        except OSError as error:
            raise signing.CannotSign(
                f"the rehearsal's signing key {place} cannot be created: {error.strerror}. "
                "Make its folder writable."
            ) from None
    return place


def content(site) -> bytes:
    """The content of the run's copy.

    Raises statement.NotApproved, or signing.CannotSign if the record could not be signed.
    """
    listed = statement.allowed_signers(site) if site.approval else b""
    public = signing.public_of(key(site))
    if site.kind == "rehearsal":
        return listed + f'rehearsal@{site.name} namespaces="{NAMESPACE}" {public}\n'.encode()
    if not signing.lists(listed, public):
        raise signing.CannotSign(
            f"record.key: {site.record.key} is not listed in {site.approval.allowed_signers}: "
            f'nobody could check the record. Add: NAME namespaces="{NAMESPACE}" {public}'
        )
    return listed


def of_run(run) -> bytes:
    """The content of the run's own copy: who may sign, as of the run's beginning.

    Edits of the site's file count only once they are approved (drift.py). Raises
    statement.NotApproved.
    """
    name, digest = in_force(run.journal.events())
    try:
        data = Path(run.path, name).read_bytes()
    except OSError as error:
        raise statement.NotApproved(
            f"{run.path}: the run's copy of the allowed signers cannot be read: {error.strerror}. "
            f"{ADVICE}"
        ) from None
    if digest and hashlib.sha256(data).hexdigest() != digest:
        raise statement.NotApproved(
            f"{run.path / name}: it was changed: the journal has SHA-256 {digest[:16]}. {ADVICE}"
        )
    return data


def in_force(events) -> tuple[str, str]:
    """The run's copy that is valid after these events: its name, and its SHA-256 if known."""
    name, digest = FILE, ""
    for event in events:
        if event.get("event") in ("run-begun", "drift") and "allowed" in event:
            digest = str(event["allowed"])
            if event["event"] == "drift" and digest.isalnum():
                name = f"{FILE}.{digest[:8]}"
    return name, digest
