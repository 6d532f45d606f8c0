"""Commands on the lease that keeps two operators from working at the same time."""

import click

from cutover.commands import options
from cutover.model import errors
from cutover.report import tables


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def group():
    """Show who holds a site's lease, or break a stale one."""


@group.command()
@options.site_option
@options.json_option
def show(site_file, as_json):
    """Show who holds the lease."""
    from cutover import site
    from cutover.connect import hosts
    from cutover.remote import lease_file
    from cutover.run import lease

    parameters = site.load(site_file)
    with hosts.Hosts(parameters) as reached:
        reply = lease_file.ask(reached, parameters.roles.new, lease.place(parameters), "read")
    if as_json:
        options.show_json(
            {
                "holder": lease.shown(reply["holder"]) if reply["holder"] else None,
                "age": reply["age"],
                "stale": bool(reply["holder"]) and reply["age"] > lease.STALE,
            }
        )
    else:
        holder = lease.described(reply) if reply["holder"] else "nobody holds the lease"
        click.echo(tables.printable(f"{parameters.roles.new}: {holder}"))


@group.command("break")
@click.option(
    "--run",
    "run_dir",
    required=True,
    metavar="DIR",
    help="The run's folder: the break is recorded in its journal.",
)
@options.run_site_option
@click.option(
    "--key",
    metavar="FILE",
    help="Signing key. Default: the first key in ssh-agent that may approve.",
)
def break_lease(run_dir, site_file, key):
    """Break a lease. Asks for its holder's name; a production site also needs a signature."""
    from cutover.connect import hosts
    from cutover.record import approval, record_json, run_folder
    from cutover.remote import lease_file
    from cutover.run import lease

    run = run_folder.Run(run_dir)
    parameters = run.parameters(site_file)
    run.require_site(parameters)
    with hosts.Hosts(parameters) as reached:
        host, path = parameters.roles.new, lease.place(parameters)
        reply = lease_file.ask(reached, host, path, "read")
        holder = reply["holder"]
        if holder is None:
            raise errors.CutoverError(f"{host}: nobody holds the lease, so nothing was broken.")
        click.echo(tables.printable(f"{host}: {lease.described(reply)}"))
        typed = click.prompt("To break it, type the holder's name in full")
        if typed.strip() != holder.get("owner"):
            raise approval.NotConfirmed("That is not the holder's name: nothing was broken.")
        given = _approval(reached, run, holder, key)
        fields = {"host": host, "before": lease.shown(holder), **given.to_json()}
        run.journal.append("lease-breaking", **fields)
        broken = lease_file.ask(reached, host, path, "break", token=holder["token"])["done"]
        run.journal.append("lease-broken", **fields, done=broken)
    record_json.pause(run, parameters, "a lease was broken")
    if not broken:
        raise errors.CutoverError(
            f"{host}: somebody else took the lease first: nothing was broken. "
            "Show the lease again before you decide."
        )
    click.echo("broken")


def _approval(reached, run, holder, key):
    """The approval to break the lease of `holder`. Raises NotApproved."""
    from cutover.record import approval, lab_marks, signers, statement
    from cutover.run import lease

    parameters = reached.site
    bound = approval.holder_digest(run.id, lease.shown(holder))
    if parameters.kind == "rehearsal":
        lab_marks.prove(reached, parameters)
        return approval.Approval(bound, "rehearsal", "rehearsal", "")
    request = statement.request(run, parameters, "lease-break", run.name, bound)
    statement.give(run, parameters, signers.of_run(run), request, key)
    command = f"./cutover lease break --run {run.path}"
    return approval.ask(run, parameters, request, 1, command)
