"""`cutover store`: the converter's own command line, under this name."""

import sys

import click


@click.command(
    context_settings={"ignore_unknown_options": True, "help_option_names": []},
    add_help_option=False,
)
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def store(arguments):
    """Inspect, convert and compare mail stores."""
    from cutover.remote import store_program

    sys.exit(store_program.main(list(arguments)))
