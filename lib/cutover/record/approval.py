"""Nothing is applied without an approval of that very plan, by its hash.

A rehearsal approves itself, but only when the lab made every host. At a production site people approve, by signatures:
the widget in JupyterLab and `cutover approve` write the same statement (see run/statement.py). A step whose module says
`signers=2` needs two people.
"""

import dataclasses

from cutover.model import errors
from cutover.record import journal, statement
from cutover.record.statement import NotApproved


class NotConfirmed(errors.CutoverError):
    """An approval was tried without typing what it asks for."""


@dataclasses.dataclass(frozen=True)
class Approval:
    hash: str
    by: str
    kind: str  # "rehearsal", "signed" or "nothing to do"
    time: str
    signers: tuple = ()  # of dicts: principal, key, file, sha256, time, expires

    def to_json(self) -> dict:
        """What the journal says of it."""
        return {"hash": self.hash, "by": self.by, "kind": self.kind, "signers": list(self.signers)}


def signed(digest: str, given) -> Approval:
    """The approval that some statements make."""
    signers = tuple(
        {
            "principal": each.signer.principal,
            "key": each.signer.key,
            "file": each.file,
            "sha256": each.sha256,
            "time": each.time,
            "expires": each.expires,
        }
        for each in given
    )
    return Approval(
        digest,
        ", ".join(each["principal"] for each in signers),
        "signed",
        max(each["time"] for each in signers),
        signers,
    )


def find(run, site, step, plan, plan_hash: str, hosts) -> Approval:
    """The approval of this plan. Raises NotApproved."""
    if not plan.changes:
        return Approval(plan_hash, journal.who(), "nothing to do", journal.now())
    if site.kind == "rehearsal":
        prove_lab(hosts, site)
        return Approval(plan_hash, "rehearsal", "rehearsal", journal.now())
    return ask(
        run,
        site,
        "plan",
        step.id,
        plan_hash,
        step.signers,
        f"cutover approve --run {run.path} --step {step.id} --plan {plan_hash[:16]}",
    )


def ask(run, site, approves: str, subject: str, digest: str, people: int, command: str) -> Approval:
    """The approval by enough people, now. Raises NotApproved, saying what is missing and how to give it."""
    given, refused = statement.collect(
        run.path,
        statement.allowed_signers(site),
        site.name,
        run.name,
        approves,
        subject,
        digest,
        journal.now(),
        site.approval.valid,
    )
    if len(given) >= people:
        return signed(digest, given)
    have = ", ".join(each.signer.principal for each in given)
    raise NotApproved(
        f"{subject}: the {approves} {digest[:16]} is not approved: {len(given)} of {people} signatures"
        + (f" ({have})" if have else "")
        + ". "
        + "".join(f"Does not count: {why}. " for why in refused[:5])
        + f"Read it; then approve it in the notebook, or with `{command}`, and run this cell again."
    )


def chosen(run, step, plan_hash: str) -> dict:
    """What was asked of the step when the plan was made, by the run's journal; see engine.Engine."""
    events = run.journal.events()
    planned = next(
        (
            event
            for event in reversed(events)
            if event["event"] == "planned"
            and event["step"] == step.id
            and event["hash"] == plan_hash
        ),
        {},
    )
    return next(
        (event.get("chosen", {}) for event in events if event["seq"] == planned.get("attempt")), {}
    )


def give(run, site, step, plan_hash: str, typed: str, key=None) -> Approval:
    """Sign and write the approval of a plan by one person. Raises NotConfirmed when `typed` is not what the step asks for (Step.confirmation).

    `key`: see statement.give.
    """
    wanted = step.confirmation(site, chosen(run, step, plan_hash))
    if typed.strip() != wanted:
        raise NotConfirmed(f"{step.id}: to approve, type exactly: {wanted}")
    if site.kind == "rehearsal":
        raise NotConfirmed(
            f"{site.name} is a rehearsal: it approves itself, once it has proved that the lab made every host"
        )
    return signed(plan_hash, [statement.give(run, site, "plan", step.id, plan_hash, key)])


def prove_lab(hosts, site):
    """Raises hosts.NotTheLab unless every host that is reached by ssh carries the running lab's own mark.

    A host that is off, as mailboxold is after decommission, cannot show one: that the lab made it, at the address the site has,
    and its process has ended is written in the lab's own state. Never are all of them off.
    """
    from lab import state

    from cutover.connect.hosts import NotTheLab

    marker = state.read()
    hosts.prove()

    def mark(name):
        return hosts.run(name, ["cat", "/etc/cutover-lab"], check=False).text.strip()

    def off(name):
        made = (marker or {"hosts": {}})["hosts"].get(name)
        return (
            made
            and made["address"] == site.address(name)
            and not state.alive(made["pid"], made["start"])
        )

    shown = hosts.each([name for name in site.hosts if not off(name)] or list(site.hosts), mark)
    for name, found in shown.items():
        if marker is None or found != marker["lab"]:
            raise NotTheLab(
                f"{name} does not carry the mark of the running lab: a rehearsal may not change it"
            )
