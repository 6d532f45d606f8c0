"""record.json: every file of a run with its digest, the journal's head, the code, and a signature.

It is written at the end of a run and at each pause: after each step, also a failed one. It lists
everything in the folder except itself, its signature and the locks, which are empty when nobody is
at work.

It proves who signed it and that nothing was changed, added, removed or truncated since. It does not
prove that a copy of the folder is the newest: compare the journal's head with the one that was
printed. If a rehearsal's own key signed, it does not prove who did.
"""

import hashlib
import json
import os
from collections.abc import Iterator
from pathlib import Path

from cutover import site
from cutover.model import errors
from cutover.record import code, journal, signers, signing
from cutover.site import secrets
from cutover.steps import registry

NAME, SIGNATURE = "record.json", "record.json.sig"
LOCKS = ("run.lock", "apply.lock", "first-morning.lock")
FORMAT = 1


def write(run, parameters, why: str) -> dict:
    """Write and sign the record of a run in its present state. Returns it.

    Raises signing.CannotSign.
    """
    files, raw = {}, b""
    for name, (_, data) in contents(run.path):
        files[name] = _entry(data)
        raw = data if name == journal.NAME else raw
    events = journal.parse(raw)
    begun = events[0]  # has the run's name, whatever its folder is called now
    no_return = registry.no_return(events)
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
            "events": len(events),
            "head": hashlib.sha256(_last_line(raw)).hexdigest(),
        },
        "files": files,
        "code": {**code.commit(), "digest": code.digest(), **code.parts()},
        "lock": _digest(site.PROJECT / "requirements.lock"),
        "known_hosts": _digest(parameters.ssh.known_hosts),
        "parameters": parameters.digest,
        # the step that passed the point of no return, and when; None: the run can be rolled back
        "no_return": no_return and {"step": no_return["step"], "time": no_return["time"]},
    }
    data = json.dumps(written, indent=1, sort_keys=True).encode() + b"\n"
    signature = signing.sign(data, key, signers.NAMESPACE)
    run.keep(NAME, data)
    run.keep(SIGNATURE, signature)
    return written


def pause(run, parameters, why: str):
    """Write the record at a pause. Returns it, or None if it cannot be signed.

    The reason is journaled and stops nothing.
    """
    try:
        return write(run, parameters, why)
    except (errors.CutoverError, OSError) as error:
        run.journal.append("record-unsigned", why=why, error=f"{type(error).__name__}: {error}")
        return None


def summary(written) -> str:
    """One line about a record for the terminal.

    Its head, kept elsewhere, distinguishes the newest copy of the folder from an older one.
    """
    if written is None:
        return "record: NOT signed; the journal says why"
    return (
        f"record: signed with {written['signer']}; {written['journal']['events']} events, "
        f"head {written['journal']['head'][:16]}"
    )


def survey(path) -> dict:
    """As contents(), all at once."""
    return dict(contents(path))


def contents(path) -> Iterator[tuple[str, tuple[str, bytes]]]:
    """(name, ("file" | "other", bytes)) of a run's folder, without record, signature and locks.

    By name, and read one by one: of thousands of users there is much. What is not a regular file
    (a link, a pipe) is "other"; the bytes of a link are its target.
    """
    paths, top = {}, Path(path)
    for place, folders, names in os.walk(top):
        for name in [*names, *(item for item in folders if Path(place, item).is_symlink())]:
            full = Path(place, name)
            relative = str(full.relative_to(top))
            if relative not in (NAME, SIGNATURE, *LOCKS) or full.is_symlink():
                paths[relative] = full
    for name, full in sorted(paths.items()):
        if full.is_symlink():
            yield name, ("other", os.fsencode(os.readlink(full)))
        elif full.is_file():
            yield name, ("file", full.read_bytes())
        else:
            yield name, ("other", b"")


def _last_line(raw: bytes) -> bytes:
    """The last whole one."""
    end = raw.rfind(b"\n")
    return raw[raw.rfind(b"\n", 0, end) + 1 : end]


def _entry(data: bytes) -> dict:
    return {"sha256": hashlib.sha256(data).hexdigest(), "size": len(data)}


def _digest(path):
    """SHA-256 of a file; None if it cannot be read."""
    try:
        return hashlib.sha256(Path(path).read_bytes()).hexdigest()
    except OSError:
        return None
