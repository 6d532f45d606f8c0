"""A signed statement: a person approves one thing, named by its hash, until a time. Data and detached signature.

`approvals/<subject>.<hash>.<key>.json` and `….json.sig` in the run's folder. The form, the command line and
`ssh-keygen -Y sign -n approval@mail-cutover` by hand all make the same pair of files.
"""

import dataclasses
import datetime
import hashlib
import json
import tempfile
from pathlib import Path

from cutover.model import errors
from cutover.record import journal, signing

NAMESPACE = "approval@mail-cutover"
FOLDER = "approvals"
SKEW = 60.0  # seconds by which a signer's clock may be ahead
KEYS = {"approves", "by", "expires", "hash", "run", "site", "subject", "time"}


class NotApproved(errors.CutoverError):
    """Something has no approval that holds; the message says why and how to give one."""


@dataclasses.dataclass(frozen=True)
class Given:
    """A statement whose signature holds."""

    signer: signing.Signer
    time: str
    expires: str
    file: str  # its name within the run's folder
    sha256: str  # of the statement


def allowed_signers(site) -> bytes:
    """The content of the site's allowed_signers file. Raises NotApproved."""
    try:
        return Path(site.approval.allowed_signers).read_bytes()
    except OSError as error:
        raise NotApproved(
            f"approval.allowed_signers: {site.approval.allowed_signers}: {error.strerror}. Without it nobody "
            f'can approve anything. Each of its lines: NAME namespaces="{NAMESPACE}" KEY'
        ) from None


def give(run, site, approves: str, subject: str, digest: str, key=None) -> Given:
    """Sign an approval and put it into the run's folder.

    `approves`: "plan", "drift" or "lease-break"; `subject`: the step, or the run's name; `key`: see signing.sign, without
    one the first key of ssh-agent that is listed.
    """
    allowed = allowed_signers(site)
    listed = (
        [each for each in signing.agent_keys() if signing.lists(allowed, each)]
        if key is None
        else [signing.public_of(key)]
    )
    if not listed:
        raise signing.CannotSign(
            "no key was given, and ssh-agent holds none that the allowed signers list. Give one "
            "(--key FILE), or add it to the agent (`ssh-add`)."
        )
    began = datetime.datetime.now(datetime.UTC)
    said = {
        "approves": approves,
        "by": journal.who(),
        "hash": digest,
        "run": run.name,
        "site": site.name,
        "subject": subject,
        "time": began.isoformat(timespec="seconds"),
        "expires": (began + datetime.timedelta(seconds=site.approval.valid)).isoformat(
            timespec="seconds"
        ),
    }
    data = json.dumps(said, sort_keys=True).encode() + b"\n"
    with tempfile.TemporaryDirectory(prefix="cutover-") as folder:
        if key is None:
            key = Path(folder, "key.pub")
            key.write_text(listed[0] + "\n")
        signature = signing.sign(data, key, NAMESPACE)
    signer = signing.verify(data, signature, allowed, NAMESPACE)
    name = f"{FOLDER}/{subject}.{digest[:16]}.{hashlib.sha256(signer.key.encode()).hexdigest()[:8]}.json"
    run.keep(name + ".sig", signature)
    _, sha256 = run.keep(name, data)
    return Given(signer, said["time"], said["expires"], name, sha256)


def collect(
    run_path,
    allowed: bytes,
    site_name: str,
    run_name: str,
    approves: str,
    subject: str,
    digest: str,
    at: str,
    valid: float | None = None,
):
    """The statements that approve this at the time `at` (UTC, ISO 8601), one a person. → `([Given], [why others do not count])`.

    `valid`: the longest a statement may hold, seconds; None: any.
    """
    found, refused = [], []
    for path in sorted((Path(run_path) / FOLDER).glob("*.json")):
        name = f"{FOLDER}/{path.name}"
        try:
            data = path.read_bytes()
            said = json.loads(data)
            if (
                not isinstance(said, dict)
                or said.get("hash") != digest
                or said.get("approves") != approves
            ):
                continue
            given = judge(
                data,
                path.with_name(path.name + ".sig").read_bytes(),
                allowed,
                name,
                site_name,
                run_name,
                approves,
                subject,
                digest,
                at,
                valid,
            )
        except FileNotFoundError:
            refused.append(f"{name} is not signed (no {path.name}.sig)")
        except (OSError, ValueError, RecursionError, NotApproved, signing.BadSignature) as error:
            refused.append(f"{name}: {error}")
        else:
            if not any(
                given.signer.principal == each.signer.principal
                or given.signer.key == each.signer.key
                for each in found
            ):
                found.append(given)
    return sorted(found, key=lambda each: each.signer.principal), refused


def judge(
    data: bytes,
    signature: bytes,
    allowed: bytes,
    name: str,
    site_name: str,
    run_name: str,
    approves: str,
    subject: str,
    digest: str,
    at: str,
    valid: float | None = None,
) -> Given:
    """Whether one statement approves this. Raises NotApproved or signing.BadSignature."""
    try:
        said = json.loads(data)
        if (
            not isinstance(said, dict)
            or set(said) != KEYS
            or not all(isinstance(each, str) for each in said.values())
        ):
            raise ValueError("other keys than " + ", ".join(sorted(KEYS)))
        began, ends, now = (
            datetime.datetime.fromisoformat(each).timestamp()
            for each in (said["time"], said["expires"], at)
        )
    except (ValueError, RecursionError) as error:
        raise NotApproved(f"it is no statement of approval ({error})") from None
    wanted = {
        "approves": approves,
        "site": site_name,
        "run": run_name,
        "subject": subject,
        "hash": digest,
    }
    for key, value in wanted.items():
        if said[key] != value:
            raise NotApproved(f"it is about {key} {said[key][:40]}, not {value[:40]}")
    signer = signing.verify(data, signature, allowed, NAMESPACE, said["time"])
    if began > now + SKEW:
        raise NotApproved(f"{signer.principal} signed it at {said['time']}, which is yet to come")
    if ends <= now:
        raise NotApproved(f"the approval by {signer.principal} held until {said['expires']}")
    if valid is not None and ends - began > valid:
        raise NotApproved(
            f"{signer.principal} approved for longer than approval.valid ({valid:g} s)"
        )
    return Given(signer, said["time"], said["expires"], name, hashlib.sha256(data).hexdigest())
