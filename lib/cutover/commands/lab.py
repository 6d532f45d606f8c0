"""`cutover lab`: the rehearsal lab."""

import json
import os
import time

import click
from lab import base_image, errors, topology

from cutover.commands import options


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def group():
    """Start, stop and enter the rehearsal lab: nine real servers on an isolated network."""


@group.command()
@click.option("--fresh", is_flag=True, help="Start over from a clean state, even if the lab is up.")
@click.option(
    "--seed/--no-seed",
    default=True,
    show_default=True,
    help="Start with the seeded mail, or with empty mailboxes.",
)
@click.option(
    "--shared-store",
    "shared",
    is_flag=True,
    default=None,
    help="Add a second new server; both share one GlusterFS volume.",
)
@click.option(
    "--users",
    type=click.IntRange(0, 9000),
    default=0,
    metavar="N",
    help="Add N more users with ten small folders each. With --fresh, or to a lab that has none.",
)
@click.option(
    "--stores",
    type=click.IntRange(1, 2),
    help="Number of stores: 2 adds a second old and a second new server, with half of the users.",
)
@options.base_options
def up(fresh, seed, shared, users, stores, base, new, old_world):
    """Start the lab. Running hosts keep running; a host that died is started again."""
    from lab import control, crowd

    for name, wanted in (("--shared-store", shared), ("--old-world", old_world)):
        if stores == 2 and wanted:
            raise click.UsageError(f"--stores 2 and {name} exclude each other. Leave out one.")
    began = time.monotonic()
    suites = base_image.suites(base, new) if base or new else None
    say = options.say
    marker = control.up(
        fresh=fresh,
        seed=seed,
        shared=shared,
        suites=suites,
        old=old_world or None,
        stores=stores,
        say=say,
    )
    if users:
        say(f"adding {users} users …")
        crowd.add(users)
    click.echo(
        f"lab {marker['lab']} is up after {time.monotonic() - began:.1f} s, "
        + ("with the seeded mail" if marker["seed"] else "with empty mailboxes")
    )
    if marker.get("old_world"):
        click.echo(f"its parameters: {options.old_world_site()}")
    if topology.has_two_stores(marker["hosts"]):
        click.echo(f"its parameters: {options.two_stores_site()}")


@group.command()
@click.option(
    "--base",
    "cache",
    is_flag=True,
    help="Also remove the cached base and the snapshot of the seeded mail.",
)
def down(cache):
    """Stop the lab and remove all of it except the cache."""
    from lab import control

    began = time.monotonic()
    control.down(keep_cache=not cache, say=options.say)
    left = control.rests()
    if left:
        raise errors.LabError(
            "removing the lab from this machine failed, still there: "
            + "; ".join(left)
            + ". Run: cutover lab down"
        )
    click.echo(f"lab is down after {time.monotonic() - began:.1f} s, nothing is left")


@group.command()
@options.json_option
@click.pass_context
def status(context, as_json):
    """Show what is up. The exit status is 0 only if every host answers on all its ports."""
    from lab import control

    state = control.status()
    whole = bool(state["hosts"]) and all(
        all(host["ports"].values()) for host in state["hosts"].values()
    )
    if as_json:
        click.echo(json.dumps(state, indent=1))
    else:
        click.echo(
            f"lab {state['lab'] or '-'}  {state['phase']}  seeded mail: {state['seed'] or 'none'}"
        )
        for name, host in state["hosts"].items():
            ports = "  ".join(
                f"{port} {'answers' if good else 'SILENT'}" for port, good in host["ports"].items()
            )
            click.echo(
                f"{name:<12} {host['address']:<12} {'up' if host['up'] else 'DOWN':<5} {ports}"
            )
    context.exit(0 if whole else 1)


@group.command(context_settings={"ignore_unknown_options": True})
@click.argument("host", type=click.Choice(list(topology.EVER)))
@click.argument("command", nargs=-1, type=click.UNPROCESSED)
def shell(host, command):
    """Log in to HOST as operator over ssh, or run COMMAND there. `sudo -n` works."""
    from lab import keys, old_world, state

    marker = state.read()
    if marker is None:
        raise errors.LabError("the lab is not up. Run: cutover lab up")
    old = marker.get("old_world") and host in old_world.HOSTS
    argv = [
        "ssh",
        "-i",
        str(keys.OLD_OPERATOR_KEY if old else keys.OPERATOR_KEY),
        *(old_world.SSH_OPTIONS if old else ()),
        "-o",
        f"UserKnownHostsFile={keys.KNOWN_HOSTS}",
        "-o",
        "IdentitiesOnly=yes",
        "-o",
        "StrictHostKeyChecking=yes",
        f"{topology.OPERATOR}@{topology.EVER[host].address}",
        *command,
    ]
    os.execvp(argv[0], argv)
