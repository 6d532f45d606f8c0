"""`cutover approve`: sign a plan, the outage's plans, or a difference in code or parameters."""

import click

from cutover.commands import options

LEAST = 16  # digits of a plan's hash, enough to name it


@click.command()
@options.run_option
@click.option("--step", "step_id", metavar="STEP", help="The step whose plan to approve.")
@click.option(
    "--plan", "plan_hash", metavar="HASH", help="At least 16 digits of the plan's hash, as shown."
)
@click.option(
    "--drift",
    is_flag=True,
    help="Instead of a plan: approve continuing with changed code, notebooks or parameters.",
)
@click.option(
    "--ahead",
    is_flag=True,
    help="Before the outage: work out the plans of its steps and approve all of them. With --plan: "
    "approve those that another person has approved, named by the HASH of their list.",
)
@options.run_site_option
@click.option(
    "--key",
    metavar="FILE",
    help="Signing key: a private key file, or a public one whose private key ssh-agent holds. "
    "Default: the first key in ssh-agent that may approve.",
)
def approve(run_dir, step_id, plan_hash, drift, ahead, site_file, key):
    """Approve the latest plan of a step, by its hash; or ahead, the plans of the whole outage.

    Shows the plan and asks you to type a confirmation. The approval is a signature (ssh-keygen -Y).
    If two people must approve, each runs this command with their own key.
    """
    from cutover.record import run_folder

    ways = [bool(step_id), drift, ahead].count(True)
    if ways != 1 or (step_id and not plan_hash) or (drift and plan_hash):
        raise click.UsageError("give --step and --plan, or --ahead, or --drift")
    current = run_folder.Run(run_dir)
    parameters = current.parameters(site_file)
    current.require_site(parameters)
    if drift:
        _approve_drift(current, parameters, key)
    elif ahead:
        _approve_ahead(current, parameters, plan_hash, key)
    else:
        _approve_plan(current, parameters, step_id, plan_hash, key)


def _approve_drift(current, parameters, key):
    from cutover.record import drift

    def ask(difference):
        return click.prompt(
            f"This run would continue with other {difference}.\nTo approve, type {current.name}"
        )

    given = drift.approve(current, parameters, ask, key)
    click.echo(f"approved by {given.signer.principal} until {given.expires}")


def _approve_plan(current, parameters, step_id, plan_hash, key):
    from cutover.model import runbook
    from cutover.record import approval, kept_plan
    from cutover.steps import registry

    step = registry.step(step_id)
    planned = runbook.latest(current.journal.events(), "planned", step=step_id)
    if planned is None:
        raise approval.NotConfirmed(f"{step_id} has no plan yet. Run its notebook first.")
    if len(plan_hash) < LEAST or not planned["hash"].startswith(plan_hash):
        raise approval.NotConfirmed(
            f"{step_id}: {plan_hash} is not the hash of the latest plan, "
            f"{planned['hash'][:LEAST]}. Read that plan, then give its hash."
        )
    _show(kept_plan.load(current, planned), planned, current.path)
    chosen = approval.chosen(current, step, planned["hash"])
    typed = click.prompt(f"To approve, type {step.confirmation(parameters, chosen)}")
    given = approval.give(current, parameters, step, planned["hash"], typed, key)
    needed = f"; this step needs {step.signers} people" if step.signers > 1 else ""
    click.echo(f"approved by {given.by} at {given.time}{needed}")


def _approve_ahead(current, parameters, list_hash, key):
    from cutover.record import approval, approval_ahead, kept_plan
    from cutover.run import plans_ahead
    from cutover.steps import registry

    if list_hash:
        planned = approval_ahead.latest(current.journal.events())
        if not planned or len(list_hash) < LEAST or not planned["hash"].startswith(list_hash):
            made = planned["hash"][:LEAST] if planned else "none"
            raise approval.NotConfirmed(
                f"{list_hash} is not the hash of the plans made last ({made}). Ask the person who "
                "approved them, or leave out --plan to make them again."
            )
    else:
        planned = plans_ahead.make(parameters, current, lambda name: options.say(f"plan {name}"))
    for plan in planned["plans"]:
        click.echo(f"== {plan['step']}, plan {plan['hash'][:LEAST]}\n")
        _show(kept_plan.load(current, plan), plan, current.path)
    for step in planned["asked"]:
        click.echo(f"== {step['step']} will ask when its turn comes: {step['why']}\n")
    typed = click.prompt(f"To approve, type {approval_ahead.confirmation(parameters)}")
    given = approval.give_ahead(current, parameters, planned, typed, key)
    click.echo(f"approved ahead: {len(given)} plans")
    two = [plan["step"] for plan in planned["plans"] if registry.step(plan["step"]).signers > 1]
    if two:
        again = f"./cutover approve --run {current.path} --ahead --plan {planned['hash'][:LEAST]}"
        click.echo(f"{', '.join(two)} need two people. The other runs: {again}")


def _show(changes, planned, path):
    """Print the changes that the hash binds, and the plan's notes, which it does not.

    Describing a change leaves out some of its values, such as user numbers: the file has them all.
    """
    from cutover.record import journal
    from cutover.report import tables

    for change in changes:
        title = f"{change.target}: {change.title()}"
        click.echo(tables.printable(f"- {title}\n{change.describe()}\n"))
    for note in planned.get("notes", []):
        click.echo(tables.printable(f"! {note['title']}: {journal.whole(note['text'], path)}\n"))
    click.echo(tables.printable(f"Every value that the hash binds: {path / planned['file']}"))
