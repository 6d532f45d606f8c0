"""`cutover status`: how far a run got, or the latest run of each store."""

import dataclasses
import time

import click

from cutover.commands import options


@click.command()
@click.option("--run", "run_dir", metavar="DIR", help="The run's folder.")
@click.option(
    "--site",
    "site_file",
    metavar="FILE",
    help="Parameters file: a line for the latest run in runs/, of each store if it has several.",
)
@click.option(
    "--report",
    "with_report",
    is_flag=True,
    help="Also rewrite report.html and a page for each executed notebook.",
)
@options.json_option
def status(run_dir, site_file, with_report, as_json):
    """Show the state of a run, according to its journal."""
    from cutover.record import run_folder
    from cutover.report import html_page

    if (run_dir is None) == (site_file is None) or (site_file and with_report):
        raise click.UsageError("give --run DIR, with or without --report, or --site FILE")
    if site_file:
        _of_site(site_file, as_json)
        return
    current = run_folder.Run(run_dir)
    if not current.journal.events():
        raise run_folder.NotARun(
            f"{current.path}: holds no journal, so no run began there. Give the folder of a run."
        )
    if with_report:
        options.say(f"report: {html_page.write(current)}")
    options.show_run(current, as_json)


def _of_site(site_file, as_json):
    from cutover import site
    from cutover.record import run_folder
    from cutover.report import overview

    sites = [site.load(site_file, store) for store in site.store_names(site_file) or [""]]
    rows = [overview.of_site(part.name, run_folder.latest(part)) for part in sites]
    if as_json:
        options.show_json([dataclasses.asdict(row) for row in rows])
    else:
        click.echo(repr(overview.table_of_sites(rows, time.time())))
