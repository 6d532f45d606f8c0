"""Verify a run's record: offline, from the folder alone, by somebody who was not there.

Three rings: the signature and the list of files (nothing changed since it was signed); the
journal's chain and its head; and what the journal says (see audit_events). The last finds what an
operator did wrong with their own key, so it trusts nothing because it is signed.
"""

import dataclasses
import hashlib
import json
from pathlib import Path

from cutover.model import errors
from cutover.record import audit_events, journal, record_json, signers, signing
from cutover.record.archive import Archive, Finding


class NoRecord(errors.CutoverError):
    """There is nothing to verify at a path."""


@dataclasses.dataclass(frozen=True)
class Result:
    findings: tuple
    signer: str  # principal and key, or ""
    trusted: bool  # whether the signers came from outside, not from the folder itself
    events: int
    files: int
    head: str  # the journal's head, recomputed


def verify(path, allowed: bytes | None = None) -> Result:
    """Verify the record in a folder. Raises NoRecord.

    `allowed`: content of an allowed_signers file. Without it the folder's own is used, which proves
    that nothing was changed, not who signed.
    """
    top = Path(path)
    if not top.is_dir():
        raise NoRecord(f"{path}: no such folder. Unpack an archive first, then give its folder.")
    findings = []
    try:
        contents = record_json.survey(top)
        record, signer = _record(top, allowed, contents, findings)
    except OSError as error:
        raise NoRecord(
            f"{error.filename}: cannot be read: {error.strerror}. Nothing was verified."
        ) from error
    raw = contents.get(journal.NAME, ("file", b""))[1]
    lines = raw.split(b"\n")
    if lines.pop():
        where = f"{journal.NAME}, line {len(lines) + 1}"
        findings.append(Finding("torn", where, "the last line is incomplete"))
    events = list(_chained(lines, findings))
    if record is not None:
        findings += _journal(lines, record)
        findings += _files(top, contents, record)
    listed = allowed
    if listed is None:
        listed = contents.get(signers.in_force(events)[0], ("file", b""))[1]
    findings += audit_events.findings(Archive(events, contents, listed, record))
    unique = tuple(dict.fromkeys(findings))
    head = _digest(lines[-1]) if lines else journal.ZEROS
    return Result(unique, signer, allowed is not None, len(events), len(contents), head)


def _digest(data):
    return hashlib.sha256(data).hexdigest()


# --- signature and files


def _record(top, allowed, contents, findings):
    """`(the record, who signed it)`; the record is None if it cannot be read."""
    if not (top / record_json.NAME).is_file():
        findings.append(Finding("missing", record_json.NAME, "no record, so nothing is proved"))
        return None, ""
    data, record = (top / record_json.NAME).read_bytes(), None
    try:
        record = _parsed(data)
    except (ValueError, RecursionError) as error:
        findings.append(Finding("changed", record_json.NAME, f"it is not a record ({error})"))
    if allowed is None:
        names = [name for name in contents if name.startswith(signers.FILE)]
        allowed = b"".join(contents[name][1].rstrip(b"\n") + b"\n" for name in names)
    if not (top / record_json.SIGNATURE).is_file():
        findings.append(Finding("missing", record_json.SIGNATURE, "the record is not signed"))
        return record, ""
    signature = (top / record_json.SIGNATURE).read_bytes()
    made = record["made"] if record else None
    try:
        signer = signing.verify(data, signature, allowed, signers.NAMESPACE, made)
    except signing.BadSignature as error:
        findings.append(Finding("signature", record_json.SIGNATURE, str(error)))
        return record, ""
    if record and record["signer"] != signer.key:
        what = f"signed with {signer.key}, the record says {record['signer']}"
        findings.append(Finding("signature", record_json.SIGNATURE, what))
    return record, f"{signer.principal} ({signer.key})"


def _parsed(data):
    """record.json as written by record_json.write. Raises ValueError for any other bytes."""
    record = json.loads(data)
    again = json.dumps(record, indent=1, sort_keys=True).encode() + b"\n"
    if again != data or not _has_its_fields(record):
        raise ValueError("not in the form it is written in")
    return record


def _has_its_fields(record) -> bool:
    texts = ("run", "site", "kind", "why", "made", "by", "signer", "parameters")
    return (
        isinstance(record, dict)
        and record.get("format") == record_json.FORMAT
        and all(isinstance(record.get(key), str) for key in texts)
        and isinstance(record.get("code"), dict)
        and isinstance(record.get("journal"), dict)
        and isinstance(record["journal"].get("events"), int)
        and isinstance(record["journal"].get("head"), str)
        and isinstance(record.get("files"), dict)
        and all(
            isinstance(entry, dict)
            and isinstance(entry.get("size"), int)
            and isinstance(entry.get("sha256"), str)
            for entry in record["files"].values()
        )
    )


def _files(top, contents, record):
    """The folder holds the files the record lists, and no other."""
    for name, entry in record["files"].items():
        kind, data = contents.get(name, (None, b""))
        if kind is None:
            yield Finding("missing", name, "the record lists it")
        elif kind != "file":
            yield Finding("changed", name, "it is a link or not a regular file")
        elif _digest(data) != entry["sha256"]:
            yield _changed(name, data, entry)
    for name in contents:
        if name not in record["files"]:
            yield Finding("added", name, "the record does not list it")
    for name in record_json.LOCKS:
        if (top / name).is_file() and (top / name).stat().st_size:
            what = "it is not empty: somebody is at work on this run, or was killed"
            yield Finding("added", name, what)


def _changed(name, data, entry):
    """How a file differs from the one that was recorded."""
    size, recorded = len(data), entry["size"]
    if size < recorded:
        return Finding("truncated", name, f"{size} bytes, {recorded} recorded")
    if size > recorded and _digest(data[:recorded]) == entry["sha256"]:
        what = f"{size - recorded} bytes were added since it was recorded"
        return Finding("grown", name, what)
    return Finding("changed", name, "its content is not what was recorded")


# --- the journal's chain


def _chained(lines, findings):
    """Yields the events that can be read; each break of the chain is reported by its line."""
    previous = journal.ZEROS
    for number, line in enumerate(lines, 1):
        where = f"{journal.NAME}, line {number}"
        try:
            event = json.loads(line)
            if not isinstance(event, dict) or not isinstance(event.get("event"), str):
                raise ValueError("not an event")
        except (ValueError, RecursionError) as error:
            findings.append(Finding("changed", where, f"not an event ({error})"))
        else:
            if event.get("seq") != number - 1 or event.get("prev") != previous:
                what = (
                    f"it does not follow the line before it: number {event.get('seq')} "
                    f"(expected {number - 1}), hash {str(event.get('prev'))[:12]} "
                    f"(expected {previous[:12]}): a line was changed, removed, added or moved here"
                )
                findings.append(Finding("chain", where, what))
            yield event
        previous = _digest(line)


def _journal(lines, record):
    """The journal is the one that was signed, and nothing came after it."""
    count, head = record["journal"]["events"], record["journal"]["head"]
    if len(lines) < count:
        yield Finding("truncated", journal.NAME, f"{len(lines)} events, {count} recorded")
    elif count and _digest(lines[count - 1]) != head:
        yield Finding("changed", journal.NAME, "its head is not the one that was signed")
    elif len(lines) > count:
        what = (
            f"{len(lines) - count} events came after the record was signed: the run is still going "
            "or was interrupted. Run it again to its end."
        )
        yield Finding("unsigned", journal.NAME, what)
