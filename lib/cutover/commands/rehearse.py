"""`cutover rehearse`: the whole night on the lab."""

import click

from cutover.commands import options


@click.command()
@options.json_option
@options.to_option
@click.option(
    "--traffic",
    "rate",
    type=click.FloatRange(0, 200),
    default=0.0,
    metavar="N",
    help="Send N messages per second through both MX hosts during the run, while users read and "
    "move mail. At the end, every accepted message must exist exactly once on each side.",
)
@click.option(
    "--messages",
    "least",
    type=int,
    default=0,
    metavar="N",
    help="With --traffic: send at least N messages in all.",
)
@click.option(
    "--fill",
    type=click.IntRange(0),
    default=0,
    metavar="N",
    help="First add N more messages to the old store.",
)
@click.option(
    "--users",
    type=click.IntRange(0, 9000),
    default=0,
    metavar="N",
    help="First add N more users with ten small folders each.",
)
@click.option(
    "--without-presync", is_flag=True, help="Skip presync, to see how much time it saves."
)
@click.option("--rollback-from", metavar="STEP", help="Stop after STEP, then roll everything back.")
@click.option(
    "--stores",
    "number",
    type=click.IntRange(1, 2),
    default=1,
    metavar="N",
    help="With 2: two old and two new servers, each pair a store with a run of its own.",
)
@click.option("--keep-lab", is_flag=True, help="Leave the lab running afterwards.")
@options.base_options
def rehearse(
    as_json,
    last,
    rate,
    least,
    fill,
    users,
    without_presync,
    rollback_from,
    number,
    keep_lab,
    base,
    new,
    old_world,
):
    """Rehearse the whole migration on the lab, unattended.

    Starts the lab with its seeded mail, executes every notebook in order and prints a summary. The
    exit status is 0 only if every step passed verification according to the journal and, with
    --traffic, no message was lost or duplicated.
    """
    from lab import base_image, control, crowd, seeder

    from cutover import site
    from cutover.commands import stores, unattended
    from cutover.record import run_folder

    names = _steps(last, without_presync, rollback_from)
    _require_alone(number, rate or without_presync or old_world)
    parameters = site.load(options.LAB_SITE)
    run = failed = None
    options.say("lab: starting, with its seeded mail …")
    suites = base_image.suites(base, new)
    control.up(fresh=True, suites=suites, old=old_world, stores=number, say=options.say)
    try:
        if old_world:
            parameters = site.load(options.old_world_site())
        if fill:
            options.say(f"lab: adding {fill} messages of old mail …")
            seeder.more(fill)
        if users:
            options.say(f"lab: adding {users} users …")
            crowd.add(users)
        if number > 1:
            to = [word for word in ("--to", rollback_from or last) if rollback_from or last]
            stores.execute(options.two_stores_site(), "rehearse", to, as_json, bool(rollback_from))
        else:
            run = run_folder.create(parameters, "rehearse")
            options.say(f"run: {run.path}")
            unattended.execute(parameters, run, names, options.say, rate=rate, least=least)
    except options.REPORTED as error:
        failed = error
    finally:
        if not keep_lab:
            control.down()
    if run is not None:
        options.show_run(run, as_json)
    if failed is not None:
        raise failed


def _require_alone(stores, others):
    if stores > 1 and others:
        raise click.UsageError(
            "--stores 2 goes with none of --traffic, --without-presync and --old-world"
        )


def _steps(last, without_presync, rollback_from):
    """The steps to rehearse, in order."""
    from cutover.model import runbook
    from cutover.steps import registry

    names = runbook.between(None, rollback_from or last)
    if without_presync:
        names = [name for name in names if name != "presync"]
    if rollback_from and not registry.step(rollback_from).reversible:
        raise click.UsageError(
            f"{rollback_from} is the point of no return: it cannot be rolled back"
        )
    return [*names, "rollback"] if rollback_from else names
