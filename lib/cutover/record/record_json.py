"""record.json: every file of a run with its digest, the journal's head, the code, and a signature over it all.

Written at the end of a run and at each pause (after each step, and when one failed), so that a record is never far behind.
It lists everything in the folder but itself, its signature and the locks, which are empty when nobody works. What it
proves: nothing was changed, added, dropped or cut off since it was signed, and who signed it. What it does not: that an
older copy of the whole folder is not the newest (compare the journal's head with the one that was printed), and, when a
rehearsal's own key signed, who did.
"""

import hashlib
import json
import os
from pathlib import Path

from cutover import site
from cutover.model import errors
from cutover.record import code, journal, signers, signing
from cutover.site import secrets
from cutover.steps import registry

NAME, SIGNATURE = "record.json", "record.json.sig"
LOCKS = ("run.lock", "apply.lock")
FORMAT = 1


def write(run, parameters, why: str) -> dict:
    """Write and sign the record of a run as it stands. → what was written. Raises signing.CannotSign."""
    files = survey(run.path)
    raw = files.pop(journal.NAME)[1]
    lines = raw.splitlines()
    events = journal.parse(raw)
    begun = events[0]  # the run's name is the one it began with, wherever its folder lies now
    passed = registry.no_return(events)
    key = signers.key(parameters)
    written = {
        "format": FORMAT,
        "run": begun.get("run", run.name),
        "site": parameters.name,
        "kind": parameters.kind,
        "why": secrets.redact(why),
        "made": journal.now(),
        "by": journal.who(),
        "signer": signing.fingerprint(signing.public_of(key)),
        "journal": {
            "events": len(lines),
            "head": hashlib.sha256(lines[-1]).hexdigest() if lines else journal.ZEROS,
        },
        "files": {
            journal.NAME: _digest(raw),
            **{name: _digest(data) for name, (_, data) in files.items()},
        },
        "code": {**code.commit(), "digest": code.digest(), **code.parts()},
        "lock": _file(site.PROJECT / "requirements.lock"),
        "known_hosts": _file(parameters.ssh.known_hosts),
        "parameters": parameters.digest,
        # when the run passed the point of no return, and by which step; None: it can be rolled back
        "no_return": passed and {"step": passed["step"], "time": passed["time"]},
    }
    data = json.dumps(written, indent=1, sort_keys=True).encode() + b"\n"
    signature = signing.sign(data, key, signers.NAMESPACE)
    run.keep(NAME, data)
    run.keep(SIGNATURE, signature)
    return written


def pause(run, parameters, why: str):
    """Write the record at a pause. What keeps it from being signed is journaled, and stops nothing. → the record or None."""
    try:
        return write(run, parameters, why)
    except (errors.CutoverError, OSError) as error:
        run.journal.append("record-unsigned", why=why, error=f"{type(error).__name__}: {error}")
        return None


def told(written) -> str:
    """A line for the terminal; the head in it, kept elsewhere, tells an older copy of the folder from the newest."""
    if written is None:
        return "record: NOT signed; the journal says why"
    return (
        f"record: signed with {written['signer']}; {written['journal']['events']} events, "
        f"head {written['journal']['head'][:16]}"
    )


def survey(path) -> dict:
    """`{name: ("file" | "other", bytes)}` of all that lies in a run's folder but record, signature and locks.

    What is no plain file (a link, a pipe) is "other", with where a link leads as its bytes.
    """
    found, top = {}, Path(path)
    for place, folders, names in os.walk(top):
        for name in [*names, *(each for each in folders if Path(place, each).is_symlink())]:
            full = Path(place, name)
            relative = str(full.relative_to(top))
            if relative in (NAME, SIGNATURE, *LOCKS) and not full.is_symlink():
                continue
            if full.is_symlink():
                found[relative] = ("other", os.fsencode(os.readlink(full)))
            else:
                found[relative] = ("file", full.read_bytes()) if full.is_file() else ("other", b"")
    return dict(sorted(found.items()))


def _digest(data: bytes) -> dict:
    return {"sha256": hashlib.sha256(data).hexdigest(), "size": len(data)}


def _file(path):
    try:
        return hashlib.sha256(Path(path).read_bytes()).hexdigest()
    except OSError:
        return None
