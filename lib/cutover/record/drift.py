"""A run goes on only with the code, notebooks, parameters and signers it began with, or with an approved difference."""

import hashlib
import json
from pathlib import Path

from cutover.record import approval, code, journal, signers, statement

FILE = "code.json"  # what the run's code was, file by file


class Drifted(statement.NotApproved):
    """Code, notebooks, parameters or signers are not those the run began with; the message says which files."""


def current(site) -> dict:
    """`{"code", "notebooks", "parameters", "allowed"}`: the digest of each, as things stand."""
    return {
        **code.parts(),
        "parameters": site.digest,
        "allowed": hashlib.sha256(signers.content(site)).hexdigest(),
    }


def begin(run, site) -> dict:
    """Keep what a run begins with. → fields for its first event."""
    run.keep(FILE, json.dumps(code.files(), indent=1, sort_keys=True).encode())
    run.keep(signers.FILE, signers.content(site))
    return current(site)


def known(events) -> dict:
    """The digests a run began with, or that were approved since."""
    found = {}
    for event in events:
        if event["event"] in ("run-begun", "drift"):
            found.update(
                {
                    key: event[key]
                    for key in ("code", "notebooks", "parameters", "allowed")
                    if key in event
                }
            )
    return found


def difference(events, site) -> dict:
    """`{name: [before, now]}` of what is not as the run knows it; empty when nothing is."""
    before, now = known(events), current(site)
    return {
        key: [before.get(key, ""), value]
        for key, value in now.items()
        if before.get(key, "") != value
    }


def digest(run_name: str, found: dict) -> str:
    """What an approval of a difference is bound to."""
    return hashlib.sha256(
        json.dumps({"run": run_name, "drift": found}, sort_keys=True).encode()
    ).hexdigest()


def told(run, found) -> str:
    """The difference in words, down to the files of the code."""
    said = []
    for key in ("code", "notebooks"):
        if key in found:
            try:
                before = json.loads((run.path / FILE).read_bytes())
            except (OSError, ValueError):
                before = {}
            names = sorted(
                name
                for name in {*before, *code.files()}
                if before.get(name) != code.files().get(name)
                and (name.startswith("notebooks/") == (key == "notebooks"))
            )
            said.append(
                f"{key} ({', '.join(names[:8]) or 'as it was before the last approved difference'}"
                f"{' …' if len(names) > 8 else ''})"
            )
    said += [
        f"the {key if key != 'allowed' else 'allowed signers'} ({before[:12] or 'none'} before, {now[:12]} now)"
        for key, (before, now) in found.items()
        if key in ("parameters", "allowed")
    ]
    return "; ".join(said)


def check(run, site, record):
    """Raises Drifted for a difference that nobody approved; journals one that somebody did. A rehearsal approves its own.

    `record(event, **fields)` writes to the journal.
    """
    found = difference(run.journal.events(), site)
    if not found:
        return
    words, bound = told(run, found), digest(run.name, found)
    if site.kind == "rehearsal":
        given = approval.Approval(bound, "rehearsal", "rehearsal", "")
    else:
        try:
            given = approval.signed(bound, _approved(run, site, bound))
        except statement.NotApproved as missing:
            raise Drifted(
                f"{run.path}: this run began with other {words}. {missing} To go on all the same: `cutover approve "
                f"--run {run.path} --site {site.path} --drift`; else put back what it began with."
            ) from None
    if "parameters" in found:
        run.keep(f"parameters.{site.digest[:8]}.yaml", site.path.read_bytes())
    if "allowed" in found:
        run.keep(f"{signers.FILE}.{found['allowed'][1][:8]}", signers.content(site))
    if "code" in found or "notebooks" in found:
        run.keep(
            f"code.{code.digest()[:8]}.json",
            json.dumps(code.files(), indent=1, sort_keys=True).encode(),
        )
    record("drift", **{key: now for key, (_, now) in found.items()}, what=words, **given.to_json())


def approve(run, site, ask, key=None):
    """Sign the approval of the difference there is now. `ask(words)` shows it and returns what was typed: the run's name.
    → statement.Given; raises approval.NotConfirmed."""
    found = difference(run.journal.events(), site)
    if not found:
        raise approval.NotConfirmed(f"{run.path}: nothing differs from what the run began with")
    if site.kind == "rehearsal":
        raise approval.NotConfirmed(f"{site.name} is a rehearsal: it approves itself")
    if ask(told(run, found)).strip() != run.name:
        raise approval.NotConfirmed(f"to approve, type exactly: {run.name}")
    return statement.give(run, site, "drift", run.name, digest(run.name, found), key)


def _approved(run, site, bound):
    """By whom the difference is approved, judged by the signers known so far: new ones cannot let themselves in."""
    try:
        allowed = Path(run.path, signers.in_force(run.journal.events())).read_bytes()
    except OSError as error:
        raise statement.NotApproved(
            f"the run's copy of the allowed signers is gone ({error.strerror})."
        ) from None
    given, refused = statement.collect(
        run.path, allowed, site.name, run.name, "drift", run.name, bound, journal.now()
    )
    if not given:
        raise statement.NotApproved(
            f"Nobody approved the difference {bound[:16]}. "
            + "".join(f"Does not count: {why}. " for why in refused[:5])
        )
    return given
