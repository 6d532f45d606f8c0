"""Commands that change a site: `cutover run`, `maintain`, `restore` and `rollback`."""

from pathlib import Path

import click

from cutover.commands import options, stores


@click.command()
@options.site_option
@options.from_option
@options.to_option
@options.resume_option
@click.option(
    "--without",
    multiple=True,
    metavar="USER",
    help="Convert all users but this one, whose mail stays on the old server, unconverted. May be "
    "repeated.",
)
@options.json_option
def run(site_file, first, last, run_dir, without, as_json):
    """Execute the runbook's steps, unattended, through papermill.

    After a failure, run the same command again to resume. If convert fails for some users,
    --without continues without them. If FILE has several stores, this begins a run for each, all at
    the same time; FILE:STORE is one of them.
    """
    from cutover import site
    from cutover.model import runbook

    if site.store_names(site_file):
        if run_dir or without:
            raise click.UsageError(
                f"{site_file} has several stores: --run and --without need one of them, FILE:STORE"
            )
        runbook.between(first, last)  # a wrong name is refused before any run begins
        ends = (("--from", first), ("--to", last))
        steps = [word for end in ends if end[1] for word in end]
        stores.execute(site_file, "run", steps, as_json)
        return
    parameters = site.load(site_file)
    names = runbook.between(first, last)
    current = _begin(parameters, "run", run_dir)
    if first is None:
        names = _unfinished(names, current.journal.events())
    over = runbook.resumed(current.journal.events())
    if without and (over or "convert" not in names):
        raise click.UsageError("--without is for convert, which is not among the steps to run")
    _execute(parameters, current, names, as_json, chosen={"without": ",".join(without)})


@click.command()
@click.argument("name", metavar="STEP")
@options.site_option
@options.resume_option
@options.json_option
def maintain(name, site_file, run_dir, as_json):
    """Execute one maintenance step, days after the cutover.

    It starts a separate run; `cutover rollback` undoes it. The steps: vacation, forwards, old-spam,
    spam-digest, move-store, mail-rules, user-pages.
    """
    from cutover import site
    from cutover.model import runbook

    if name not in runbook.MAINTENANCE:
        raise runbook.UnknownStep(
            f"{name} is not a maintenance step. The steps are {', '.join(runbook.MAINTENANCE)}."
        )
    parameters = site.load(site_file)
    current = _begin(parameters, "maintenance", run_dir)
    _execute(parameters, current, [name], as_json, watch=False)


@click.command()
@options.site_option
@click.option("--user", required=True, metavar="USER", help="Whose mail to restore.")
@click.option(
    "--folder",
    default="",
    metavar="FOLDER",
    help="Only this folder and those below it. Default: all folders.",
)
@click.option(
    "--message",
    default="",
    metavar="ID",
    help="Only the message with this Message-ID, including the <…>.",
)
@click.option(
    "--from",
    "source",
    type=click.Choice(["current", "bacula"]),
    default="current",
    show_default=True,
    help="Last night's copy, or a Bacula backup of it.",
)
@click.option(
    "--day",
    default="",
    metavar="DAY",
    help="With --from bacula: the last backup of that day, YYYY-MM-DD, or the last before a time, "
    "'YYYY-MM-DD HH:MM'. Default: the latest.",
)
@options.resume_option
@options.json_option
def restore(site_file, user, folder, message, source, day, run_dir, as_json):
    """Restore a user's mail from the backup host.

    First copies the mail next to the live mailbox, then adds what is missing. No live message is
    overwritten or removed. `cutover rollback --run DIR` removes what was added.
    """
    from cutover import site

    parameters = site.load(site_file)
    chosen = {"user": user, "folder": folder, "message": message, "source": source, "day": day}
    current = _begin(parameters, "restore", run_dir)
    _execute(parameters, current, ["restore"], as_json, watch=False, chosen=chosen)


@click.command()
@options.run_option
@options.run_site_option
@click.option(
    "--without",
    multiple=True,
    metavar="USER",
    help="Continue although the old server refuses mail of this user. The refused mail stays in "
    "the Maildir on the new server. May be repeated.",
)
@options.json_option
def rollback(run_dir, site_file, without, as_json):
    """Undo a run's changes in reverse order, from its journal.

    Then checks that the old service is back. Run the same command again to resume, or without
    --without to carry back the mail of users an earlier rollback skipped.
    """
    from cutover.model import runbook
    from cutover.record import run_folder

    current = run_folder.Run(run_dir)
    parameters = current.parameters(site_file)
    chosen = {"without": ",".join(without)}
    # the outage that it ends is measured to its end
    watch = not runbook.apart(current.journal.events())
    _execute(parameters, current, ["rollback"], as_json, watch=watch, chosen=chosen)


def _begin(parameters, kind, run_dir):
    """The run to work in: the one in `run_dir`, or a new one."""
    from cutover.record import run_folder

    current = (
        run_folder.begin(parameters, Path(run_dir))
        if run_dir
        else run_folder.create(parameters, kind)
    )
    options.say(f"run: {current.path}")
    return current


def _unfinished(names, events):
    """The steps from the first that has not passed."""
    from cutover.model import runbook

    states = runbook.states(events)
    while names and states.get(names[0]) == "passed":
        names = names[1:]
    return names


def _execute(parameters, current, names, as_json, **how):
    """Execute steps; print the run's summary whatever happens."""
    from cutover.commands import unattended

    try:
        unattended.execute(parameters, current, names, options.say, **how)
    finally:
        options.show_run(current, as_json)
