"""Commands on the lease that keeps two operators from working at once."""

import json

import click

from cutover.model import errors
from cutover.report import tables

run_option = click.option(
    "--run",
    "run_dir",
    required=True,
    metavar="DIR",
    help="The run's folder: it journals what is done.",
)
site_option = click.option(
    "--site",
    "site_file",
    metavar="FILE",
    help="Parameters file; without it, the copy in the run's folder.",
)


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def group():
    """See who is at work on a site, or break the lease of somebody who no longer is."""


@group.command()
@click.option(
    "--site", "site_file", required=True, metavar="FILE", help="Parameters file of the site."
)
@click.option("--json", "as_json", is_flag=True, help="Answer in JSON, for scripts.")
def show(site_file, as_json):
    """Say who holds the lease."""
    from cutover import site
    from cutover.connect import hosts
    from cutover.remote import lease_file as on_host
    from cutover.run import lease

    parameters = site.load(site_file)
    with hosts.Hosts(parameters) as reached:
        answer = on_host.ask(reached, parameters.roles.new, lease.place(parameters), "read")
    if as_json:
        click.echo(
            json.dumps(
                {
                    "holder": lease.shown(answer["holder"]) if answer["holder"] else None,
                    "age": answer["age"],
                    "stale": bool(answer["holder"]) and answer["age"] > lease.STALE,
                },
                indent=1,
            )
        )
    else:
        said = lease.described(answer) if answer["holder"] else "nobody holds the lease"
        click.echo(tables.printable(f"{parameters.roles.new}: {said}"))


@group.command("break")
@run_option
@site_option
@click.option(
    "--key",
    metavar="FILE",
    help="Signing key; without it, the first one of ssh-agent that may approve.",
)
def break_lease(run_dir, site_file, key):
    """Break a lease, after typing whose it is. At a production site this is signed like any approval."""
    from cutover.connect import hosts
    from cutover.record import approval, folder, statement
    from cutover.record import record_json as record
    from cutover.remote import lease_file as on_host
    from cutover.run import lease

    run = folder.Run(run_dir)
    parameters = run.parameters(site_file)
    with hosts.Hosts(parameters) as reached:
        host, path = parameters.roles.new, lease.place(parameters)
        answer = on_host.ask(reached, host, path, "read")
        holder = answer["holder"]
        if holder is None:
            raise errors.CutoverError(f"{host}: nobody holds the lease")
        click.echo(tables.printable(f"{host}: {lease.described(answer)}"))
        if click.prompt("To break it, type its holder's name, all of it").strip() != holder.get(
            "owner"
        ):
            raise approval.NotConfirmed("that is not the holder: nothing was broken")
        bound = lease.digest(holder)
        if parameters.kind == "rehearsal":
            approval.prove_lab(reached, parameters)
            given = approval.Approval(bound, "rehearsal", "rehearsal", "")
        else:
            statement.give(run, parameters, "lease-break", run.name, bound, key)
            given = approval.ask(
                run, parameters, "lease-break", run.name, bound, 1, "cutover lease break"
            )
        run.journal.append(
            "lease-breaking", host=host, before=lease.shown(holder), **given.to_json()
        )
        broken = on_host.ask(reached, host, path, "break", token=holder["token"])["done"]
        run.journal.append(
            "lease-broken", host=host, before=lease.shown(holder), done=broken, **given.to_json()
        )
    record.pause(run, parameters, "a lease was broken")
    if not broken:
        raise errors.CutoverError(
            f"{host}: the lease changed hands meanwhile: nothing was broken; look again"
        )
    click.echo("broken")
