"""Who may sign what of a run: the copy of allowed_signers in its folder, and the key that signs its record.

At a production site the copy is the site's own file and the key the operator's. A rehearsal signs with a key made for its
lab, listed by itself in the copy: that shows that nothing was changed since, not who did it.
"""

import os
from pathlib import Path

from cutover.record import signing, statement

FILE = "allowed_signers"
NAMESPACE = "record@mail-cutover"


def key(site):
    """The file of the key that signs records. A rehearsal's is made when there is none. Raises signing.CannotSign."""
    if site.record is not None:
        return site.record.key
    from lab import paths, state

    # the lab's own while it is up; else the user's, so that nothing of a lab lies about where none is
    place = (
        paths.STATE / "keys" / "record"
        if state.read()
        else Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state")
        / "mail-cutover"
        / "record"
    )
    if not place.exists():
        try:
            place.parent.mkdir(parents=True, exist_ok=True)
            beside = place.with_name(f"record.{os.getpid()}")
            signing.make_key(beside, "mail-cutover rehearsal")
            os.replace(f"{beside}.pub", f"{place}.pub")
            os.replace(beside, place)
        except OSError as error:
            raise signing.CannotSign(
                f"the rehearsal's signing key cannot be made: {place}: {error.strerror}"
            ) from None
    return place


def content(site) -> bytes:
    """What the run's copy holds. Raises statement.NotApproved or signing.CannotSign when the record could not be signed."""
    listed = statement.allowed_signers(site) if site.approval else b""
    public = signing.public_of(key(site))
    if site.kind == "rehearsal":
        return listed + f'rehearsal@{site.name} namespaces="{NAMESPACE}" {public}\n'.encode()
    if not signing.lists(listed, public):
        raise signing.CannotSign(
            f"record.key: {site.record.key} is not listed in {site.approval.allowed_signers}: nobody could "
            f'check the record. Add: NAME namespaces="{NAMESPACE}" {public}'
        )
    return listed


def in_force(events) -> str:
    """The name of the run's copy at the end of these events."""
    name = FILE
    for event in events:
        if event.get("event") == "drift" and "allowed" in event:
            short = str(event["allowed"])[:8]
            name = f"{FILE}.{short}" if short.isalnum() else FILE
    return name
