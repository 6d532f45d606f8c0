"""`cutover jupyter`: JupyterLab with the notebooks."""

import os
import secrets
from pathlib import Path

import click

from cutover.commands import options


@click.command()
@click.option(
    "--site", "site_file", metavar="FILE", help="Parameters file: work on a run of this site."
)
@click.option(
    "--run",
    "run_dir",
    metavar="DIR",
    help="Resume this run. Default: with --site, begin a new one.",
)
@click.option(
    "--edit-templates",
    is_flag=True,
    help="Allow changes to the notebook templates, for developers.",
)
@click.option("--port", default=8888, show_default=True, help="Port on 127.0.0.1.")
def jupyter(site_file, run_dir, edit_templates, port):
    """Start JupyterLab on 127.0.0.1, with a token.

    Without --site or --run it opens the read-only templates, which explain the worked example. With
    one of them it makes working copies in the run's folder (by-hand/), fills in the run's
    parameters, and opens the board there.
    """
    from cutover import site
    from cutover.notebook import jupyter_server
    from cutover.record import run_folder
    from cutover.run import workspace

    opened = site.PROJECT / "notebooks"
    if site_file or run_dir:
        parameters = site.load(site_file) if site_file else run_folder.Run(run_dir).parameters()
        current = (
            run_folder.begin(parameters, Path(run_dir))
            if run_dir
            else run_folder.create(parameters, "run")
        )
        options.say(f"run: {current.path}")
        opened = workspace.prepare(parameters, current) / workspace.BOARD
    os.chdir(site.PROJECT)
    token = secrets.token_urlsafe(24)
    command = jupyter_server.argv(port, opened, edit_templates)
    options.say(f"open {jupyter_server.address(port, opened, token)}")
    os.execve(command[0], command, jupyter_server.environment(token))
