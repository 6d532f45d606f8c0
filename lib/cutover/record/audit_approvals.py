"""The approvals of a run, audited: each judged again, as of the time when it was used."""

import datetime
import json

from cutover.record import approval, approval_ahead, archive, drift, journal, signing, statement
from cutover.record.archive import Archive, Finding
from cutover.steps import registry


def findings(audited: Archive):
    """Yields what is wrong with the approvals of a run (Finding)."""
    begun = set()  # attempts whose first change was seen
    for number, event in enumerate(audited.events):
        before, kind = audited.events[:number], event["event"]
        if kind == "intent":
            yield from _intent(audited, event, before)
            if event["attempt"] not in begun:
                begun.add(event["attempt"])
                yield from _expired(event, before)
        elif kind == "approved":
            yield from _approved(audited, event, before)
        elif kind == approval_ahead.GIVEN:
            yield from _ahead(audited, event, before)
        elif kind in ("drift", "lease-broken"):
            yield from _bound(event, before)
            if audited.begun["kind"] != "rehearsal":
                approves = "drift" if kind == "drift" else "lease-break"
                yield from _signed(audited, event, approves, audited.begun["run"], 1)
        elif kind == "applied":
            yield from _applied(event, before)
    yield from _reused(audited)


def _bound(event, before):
    """What was approved is what happened: the hash is recomputed from the event itself."""
    if event["event"] == "drift":
        expected = drift.approved_by(event, before)
    elif before[0].get("id"):
        expected = approval.holder_digest(drift.run_key(before[0]), event["before"])
    else:
        return  # earlier versions bound it to the lease's token, which no journal has
    if event["hash"] != expected:
        what = f"the approval {event['hash'][:16]} is for another {event['event']}"
        yield archive.at(event, "approval", what)


def _ahead(audited, event, before):
    """An approval given ahead is of a plan that a list has, and signed."""
    try:
        approval_ahead.plan_of(before, event)
    except statement.NotApproved as error:
        yield archive.at(event, "approval", str(error))
    yield from _signed(audited, event, approval_ahead.APPROVES, event["of"], 1)


def _applied(event, before):
    """Every change of the plan was begun and done, and the plan was approved before."""
    attempt = archive.of_attempt(before, event["attempt"])
    planned, approved = archive.last(attempt, "planned"), archive.last(attempt, "approved")
    if planned is None or approved is None or approved["seq"] < planned["seq"]:
        what = f"{event['step']}: its plan was applied without approval"
        yield archive.at(event, "approval", what)
        return
    intents = {item["seq"]: item["number"] for item in attempt if item["event"] == "intent"}
    done = {
        intents.get(item["intent"])
        for item in attempt
        if item["event"] == "result" and item["outcome"] == "done"
    }
    missing = sorted(set(range(len(planned["changes"]))) - done)
    if missing:
        numbers = ", ".join(str(number + 1) for number in missing)
        what = f"{event['step']}: the journal has no result for change {numbers} of the plan"
        yield archive.at(event, "order", what)


def _reused(audited):
    """No signed statement serves two attempts."""
    acted = {item["attempt"] for item in audited.events if item["event"] == "intent"}
    first = {}
    for event in audited.events:
        if event["event"] == "approved" and event["attempt"] not in acted:
            continue
        if event["event"] in ("lease-breaking", approval_ahead.GIVEN):
            continue  # the same approval is named again when it was done, or used
        for signer in event.get("signers", ()):
            earlier = first.setdefault(signer["sha256"], event)
            if earlier is not event and earlier.get("attempt") != event.get("attempt"):
                what = f"{signer['file']} was used before, in {journal.line_of(earlier)}"
                yield archive.at(event, "approval", what)


def _intent(audited, event, before):
    """A change is part of the plan that was approved last in its attempt."""
    attempt = archive.of_attempt(before, event["attempt"])
    planned, approved = archive.last(attempt, "planned"), archive.last(attempt, "approved")
    change = f"{event['step']}: {event['title']}"
    if approved is None:
        yield archive.at(event, "approval", f"{change} was applied without approval")
        return
    if planned is None or approved["hash"] != planned["hash"] or approved["seq"] < planned["seq"]:
        what = f"{change} was applied with the approval of another plan ({approved['hash'][:16]})"
        yield archive.at(event, "approval", what)
        return
    try:
        plan = json.loads(audited.contents[planned["file"]][1])
    except (KeyError, ValueError):
        return  # reported as a finding about the file
    number = event["number"]
    if (plan["step"], plan["run"]) != (event["step"], before[0]["run"]):
        what = f"{change}: the approved plan is for {plan['step']} of run {plan['run']}"
        yield archive.at(event, "approval", what)
    elif number >= len(plan["changes"]) or plan["changes"][number] != event["change"]:
        what = f"{change} is not change {number + 1} of the approved plan"
        yield archive.at(event, "approval", what)


def _expired(event, before):
    """The approval was still valid when the first change of its attempt was begun."""
    approved = archive.last(archive.of_attempt(before, event["attempt"]), "approved") or {}
    for signer in approved.get("signers", ()):
        if _seconds(signer["expires"]) + statement.SKEW < _seconds(event["time"]):
            what = f"{signer['file']} had expired at {signer['expires']}"
            yield archive.at(event, "approval", what)


def _seconds(time: str) -> float:
    return datetime.datetime.fromisoformat(time).timestamp()


def _approved(audited, event, before):
    """An approval is of the plan made last in its attempt, and of the right kind."""
    attempt = [item for item in before if item["event"] == "planned"]
    planned = archive.last(archive.of_attempt(attempt, event["attempt"]), "planned")
    step = event["step"]
    if planned is None or planned["hash"] != event["hash"]:
        what = f"{step}: the approval of {event['hash'][:16]} is not for the plan shown before it"
        yield archive.at(event, "approval", what)
    elif event["kind"] == approval.NOTHING:
        if planned["changes"]:
            what = f"{step}: approved as nothing to do, but its plan has changes"
            yield archive.at(event, "approval", what)
    elif audited.begun["kind"] != "rehearsal":
        yield from _signed(audited, event, "plan", step, registry.step(step).signers)
        for signer in event.get("signers", ()):
            if signer.get("ahead") and (why := approval_ahead.void(before, step, signer["sha256"])):
                yield archive.at(event, "approval", f"{signer['file']} was void: {why}")
    elif event["kind"] != "rehearsal":
        what = f"{step}: approved as {event['kind']} in a rehearsal"
        yield archive.at(event, "approval", what)


def _signed(audited, event, approves, subject, people):
    """Enough people signed, at the time of the event."""
    begun, principals, keys = audited.begun, set(), set()
    for signer in event.get("signers", []):
        kind = approval_ahead.APPROVES if signer.get("ahead") else approves
        request = statement.Request(begun["site"], begun["run"], kind, subject, event["hash"])
        name = signer["file"]
        file = statement.SignedFile(
            name, audited.data(name) or b"", audited.data(name + ".sig") or b""
        )
        try:
            given = statement.judge(file, audited.allowed, request, event["time"])
            principals.add(given.signer.principal)
            keys.add(given.signer.key)
            claimed = (signer["principal"], signer["key"], signer["expires"])
            if claimed != (given.signer.principal, given.signer.key, given.expires):
                what = f"{name}: the journal names another signer, key or end than the statement"
                yield archive.at(event, "approval", what)
        except (statement.NotApproved, signing.BadSignature) as error:
            yield Finding("approval", f"{journal.line_of(event)}, {name}", str(error))
    if (count := min(len(principals), len(keys))) < people:
        what = f"{subject}: {count} of {people} people approved the {approves}"
        yield archive.at(event, "approval", what)
