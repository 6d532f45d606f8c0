"""Commands on the record of a run."""

import dataclasses
import sys
from pathlib import Path

import click

from cutover.commands import options
from cutover.model import errors


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def group():
    """Verify or sign the record of a run, or compare two runs."""


@group.command()
@click.argument("directory", metavar="DIR")
@click.option(
    "--allowed-signers",
    "allowed",
    metavar="FILE",
    help="Who may have signed, from a source you trust. Default: the folder's own list, which "
    "proves that nothing was changed since, but not who signed it.",
)
@options.json_option
def verify(directory, allowed, as_json):
    """Verify a run's folder, offline. Unpack an archive anywhere first.

    Reports every file that was changed, removed, added or truncated since the record was signed, a
    signature that does not verify, and anything the journal contradicts: a step out of order, a
    change without approval, times that run backwards, a notebook that claims more than happened.
    The exit status is 0 only if there are no findings.
    """
    from cutover.record import audit
    from cutover.report import record_tables

    try:
        listed = Path(allowed).read_bytes() if allowed else None
    except OSError as error:
        raise errors.CutoverError(
            f"{allowed} cannot be read: {error.strerror}. Give a readable allowed_signers file."
        ) from None
    result = audit.verify(directory, listed)
    if as_json:
        options.show_json({**dataclasses.asdict(result), "passed": not result.findings})
    else:
        click.echo(f"{directory}\n{record_tables.shown(result)!r}")
    sys.exit(1 if result.findings else 0)


@group.command()
@click.argument("first", metavar="A")
@click.argument("second", metavar="B")
@options.json_option
def compare(first, second, as_json):
    """Compare run B with run A: steps, plans, counts, outages, durations, warnings and code.

    Marks the differences that matter.
    """
    from cutover.report import record_tables, run_comparison

    runs = [run_comparison.read(path) for path in (first, second)]
    differences = run_comparison.compare(*runs)
    if as_json:
        options.show_json(
            {
                "a": runs[0].name,
                "b": runs[1].name,
                "differences": [dataclasses.asdict(difference) for difference in differences],
            }
        )
    else:
        click.echo(repr(record_tables.differences(runs, differences)))


@group.command()
@click.argument("directory", metavar="DIR")
@options.run_site_option
def sign(directory, site_file):
    """Sign the record of a run again, e.g. after adding a file or when no key was available."""
    from cutover.record import record_json, run_folder

    run = run_folder.Run(directory)
    if not run.journal.events():
        raise errors.CutoverError(
            f"{directory}: the journal is empty, so there is nothing to sign. Give a run's folder."
        )
    parameters = run.parameters(site_file)
    with run.alone("run"):
        run.check(parameters, run.journal.append)
        click.echo(record_json.summary(record_json.write(run, parameters, "signed by hand")))
