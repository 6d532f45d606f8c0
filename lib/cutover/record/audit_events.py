"""What a journal says, audited: order, times, the files it names, results, and executed copies.

See audit_approvals for the approvals.
"""

import datetime
import hashlib

import yaml

from cutover import site
from cutover.model import errors, runbook
from cutover.record import (
    approval_ahead,
    archive,
    audit_approvals,
    audit_plans,
    executed_copy,
    journal,
    signers,
)
from cutover.record.archive import Archive, Finding
from cutover.steps import registry


def findings(audited: Archive):
    """Yields what is wrong with the events of a run (Finding)."""
    if not audited.events or audited.begun.get("event") != "run-begun":
        yield Finding("order", f"{journal.NAME}, line 1", "a journal begins with a run")
        return
    for check in (
        _head,
        _times,
        _files,
        _order,
        audit_plans.findings,
        audit_approvals.findings,
        _results,
        _copies,
    ):
        try:
            yield from check(audited)
        except (
            KeyError,
            TypeError,
            ValueError,
            AttributeError,
            IndexError,
            runbook.UnknownStep,
        ) as error:
            what = (
                f"an event does not have the fields of its kind ({type(error).__name__}: {error})"
            )
            yield Finding("changed", journal.NAME, what)


def _head(audited):
    """The first event agrees with record.json."""
    if any(event["event"] == "run-begun" for event in audited.events[1:]):
        yield Finding("order", journal.NAME, "a run begins once")
    declared = _declared_kind(audited.data(audited.begun["file"]) or b"")
    if declared is not None and declared != audited.begun["kind"]:
        what = f"its kind is {audited.begun['kind']}, the parameters say {declared}"
        yield Finding("changed", f"{journal.NAME}, line 1", what)
    record = audited.record
    if record is None:
        return
    for key in ("run", "site", "kind"):
        if audited.begun[key] != record[key]:
            what = f"its {key} is {audited.begun[key]}, the record says {record[key]}"
            yield Finding("changed", f"{journal.NAME}, line 1", what)
    signed = {**record["code"], "parameters": record["parameters"]}
    for key in ("code", "notebooks", "parameters"):
        # a process that began before an approved difference may sign after it
        known = {
            event.get(key) for event in audited.events if event["event"] in ("run-begun", "drift")
        }
        if key in signed and signed[key] not in known:
            what = f"the record was signed with other {key} than the journal knows of"
            yield Finding("drift", journal.NAME, what)


def _declared_kind(parameters: bytes):
    """The site's kind by the parameters as used; None if they cannot be read."""
    try:
        return yaml.safe_load(parameters)["kind"]
    except (yaml.YAMLError, ValueError, KeyError, TypeError, RecursionError):
        return None


def _times(audited):
    """Clocks run forward."""
    previous, boots = None, {}
    for event in audited.events:
        now = datetime.datetime.fromisoformat(event["time"])
        if now.utcoffset() != datetime.timedelta(0):
            yield archive.at(event, "time", f"{event['time']} is not in UTC")
            continue
        if previous is not None and now < previous:
            what = f"it is {event['time']}, before {previous.isoformat()} of the line before it"
            yield archive.at(event, "time", what)
        previous = now
        boot, monotonic = event.get("boot"), event["monotonic"]
        if boot in boots and monotonic < boots[boot]:
            what = f"the monotonic clock runs backwards: {monotonic} after {boots[boot]}"
            yield archive.at(event, "time", what)
        boots[boot] = monotonic
    record = audited.record
    if (
        record is not None
        and previous is not None
        and datetime.datetime.fromisoformat(record["made"]) < previous
        and len(audited.events) <= record["journal"]["events"]
    ):
        what = f"it was made at {record['made']}, before the journal's last event"
        yield Finding("time", "record.json", what)


def _files(audited):
    """Every file that an event names by its digest exists and is unchanged."""
    named = []
    yield from _parameters(audited)
    for event in audited.events:
        named += [(name, digest, event) for name, digest in _named(event)]
        named += [(f"{journal.BLOBS}/{digest}.txt", digest, event) for digest in _blobs(event)]
    for name, digest, event in named:
        data = audited.data(name)
        if data is None:
            yield Finding("missing", name, f"{journal.line_of(event)} names it")
        elif hashlib.sha256(data).hexdigest() != digest:
            what = f"it is not the file that {journal.line_of(event)} names"
            yield Finding("changed", name, what)


def _parameters(audited):
    """The parameters as used are those that the run was bound to."""
    bound = [(audited.begun["file"], audited.begun)]
    bound += [
        (f"parameters.{event['parameters'][:8]}.yaml", event)
        for event in audited.events
        if event["event"] == "drift" and "parameters" in event
    ]
    for name, event in bound:
        data = audited.data(name)
        if data is None:
            yield Finding("missing", name, f"{journal.line_of(event)} names it")
        elif not site.is_known_by(event["parameters"], data, audited.begun.get("store", "")):
            what = f"it is not the file that {journal.line_of(event)} names"
            yield Finding("changed", name, what)


def _named(event):
    """`[(name, SHA-256)]` of the files an event names."""
    kind = event["event"]
    if kind == "run-begun" and "allowed" in event:
        return [(signers.FILE, event["allowed"])]
    if kind == "probed":
        return [(event["facts"], event["sha256"])]
    if kind == "planned":
        return [(event["file"], event["hash"])]
    if kind == approval_ahead.PLANNED:
        return [(plan["file"], plan["hash"]) for plan in event["plans"]]
    if kind in ("approved", approval_ahead.GIVEN):
        return [(signer["file"], signer["sha256"]) for signer in event.get("signers", [])]
    if kind == "drift":
        allowed = event.get("allowed")
        return [(f"{signers.FILE}.{allowed[:8]}", allowed)] if allowed else []
    return []


def _blobs(value, name=""):
    """Yields the digests of the long texts that an event keeps in files next to the journal."""
    if isinstance(value, dict):
        for key, item in value.items():
            yield from _blobs(item, key)
    elif isinstance(value, list):
        for item in value:
            yield from _blobs(item, name)
    elif isinstance(value, str) and name in journal.BOUNDED:
        reference = journal.BEYOND.search(value)
        if reference:
            yield reference[1]


def _order(audited):
    """Steps ran in their order, after their gates, and verdicts follow from their checks."""
    for number, event in enumerate(audited.events):
        before, kind = audited.events[:number], event["event"]
        if kind == "step-begun":
            try:
                registry.in_order(event["step"], before)
            except errors.CutoverError as error:
                yield archive.at(event, "order", str(error))
        elif kind == "intent" and registry.step(event["step"]).gate:
            gated = archive.last(archive.of_attempt(before, event["attempt"]), "gated")
            if gated is None or not gated["passed"]:
                what = f"{event['step']}: {event['title']} was applied before its gate passed"
                yield archive.at(event, "order", what)
        if kind in ("verified", "gated"):
            passed = bool(event["checks"]) and all(check["passed"] for check in event["checks"])
            if event["passed"] != passed:
                what = f"{event['step']}: passed is {event['passed']}, but its checks say {passed}"
                yield archive.at(event, "claim", what)
        if kind == "verified":
            attempt = archive.of_attempt(before, event.get("attempt"))
            planned = archive.last(attempt, "planned")
            applied = archive.last(attempt, "applied")
            if planned is None or (planned["changes"] and applied is None):
                what = f"{event['step']} was verified before its plan was made and applied"
                yield archive.at(event, "order", what)


def _results(audited):
    """Every result follows its intent."""
    intents = {}
    for event in audited.events:
        if event["event"] == "intent":
            intents[event["seq"]] = event
        elif event["event"] == "result":
            intent = intents.pop(event["intent"], None)
            if intent is None or intent["attempt"] != event["attempt"]:
                what = f"{event['step']}: the result of a change that was never begun"
                yield archive.at(event, "order", what)


def _copies(audited):
    yield from executed_copy.findings(audited)
