"""The options and the output that several commands share."""

import contextlib
import json

import click
from lab import base_image
from lab.errors import LabError

from cutover.model.errors import CutoverError

# printed without a traceback: the message says what to do
REPORTED = (CutoverError, LabError)

LAB_SITE = "parameters/lab.yaml"

site_option = click.option(
    "--site",
    "site_file",
    required=True,
    metavar="FILE",
    help="Parameters file of the site, or FILE:STORE.",
)
run_site_option = click.option(
    "--site",
    "site_file",
    metavar="FILE",
    help="Parameters file, or FILE:STORE. Default: the copy in the run's folder.",
)
run_option = click.option(
    "--run", "run_dir", required=True, metavar="DIR", help="The run's folder."
)
resume_option = click.option(
    "--run",
    "run_dir",
    metavar="DIR",
    help="Resume the run in this folder. Default: begin a new run.",
)
json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON, for scripts.")
from_option = click.option(
    "--from", "first", metavar="STEP", help="First step. Default: preflight."
)
to_option = click.option(
    "--to",
    "last",
    metavar="STEP",
    help="Last step. Default: backup. Decommission cannot be undone: it runs only if you name it.",
)
_suites = click.Choice(base_image.SUITES)


def base_options(command):
    """What the lab's hosts run."""
    command = click.option(
        "--old-world",
        is_flag=True,
        help="mailboxold and one MX as hosts of 2007: old ssh, old sudo, SysV scripts, no journal.",
    )(command)
    new = f"Debian release of the new server. Default: --base, or {base_image.NEW} without it."
    base = f"Debian release of every host. Default: {base_image.DEFAULT}."
    for name, text in (("--new", new), ("--base", base)):
        command = click.option(name, type=_suites, help=text)(command)
    return command


def old_world_site():
    """Write the parameters file of a lab of the old world. Returns its path."""
    from lab import old_world

    from cutover import site

    return old_world.write_parameters(site.PROJECT / LAB_SITE)


def two_stores_site():
    """Write the parameters file of a lab of two stores. Returns its path."""
    from lab import two_stores

    from cutover import site

    return two_stores.write_parameters(site.PROJECT / LAB_SITE)


def say(text: str) -> None:
    """Print progress on stderr: stdout carries the answer.

    A run goes on when nobody reads it any more: whoever began it may have been killed.
    """
    with contextlib.suppress(BrokenPipeError):
        click.echo(text, err=True)


def show_json(answer) -> None:
    """Print an answer for scripts."""
    click.echo(json.dumps(answer, indent=1))


def show_run(run, as_json: bool) -> None:
    """Print the summary of a run (folder.Run)."""
    from cutover.report import overview

    if as_json:
        show_json(overview.as_json(run))
    else:
        click.echo(repr(overview.tables_of(run)))
