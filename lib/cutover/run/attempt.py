"""One attempt at a step: its context, its facts, and its events in the run's journal."""

import dataclasses
import time

from cutover import model
from cutover.connect import hosts
from cutover.model import errors
from cutover.record import record_json, step_facts, vault
from cutover.run import gate
from cutover.site import secrets
from cutover.steps import registry


class OutOfTurn(errors.CutoverError):
    """A call of the engine came before the call it depends on, e.g. apply before approve."""


class Attempt:
    """What the engine's calls share.

    mode: "plan" (live, read-only) or "execute".
    run: a folder.Run; required to execute.
    chosen: the operator's choices, `{name: text}`, for a step that has choices.
    """

    def __init__(self, site, step_id: str, mode: str, run=None, chosen=None):
        if mode == "execute" and run is None:
            raise OutOfTurn("mode execute needs run_dir, the folder in which the run is recorded")
        self.site, self.step, self.mode, self.run = site, registry.step(step_id), mode, run
        vault.register(site)
        self.hosts = hosts.Hosts(site)
        known = {"chosen": chosen or {}}
        if run is not None:
            known["run_name"] = run.name
            # the run's id: a later run may have the same name
            known["aside"] = run.path.with_name(f"{run.name}.{run.id[:8]}.aside")
            known["kept"] = lambda step: step_facts.passed(run, run.journal.events(), step)
        if mode == "execute":
            known["keep"] = run.keep
        self.context = model.Context(self.hosts, **known)
        self.facts = None
        self.attempt = None  # journal number of the event that begins the attempt
        self._kept = None  # (monotonic time, file, digest) of the latest facts

    def begin(self, chosen) -> None:
        """Journal that the step begins. Raises NotYet, NotARun or Drifted if it must not."""
        self.run.check(self.site, self.record)
        registry.may_run(self.step.id, self.run.journal.events())
        gate.check(self.run, self.site, self.step)
        fields = {"chosen": chosen} if chosen else {}
        self.attempt = self.record("step-begun", title=self.step.title, **fields)["seq"]

    # --- facts

    def read_facts(self, when: str):
        """Probe. Keeps the facts in the run's folder and returns them."""
        if self.run is not None:
            self.context = dataclasses.replace(self.context, history=self.run.journal.events())
        facts = model.to_json(self.guard(self.step.probe, self.context))
        facts["run"] = self.context.run_name
        facts = secrets.redact_value(facts)
        if self.mode == "execute":
            name = f"facts/{self.step.id}.{self.attempt}.{when.replace(' ', '-')}"
            path, digest = step_facts.keep(self.run, name, facts)
            self.record("probed", when=when, facts=path, sha256=digest)
            self._kept = time.monotonic(), path, digest
        return self.guard(model.from_json, self.step.facts, facts)

    def age_of_facts(self) -> float | None:
        """Seconds since the latest facts were read; None if there are none to judge again."""
        return None if self._kept is None else time.monotonic() - self._kept[0]

    def as_read(self, when: str):
        """The latest facts, journaled as judged again without another probe."""
        _, path, digest = self._kept
        self._kept = None  # the next time, it probes
        self.record("probed", when=when, facts=path, sha256=digest, read="before")
        return self.facts

    # --- journal

    def guard(self, function, *arguments):
        """Call a part of the step; journal what it raises as the step's failure."""
        try:
            return function(*arguments)
        except Exception as error:
            self.fail(error)

    def fail(self, error: Exception):
        """Journal the step's failure and raise it."""
        if self.mode == "execute":
            self.record("step-failed", error=f"{type(error).__name__}: {error}")
        raise error

    def record(self, event: str, **fields) -> dict:
        """Append an event of this attempt to the journal. Returns it as written."""
        if self.attempt is not None:
            fields["attempt"] = self.attempt
        written = self.run.journal.append(event, step=self.step.id, **fields)
        if event == "step-failed":
            record_json.pause(self.run, self.site, f"{self.step.id} failed")
        return written

    def own_events(self) -> list:
        """The journal's events of this attempt."""
        return [
            event for event in self.run.journal.events() if event.get("attempt") == self.attempt
        ]

    def needs(self, met: bool, call: str, before: str) -> None:
        """Raises OutOfTurn unless the call before was made."""
        if not met:
            raise OutOfTurn(
                f"{self.step.id}: {call} comes after {before}: run the cells from the top"
            )
