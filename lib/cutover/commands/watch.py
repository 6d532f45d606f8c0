"""`cutover watch`: the first morning on the new server."""

import sys

import click

from cutover.commands import options


@click.command()
@options.run_option
@options.run_site_option
@click.option(
    "--minutes",
    type=click.FloatRange(0.1, 24 * 60),
    default=60.0,
    show_default=True,
    help="How long to watch. Ctrl-C ends it earlier.",
)
@options.json_option
def watch(run_dir, site_file, minutes, as_json):
    """Watch what users meet after restore-imap, and say whether all is well.

    Shows logins, refused logins, folders that mail programs ask for and that do not exist, limits
    that Dovecot reached, the load and the MX queues. Changes nothing. The exit status is 1 if a
    check failed.
    """
    from cutover import model
    from cutover.connect import hosts
    from cutover.record import run_folder, vault
    from cutover.report import morning_tables
    from cutover.run import first_morning
    from cutover.steps.checks import morning

    run = run_folder.Run(run_dir)
    parameters = run.parameters(site_file)
    vault.register(parameters)
    with hosts.Hosts(parameters) as connections:
        seen = first_morning.watch(
            connections, run, minutes, lambda now: options.say(morning_tables.line(now))
        )
    checks = morning.checks(seen, parameters)
    if as_json:
        options.show_json(
            {
                "seconds": round(seen.until - seen.began, 1),
                "passed": all(check.passed for check in checks),
                "checks": [vars(check) for check in checks],
                "watched": model.to_json(seen),
            }
        )
    else:
        click.echo(repr(morning_tables.shown(seen, parameters)))
    sys.exit(0 if all(check.passed for check in checks) else 1)
