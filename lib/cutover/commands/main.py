"""The command line.

A command imports what it needs when it is called, not when this module is: --help must be quick.
"""

import errno
import sys

import click

from cutover.commands import (
    approve,
    bench,
    jupyter,
    lab,
    lease,
    options,
    plan,
    record,
    rehearse,
    run,
    status,
    store,
    test,
    watch,
)
from cutover.site import secrets


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
def cutover():
    """Migrate a site's mail from UW IMAP (MBX) to Dovecot (Maildir++)."""


for command in (
    approve.approve,
    jupyter.jupyter,
    plan.plan,
    rehearse.rehearse,
    run.maintain,
    run.restore,
    run.rollback,
    run.run,
    status.status,
    store.store,
    test.test,
    watch.watch,
):
    cutover.add_command(command)
for name, module in (("bench", bench), ("lab", lab), ("lease", lease), ("record", record)):
    cutover.add_command(module.group, name)


def main():
    try:
        cutover(prog_name="cutover")
    except options.REPORTED as error:
        # a host's reply may hold control sequences: they must not reach the terminal
        from cutover.report import tables

        click.echo(f"cutover: {tables.printable(secrets.redact(str(error)))}", err=True)
        sys.exit(1)
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        click.echo(
            f"cutover: {error.filename or 'this machine'}: {error.strerror}. Free some space, "
            "first of all for the run's folder, then run the same command again to resume.",
            err=True,
        )
        sys.exit(1)
