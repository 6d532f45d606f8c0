"""Nothing is applied without an approval of that very plan, by its hash.

A rehearsal approves itself, but only when the lab made every host. At a production site a person approves: the widget
in JupyterLab and `cutover approve` write the same file, `approvals/<step>.<hash>.json` in the run folder.
"""

import dataclasses
import json

from cutover import errors
from cutover.run import journal


class NotApproved(errors.CutoverError):
    """A plan has no approval yet; the message says how to give one."""


class NotConfirmed(errors.CutoverError):
    """An approval was tried without typing what it asks for."""


@dataclasses.dataclass(frozen=True)
class Approval:
    hash: str
    by: str
    kind: str       # "rehearsal", "person" or "nothing to do"
    time: str


def path(run, step_id: str, plan_hash: str):
    return run.path / "approvals" / f"{step_id}.{plan_hash[:16]}.json"


def find(run, site, step, plan, plan_hash: str, hosts) -> Approval:
    """The approval of this plan. Raises NotApproved."""
    if not plan.changes:
        return Approval(plan_hash, journal._who(), "nothing to do", journal.now())
    if site.kind == "rehearsal":
        prove_lab(hosts, site)
        return Approval(plan_hash, "rehearsal", "rehearsal", journal.now())
    try:
        data = json.loads(path(run, step.ID, plan_hash).read_bytes())
    except FileNotFoundError:
        raise NotApproved(
            f"{step.ID}: the plan {plan_hash[:16]} is not approved. Read it; then approve it in the notebook, or with "
            f"`cutover approve --run {run.path} --step {step.ID} --plan {plan_hash[:16]}`, and run this cell again.") from None
    if data.get("hash") != plan_hash:
        raise NotApproved(f"{step.ID}: the approval found is of the plan {str(data.get('hash'))[:16]}, not of {plan_hash[:16]}")
    return Approval(plan_hash, data["by"], "person", data["time"])


def confirmation(step, site) -> str:
    """What a person has to type: the alias, for steps that stop or switch something; otherwise the step's name."""
    return site.fqdn(site.alias) if step.CONFIRM else step.ID


def give(run, site, step, plan_hash: str, typed: str) -> Approval:
    """Write the approval of a plan. Raises NotConfirmed when `typed` is not what confirmation() asks for."""
    wanted = confirmation(step, site)
    if typed.strip() != wanted:
        raise NotConfirmed(f"{step.ID}: to approve, type exactly: {wanted}")
    approved = Approval(plan_hash, journal._who(), "person", journal.now())
    run.keep(str(path(run, step.ID, plan_hash).relative_to(run.path)), json.dumps(dataclasses.asdict(approved)).encode())
    return approved


def prove_lab(hosts, site):
    """Raises hosts.NotTheLab unless every host that is reached by ssh carries the running lab's own mark."""
    from cutover.hosts import NotTheLab
    from cutover.lab import state

    marker = state.read()
    hosts.prove()

    def mark(name):
        return hosts.run(name, ["cat", "/etc/cutover-lab"], check=False).text.strip()

    for name, found in hosts.each(site.hosts, mark).items():
        if marker is None or found != marker["lab"]:
            raise NotTheLab(f"{name} does not carry the mark of the running lab: a rehearsal may not change it")


