"""Nothing is applied without an approval of exactly that plan, by its hash.

A rehearsal approves itself, but only if the lab made every host. At a production site people
approve, by signatures: the form in JupyterLab and `cutover approve` write the same statement (see
record/statement.py). A step with `signers=2` needs two people.
"""

import dataclasses
import datetime
import hashlib
import json
import time

from cutover.model import errors, runbook
from cutover.record import approval_ahead, journal, lab_marks, signers, statement
from cutover.record.statement import NotApproved

SHOWN = 5  # statements that do not count, named in a message
NOTHING = "nothing to do"  # the kind of approval of an empty plan


class NotConfirmed(errors.CutoverError):
    """Somebody tried to approve without typing the confirmation."""


@dataclasses.dataclass(frozen=True)
class Approval:
    hash: str
    by: str
    kind: str  # "rehearsal", "signed" or NOTHING
    time: str
    # of dicts: principal, key, file, sha256, time, expires; "ahead": true if it was given ahead
    signers: tuple = ()

    def to_json(self) -> dict:
        """The fields of the journal's event."""
        return {"hash": self.hash, "by": self.by, "kind": self.kind, "signers": list(self.signers)}


def signed(digest: str, statements) -> Approval:
    """The approval that these statements (statement.Given) make."""
    signers = tuple(
        {
            "principal": given.signer.principal,
            "key": given.signer.key,
            "file": given.file,
            "sha256": given.sha256,
            "time": given.time,
            "expires": given.expires,
            **({"ahead": True} if given.approves == approval_ahead.APPROVES else {}),
        }
        for given in statements
    )
    people = ", ".join(_person(given) for given in statements)
    return Approval(digest, people, "signed", max(given.time for given in statements), signers)


def _person(given):
    """Who approved, and when if it was ahead."""
    name = given.signer.principal
    if given.approves != approval_ahead.APPROVES:
        return name
    return f"{name} (ahead, at {given.time[11:19]} UTC)"


def find(run, site, step, plan, plan_hash: str, hosts) -> Approval:
    """The approval of this plan. Raises NotApproved."""
    if not plan.changes:
        return Approval(plan_hash, journal.who(), NOTHING, journal.now())
    if site.kind == "rehearsal":
        lab_marks.prove(hosts, site)
        return Approval(plan_hash, "rehearsal", "rehearsal", journal.now())
    request = statement.request(run, site, "plan", step.id, plan_hash)
    command = f"./cutover approve --run {run.path} --step {step.id} --plan {plan_hash[:16]}"
    return ask(run, site, request, step.signers, command)


def ask(run, site, request: statement.Request, people: int, command: str) -> Approval:
    """The approval, if enough people gave one that is valid now.

    Raises NotApproved, which says what is missing and that `command` gives it.
    """
    given, refused = counted(run, request, site.approval.valid)
    if len(given) >= people:
        return signed(request.hash, given)
    names = ", ".join(item.signer.principal for item in given)
    raise NotApproved(
        f"{request.subject}: the {request.approves} {request.hash[:16]} is not approved: "
        f"{len(given)} of {people} signatures{f' ({names})' if names else ''}. "
        + "".join(f"Does not count: {reason}. " for reason in refused[:SHOWN])
        + f"Read it, approve it in the notebook or with `{command}`; then run this "
        "cell, or the same command, again."
    )


def counted(run, request: statement.Request, valid: float | None = None):
    """The statements that count now, and why others do not; see statement.collect.

    Only the people listed when the run began may sign. A statement counts for one use: for the
    changes of one attempt, one difference, one lease. A plan may be approved ahead, too. Raises
    NotApproved if this machine's clock was set back, because an expired approval would count again.
    """
    events, now = run.journal.events(), journal.now()
    behind = _earliest(events) - _seconds(now)
    if behind > statement.SKEW:
        raise NotApproved(
            f"The clock of this machine says {now}, {behind:.0f} s less than by the journal's "
            "times. Set the clock, then run this again. If it was ahead before, begin a new run."
        )
    requests, acted = [request], used(events)
    if request.approves == "plan":
        requests.append(dataclasses.replace(request, approves=approval_ahead.APPROVES))

    def refuse(given):
        if given.sha256 in acted:
            return f"{given.signer.principal} gave it for an earlier attempt"
        if given.approves == approval_ahead.APPROVES:
            return approval_ahead.void(events, request.subject, given.sha256)
        return ""

    return statement.collect(run.path, signers.of_run(run), requests, now, valid, refuse)


def _earliest(events) -> float:
    """The earliest that it can be now, by the journal, in seconds since 1970.

    Events of this boot tell it even where none was written since: its monotonic clock is never set.
    """
    boot, monotonic = journal.boot(), time.monotonic()
    return max(
        _seconds(event["time"])
        + (monotonic - event["monotonic"] if event.get("boot") == boot else 0.0)
        for event in events
    )


def used(events) -> set:
    """SHA-256 of the statements on which something was done already."""
    acted = {event["attempt"] for event in events if event["event"] == "intent"}
    return {
        signer["sha256"]
        for event in events
        if event["event"] in ("drift", "lease-broken")
        or (event["event"] == "approved" and event["attempt"] in acted)
        for signer in event.get("signers", ())
    }


def holder_digest(run: str, holder: dict) -> str:
    """What an approval to break a lease is bound to.

    `run`: see drift.run_key; `holder`: who holds the lease, as the journal has it.
    """
    content = json.dumps({"run": run, "holder": holder}, sort_keys=True)
    return hashlib.sha256(content.encode()).hexdigest()


def _seconds(time: str) -> float:
    return datetime.datetime.fromisoformat(time).timestamp()


def chosen(run, step, plan_hash: str) -> dict:
    """The operator's choices when the plan was made, from the run's journal (Context.chosen)."""
    events = run.journal.events()
    plans = [event for event in events if event.get("hash") == plan_hash]
    planned = runbook.latest(plans, "planned", step=step.id) or {}
    for event in events:
        if event["seq"] == planned.get("attempt"):
            return event.get("chosen", {})
    return {}


def give(run, site, step, plan_hash: str, typed: str, key=None) -> Approval:
    """Sign the approval of a plan, as one person, and write it to the run's folder.

    Raises NotConfirmed if `typed` is not what the step asks for (Step.confirmation). `key`: see
    statement.give.
    """
    _confirm(site, step.id, typed, step.confirmation(site, chosen(run, step, plan_hash)))
    request = statement.request(run, site, "plan", step.id, plan_hash)
    return signed(plan_hash, [statement.give(run, site, signers.of_run(run), request, key)])


def give_ahead(run, site, planned: dict, typed: str, key=None) -> list[Approval]:
    """Sign the approval of each plan of a list made ahead, as one person, and journal it.

    `planned`: the journal's event. Raises NotConfirmed, also if it is not the latest list.
    """
    latest = approval_ahead.latest(run.journal.events())
    if latest is None or latest["seq"] != planned["seq"]:
        raise NotConfirmed("these plans were made again since. Read the new ones, then approve.")
    _confirm(site, "plans ahead", typed, approval_ahead.confirmation(site))
    allowed, given = signers.of_run(run), []
    for plan in planned["plans"]:
        request = statement.request(run, site, approval_ahead.APPROVES, plan["step"], plan["hash"])
        given.append(signed(plan["hash"], [statement.give(run, site, allowed, request, key)]))
        run.journal.append("approved-ahead", of=plan["step"], **given[-1].to_json())
    return given


def _confirm(site, what, typed, confirmation):
    """Raises NotConfirmed unless a person at a production site typed the confirmation."""
    if typed.strip() != confirmation:
        raise NotConfirmed(f"{what}: to approve, type exactly: {confirmation}")
    if site.kind == "rehearsal":
        raise NotConfirmed(
            f"{site.name} is a rehearsal: it approves itself once it has proved that the lab made "
            "every host"
        )
