"""A run continues only with the code, notebooks, parameters and signers it began with.

Any difference must be approved.
"""

import hashlib
import json

from cutover.record import approval, code, signers, statement

FILE = "code.json"  # digest of each file of the code when the run began
KEYS = ("code", "notebooks", "parameters", "allowed")
SHOWN = 8  # files named in a message


class Drifted(statement.NotApproved):
    """Code, notebooks, parameters or signers changed since the run began."""


def current(site) -> dict:
    """`{"code", "notebooks", "parameters", "allowed"}`: the digest of each, now."""
    return {
        **code.parts(),
        "parameters": site.digest,
        "allowed": hashlib.sha256(signers.content(site)).hexdigest(),
    }


def begin(run, site) -> dict:
    """Keep what a run begins with. Returns fields for its first event."""
    run.keep(FILE, json.dumps(code.files(), indent=1, sort_keys=True).encode())
    run.keep(signers.FILE, signers.content(site))
    return current(site)


def known(events) -> dict:
    """The digests a run began with, or that were approved since."""
    digests = {}
    for event in events:
        if event["event"] in ("run-begun", "drift"):
            digests.update({key: event[key] for key in KEYS if key in event})
    return digests


def parameters_file(digest: str) -> str:
    """The name in a run's folder of parameters that were approved since it began."""
    return f"parameters.{digest[:8]}.yaml"


def difference(events, site) -> dict:
    """`{name: [before, now]}` of the digests that are not those the run knows."""
    before = known(events)
    return {
        key: [before.get(key, ""), now]
        for key, now in current(site).items()
        if before.get(key, "") != now
    }


def run_key(begun: dict) -> str:
    """What approvals of a run are bound to, by its first event: a random id.

    Runs begun by earlier versions have none and are known by their name.
    """
    return begun.get("id") or begun["run"]


def approved_by(event: dict, before) -> str:
    """The digest that an approval of a drift event must be bound to, recomputed.

    `before`: the events before it, from the run's first.
    """
    digests = known(before)
    changed = {key: [digests.get(key, ""), event[key]] for key in KEYS if key in event}
    return digest(run_key(before[0]), changed)


def digest(run: str, changed: dict) -> str:
    """What an approval of a difference is bound to. `run`: see run_key."""
    content = json.dumps({"run": run, "drift": changed}, sort_keys=True)
    return hashlib.sha256(content.encode()).hexdigest()


def described(run, changed) -> str:
    """A difference in words, down to the files of the code."""
    parts = []
    for key in ("code", "notebooks"):
        if key in changed:
            names = _changed_files(run, key)
            listed = ", ".join(names[:SHOWN]) or "as it was before the last approved difference"
            parts.append(f"{key} ({listed}{' …' if len(names) > SHOWN else ''})")
    for key, title in (("parameters", "parameters"), ("allowed", "allowed signers")):
        if key in changed:
            before, now = changed[key]
            parts.append(f"the {title} ({before[:12] or 'none'} before, {now[:12]} now)")
    return "; ".join(parts)


def _changed_files(run, key):
    """Names of the files that differ from those the run began with."""
    try:
        before = json.loads((run.path / FILE).read_bytes())
    except (OSError, ValueError):
        before = {}
    now = code.files()
    return sorted(
        name
        for name in {*before, *now}
        if before.get(name) != now.get(name)
        and name.startswith("notebooks/") == (key == "notebooks")
    )


def check(run, site, record):
    """Raises Drifted for a difference that nobody approved; journals one that somebody approved.

    A rehearsal approves its own. `record(event, **fields)` writes to the journal.
    """
    changed = difference(run.journal.events(), site)
    if not changed:
        return
    what, bound = described(run, changed), digest(run.id, changed)
    if site.kind == "rehearsal":
        given = approval.Approval(bound, "rehearsal", "rehearsal", "")
    else:
        try:
            given = approval.signed(bound, _approved(run, site, bound))
        except statement.NotApproved as missing:
            raise Drifted(
                f"{run.path}: since this run began, this has changed: {what}. {missing} To "
                "continue, approve it: "
                f"`./cutover approve --run {run.path} --site {site.reference} --drift`. "
                "Or restore what the run began with."
            ) from None
    if "parameters" in changed:
        run.keep(parameters_file(site.digest), site.path.read_bytes())
    if "allowed" in changed:
        run.keep(f"{signers.FILE}.{changed['allowed'][1][:8]}", signers.content(site))
    if "code" in changed or "notebooks" in changed:
        listed = json.dumps(code.files(), indent=1, sort_keys=True)
        run.keep(f"code.{code.digest()[:8]}.json", listed.encode())
    record("drift", **{key: now for key, (_, now) in changed.items()}, what=what, **given.to_json())


def approve(run, site, ask, key=None) -> statement.Given:
    """Sign the approval of the present difference.

    `ask(words)` shows it and returns what was typed: the run's name. Raises approval.NotConfirmed.
    """
    changed = difference(run.journal.events(), site)
    if not changed:
        raise approval.NotConfirmed(f"{run.path}: nothing differs from what the run began with")
    if site.kind == "rehearsal":
        raise approval.NotConfirmed(f"{site.name} is a rehearsal: it approves itself")
    if ask(described(run, changed)).strip() != run.name:
        raise approval.NotConfirmed(f"to approve, type exactly: {run.name}")
    request = _request(run, site, digest(run.id, changed))
    return statement.give(run, site, signers.of_run(run), request, key)


def _request(run, site, bound):
    return statement.request(run, site, "drift", run.name, bound)


def _approved(run, site, bound):
    """Who approved the difference. Only signers known so far count."""
    request = _request(run, site, bound)
    given, refused = approval.counted(run, request)
    if not given:
        raise statement.NotApproved(
            f"Nobody approved the difference {bound[:16]}. "
            + "".join(f"Does not count: {reason}. " for reason in refused[: approval.SHOWN])
        )
    return given
