"""Commands on the record of a run."""

import dataclasses
import json
import sys
from pathlib import Path

import click

from cutover.model import errors


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def group():
    """Verify the record of a run, offline; compare two runs; sign one as it stands."""


@group.command()
@click.argument("directory", metavar="DIR")
@click.option(
    "--allowed-signers",
    "allowed",
    metavar="FILE",
    help="Who may have signed, from a source of your own. Without it the folder's own list is used, which shows that "
    "nothing was changed since, and not by whom it was signed.",
)
@click.option("--json", "as_json", is_flag=True, help="Answer in JSON, for scripts.")
def verify(directory, allowed, as_json):
    """Verify a run's folder (an archive: unpacked anywhere), with no host and no network.

    Names everything that was changed, dropped, added or cut off since the record was signed, a signature that does not hold,
    and whatever the journal itself does not bear out: a step out of order, a change without its approval, times that run
    backwards, an executed notebook that claims more. Exit status 0 only when nothing was found.
    """
    from cutover.record import audit
    from cutover.report import record_tables as records

    try:
        listed = Path(allowed).read_bytes() if allowed else None
    except OSError as error:
        raise errors.CutoverError(f"{allowed}: {error.strerror}") from None
    result = audit.verify(directory, listed)
    if as_json:
        click.echo(
            json.dumps({**dataclasses.asdict(result), "passed": not result.findings}, indent=1)
        )
    else:
        click.echo(f"{directory}\n{records.shown(result)!r}")
    sys.exit(1 if result.findings else 0)


@group.command()
@click.argument("one", metavar="A")
@click.argument("other", metavar="B")
@click.option("--json", "as_json", is_flag=True, help="Answer in JSON, for scripts.")
def compare(one, other, as_json):
    """Compare run B with run A: steps, plans, counts, outage windows, durations, warnings, code. Says what matters."""
    from cutover.report import record_tables as records
    from cutover.report import run_comparison as comparing

    told = [comparing.Told.read(path) for path in (one, other)]
    found = comparing.compare(*told)
    if as_json:
        click.echo(
            json.dumps(
                {
                    "a": told[0].name,
                    "b": told[1].name,
                    "differences": [dataclasses.asdict(each) for each in found],
                },
                indent=1,
            )
        )
        return
    click.echo(repr(records.differences(told, found)))


@group.command()
@click.argument("directory", metavar="DIR")
@click.option(
    "--site",
    "site_file",
    metavar="FILE",
    help="Parameters file; without it, the copy in the run's folder.",
)
def sign(directory, site_file):
    """Sign the record of a run as it stands, e.g. after a file was added to its folder, or when no key was at hand before."""
    from cutover.record import folder
    from cutover.record import record_json as record

    run = folder.Run(directory)
    if not run.journal.events():
        raise errors.CutoverError(f"{directory}: its journal is empty: there is nothing to sign")
    parameters = run.parameters(site_file)
    with run.alone("run"):
        run.check(parameters, run.journal.append)
        click.echo(record.told(record.write(run, parameters, "signed by hand")))
