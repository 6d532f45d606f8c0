"""A signed statement: one person approves one thing, named by its hash, until a time.

It is a pair of files in the run's folder: `approvals/<subject>.<hash>.<key>.json` and its detached
signature, `….json.sig`. The notebook's form, `cutover approve` and
`ssh-keygen -Y sign -n approval@mail-cutover` by hand all make the same pair.
"""

import dataclasses
import datetime
import hashlib
import json
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from cutover.model import errors
from cutover.record import journal, signing

NAMESPACE = "approval@mail-cutover"
FOLDER = "approvals"
SKEW = 60.0  # seconds by which a signer's clock may be ahead
KEYS = {"approves", "by", "expires", "hash", "run", "site", "subject", "time"}


class NotApproved(errors.CutoverError):
    """Nobody, or too few people, approved something. The message says how to approve it."""


@dataclasses.dataclass(frozen=True)
class Request:
    """What a statement approves. All of it must be the same in the statement.

    approves: "plan", "plan-ahead", "drift" or "lease-break".
    subject: the step, or the run's name.
    hash: SHA-256 of what is approved.
    """

    site: str
    run: str
    approves: str
    subject: str
    hash: str


@dataclasses.dataclass(frozen=True)
class SignedFile:
    """A statement as it is stored: its name within the run's folder, its bytes, its signature."""

    name: str
    data: bytes
    signature: bytes


@dataclasses.dataclass(frozen=True)
class Given:
    """A statement whose signature is valid."""

    signer: signing.Signer
    time: str
    expires: str
    file: str  # its name within the run's folder
    sha256: str  # of the statement
    approves: str  # as in Request


def request(run, site, approves: str, subject: str, digest: str) -> Request:
    """The request for one approval in a run."""
    return Request(site.name, run.name, approves, subject, digest)


def allowed_signers(site) -> bytes:
    """The content of the site's allowed_signers file. Raises NotApproved."""
    path = site.approval.allowed_signers
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise NotApproved(
            f"approval.allowed_signers: {path} cannot be read: {error.strerror}. Without it nobody "
            f'can approve anything. Write one line per person: NAME namespaces="{NAMESPACE}" KEY'
        ) from None


def give(run, site, allowed: bytes, approved: Request, key=None) -> Given:
    """Sign an approval and write it to the run's folder.

    `allowed`: the run's allowed signers (signers.of_run). `key`: see signing.sign; default: the
    first key in ssh-agent that they list.
    Raises NotApproved, signing.CannotSign or signing.BadSignature.
    """
    public = _listed_in_agent(allowed) if key is None else signing.public_of(key)
    began = datetime.datetime.now(datetime.UTC)
    expires = began + datetime.timedelta(seconds=site.approval.valid)
    content = {
        **dataclasses.asdict(approved),
        "by": journal.who(),
        "time": began.isoformat(timespec="milliseconds"),
        "expires": expires.isoformat(timespec="milliseconds"),
    }
    data = json.dumps(content, sort_keys=True).encode() + b"\n"
    with tempfile.TemporaryDirectory(prefix="cutover-") as folder:
        if key is None:
            key = Path(folder, "key.pub")
            key.write_text(public + "\n")
        signature = signing.sign(data, key, NAMESPACE)
    signer = signing.verify(data, signature, allowed, NAMESPACE)
    short = hashlib.sha256(signer.key.encode()).hexdigest()[:8]
    name = _free_name(run, f"{FOLDER}/{approved.subject}.{approved.hash[:16]}.{short}")
    run.keep(name + ".sig", signature)
    _, sha256 = run.keep(name, data)
    return Given(signer, content["time"], content["expires"], name, sha256, approved.approves)


def _free_name(run, stem):
    """A file name for a statement that no event of the journal refers to."""
    taken = {
        signer["file"] for event in run.journal.events() for signer in event.get("signers", ())
    }
    name, number = f"{stem}.json", 1
    while name in taken:
        number += 1
        name = f"{stem}.{number}.json"
    return name


def _listed_in_agent(allowed):
    """The first public key in ssh-agent that the allowed signers list."""
    for public in signing.agent_keys():
        if signing.lists(allowed, public):
            return public
    raise signing.CannotSign(
        "no key was given, and ssh-agent holds none that the allowed signers list. Give one "
        "(--key FILE), or add it to the agent (`ssh-add`)."
    )


def collect(
    run_path,
    allowed: bytes,
    requests: Sequence[Request],
    at: str,
    valid: float | None = None,
    refuse: Callable[[Given], str] = lambda given: "",
):
    """The statements that approve this at the time `at` (UTC, ISO 8601), one per person.

    Returns `([Given], [why another statement does not count])`. `requests`: what a statement may
    be about, which differs in `approves` only. `valid`: the longest a statement may be valid, in
    seconds; None: no limit. `refuse`: says why a valid statement does not count, "" if it does.
    """
    counted, refused = [], []
    for path in sorted((Path(run_path) / FOLDER).glob("*.json")):
        name = f"{FOLDER}/{path.name}"
        try:
            data = path.read_bytes()
            approved = next((item for item in requests if _is_about(data, item)), None)
            if approved is None:
                continue
            signature = path.with_name(path.name + ".sig").read_bytes()
            given = judge(SignedFile(name, data, signature), allowed, approved, at, valid)
            if reason := refuse(given):
                raise NotApproved(reason)
        except FileNotFoundError:
            refused.append(f"{name} is not signed (no {path.name}.sig)")
        except (OSError, ValueError, RecursionError, NotApproved, signing.BadSignature) as error:
            refused.append(f"{name}: {error}")
        else:
            # a person, or a key, counts once
            same = [
                other
                for other in counted
                if given.signer.principal == other.signer.principal
                or given.signer.key == other.signer.key
            ]
            if not same:
                counted.append(given)
            elif given.signer.principal != same[0].signer.principal:
                refused.append(
                    f"{name}: {given.signer.principal} signed with the key of "
                    f"{same[0].signer.principal}, and one key counts as one person"
                )
    return sorted(counted, key=lambda given: given.signer.principal), refused


def _is_about(data, approved):
    """Whether a statement, valid or not, is about this plan (or drift, or lease)."""
    content = json.loads(data)
    return (
        isinstance(content, dict)
        and content.get("hash") == approved.hash
        and content.get("approves") == approved.approves
    )


def judge(
    file: SignedFile, allowed: bytes, approved: Request, at: str, valid: float | None = None
) -> Given:
    """The statement, if it approves this at the time `at`.

    Raises NotApproved or signing.BadSignature.
    """
    try:
        content = _content(file.data)
        began, ends, now = (
            datetime.datetime.fromisoformat(time).timestamp()
            for time in (content["time"], content["expires"], at)
        )
    except (ValueError, RecursionError) as error:
        raise NotApproved(f"it is not a statement of approval ({error})") from None
    for key, value in dataclasses.asdict(approved).items():
        if content[key] != value:
            raise NotApproved(f"it is about {key} {content[key][:40]}, not {value[:40]}")
    signer = signing.verify(file.data, file.signature, allowed, NAMESPACE, content["time"])
    if began > now + SKEW:
        raise NotApproved(
            f"{signer.principal} signed it at {content['time']}, which is in the future"
        )
    if ends <= now:
        raise NotApproved(f"the approval by {signer.principal} expired at {content['expires']}")
    if valid is not None and ends - began > valid:
        raise NotApproved(
            f"{signer.principal} approved for longer than approval.valid ({valid:g} s)"
        )
    sha256 = hashlib.sha256(file.data).hexdigest()
    times = content["time"], content["expires"]
    return Given(signer, *times, file.name, sha256, approved.approves)


def _content(data):
    """A statement as a dict of texts. Raises ValueError."""
    content = json.loads(data)
    if not isinstance(content, dict) or set(content) != KEYS:
        raise ValueError("its keys are not " + ", ".join(sorted(KEYS)))
    if not all(isinstance(value, str) for value in content.values()):
        raise ValueError("a value is not text")
    return content
