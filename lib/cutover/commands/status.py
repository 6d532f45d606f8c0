"""`cutover status`: how far a run got."""

import click

from cutover.commands import options


@click.command()
@options.run_option
@click.option(
    "--report",
    "with_report",
    is_flag=True,
    help="Also rewrite report.html and a page for each executed notebook.",
)
@options.json_option
def status(run_dir, with_report, as_json):
    """Show the state of a run, according to its journal."""
    from cutover.record import run_folder
    from cutover.report import html_page

    current = run_folder.Run(run_dir)
    if not current.journal.events():
        raise run_folder.NotARun(
            f"{current.path}: holds no journal, so no run began there. Give the folder of a run."
        )
    if with_report:
        options.say(f"report: {html_page.write(current)}")
    options.show_run(current, as_json)
