"""One step of one run: probe → plan → approval → (journal intent, apply, journal result)* → probe → verify.

The same engine serves a click in JupyterLab, papermill and the command line. After any crash it is run again: it
probes first, so work that is done is recognised from the world, not from the journal.
"""

import concurrent.futures
import contextlib
import dataclasses
import hashlib
import json
import threading
import time

from cutover import model
from cutover.connect import hosts, vault
from cutover.model import Plan, errors
from cutover.record import approval, code, record_json, statement
from cutover.run import evidence, gate, lease, prediction
from cutover.site import secrets
from cutover.steps import registry


class VerifyFailed(errors.CutoverError):
    """A step's verify found something other than expected; the message lists each check that failed."""


class OutOfTurn(errors.CutoverError):
    """A call of the engine came before the call it rests on, e.g. apply before approve."""


class PlanChanged(errors.CutoverError):
    """The world is not as it was when the plan was approved; the approval is void."""


class NoGo(errors.CutoverError):
    """A step's gate says no; nothing was changed."""


STANDS = 60  # seconds for which the facts of a step that only reads are judged as they were read


def _listed(failed) -> str:
    return "\n".join(
        f"- {check.question} expected {check.expected}; found {check.actual}. What to do: {check.todo}"
        for check in failed
    )


def canonical(value) -> bytes:
    return json.dumps(value, sort_keys=True, ensure_ascii=True, separators=(",", ":")).encode()


def _difference(approved, wanted) -> str:
    """What two plans do not share, in words."""
    told = []
    for what, plan, other in (
        ("No longer wanted", approved, wanted),
        ("Wanted now", wanted, approved),
    ):
        known = [each.to_json() for each in other]
        only = [f"{each.title()} ({each.target})" for each in plan if each.to_json() not in known]
        if only:
            told.append(f"{what}: {'; '.join(only[:5])}{' …' if len(only) > 5 else ''}.")
    return " ".join(told) or "The same changes are wanted in another order."


def _lanes(changes) -> list:
    """Groups of changes, in order; a group is lanes of `(number, change)`, one a host, which go at the same time."""
    groups, together = [], False
    for number, change in enumerate(changes):
        if not (together and change.beside):
            groups.append({})
        groups[-1].setdefault(change.target, []).append((number, change))
        together = change.beside
    return [list(group.values()) for group in groups]


class Engine:
    """Drives one step.

    Parameters: `site`, `step_id`, `mode` ("plan": live and read-only; "execute"), `run` (folder.Run; needed to
    execute), `report` (takes progress events, dicts),
    `chosen` (`{name: text}` of what is asked of a step that has a CHOICE).
    """

    def __init__(
        self, site, step_id: str, mode: str, run=None, report=lambda event: None, chosen=None
    ):
        if mode == "execute" and run is None:
            raise OutOfTurn("mode execute needs run_dir: the folder in which the run is recorded")
        self.site, self.step, self.mode, self.run = site, registry.step(step_id), mode, run
        self.report = report
        vault.register(site)
        self.hosts = hosts.Hosts(site)
        known = {"chosen": chosen or {}}
        if run is not None:
            known["run_name"] = run.name
        if mode == "execute":
            known["keep"] = run.keep
        self.context = model.Context(self.hosts, **known)
        self.facts = self.current = self.approved = None
        self.attempt = self.lease = None
        self._gated = False  # whether the gate was judged by these facts
        self._kept = None  # (monotonic time, file, digest) of the facts read last
        if mode == "execute":
            self.lease = lease.Lease(self.hosts, run, self._record)
            run.check(site, self._record)
            registry.may_run(step_id, run.journal.events())
            gate.check(run, site, self.step)
            self.attempt = self._record(
                "step-begun", title=self.step.title, **({"chosen": chosen} if chosen else {})
            )["seq"]

    # --- the calls, in their order

    def probe(self) -> dict:
        """Read the world. → the step's facts."""
        self.facts, self._gated = self._facts("before"), False
        return self.facts

    def gate(self) -> list:
        """Go or no-go, of a step that has a gate. → [Check]; see may_go()."""
        self._needs(self.facts is not None, "gate", "probe")
        return self._judge(self.facts)

    def _judge(self, facts):
        if self.step.gate is None:
            return []
        checks = self._guard(self.step.gate, facts, self.site)
        if self.mode == "execute":
            self._record(
                "gated",
                passed=all(check.passed for check in checks),
                checks=[dataclasses.asdict(check) for check in checks],
            )
        self._gated = True
        return checks

    def may_go(self, checks):
        """Raises NoGo unless every check of the gate passed. In mode plan it only looks."""
        failed = [check for check in checks if not check.passed]
        if failed and self.mode == "execute":
            self._fail(
                NoGo(
                    f"{self.step.id}: no go, nothing was changed: {len(failed)} of {len(checks)} checks failed.\n"
                    + _listed(failed)
                )
            )

    def plan(self) -> Plan:
        """What would be done. Nothing is done."""
        self._needs(self.facts is not None, "plan", "probe")
        if not self._gated:
            self.may_go(self.gate())
        self.current = self._guard(self.step.plan, self.facts, self.site)
        if self.mode == "execute":
            name, digest = self.run.keep(
                f"plans/{self.step.id}.{self.hash()[:16]}.json",
                self._bound(self.current, self.facts),
            )
            self._record(
                "planned",
                hash=digest,
                file=name,
                reason=self.current.reason,
                notes=[{"title": title, "text": text} for title, text in self.current.notes],
                changes=[
                    {
                        "title": each.title(),
                        "target": each.target,
                        "text": each.describe(),
                        "undo": each.undo_text(),
                    }
                    for each in self.current.changes
                ],
            )
        return self.current

    def hash(self) -> str:
        """What an approval is bound to: SHA-256 over what is to be done, the facts this rests on (evidence.stable), the run,
        the step, the code and the parameters. The run's `plans/` keeps the very bytes."""
        return hashlib.sha256(self._bound(self.current, self.facts)).hexdigest()

    def _bound(self, current, facts) -> bytes:
        return canonical(
            secrets.redact_value(
                {
                    "step": self.step.id,
                    "run": self.run.name if self.run else "",
                    "site": self.site.name,
                    "code": code.digest(),
                    "parameters": self.site.digest,
                    "changes": [each.to_json() for each in current.changes],
                    "facts": evidence.stable(self.step, facts) if current.changes else None,
                }
            )
        )

    def approve(self):
        """Look for the approval of this very plan. → approval.Approval; raises approval.NotApproved."""
        self._needs(
            self.current is not None and self.mode == "execute", "approve", "plan, in mode execute"
        )
        try:
            self.approved = self._find()
        except statement.NotApproved as missing:
            self._record(
                "approval-missing", hash=self.hash(), error=str(missing)
            )  # the step waits; it did not fail
            raise
        self._record("approved", **self.approved.to_json(), needed=self.step.signers)
        return self.approved

    def _find(self):
        try:
            return approval.find(
                self.run, self.site, self.step, self.current, self.hash(), self.hosts
            )
        except statement.NotApproved:
            raise
        except errors.CutoverError as error:
            self._fail(error)

    def apply(self) -> list:
        """Apply the approved plan. → `[(change, text)]`, one for each change."""
        self._needs(self.approved is not None, "apply", "approve")
        with contextlib.ExitStack() as held:
            self._guard(held.enter_context, self.run.alone("apply"))
            if self.current.changes:
                self._guard(self._take_lease)
            return self._apply_all()

    def _take_lease(self):
        try:
            self.lease.take()
        except lease.LeaseHeld:
            raise
        except errors.CutoverError as error:
            # going back must be possible when the new host is ill or gone
            if self.step.id != "rollback":
                raise
            self._record("lease-unavailable", error=f"{type(error).__name__}: {error}")

    def _apply_all(self):
        if self._only_reads():
            self._record("applied", changes=0)
            self.approved = None
            return []
        facts = self._facts("at apply")
        self.may_go(self._judge(facts))
        again = self._guard(self.step.plan, facts, self.site)
        if [each.to_json() for each in again.changes] != [
            each.to_json() for each in self.current.changes
        ]:
            self._fail(
                PlanChanged(
                    f"{self.step.id}: the world changed since the plan was approved. "
                    f"{_difference(self.current.changes, again.changes)} The approval is void, nothing was changed: "
                    "run this step again from its probe."
                )
            )
        if self._bound(again, facts) != self._bound(self.current, self.facts):
            where = evidence.differences(
                evidence.stable(self.step, self.facts), evidence.stable(self.step, facts)
            )
            self._fail(
                PlanChanged(
                    f"{self.step.id}: the facts on which the approved plan rests changed: {'; '.join(where[:8])}. The approval is "
                    "void, nothing was changed: run this step again from its probe."
                )
            )
        if self.current.changes:
            # an approval holds for a while only: it is looked for again at the last moment
            self._guard(
                approval.find,
                self.run,
                self.site,
                self.step,
                self.current,
                self.approved.hash,
                self.hosts,
            )
        texts = {}
        try:
            for lanes in _lanes(self.current.changes):
                self._apply_lanes(lanes, texts)
        except BaseException as error:
            self._record("step-failed", error=f"{type(error).__name__}: {error}")
            raise
        done = [(change, texts[number]) for number, change in enumerate(self.current.changes)]
        self._record("applied", changes=len(done))
        self.approved = None
        return done

    def verify(self) -> list:
        """Probe again and judge. → [Check]; never raises for a check that fails, see require()."""
        if self.mode == "plan":
            self._needs(self.facts is not None, "verify", "probe")
            return self.step.verify(self.facts, self.site)
        self._needs(self.current is not None, "verify", "plan")
        if self.current.changes:
            applied = [event for event in self._own_events() if event["event"] == "applied"]
            self._needs(bool(applied), "verify", "apply")
        facts = self._facts("after") if not self._stands() else self._as_read()
        checks = self._guard(self.step.verify, facts, self.site)
        passed = bool(checks) and all(check.passed for check in checks)
        self._record(
            "verified", passed=passed, checks=[dataclasses.asdict(check) for check in checks]
        )
        if not passed:
            record_json.pause(self.run, self.site, f"{self.step.id} did not pass")
        elif self.step.predicts:
            self._record("predicted", **prediction.outage_of(self.run, self.site))
        return checks

    def require(self, checks):
        """Raises VerifyFailed unless every check passed."""
        failed = [check for check in checks if not check.passed]
        if failed or not checks:
            raise VerifyFailed(
                f"{self.step.id} did not pass: {len(failed)} of {len(checks)} checks failed.\n"
                + _listed(failed)
            )

    def close(self):
        """Give the lease back, sign the record as it stands, drop the connections."""
        if self.lease is not None:
            self.lease.release()
            record_json.pause(self.run, self.site, f"after {self.step.id}")
        self.hosts.close()

    # --- inside

    def _only_reads(self):
        return self.step.only_reads and not self.current.changes

    def _stands(self):
        """Whether the facts read last need not be read again: nothing was changed, and it is not long ago."""
        return (
            self._only_reads()
            and self._kept is not None
            and time.monotonic() - self._kept[0] < STANDS
        )

    def _as_read(self):
        _, path, digest = self._kept
        self._kept = None  # asked once more, the world is read once more
        self._record("probed", when="after", facts=path, sha256=digest, read="before")
        return self.facts

    def _apply_lanes(self, lanes, texts):
        """Apply one group of changes, `texts[number]` what each said. Several lanes go at the same time; once one has failed, no
        other change begins, and those that have begun are let end."""
        stopped = threading.Event()

        def go(lane):
            for number, change in lane:
                if stopped.is_set():
                    return
                try:
                    self.lease.check()
                    texts[number] = self._apply(number, change)
                except BaseException:
                    stopped.set()
                    raise

        if len(lanes) == 1:
            return go(lanes[0])
        with concurrent.futures.ThreadPoolExecutor(len(lanes)) as pool:
            try:
                for future in concurrent.futures.as_completed(
                    [pool.submit(go, lane) for lane in lanes]
                ):
                    future.result()
            except BaseException:
                stopped.set()
                raise

    def _apply(self, number, change):
        undoes = self.current.undoes[number] if self.current.undoes else None
        inverse = change.inverse()
        intent = self._record(
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
            # a change may be journaled twice, by two attempts: then one undo settles both
            settled = change.settled(self.context) if undoes is not None else None
            result = (
                model.Result(f"already so: {settled.detail}")
                if settled and settled.done
                else change.apply(self.context, self.report)
            )
            if isinstance(result, str):  # changes that give no figures yet
                result = model.Result(result)
        except BaseException as error:
            # an interrupt or a lost link leaves the change half done or done: unknown, never failed
            known = isinstance(error, errors.CutoverError) and not error.outcome_unknown
            self._record(
                "result",
                intent=intent["seq"],
                outcome="failed" if known else "unknown",
                output=f"{type(error).__name__}: {error}",
                seconds=round(time.monotonic() - began, 3),
            )
            raise
        self._record(
            "result",
            intent=intent["seq"],
            outcome="done",
            output=result.text,
            figures=result.figures,
            seconds=round(time.monotonic() - began, 3),
        )
        return result.text

    def _facts(self, when):
        if self.run is not None:
            self.context = dataclasses.replace(self.context, history=self.run.journal.events())
        facts = model.to_json(self._guard(self.step.probe, self.context))
        facts["run"] = self.context.run_name
        facts = secrets.redact_value(facts)
        if self.mode == "execute":
            path, digest = self.run.keep(
                f"facts/{self.step.id}.{self.attempt}.{when.replace(' ', '-')}.json",
                json.dumps(facts, indent=1, sort_keys=True).encode(),
            )
            self._record("probed", when=when, facts=path, sha256=digest)
            self._kept = time.monotonic(), path, digest
        return self._guard(model.from_json, self.step.facts, facts)

    def _guard(self, function, *arguments):
        """Run a part of the step; what it raises is journaled as the step's failure."""
        try:
            return function(*arguments)
        except Exception as error:
            self._fail(error)

    def _fail(self, error):
        if self.mode == "execute":
            self._record("step-failed", error=f"{type(error).__name__}: {error}")
        raise error

    def _record(self, event, **fields):
        if self.attempt is not None:
            fields["attempt"] = self.attempt
        written = self.run.journal.append(event, step=self.step.id, **fields)
        if event == "step-failed":
            record_json.pause(self.run, self.site, f"{self.step.id} failed")
        return written

    def _own_events(self):
        return [
            event for event in self.run.journal.events() if event.get("attempt") == self.attempt
        ]

    def _needs(self, met, call, before):
        if not met:
            raise OutOfTurn(
                f"{self.step.id}: {call} comes after {before}: run the cells from the top"
            )
