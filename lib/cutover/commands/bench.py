"""`cutover bench`: benchmarks."""

import json
import os
import shutil
import subprocess
import sys

import click

from cutover.commands import options

INSIDE = "CUTOVER_BENCH_INSIDE"


def runs_option(default):
    return click.option(
        "--runs",
        type=click.IntRange(1),
        default=default,
        show_default=True,
        help="Runs of each, interleaved.",
    )


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def group():
    """Benchmark conversion, restore, presync, the outage, many users, or several hosts, here."""


@group.command()
@click.option(
    "--messages",
    type=click.IntRange(10),
    default=20000,
    show_default=True,
    help="Messages in the store.",
)
@click.option(
    "--kilobytes",
    type=click.FloatRange(0.3),
    default=11.8,
    show_default=True,
    help="Mean message size in kB.",
)
@runs_option(default=5)
@click.option(
    "--jobs",
    type=click.IntRange(1),
    default=os.cpu_count() or 1,
    show_default=True,
    help="Worker processes of our converter.",
)
@click.option(
    "--disk/--no-disk",
    default=True,
    show_default=True,
    help="Measure on a disk (/var/tmp) too, not only on tmpfs.",
)
@click.option(
    "--scale",
    type=click.IntRange(1000),
    multiple=True,
    metavar="N",
    help="Also run our converter on one folder of N small messages: time per message, memory. "
    "May be repeated.",
)
@click.option(
    "--large",
    type=click.FloatRange(0.01),
    metavar="GB",
    help="Also measure our converter's memory on one folder of that many gigabytes.",
)
@click.option(
    "--write",
    type=click.Path(dir_okay=False),
    metavar="FILE",
    help="Write the tables to FILE (docs/bench.md). Without --scale and --large, also measure "
    "10,000 to 2,000,000 small messages and 5 GB. This needs 16 GB of memory and half an hour.",
)
@options.json_option
def convert(**chosen):
    """Convert one store with our converter, `doveadm backup` and a minimal C program.

    c-client writes the store; doveadm reads it from a real imapd. The results are medians of
    interleaved runs, with `sync` before each. Only ratios carry over to other machines. Needs root,
    as the lab does.
    """
    from lab import base_image, requirements

    requirements.require("the benchmark with a real imapd and Dovecot")
    base_image.ensure()
    if os.environ.get(INSIDE) != "1":
        # in a mount namespace of its own, so that no mount is left however this command ends
        argv = [
            "unshare",
            "--mount",
            "--propagation",
            "private",
            sys.executable,
            "-m",
            "cutover",
            *sys.argv[1:],
        ]
        sys.exit(
            subprocess.run(
                argv, env={**os.environ, INSIDE: "1"}, stdin=subprocess.DEVNULL
            ).returncode
        )
    if chosen["write"] and not chosen["scale"] and not chosen["large"]:
        chosen.update(scale=(10_000, 100_000, 1_000_000, 2_000_000), large=5.0)
    from cutover.bench import convert, convert_tables

    values = convert.measure(chosen, say=options.say)
    click.echo(convert_tables.as_json(values) if chosen["as_json"] else convert_tables.text(values))
    if chosen["write"]:
        with open(chosen["write"] + ".part", "w") as target:
            target.write(convert_tables.document(values))
        shutil.move(chosen["write"] + ".part", chosen["write"])


@group.command()
@click.option(
    "--messages",
    type=click.IntRange(1),
    default=20000,
    show_default=True,
    help="Messages in the folder.",
)
@runs_option(default=3)
@click.option(
    "--part",
    "parts",
    type=click.Choice(["ways", "archive", "sessions", "whole"]),
    multiple=True,
    help="Measure only this part: each method by itself; an archive of a folder; parallel IMAP "
    "sessions; the whole step. May be repeated.",
)
@options.json_option
def restore(messages, runs, parts, as_json):
    """Restore many small messages on the running lab, from the copy and from Bacula.

    Times the whole step, and alternative methods for each part. The lab must have a copy: run
    `cutover rehearse --keep-lab` first.
    """
    from cutover.bench import restore

    values = restore.measure(
        messages,
        runs,
        options.say,
        parts or restore.PARTS,
    )
    click.echo(json.dumps(values) if as_json else restore.text(values))


@group.command()
@click.option(
    "--fill",
    type=click.IntRange(0),
    default=0,
    show_default=True,
    help="First add that many messages to the old store.",
)
@runs_option(default=3)
@click.option(
    "--traffic",
    "rate",
    type=click.FloatRange(0),
    default=2.0,
    show_default=True,
    help="Messages per second that come in meanwhile.",
)
@click.option(
    "--held",
    type=click.IntRange(0),
    multiple=True,
    metavar="N",
    help="Instead: a night whose MX hosts hold N messages when delivery resumes, without traffic. "
    "May be repeated.",
)
@options.json_option
def outage(fill, runs, rate, held, as_json):
    """Time the outage of the lab's night beside a bare script that only does the work.

    Each run has a fresh lab. The script verifies and records nothing. Only the ratios carry over to
    other machines.
    """
    from cutover.bench import outage_floor, outage_held

    if held:
        values = outage_held.measure(held, options.say)
        click.echo(json.dumps(values) if as_json else outage_held.text(values))
        return
    values = outage_floor.measure(fill, runs, rate, options.say)
    click.echo(json.dumps(values) if as_json else outage_floor.text(values))


@group.command()
@click.option(
    "--fill",
    type=click.IntRange(0),
    default=60000,
    show_default=True,
    help="First add that many messages to the old store.",
)
@runs_option(default=3)
@click.option(
    "--disk",
    type=click.FloatRange(1),
    metavar="MB",
    help="Put the old mail on a disk that reads so many MB per second.  [default: in memory]",
)
@options.json_option
def presync(fill, runs, disk, as_json):
    """Time logins at the lab's old server while presync runs, at full speed and slowed down.

    Everything runs on this machine. Without --disk the mail is in memory: logins and presync
    compete for processors, not for disks.
    """
    from cutover.bench import presync

    values = presync.measure(fill, runs, disk, options.say)
    click.echo(json.dumps(values) if as_json else presync.text(values))


@group.command()
@click.option(
    "--users",
    "sizes",
    type=click.IntRange(24, 9000),
    multiple=True,
    default=(24, 500),
    show_default=True,
    help="Users of the site. May be repeated: a night for each number.",
)
@click.option(
    "--write",
    type=click.Path(dir_okay=False),
    metavar="FILE",
    help="Write the table to FILE (docs/bench-users.md).",
)
@options.json_option
def users(sizes, write, as_json):
    """Measure what the night of a larger site costs: time, commands, sizes, memory.

    Each night has a fresh lab whose added users have ten small folders each. It is made as far as
    verify. Only the growth carries over to other machines.
    """
    from cutover.bench import users

    nights = users.measure(list(sizes), options.say)
    click.echo(json.dumps(nights) if as_json else users.text(nights))
    if write:
        with open(write, "w") as target:
            target.write(users.document(nights))


@group.command()
@click.option(
    "--users",
    type=click.IntRange(1),
    default=1000,
    show_default=True,
    help="Small users to convert.",
)
@runs_option(default=5)
@click.option(
    "--survey",
    type=click.File(),
    metavar="FILE",
    help="The site's sizes: the answer of the converter's `survey --json`.",
)
@click.option(
    "--write",
    type=click.Path(dir_okay=False),
    metavar="FILE",
    help="Write the tables to FILE (docs/scale.md).",
)
@options.json_option
def scale(users, runs, survey, write, as_json):
    """Measure what several hosts of one store cost, and simulate large sites.

    The same users are converted by one host's processes and by Dask, in pairs; one user, and a
    quarter of them, by workers of one core. Some minutes; the machine should do nothing else.
    """
    from cutover.bench import scale

    sizes = [user["bytes"] for user in json.load(survey)["users"]] if survey else None
    values = scale.measure(users, runs, sizes, options.say)
    click.echo(json.dumps(scale.as_json(values)) if as_json else scale.text(values))
    if write:
        with open(write, "w") as target:
            target.write(scale.document(values))
