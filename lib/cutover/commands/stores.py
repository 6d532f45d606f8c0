"""Runs of several stores at the same time, each a command of its own.

What stops one store's run stops no other.
"""

import concurrent.futures
import subprocess
import sys

import click

from cutover.commands import options
from cutover.model import errors


class SomeFailed(errors.CutoverError):
    """Runs of some stores did not pass."""


def execute(site_file, kind, steps, as_json, undo=False) -> None:
    """Begin a run for each store of a file, all at once; print the summary of each at the end.

    steps: what to pass on to `cutover run`. undo: roll each run back afterwards.
    Raises SomeFailed after all have ended.
    """
    from cutover import site
    from cutover.record import run_folder

    runs = {}
    for store in site.store_names(site_file):
        parameters = site.load(site_file, store)
        runs[store] = parameters.reference, run_folder.create(parameters, kind)
        options.say(f"{store}: run: {runs[store][1].path}")

    def of_store(store):
        reference, run = runs[store]
        call = ["run", "--site", reference, *steps, "--run", str(run.path)]
        return _called(store, call) and (
            not undo or _called(store, ["rollback", "--run", str(run.path)])
        )

    with concurrent.futures.ThreadPoolExecutor(len(runs)) as pool:
        passed = dict(zip(runs, pool.map(of_store, runs), strict=True))
    _show({store: run for store, (_, run) in runs.items()}, as_json)
    if not all(passed.values()):
        raise SomeFailed(
            "\n".join(
                f"{store} did not pass. To resume it: `./cutover run --site {reference} --run "
                f"{run.path}`"
                for store, (reference, run) in runs.items()
                if not passed[store]
            )
        )


def _called(store, arguments) -> bool:
    """Whether a command passed; each line of its progress is said with the store's name."""
    with subprocess.Popen(
        [sys.executable, "-m", "cutover", *arguments],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        errors="backslashreplace",
    ) as process:
        for line in process.stderr:
            options.say(f"{store}: {line.rstrip()}")
    return process.returncode == 0


def _show(runs, as_json):
    from cutover.report import overview

    if as_json:
        options.show_json({name: overview.as_json(run) for name, run in runs.items()})
        return
    for name, run in runs.items():
        click.echo(f"== {name}")
        options.show_run(run, as_json)
        click.echo()
