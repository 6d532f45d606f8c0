"""Executes one step of a run.

probe → plan → approval → (journal the intent, apply, journal the result)* → probe → verify.

The same engine serves a click in JupyterLab, papermill and the command line. After a crash, run the
step again: it probes first and recognises finished work by the live state, not by the journal.
"""

import contextlib
import dataclasses
import hashlib
import time

from cutover import model
from cutover.model import Plan, errors
from cutover.record import approval, approval_ahead, record_json, statement
from cutover.run import attempt, bound_plan, lanes, lease, prediction, wording
from cutover.run.attempt import OutOfTurn

__all__ = ["Engine", "NoGo", "OutOfTurn", "PlanChanged", "VerifyFailed"]

STANDS = 60  # seconds for which facts are judged without a new probe, if the step only reads
FRESH = 1.0  # seconds for which a plan counts without a new probe, while the run has the lease


class VerifyFailed(errors.CutoverError):
    """A step did not pass verification. The message lists each failed check."""


class PlanChanged(errors.CutoverError):
    """The live state is not what the approved plan was made for; the approval is void."""


class NoGo(errors.CutoverError):
    """A step's gate did not pass. Nothing was changed."""


def _to_json(checks):
    return [dataclasses.asdict(check) for check in checks]


def _failed(checks):
    """`(how many, what they say)` of the checks that failed."""
    failed = [check for check in _to_json(checks) if not check["passed"]]
    return len(failed), wording.failures(failed)


class Engine(attempt.Attempt):
    """Executes one step: call probe, gate, plan, approve, apply and verify in this order.

    Parameters: those of attempt.Attempt. planned: the journal's event of the current plan.
    """

    def __init__(
        self, site, step_id: str, mode: str, run=None, report=lambda event: None, chosen=None
    ):
        super().__init__(site, step_id, mode, run, chosen)
        self.report = report
        self.current = self.planned = self.approved = self.lease = None
        self._gated = False  # whether the gate judged these facts
        self.void = ""  # why what was approved ahead does not count, as a sentence
        if mode == "execute":
            self.lease = lease.Lease(self.hosts, run, self.record)
            self.begin(chosen)

    # --- the calls, in their order

    def probe(self):
        """Read the live state. Returns the step's facts."""
        self.facts, self._gated = self.read_facts("before"), False
        return self.facts

    def gate(self) -> list:
        """Go or no-go, if the step has a gate. Returns checks; see may_go()."""
        self.needs(self.facts is not None, "gate", "probe")
        return self._judge(self.facts)

    def _judge(self, facts):
        if self.step.gate is None:
            return []
        checks = self.guard(self.step.gate, facts, self.site)
        if self.mode == "execute":
            passed = all(check.passed for check in checks)
            self.record("gated", passed=passed, checks=_to_json(checks))
        self._gated = True
        return checks

    def may_go(self, checks) -> None:
        """Raises NoGo unless every check of the gate passed. Does nothing in mode plan."""
        count, failures = _failed(checks)
        if count and self.mode == "execute":
            self.fail(
                NoGo(
                    f"{self.step.id}: no go, nothing was changed: {count} of {len(checks)} checks "
                    f"failed.\n{failures}"
                )
            )

    def plan(self) -> Plan:
        """What the step would do. Changes nothing."""
        self.needs(self.facts is not None, "plan", "probe")
        if not self._gated:
            self.may_go(self.gate())
        self.current = self.guard(self.step.plan, self.facts, self.site)
        if self.mode == "execute":
            name, digest = bound_plan.keep(self.run, self.step, self._bound())
            before = approval_ahead.standing(self.run.journal.events(), self.step.id)
            self.planned = self.record(
                "planned",
                hash=digest,
                file=name,
                reason=self.current.reason,
                notes=[{"title": title, "text": text} for title, text in self.current.notes],
                changes=[
                    {
                        "title": change.title(),
                        "target": change.target,
                        "text": change.describe(),
                        "undo": change.undo_text(),
                    }
                    for change in self.current.changes
                ],
            )
            self._void_ahead([given for given in before if given["hash"] != digest])
        return self.current

    def plan_ahead(self):
        """Keep the plan that the step will make in the outage, without a line in the journal.

        Returns (name within the run, SHA-256); None if the plan is empty.
        """
        self.facts = self.step.ahead(self.read_facts("ahead"))
        self.current = self.step.plan(self.facts, self.site)
        if not self.current.changes:
            return None
        return bound_plan.keep(self.run, self.step, self._bound())

    def _void_ahead(self, void):
        """Journal that approvals given ahead are for another plan than the one just made."""
        if void:
            by = ", ".join(dict.fromkeys(given["by"] for given in void))
            what = bound_plan.difference(self.run, void[-1], self._bound())
            self.void = f"The approval by {by} is void: {what} "
            self.record("ahead-void", hash=void[-1]["hash"], by=by, what=what)

    def hash(self) -> str:
        """What an approval is bound to: SHA-256 of what bound_plan.of says."""
        return hashlib.sha256(self._bound()).hexdigest()

    def _bound(self) -> bytes:
        return bound_plan.of(self.site, self.run, self.step, self.current, self.facts)

    def approve(self) -> approval.Approval:
        """The approval of exactly this plan. Raises approval.NotApproved."""
        ready = self.current is not None and self.mode == "execute"
        self.needs(ready, "approve", "plan, in mode execute")
        try:
            self.approved = self._ask_approval()
        except statement.NotApproved as missing:
            # the step waits; it did not fail
            missing = statement.NotApproved(f"{self.void}{missing}")
            self.record("approval-missing", hash=self.hash(), error=str(missing))
            raise missing from None
        self.record("approved", **self.approved.to_json(), needed=self.step.signers)
        return self.approved

    def _find_approval(self, digest):
        return approval.find(self.run, self.site, self.step, self.current, digest, self.hosts)

    def _ask_approval(self):
        try:
            return self._find_approval(self.hash())
        except statement.NotApproved:
            raise
        except errors.CutoverError as error:
            self.fail(error)

    def apply(self) -> list:
        """Apply the approved plan. Returns `[(change, text)]`, one per change."""
        self.needs(self.approved is not None, "apply", "approve")
        with contextlib.ExitStack() as locks:
            self.guard(locks.enter_context, self.run.alone("apply"))
            if self.current.changes:
                self.guard(self._take_lease)
            return self._apply_all()

    def verify(self) -> list:
        """Probe again and judge. Returns checks, passed or not; see require()."""
        if self.mode == "plan":
            self.needs(self.facts is not None, "verify", "probe")
            return self.step.verify(self.facts, self.site)
        self.needs(self.current is not None, "verify", "plan")
        if self.current.changes:
            applied = any(event["event"] == "applied" for event in self.own_events())
            self.needs(applied, "verify", "apply")
        facts = self.as_read("after") if self._is_recent() else self.read_facts("after")
        checks = self.guard(self.step.verify, facts, self.site)
        passed = bool(checks) and all(check.passed for check in checks)
        self.record("verified", passed=passed, checks=_to_json(checks))
        if not passed:
            record_json.pause(self.run, self.site, f"{self.step.id} did not pass")
        elif self.step.predicts:
            self.record("predicted", **prediction.outage_of(self.run, self.site))
        return checks

    def require(self, checks) -> None:
        """Raises VerifyFailed unless every check passed."""
        count, failures = _failed(checks)
        if count or not checks:
            raise VerifyFailed(
                f"{self.step.id} did not pass: {count} of {len(checks)} checks failed.\n{failures}"
            )

    def close(self) -> None:
        """Release the lease, sign the record, close the connections."""
        if self.lease is not None:
            self.lease.release()
            if not self.lease.shared:  # else its owner signs, once the executed copy is complete
                record_json.pause(self.run, self.site, f"after {self.step.id}")
        self.hosts.close()

    # --- apply

    def _take_lease(self):
        try:
            self.lease.take()
        except lease.LeaseHeld:
            raise
        except errors.CutoverError as error:
            # a rollback must be possible when the new host is broken or gone
            if self.step.id != "rollback":
                raise
            self.record("lease-unavailable", error=f"{type(error).__name__}: {error}")

    def _apply_all(self):
        if self._only_reads():
            self.record("applied", changes=0)
            self.approved = None
            return []
        self._require_same_plan()
        if self.current.changes and self.approved.kind == "signed":
            # it may have expired: look for it again at the last moment
            self.guard(self._find_approval, self.approved.hash)
        texts = {}

        def apply(number, change):
            self.lease.check()
            texts[number] = self._apply(number, change)

        try:
            for group in lanes.groups(self.current.changes):
                lanes.run(group, apply)
        except BaseException as error:
            self.record("step-failed", error=f"{type(error).__name__}: {error}")
            raise
        done = [(change, texts[number]) for number, change in enumerate(self.current.changes)]
        self.record("applied", changes=len(done))
        self.approved = None
        return done

    def _require_same_plan(self):
        """Probe again, unless no time has passed and no other run could have the lease meanwhile.

        Raises PlanChanged if plan or facts are not those that were approved.
        """
        age = self.age_of_facts()
        if self.lease.kept and age is not None and age < FRESH:
            self.as_read("at apply")
            return
        facts = self.read_facts("at apply")
        self.may_go(self._judge(facts))
        again = self.guard(self.step.plan, facts, self.site)
        changed = bound_plan.changed(
            *(self.site, self.run, self.step, self.current, self.facts, again, facts)
        )
        if changed:
            self.fail(
                PlanChanged(
                    f"{self.step.id}: {changed} The approval is void, nothing was changed: run "
                    "this step again from its probe."
                )
            )

    def _apply(self, number, change):
        """Apply one change between its intent and its result. Returns what it says."""
        undoes = self.current.undoes[number] if self.current.undoes else None
        inverse = change.inverse()
        intent = self.record(
            "intent",
            number=number,
            change=change.to_json(),
            title=change.title(),
            target=change.target,
            text=change.describe(),
            inverse=inverse.to_json() if inverse else None,
            no_inverse=None if inverse else change.no_inverse,
            undoes=undoes,
        )
        self.report(
            {
                "event": "change",
                "number": number,
                "of": len(self.current.changes),
                "title": change.title(),
                "target": change.target,
            }
        )
        began = time.monotonic()
        try:
            result = self._result(change, undoes)
        except BaseException as error:
            # after an interrupt or a lost connection the outcome is unknown, never failed
            known = isinstance(error, errors.CutoverError) and not error.outcome_unknown
            self.record(
                "result",
                intent=intent["seq"],
                outcome="failed" if known else "unknown",
                output=f"{type(error).__name__}: {error}",
                seconds=round(time.monotonic() - began, 3),
            )
            raise
        self.record(
            "result",
            intent=intent["seq"],
            outcome="done",
            output=result.text,
            figures=result.figures,
            seconds=round(time.monotonic() - began, 3),
        )
        return result.text

    def _result(self, change, undoes):
        # two attempts may have journaled the same change: then one undo settles both
        settled = change.settled(self.context) if undoes is not None else None
        if settled and settled.done:
            return model.Result(f"already done: {settled.detail}")
        return change.apply(self.context, self.report)

    def _only_reads(self):
        return self.step.only_reads and not self.current.changes

    def _is_recent(self):
        """Whether the latest facts can be judged again: nothing changed, and they are recent."""
        age = self.age_of_facts()
        return self._only_reads() and age is not None and age < STANDS
