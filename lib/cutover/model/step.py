"""The contract of a step: what it reads, what it would change, and how it judges the result."""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

from cutover.model.check import Check
from cutover.model.context import Context
from cutover.model.plan import Plan


def the_alias(site, chosen) -> str:
    """The name users know: typed to approve a step that stops or switches something."""
    return site.fqdn(site.alias)


def as_they_are(facts):
    """For Step.ahead: the steps before change nothing that this one reads."""
    return facts


def logins(text: str) -> list[str]:
    """Of the choice `without`: logins separated by commas, sorted."""
    return sorted({name.strip() for name in text.split(",")} - {""})


@dataclasses.dataclass(frozen=True, kw_only=True)
class Step:
    """One step of the runbook. An unknown or missing field fails when the module is imported.

    There is no apply: the engine applies the plan's changes.

    id, title: as in the runbook; the id is frozen, journals hold it.
    requires: ids of the steps that must have passed before.
    facts: the class of what probe returns; its JSON form is model.to_json.
    probe: reads the hosts and changes nothing; returns the step's facts.
    plan: pure; decides by the facts what to do.
    verify: pure; judges facts read after the changes.
    reversible: whether a rollback can undo the step.
    confirm: what a person types to approve the plan; None means the step's id.
    signers: how many people approve the plan at a production site.
    gate: go or no-go, judged before the plan and again before the first change. Nothing is changed
        unless every check passed.
    predicts: after this step the outage is predicted (run/prediction.py).
    only_reads: never plans a change, and is judged by the facts it has just read.
    needs_fresh_verify: runs only after a verify that passed recently (run/gate.py).
    choices: names of the values an operator may pass to the step.
    stable: the part of the facts a plan depends on; None means run/evidence.py decides.
    ahead: from the facts before the outage, those the step will find in it; so its plan can be
        approved ahead. None: nobody can know.
    """

    id: str
    title: str
    requires: tuple[str, ...]
    facts: type
    probe: Callable[[Context], Any]
    plan: Callable[[Any, Any], Plan]
    verify: Callable[[Any, Any], Sequence[Check]]
    reversible: bool = True
    confirm: Callable[[Any, Any], str] | None = None
    signers: int = 1
    gate: Callable[[Any, Any], Sequence[Check]] | None = None
    predicts: bool = False
    only_reads: bool = False
    needs_fresh_verify: bool = False
    choices: tuple[str, ...] = ()
    stable: Callable[[Any], Any] | None = None
    ahead: Callable[[Any], Any] | None = None

    def confirmation(self, site, chosen) -> str:
        """The text a person types to approve the plan."""
        return self.confirm(site, chosen) if self.confirm else self.id
