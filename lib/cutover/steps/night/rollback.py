"""Undo what a run changed, in reverse, and check that the old service is back.

Planned from the run's journal and from what the hosts show. Once delivery or reading was resumed,
the new server has mail that the old one is missing. It is copied back when both servers are closed
and nothing moves: after the services of the new one have stopped, before its trees are taken back
and the old service starts. An estimate is made while users still work, so that the person who
approves it knows what cannot be copied.

What the old server refuses stops the rollback, unless the choice `without` names the user (logins,
separated by commas). Then it stays in the user's Maildir on the new server, and a later rollback of
the run copies it.
"""

from cutover import model
from cutover.steps.night import rollback_checks, rollback_facts, rollback_plan
from cutover.steps.night.rollback_facts import Facts


def confirmation(site, chosen) -> str:
    """What a person types to approve it: the name users know, and the users to continue without."""
    names = model.logins(chosen.get("without", ""))
    return site.fqdn(site.alias) + (f" without {', '.join(names)}" if names else "")


def stable(facts: Facts):
    """What the plan rests on: the changes to be undone, not what the hosts show meanwhile."""
    return {"intents": model.lasting(facts.intents)}


STEP = model.Step(
    id="rollback",
    title="Go back",
    requires=(),
    facts=Facts,
    probe=rollback_facts.probe,
    plan=rollback_plan.plan,
    verify=rollback_checks.verify,
    confirm=confirmation,
    choices=("without",),
    stable=stable,
)
