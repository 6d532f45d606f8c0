"""The command line. Each command imports what it needs when it is called, so that --help stays quick."""

import importlib
import sys

import click

from cutover import errors

GROUPS = {
    "lab": ("cutover.lab.cli", "Start, stop and enter the rehearsal lab."),
}


class LazyGroup(click.Group):
    """Commands by name → module; a module is imported only when its command is called or its help is asked for."""

    def list_commands(self, ctx):
        return sorted([*super().list_commands(ctx), *GROUPS])

    def get_command(self, ctx, name):
        if name in GROUPS:
            return importlib.import_module(GROUPS[name][0]).group
        return super().get_command(ctx, name)

    def format_commands(self, ctx, formatter):
        rows = [(name, GROUPS[name][1] if name in GROUPS else super(LazyGroup, self).get_command(ctx, name).short_help
                 or super(LazyGroup, self).get_command(ctx, name).get_short_help_str(90))
                for name in self.list_commands(ctx)]
        with formatter.section("Commands"):
            formatter.write_dl(rows)


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
def cutover():
    """Move a site's mail service from UW IMAP (MBX) to Dovecot (Maildir++): rehearse it, run it, prove it, undo it."""


@cutover.command(context_settings={"ignore_unknown_options": True, "help_option_names": []}, add_help_option=False)
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def store(arguments):
    """Inspect, convert and compare mail stores."""
    from cutover.store import __main__ as store_main

    sys.exit(store_main.main(list(arguments)))


def main():
    try:
        cutover(prog_name="cutover")
    except errors.CutoverError as error:
        click.echo(f"cutover: {error}", err=True)
        sys.exit(1)
