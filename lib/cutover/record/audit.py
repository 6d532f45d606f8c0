"""A run's record verified by somebody who was not there: offline, from the folder alone, each finding named.

Three rings: the signature and the list of files (nothing changed since it was signed); the journal's chain and its head;
and what the journal tells (steps in their order, nothing applied without its approval, times, executed copies that claim
no more than it). The last finds what an operator did wrong with a key of their own, so it holds nothing signed for true.
"""

import dataclasses
import hashlib
import json
from pathlib import Path

from cutover.model import errors
from cutover.record import journal, record_json, signers, signing
from cutover.record.audit_events import events_findings


class NoRecord(errors.CutoverError):
    """There is nothing to verify at a path."""


@dataclasses.dataclass(frozen=True)
class Finding:
    kind: (
        str  # one word or two: "changed", "missing", "added", "truncated", "signature", "order", …
    )
    where: str  # file, or file and line
    what: str

    def __str__(self):
        return f"{self.kind}: {self.where}: {self.what}"


@dataclasses.dataclass(frozen=True)
class Result:
    findings: tuple
    signer: str  # principal and key, or ""
    trusted: bool  # whether the signers were given from outside, not taken from the folder itself
    events: int
    files: int
    head: str  # of the journal as found


def verify(path, allowed: bytes | None = None) -> Result:
    """Verify the record in a folder. `allowed`: content of an allowed_signers file; without it, the folder's own is used,
    which shows that nothing was changed, not who signed. Raises NoRecord."""
    top = Path(path)
    if not top.is_dir():
        raise NoRecord(f"{path}: no such folder; an archive has to be unpacked first")
    found, contents = [], record_json.survey(top)
    written, signer = _record(top, allowed, contents, found)
    raw = contents.get(journal.NAME, ("file", b""))[1]
    events, head = _journal(raw, written, found)
    if written is not None:
        _files(top, contents, written, found)
    listed = (
        allowed if allowed is not None else contents.get(signers.in_force(events), ("file", b""))[1]
    )
    for kind, where, what in events_findings(events, contents, listed, written):
        found.append(Finding(kind, where, what))
    return Result(
        tuple(dict.fromkeys(found)), signer, allowed is not None, len(events), len(contents), head
    )


# --- signature and files


def _record(top, allowed, contents, found):
    """→ `(the record or None, who signed it)`; None when it cannot be read."""
    try:
        data = (top / record_json.NAME).read_bytes()
    except OSError:
        found.append(
            Finding("missing", record_json.NAME, "the record is not there: nothing is proved")
        )
        return None, ""
    written = None
    try:
        written = json.loads(data)
        if json.dumps(written, indent=1, sort_keys=True).encode() + b"\n" != data or not _shaped(
            written
        ):
            raise ValueError("not as it is written")
    except (ValueError, RecursionError) as error:
        found.append(Finding("changed", record_json.NAME, f"it is no record ({error})"))
        written = None
    if allowed is None:
        names = [name for name in contents if name.startswith(signers.FILE)]
        allowed = b"".join(contents[name][1].rstrip(b"\n") + b"\n" for name in names)
    try:
        signature = (top / record_json.SIGNATURE).read_bytes()
    except OSError:
        found.append(Finding("missing", record_json.SIGNATURE, "the record is not signed"))
        return written, ""
    try:
        who = signing.verify(
            data, signature, allowed, signers.NAMESPACE, written["made"] if written else None
        )
    except signing.BadSignature as error:
        found.append(Finding("signature", record_json.SIGNATURE, str(error)))
        return written, ""
    if written and written["signer"] != who.key:
        found.append(
            Finding(
                "signature",
                record_json.SIGNATURE,
                f"signed with {who.key}, the record says {written['signer']}",
            )
        )
    return written, f"{who.principal} ({who.key})"


def _shaped(written) -> bool:
    texts = ("run", "site", "kind", "why", "made", "by", "signer", "parameters")
    return (
        isinstance(written, dict)
        and written.get("format") == record_json.FORMAT
        and all(isinstance(written.get(key), str) for key in texts)
        and isinstance(written.get("code"), dict)
        and isinstance(written.get("journal"), dict)
        and isinstance(written["journal"].get("events"), int)
        and isinstance(written["journal"].get("head"), str)
        and isinstance(written.get("files"), dict)
        and all(
            isinstance(each, dict)
            and isinstance(each.get("size"), int)
            and isinstance(each.get("sha256"), str)
            for each in written["files"].values()
        )
    )


def _files(top, contents, written, found):
    for name, said in written["files"].items():
        kind, data = contents.get(name, (None, b""))
        if kind is None:
            found.append(Finding("missing", name, "the record lists it"))
        elif kind != "file":
            found.append(Finding("changed", name, "it is a link or no plain file"))
        elif hashlib.sha256(data).hexdigest() != said["sha256"]:
            if len(data) < said["size"]:
                found.append(
                    Finding("truncated", name, f"{len(data)} bytes, {said['size']} recorded")
                )
            elif (
                len(data) > said["size"]
                and hashlib.sha256(data[: said["size"]]).hexdigest() == said["sha256"]
            ):
                found.append(
                    Finding(
                        "grown",
                        name,
                        f"{len(data) - said['size']} bytes were added since it was recorded",
                    )
                )
            else:
                found.append(Finding("changed", name, "its content is not what was recorded"))
    for name in contents:
        if name not in written["files"]:
            found.append(Finding("added", name, "the record does not list it"))
    for name in record_json.LOCKS:
        if (top / name).is_file() and (top / name).stat().st_size:
            found.append(
                Finding(
                    "added", name, "it is not empty: somebody is at work on this run, or was killed"
                )
            )


# --- the journal's chain


def _journal(raw, written, found):
    """→ `(events that could be read, hash of the last line)`; each break is named by its line."""
    lines = raw.split(b"\n")
    if lines.pop():
        found.append(
            Finding(
                "torn",
                f"{journal.NAME}, line {len(lines) + 1}",
                "the last line was not written to its end",
            )
        )
    events, previous = [], journal.ZEROS
    for number, line in enumerate(lines, 1):
        where = f"{journal.NAME}, line {number}"
        try:
            event = json.loads(line)
            if not isinstance(event, dict) or not isinstance(event.get("event"), str):
                raise ValueError("not an event")
        except (ValueError, RecursionError) as error:
            found.append(Finding("changed", where, f"not an event ({error})"))
        else:
            if event.get("seq") != number - 1 or event.get("prev") != previous:
                found.append(
                    Finding(
                        "chain",
                        where,
                        f"it does not follow the line before it: number {event.get('seq')} "
                        f"(expected {number - 1}), hash {str(event.get('prev'))[:12]} (expected {previous[:12]}): a "
                        "line was changed, dropped, added or moved here",
                    )
                )
            events.append(event)
        previous = hashlib.sha256(line).hexdigest()
    if written is not None:
        said = written["journal"]
        if len(lines) < said["events"]:
            found.append(
                Finding(
                    "truncated", journal.NAME, f"{len(lines)} events, {said['events']} recorded"
                )
            )
        elif (
            said["events"] and hashlib.sha256(lines[said["events"] - 1]).hexdigest() != said["head"]
        ):
            found.append(
                Finding("changed", journal.NAME, "its head is not the one that was signed")
            )
        elif len(lines) > said["events"]:
            found.append(
                Finding(
                    "unsigned",
                    journal.NAME,
                    f"{len(lines) - said['events']} events came after the record was "
                    "signed: the run goes on, or was interrupted; run it again to its end",
                )
            )
    return events, previous
